// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

func TestDebugLogsEachRequest(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{name: "p1", clusters: []string{"c1", "missing"}})
	c.RemoveCluster("missing")
	p := c.start(t)
	p.scrape(t, 5*time.Second)
	lines := regexp.MustCompile(`(?m)^level=debug .*msg="API request" .*$`).FindAllString(p.log.String(), -1)
	if len(lines) != 2 {
		t.Fatalf("got %d lines for 2 requests:\n%s", len(lines), p.log)
	}
	all := strings.Join(lines, "\n")
	for _, field := range []string{
		"project=p1", "operation=connections", "status=200", "status=403", "code=CSS.0015", "duration=", "request_id=0",
	} {
		if !strings.Contains(all, field) {
			t.Errorf("no line contains %s:\n%s", field, all)
		}
	}
	c.checkSecrets(t, "the log", p.log.String())
}

// TestLogLinesArePrintable checks that text of the API or the file neither reverses nor colours a line on a terminal.
func TestLogLinesArePrintable(t *testing.T) {
	for format, want := range map[string]string{
		"logfmt": `msg="Permission added" cluster_name=搜索<U+202E>é<U+009B>31m permission="a\nb<U+2028>\u001b<U+200B>"` + "\n",
		"json":   `"cluster_name":"搜索<U+202E>é<U+009B>31m","level":"info","msg":"Permission added","permission":"a\nb\u2028\u001b<U+200B>",`,
	} {
		var log bytes.Buffer
		newLogger(&log, "info", format).With("cluster_name", "搜索\u202eé\u009b31m").
			Info("Permission added", "permission", "a\nb\u2028\x1b\u200b")
		if got := log.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: got %q, want a line with %q", format, got, want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
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

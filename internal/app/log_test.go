// SPDX-License-Identifier: Apache-2.0

package app

import (
	"regexp"
	"strings"
	"testing"
)

// TestDebugLogsEachRequest checks that each API request is logged once at debug level, without secrets.
func TestDebugLogsEachRequest(t *testing.T) {
	cloud, url := faultyCloud(t, 1, "p1")
	cloud.AddCluster("p1", threeConnections("c1"))
	p := start(t, "--config.file="+faultyFile(t, url, "{}", map[string][]string{"p1": {"c1", "missing"}}))
	p.scrape(t, "5")
	lines := regexp.MustCompile(`(?m)^level=debug .*msg="API request" .*$`).FindAllString(p.log.String(), -1)
	if len(lines) != 2 {
		t.Fatalf("%d lines for 2 requests:\n%s", len(lines), p.log)
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"project=p1", "operation=connections", "status=200", "status=403", "code=CSS.0015", "duration=", "request_id=0",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in:\n%s", want, all)
		}
	}
	if strings.Contains(p.log.String(), "SK-of-the-test") || strings.Contains(p.log.String(), "AK-of-the-test") {
		t.Error("the log contains credentials")
	}
}

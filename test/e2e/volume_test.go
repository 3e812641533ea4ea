// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// seriesOf returns the number of series of a cluster by metric, as in README.md.
func seriesOf(c simulator.Cluster) map[string]int {
	counts := map[string]int{
		"css_vpcep_up": 1, "css_vpcep_scrape_duration_seconds": 1, "css_vpcep_last_success_timestamp_seconds": 1,
		"css_vpcep_cluster_info": 1, "css_vpcep_enabled": 1,
	}
	if c.ServiceOff {
		return counts
	}
	const statuses = 7
	counts["css_vpcep_connections"] = statuses
	for _, metric := range []string{"reported_connections", "connections_truncated", "connections_limited"} {
		counts["css_vpcep_"+metric] = 1
	}
	has := func(metric string, value bool) {
		if value {
			counts["css_vpcep_"+metric]++
		}
	}
	has("update_switch", c.UpdateSwitch != "")
	has("service_info", c.ServiceName != "")
	has("permissions", c.Permissions != nil)
	has("permissions_wildcard", c.Permissions != nil)
	has("unlisted_connections", len(c.Permissions) > 0)
	for _, connection := range c.Connections {
		has("connection_info", true)
		has("connection_status", true)
		has("connection_max_sessions", connection.MaxSession != "")
		has("connection_created_timestamp_seconds", connection.CreatedAt != "")
		has("connection_updated_timestamp_seconds", connection.UpdatedAt != "")
	}
	return counts
}

// series returns the number of series of the fleet and of discovery by metric.
func (c *cloud) series() (counts map[string]int, total int) {
	counts = make(map[string]int)
	for _, p := range c.Projects() {
		for _, metric := range []string{"up", "clusters", "last_success_timestamp_seconds"} {
			counts["css_vpcep_discovery_"+metric]++
		}
		for _, cluster := range c.Clusters(p.ID) {
			for metric, n := range seriesOf(cluster) {
				counts[metric] += n
			}
		}
	}
	for _, n := range counts {
		total += n
	}
	return counts, total
}

// testVolume scrapes a very large fleet and counts the stored series.
func testVolume(t *testing.T, program string, e edition, found *column) {
	const clusters, each, timeout = 1000, 50, 20 * time.Second
	c := newCloud(t, clusters, each)
	exporter := c.exporter(t, program, 0, options{requestsPerSecond: 10_000})
	config := replace(t, examples(t)["1"], "localhost:10247", exporter.address,
		"scrape_interval: 1m", "scrape_interval: "+timeout.String(), "scrape_timeout: 30s", "scrape_timeout: "+timeout.String())
	prom := startEdition(t, e.prometheus, scrapeConfigs(config), nil)
	const job = `{job="css_vpcep"}`
	eventually(t, "it has scraped", func() string {
		switch up := prom.query(t, "up"+job); {
		case len(up) == 0:
			return "it has not begun"
		case up[0].Value.value != 1:
			t.Fatalf("the first scrape failed:\n%s", exporter.output.tail())
		}
		return ""
	})

	want, total := c.series()
	if total < 250_000 {
		t.Fatalf("the fleet has only %d series", total)
	}
	got := make(map[string]int)
	for _, s := range prom.query(t, `count by (__name__) ({job="css_vpcep", __name__=~"css_vpcep_.+", __name__!~"css_vpcep_exporter_.+"})`) {
		got[s.Labels["__name__"]] = int(s.Value.value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series by metric (-fleet +Prometheus):\n%s", diff)
	}
	for expr, want := range map[string]float64{
		`sum(css_vpcep_up` + job + `)`:                                   clusters,
		`sum(css_vpcep_connections{job="css_vpcep", status="accepted"})`: clusters * each,
		`sum(css_vpcep_connection_max_sessions` + job + `)`:              clusters * each * 3000,
	} {
		if got := prom.number(t, expr); got != want {
			t.Errorf("%s is %g, want %g", expr, got, want)
		}
	}

	// The exporter's own metrics, including discovery, are requested separately.
	status, own := get(t, newClient(t), "http://"+exporter.address+"/metrics?collect[]=exporter")
	if status != http.StatusOK {
		t.Fatal(status, own)
	}
	samples := total - 3*len(c.Projects())
	for line := range strings.Lines(own) {
		if !strings.HasPrefix(line, "#") {
			samples++
		}
	}
	if got := int(prom.number(t, "scrape_samples_scraped"+job)); got != samples {
		t.Errorf("scrape_samples_scraped is %d, want %d", got, samples)
	}
	t.Logf("Prometheus %s took %d samples in %.2f s", e.version, samples, prom.number(t, "scrape_duration_seconds"+job))
	found.record(t, rowVolume, "%s series within a timeout of %s, as many as the fleet has, and `scrape_samples_scraped` agrees", thousands(total), timeout)
}

// thousands formats 270009 as 270,009.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

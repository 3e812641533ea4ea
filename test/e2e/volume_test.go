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

// countClusterSeries returns the number of series by metric, as in docs/metrics.md.
func countClusterSeries(c simulator.Cluster) map[string]int {
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
	addIf := func(condition bool, metric string) {
		if condition {
			counts["css_vpcep_"+metric]++
		}
	}
	addIf(c.UpdateSwitch != "", "update_switch")
	addIf(c.ServiceName != "", "service_info")
	addIf(c.Permissions != nil, "permissions")
	addIf(c.Permissions != nil, "permissions_wildcard")
	addIf(len(c.Permissions) > 0, "unlisted_connections")
	for _, permission := range c.Permissions {
		addIf(true, "permission_info")
		addIf(permission.CreatedAt != "", "permission_created_timestamp_seconds")
	}
	for _, connection := range c.Connections {
		addIf(true, "connection_info")
		addIf(true, "connection_status")
		addIf(connection.MaxSession != "", "connection_max_sessions")
		addIf(connection.CreatedAt != "", "connection_created_timestamp_seconds")
		addIf(connection.UpdatedAt != "", "connection_updated_timestamp_seconds")
	}
	return counts
}

// countSeries includes the series of discovery.
func (c *cloud) countSeries() (counts map[string]int, total int) {
	counts = make(map[string]int)
	for _, p := range c.Projects() {
		for _, metric := range []string{"up", "clusters", "last_success_timestamp_seconds"} {
			counts["css_vpcep_discovery_"+metric]++
		}
		for _, cluster := range c.Clusters(p.ID) {
			for metric, n := range countClusterSeries(cluster) {
				counts[metric] += n
			}
		}
	}
	for _, n := range counts {
		total += n
	}
	return counts, total
}

func testLargeFleetFitsOneScrape(t *testing.T, program string, r release, column *resultColumn) {
	const clusters, each, timeout = 1000, 50, 20 * time.Second
	c := newCloud(t, clusters, each)
	exporter := c.startExporter(t, program, 0, exporterOptions{requestsPerSecond: 10_000})
	config := replace(t, scrapeSections(t)["1"], "localhost:10247", exporter.address,
		"scrape_interval: 1m", "scrape_interval: "+timeout.String(),
		"scrape_timeout: 30s", "scrape_timeout: "+timeout.String())
	prom := startRelease(t, r.prometheus, scrapeConfigs(config), nil)
	const job = `{job="css_vpcep"}`
	eventually(t, "a scrape", func() string {
		switch up := prom.query(t, "up"+job); {
		case len(up) == 0:
			return "none"
		case up[0].Value.value != 1:
			t.Fatalf("the first scrape failed:\n%s", exporter.output.lastLines())
		}
		return ""
	})

	want, total := c.countSeries()
	if total < 250_000 {
		t.Fatalf("the fleet has only %d series, want at least 250,000", total)
	}
	got := make(map[string]int)
	const byName = `count by (__name__) ({job="css_vpcep", __name__=~"css_vpcep_.+", __name__!~"css_vpcep_exporter_.+"})`
	for _, s := range prom.query(t, byName) {
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
			t.Errorf("%s: got %g, want %g", expr, got, want)
		}
	}

	// The exporter's own metrics include those of discovery.
	samples := total - 3*len(c.Projects()) + countOwnSamples(t, exporter)
	if got := int(prom.number(t, "scrape_samples_scraped"+job)); got != samples {
		t.Errorf("scrape_samples_scraped: got %d, want %d", got, samples)
	}
	duration := prom.number(t, "scrape_duration_seconds"+job)
	t.Logf("Prometheus %s scraped %d samples in %.2f s", r.version, samples, duration)
	column.record(t, rowVolume,
		"%s series within a timeout of %s, as many as the fleet has, and `scrape_samples_scraped` agrees",
		thousands(total), timeout)
}

func countOwnSamples(t *testing.T, exporter *process) (samples int) {
	t.Helper()
	status, body := get(t, newClient(t), "http://"+exporter.address+"/metrics?collect[]=exporter")
	if status != http.StatusOK {
		t.Fatalf("got status %d, want 200: %s", status, body)
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") {
			samples++
		}
	}
	return samples
}

// thousands formats 270009 as 270,009.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

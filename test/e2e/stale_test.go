// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// deletion is a cluster that was deleted while Prometheus scraped it.
type deletion struct {
	id       string
	series   int       // before the deletion
	deleted  time.Time // in the cloud
	unlisted time.Time // first seen missing in /sd
}

// testDeletedClusterGoesStale checks that series end at the first scrape after the exporter's refresh, not after the
// 5 minutes in which queries find old samples.
func testDeletedClusterGoesStale(t *testing.T, program string, r release, column *resultColumn) {
	c := newCloud(t, 6, connections)
	exporter := c.startExporter(t, program, 0, exporterOptions{refresh: time.Second})
	// Prometheus does not refresh its targets, so it keeps probing the deleted cluster.
	probes := replace(t, balancedJob(t, exporter.address), "refresh_interval: 1s", "refresh_interval: 1h")
	prom := startRelease(t, r.prometheus, scrapeConfigs(scrapeJob("css_vpcep", exporter.address, nil), probes), nil)
	prom.waitForProbes(t, len(c.clusters), 3)
	eventually(t, "3 scrapes of /metrics", func() string {
		count := `count_over_time(css_vpcep_up{job="css_vpcep", cluster_name="cluster-00000"}[10m])`
		if n := prom.number(t, count); n < 3 {
			return fmt.Sprintf("%g scrapes", n)
		}
		return ""
	})
	d := deleteCluster(t, c, exporter)
	t.Run("Metrics", func(t *testing.T) {
		scrapes, last := checkSeriesEnd(t, prom, "css_vpcep", `up{job="css_vpcep"}`, d)
		if failures := countFailures(scrapes); failures > 0 {
			t.Errorf("got %d failed scrapes, want 0; the last with the cluster is %d of %v", failures, last, scrapes)
		}
	})
	t.Run("Probe", func(t *testing.T) {
		up := fmt.Sprintf(`up{job="css_vpcep_probe", instance=%q}`, d.id)
		scrapes, last := checkSeriesEnd(t, prom, "css_vpcep_probe", up, d)
		for i, s := range scrapes {
			if success := i <= last; success != (s.value == 1) {
				t.Errorf("scrape %d: got up %g, want success until scrape %d, the last with the cluster", i, s.value, last)
			}
		}
	})
	column.record(t, rowStale, "gone at the first scrape after the exporter's refresh")
	column.record(t, rowStaleProbe, "gone at the first scrape after the exporter's refresh, which fails (404)")
}

func deleteCluster(t *testing.T, c *cloud, exporter *process) deletion {
	t.Helper()
	d := deletion{id: slices.Sorted(maps.Keys(c.clusters))[0]}
	if !c.UpdateCluster(d.id, func(cluster *simulator.Cluster) {
		for _, n := range countClusterSeries(*cluster) {
			d.series += n
		}
	}) {
		t.Fatalf("the cloud has no cluster %s", d.id)
	}
	c.RemoveCluster(d.id)
	d.deleted = time.Now()
	client := newClient(t)
	eventually(t, "/sd without the deleted cluster", func() string {
		if _, body := get(t, client, "http://"+exporter.address+"/sd"); strings.Contains(body, d.id) {
			return body
		}
		return ""
	})
	d.unlisted = time.Now()
	if status, body := get(t, client, "http://"+exporter.address+"/probe?target="+d.id); status != http.StatusNotFound {
		t.Errorf("/probe of the deleted cluster: got status %d, want 404: %s", status, body)
	}
	return d
}

// checkSeriesEnd checks that the cluster has series in every scrape up to the exporter's refresh and in none after it.
// It returns the scrapes, which up selects, and the index of the last one with the cluster.
func checkSeriesEnd(t *testing.T, prom *prometheus, job, up string, d deletion) (scrapes []sample, last int) {
	t.Helper()
	eventually(t, "2 scrapes after the exporter's refresh", func() string {
		scrapes = prom.samples(t, up)
		if n := len(scrapes) - firstSince(scrapes, d.unlisted); n < 2 {
			return fmt.Sprintf("%d scrapes after %s: %v", n, d.unlisted, scrapes)
		}
		return ""
	})
	samples := prom.samples(t, fmt.Sprintf(`css_vpcep_up{job=%q, cluster_id=%q}`, job, d.id))
	last = len(samples) - 1
	for i, s := range samples {
		if !s.at.Equal(scrapes[i].at) {
			t.Fatalf("sample %d of css_vpcep_up: got time %s, want that of scrape %d, %s", i, s.at, i, scrapes[i].at)
		}
	}
	end, next := samples[last].at, scrapes[last+1].at
	if last < 2 || end.After(d.unlisted) {
		t.Fatalf("got %d samples until %s, want at least 3, none after the refresh at %s", last+1, end, d.unlisted)
	}
	if n := last + 1 - firstSince(scrapes, d.deleted); n > 4 { // at most 1 on an idle machine
		t.Errorf("got the cluster in %d scrapes after it was deleted, want at most 4", n)
	}

	const unreadable = 4 // up, scrape_duration_seconds, cluster_info, failure_info
	final := d.series
	if samples[last].value == 0 { // scraped between deletion and refresh
		final = unreadable
	}
	all := fmt.Sprintf(`{__name__=~"css_vpcep_.+", job=%q, cluster_id=%q}`, job, d.id)
	for _, query := range []struct {
		at   time.Time // zero: now
		want int
	}{{samples[0].at, d.series}, {end, final}, {next.Add(-time.Millisecond), final}, {next, 0}, {time.Time{}, 0}} {
		if got := len(prom.queryAt(t, all, query.at)); got != query.want {
			t.Errorf("got %d series at %s, want %d; the last scrape with the cluster was at %s and the next at %s",
				got, query.at, query.want, end, next)
		}
	}
	return scrapes, last
}

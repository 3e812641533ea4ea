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
	series   int       // while it could be read
	deleted  time.Time // in the cloud
	unlisted time.Time // when /sd was first seen without it
}

// unreadableSeries is the number of series of a cluster that cannot be read: up, scrape_duration_seconds, cluster_info.
const unreadableSeries = 3

// testStaleness deletes a cluster. Its series must end at the first scrape after the exporter's refresh, not after the
// lookback of five minutes.
func testStaleness(t *testing.T, program string, e edition, found *column) {
	c := newCloud(t, 6, connections)
	exporter := c.exporter(t, program, 0, options{refresh: time.Second})
	// Prometheus keeps probing the deleted cluster, because it does not refresh its targets.
	probes := replace(t, balancedJob(t, exporter.address), "refresh_interval: 1s", "refresh_interval: 1h")
	prom := startEdition(t, e.prometheus, scrapeConfigs(job("css_vpcep", exporter.address, nil), probes), nil)
	prom.scraped(t, len(c.clusters), 3)
	eventually(t, "/metrics has been scraped 3 times", func() string {
		if n := prom.number(t, `count_over_time(css_vpcep_up{job="css_vpcep", cluster_name="cluster-00000"}[10m])`); n < 3 {
			return fmt.Sprintf("%g times", n)
		}
		return ""
	})
	d := deleteCluster(t, c, exporter)
	t.Run("Metrics", func(t *testing.T) {
		scrapes, last := checkEnd(t, prom, "css_vpcep", `up{job="css_vpcep"}`, d)
		for i, s := range scrapes {
			if s.value != 1 {
				t.Errorf("scrape %d of %d failed; the last with the cluster is %d", i, len(scrapes), last)
			}
		}
	})
	t.Run("Probe", func(t *testing.T) {
		scrapes, last := checkEnd(t, prom, "css_vpcep_probe", fmt.Sprintf(`up{job="css_vpcep_probe", instance=%q}`, d.id), d)
		for i, s := range scrapes {
			if exists := i <= last; exists != (s.value == 1) {
				t.Errorf("up is %g at scrape %d of %d; the last with the cluster is %d", s.value, i, len(scrapes), last)
			}
		}
	})
	found.record(t, rowStale, "gone at the first scrape after the exporter's refresh")
	found.record(t, rowStaleProbe, "gone at the first scrape after the exporter's refresh, which fails (404)")
}

// deleteCluster deletes a cluster and waits until the exporter no longer lists it.
func deleteCluster(t *testing.T, c *cloud, exporter *process) deletion {
	t.Helper()
	d := deletion{id: slices.Sorted(maps.Keys(c.clusters))[0]}
	if !c.UpdateCluster(d.id, func(cluster *simulator.Cluster) {
		for _, n := range seriesOf(*cluster) {
			d.series += n
		}
	}) {
		t.Fatalf("the cloud has no cluster %s", d.id)
	}
	c.RemoveCluster(d.id)
	d.deleted = time.Now()
	client := newClient(t)
	eventually(t, "/sd does not list the deleted cluster", func() string {
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

// checkEnd checks that a deleted cluster has series in every scrape of a job up to the exporter's refresh, and in none
// after it. It returns all scrapes and the index of the last one with the cluster.
func checkEnd(t *testing.T, prom *prometheus, job, up string, d deletion) (scrapes []sample, last int) {
	t.Helper()
	eventually(t, "2 scrapes after the exporter's refresh", func() string {
		if scrapes = prom.samples(t, up); len(scrapes)-after(scrapes, d.unlisted) < 2 {
			return fmt.Sprintf("%d scrapes, the refresh was at %s: %v", len(scrapes), d.unlisted, scrapes)
		}
		return ""
	})
	present := prom.samples(t, fmt.Sprintf(`css_vpcep_up{job=%q, cluster_id=%q}`, job, d.id))
	last = len(present) - 1
	for i, s := range present {
		if !s.at.Equal(scrapes[i].at) {
			t.Fatalf("css_vpcep_up: sample %d is of %s, and scrape %d of %s", i, s.at, i, scrapes[i].at)
		}
	}
	if last < 2 || present[last].at.After(d.unlisted) {
		t.Fatalf("got %d samples, the last at %s, want at least 3, none after the refresh at %s", last+1, present[last].at, d.unlisted)
	}
	if n := last + 1 - after(scrapes, d.deleted); n > 4 { // at most 1 on an idle machine
		t.Errorf("%d scrapes show the cluster after it was deleted, want at most 4", n)
	}

	final := d.series
	if present[last].value == 0 { // scraped between the deletion and the refresh
		final = unreadableSeries
	}
	next := scrapes[last+1].at
	all := fmt.Sprintf(`{__name__=~"css_vpcep_.+", job=%q, cluster_id=%q}`, job, d.id)
	for _, query := range []struct {
		at   time.Time
		want int
	}{{present[0].at, d.series}, {present[last].at, final}, {next.Add(-time.Millisecond), final}, {next, 0}, {time.Time{}, 0}} {
		if got := len(prom.queryAt(t, all, query.at)); got != query.want {
			t.Errorf("got %d series at %s, want %d; the last scrape with the cluster was at %s and the next at %s",
				got, query.at, query.want, present[last].at, next)
		}
	}
	return scrapes, last
}

// samples returns all samples of the only series that a selector matches.
func (p *prometheus) samples(t *testing.T, selector string) []sample {
	t.Helper()
	result := p.query(t, selector+"[10m]")
	if len(result) != 1 {
		t.Fatalf("%s: got %d series, want 1", selector, len(result))
	}
	return result[0].Values
}

// after returns the index of the first sample at a time or later.
func after(samples []sample, at time.Time) int {
	i, _ := slices.BinarySearchFunc(samples, at, func(s sample, at time.Time) int { return s.at.Compare(at) })
	return i
}

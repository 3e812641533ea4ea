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
)

// testStaleness deletes a cluster. Its series must end at the first scrape after the exporter's refresh, not after the
// lookback of five minutes.
func testStaleness(t *testing.T, program string, e edition, found *column) {
	const refresh = time.Second
	const failed = 3 // series of a cluster that cannot be read: up, duration, cluster_info
	c := newCloud(t, 6, connections)
	exporter := c.exporter(t, program, 0, options{refresh: refresh})
	// This Prometheus keeps probing the deleted cluster, because it does not refresh its targets as that of testFleet does.
	probes := replace(t, balancedJob(t, exporter.address), "refresh_interval: 1s", "refresh_interval: 1h")
	prom := startEdition(t, e.prometheus, scrapeConfigs(job("css_vpcep", exporter.address, nil), probes), nil)
	prom.scraped(t, len(c.clusters), 3)
	eventually(t, "/metrics has been scraped 3 times", func() string {
		if n := prom.number(t, `count_over_time(css_vpcep_up{job="css_vpcep", cluster_name="cluster-00000"}[10m])`); n < 3 {
			return fmt.Sprintf("%g times", n)
		}
		return ""
	})

	gone := slices.Sorted(maps.Keys(c.clusters))[0]
	cluster, ok := c.Cluster(c.clusters[gone].ProjectID, gone)
	if !ok {
		t.Fatal("no such cluster")
	}
	series := 0
	for _, n := range seriesOf(cluster) {
		series += n
	}
	c.RemoveCluster(gone)
	removed := time.Now()
	client := newClient(t)
	eventually(t, "the exporter knows", func() string {
		if _, body := get(t, client, "http://"+exporter.address+"/sd"); strings.Contains(body, gone) {
			return body
		}
		return ""
	})
	known := time.Now()
	t.Logf("known after %s", known.Sub(removed).Round(time.Millisecond))
	if status, body := get(t, client, "http://"+exporter.address+"/probe?target="+gone); status != http.StatusNotFound {
		t.Errorf("/probe: status %d: %s", status, body)
	}

	for name, up := range map[string]string{
		"css_vpcep":       `up{job="css_vpcep"}[10m]`,
		"css_vpcep_probe": fmt.Sprintf(`up{job="css_vpcep_probe", instance=%q}[10m]`, gone),
	} {
		of := fmt.Sprintf(`{__name__=~"css_vpcep_.+", job=%q, cluster_id=%q}`, name, gone)
		var scrapes []sample
		eventually(t, name+" is scraped twice more", func() string {
			result := prom.query(t, up)
			if len(result) != 1 {
				t.Fatalf("%s: %d series", up, len(result))
			}
			scrapes = result[0].Values
			if n := len(scrapes) - after(scrapes, known); n < 2 {
				return fmt.Sprintf("%d times", n)
			}
			return ""
		})
		history := prom.query(t, fmt.Sprintf(`css_vpcep_up{job=%q, cluster_id=%q}[10m]`, name, gone))
		if len(history) != 1 {
			t.Fatalf("%s: css_vpcep_up has %d series", name, len(history))
		}
		there := history[0].Values
		// It is in every scrape up to its last one and in none after the refresh.
		last := len(there) - 1
		for i, s := range there {
			if !s.at.Equal(scrapes[i].at) {
				t.Fatalf("%s: sample %d is of %s, and scrape %d of %s", name, i, s.at, i, scrapes[i].at)
			}
		}
		if last < 2 || there[last].at.After(known) {
			t.Errorf("%s: %d samples, the last at %s; refreshed at %s", name, last+1, there[last].at, known)
		}
		next := scrapes[last+1].at
		if n := last + 1 - after(scrapes, removed); n > 4 { // 1 on an idle machine
			t.Errorf("%s: it is in %d scrapes after it was deleted", name, n)
		}
		// A scrape between the deletion and the refresh fails to read the cluster.
		final := series
		if there[last].value == 0 {
			final = failed
		}
		for _, moment := range []struct {
			at   time.Time
			want int
		}{{there[0].at, series}, {there[last].at, final}, {next.Add(-time.Millisecond), final}, {next, 0}, {time.Time{}, 0}} {
			if n := len(prom.queryAt(t, of, moment.at)); n != moment.want {
				t.Errorf("%s: %d series at %s, want %d (last there at %s, then scraped at %s)", name, n, moment.at, moment.want, there[last].at, next)
			}
		}
		for i, s := range scrapes {
			if want := name == "css_vpcep" || i <= last; want != (s.value == 1) {
				t.Errorf("%s: up is %g at scrape %d of %d", name, s.value, i, len(scrapes))
			}
		}
	}
	found.record(t, rowStale, "gone at the first scrape after the exporter's refresh")
	found.record(t, rowStaleProbe, "gone at the first scrape after the exporter's refresh, which fails (404)")
}

// after returns the index of the first sample after a time.
func after(samples []sample, moment time.Time) int {
	i, _ := slices.BinarySearchFunc(samples, moment, func(s sample, at time.Time) int { return s.at.Compare(at) })
	return i
}

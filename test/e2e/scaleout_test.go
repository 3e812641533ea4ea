// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fleet       = 300 // clusters
	connections = 3   // of each
	// longestGap is the most time between two scrapes of a target, for a busy machine.
	longestGap = 5 * interval
)

// TestScaleOut runs several exporters and real Prometheus servers over one fleet.
func TestScaleOut(t *testing.T) {
	tool(t, "prometheus")
	program := build(t)
	for name, test := range map[string]func(*testing.T, string){
		"Balanced":    testBalanced,
		"Addresses":   testAddresses,
		"Servers":     testServers,
		"OwnMetrics":  testOwnMetrics,
		"RequestRate": testRequestRate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// Sections 2 and 3 of the examples, with addresses of the test and a short interval.

func balancedJob(t *testing.T, address string) string {
	t.Helper()
	return replace(t, examples(t)["2"], "css-vpcep-exporter:10247", address,
		"scrape_interval: 1m", "scrape_interval: "+interval.String(), "scrape_timeout: 10s", "scrape_timeout: "+interval.String(),
		"refresh_interval: 1m", "refresh_interval: 1s")
}

func addressesJob(t *testing.T, exporters []*process) string {
	t.Helper()
	job := replace(t, examples(t)["3"],
		"scrape_interval: 1m", "scrape_interval: "+interval.String(), "scrape_timeout: 10s", "scrape_timeout: "+interval.String(),
		"refresh_interval: 1m", "refresh_interval: 1s")
	for i, p := range exporters {
		job = replace(t, job, fmt.Sprintf("css-vpcep-exporter-%d:10247", i), p.address)
	}
	return job
}

// testBalanced scrapes three exporters through one address and kills one of them.
func testBalanced(t *testing.T, program string) {
	c := newCloud(t, fleet, connections)
	exporters := c.exporters(t, program, 3, options{})
	begun := time.Now()
	prom := startPrometheus(t, scrapeConfigs(balancedJob(t, balance(t, exporters))), nil)
	prom.scraped(t, fleet, 6)

	c.checkShown(t, prom)
	c.checkOncePerScrape(t, prom.history(t, "up"), begun)
	shares := make(map[int]int)
	reads := c.reads(begun)
	for _, r := range reads {
		if r.AccessKey != "" { // unknown while a request is new
			shares[exporterOf(r.AccessKey)]++
		}
	}
	t.Logf("%d reads, by exporter: %v", len(reads), shares)
	for i := range exporters {
		if shares[i] == 0 || 2*shares[i] > len(reads) {
			t.Errorf("exporter %d made %d of %d reads", i, shares[i], len(reads))
		}
	}

	died := exporters[1].kill(t)
	prom.scrapedSince(t, fleet, died, 3)
	c.checkShown(t, prom)
	failed := 0
	scrapes, shown := prom.history(t, "up"), prom.history(t, "css_vpcep_up")
	for id, samples := range scrapes {
		failures := 0
		for _, s := range samples {
			if s.value != 1 {
				failures++
			}
		}
		failed += failures
		if failures > 1 || samples[len(samples)-1].value != 1 {
			t.Errorf("%s: up is %v", id, samples)
		}
		if n := missing(samples, shown[id]); n != failures {
			t.Errorf("%s: css_vpcep_up is missing in %d scrapes, of which %d failed", id, n, failures)
		}
		if gap := longest(shown[id]); gap > longestGap {
			t.Errorf("%s: no sample for %s: %v", id, gap, shown[id])
		}
	}
	t.Logf("%d scrapes failed when an exporter died", failed)
	if failed > fleet/10 {
		t.Errorf("%d scrapes failed, want at most a tenth of the clusters", failed)
	}
}

// testAddresses shards the clusters over three exporters by ID, kills one of them and restarts it.
func testAddresses(t *testing.T, program string) {
	c := newCloud(t, fleet, connections)
	exporters := c.exporters(t, program, 3, options{})
	begun := time.Now()
	prom := startPrometheus(t, scrapeConfigs(addressesJob(t, exporters)), nil)
	prom.scraped(t, fleet, 5)

	c.checkShown(t, prom)
	c.checkOncePerScrape(t, prom.history(t, "up"), begun)
	owner := make(map[string]int) // by cluster
	owned := make(map[int]int)    // by exporter
	for _, r := range c.reads(begun) {
		if r.AccessKey == "" {
			continue // unknown while a request is new
		}
		exporter := exporterOf(r.AccessKey)
		if before, ok := owner[r.ID]; !ok {
			owner[r.ID] = exporter
			owned[exporter]++
		} else if before != exporter {
			t.Errorf("%s was read by exporters %d and %d", r.ID, before, exporter)
		}
	}
	t.Logf("clusters by exporter: %v", owned)
	if len(owned) != len(exporters) {
		t.Fatalf("clusters by exporter: %v", owned)
	}

	const dead = 1
	died := exporters[dead].kill(t)
	prom.scrapedSince(t, fleet, died, 2)
	want := make(map[string]float64)
	for id, exporter := range owner {
		if want[id] = 1; exporter == dead {
			want[id] = 0
		}
	}
	if diff := cmp.Diff(want, values(prom.query(t, `up{job="css_vpcep_probe"}`))); diff != "" {
		t.Errorf("up with a dead exporter (-want +got):\n%s", diff)
	}
	maps.DeleteFunc(want, func(_ string, up float64) bool { return up == 0 })
	if diff := cmp.Diff(want, values(prom.query(t, `css_vpcep_up`))); diff != "" {
		t.Errorf("css_vpcep_up with a dead exporter (-want +got):\n%s", diff)
	}
	scrapes, shown := prom.history(t, "up"), prom.history(t, "css_vpcep_up")
	for id := range want {
		if n, gap := missing(scrapes[id], shown[id]), longest(shown[id]); n > 0 || gap > longestGap {
			t.Errorf("%s of a running exporter: css_vpcep_up is missing in %d scrapes; no sample for %s", id, n, gap)
		}
	}
	// Prometheus aligns timestamps, by up to 2 ms.
	stale := prom.query(t, `css_vpcep_last_success_timestamp_seconds < timestamp(css_vpcep_last_success_timestamp_seconds) - 0.01`)
	if len(stale) > 0 {
		t.Errorf("%d clusters of running exporters are stale: %v", len(stale), stale[0])
	}

	exporters[dead] = c.restart(t, exporters[dead])
	prom.scrapedSince(t, fleet, time.Now(), 1)
	c.checkShown(t, prom)
}

// testServers splits the clusters over two Prometheus servers, each of which uses two exporters.
func testServers(t *testing.T, program string) {
	c := newCloud(t, fleet, connections)
	exporters := c.exporters(t, program, 2, options{})
	address := balance(t, exporters)
	begun := time.Now()
	var halves []*prometheus
	for i := range 2 {
		split := replace(t, examples(t)["4"], `regex: "0"`, fmt.Sprintf(`regex: "%d"`, i))
		halves = append(halves, startPrometheus(t, scrapeConfigs(balancedJob(t, address), split), nil))
	}
	for _, half := range halves {
		half.scraped(t, len(half.waitForTargets(t)), 4)
	}

	all := make(map[string][]sample)
	for i, half := range halves {
		history := half.history(t, "up")
		t.Logf("Prometheus %d: %d clusters", i, len(history))
		if len(history) == 0 || len(history) == fleet {
			t.Errorf("Prometheus %d has %d of the clusters", i, len(history))
		}
		for id, samples := range history {
			if all[id] != nil {
				t.Errorf("both Prometheus servers scraped %s", id)
			}
			all[id] = samples
		}
	}
	c.checkOncePerScrape(t, all, begun)
}

// testFleet adds and deletes clusters. The exporter has TLS and basic authentication.
func testFleet(t *testing.T, program string, e edition, found *column) {
	const clusters = 30
	c := newCloud(t, clusters, connections)
	pair := newCertificate(t)
	exporter := c.exporter(t, program, 0, options{refresh: time.Second, tls: pair})
	config := scrapeConfigs(secured(t, balancedJob(t, exporter.address), examples(t)["5"]))
	prom := startEdition(t, e.prometheus, config, pair.clientFiles())
	prom.scraped(t, clusters, 2)
	c.checkShown(t, prom)

	ids := slices.Sorted(maps.Keys(c.clusters))
	gone, stays := ids[0], ids[1]
	c.RemoveCluster(gone)
	delete(c.clusters, gone)
	added := c.add(c.Projects()[2], "added", connections)

	eventually(t, "Prometheus has the new fleet", func() string {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(c.clusters)), slices.Sorted(maps.Keys(prom.targets(t)))); diff != "" {
			return diff
		}
		return ""
	})
	if listed := prom.sd(t, exporter, pair); listed[gone] || !listed[added] || !listed[stays] || len(listed) != clusters {
		t.Errorf("/sd lists %v", listed)
	}
	eventually(t, "the new cluster is read", func() string {
		for _, id := range []string{added, stays} {
			for _, metric := range []string{"css_vpcep_up", "css_vpcep_cluster_info", "up"} {
				if n := len(prom.query(t, fmt.Sprintf(`%s{instance=%q} == 1`, metric, id))); n != 1 {
					return fmt.Sprintf("%d series %s of %s", n, metric, id)
				}
			}
		}
		return ""
	})
	// Prometheus marks the series of a removed target as stale after two intervals; else queries find them for 5 minutes.
	eventually(t, "the series of the deleted cluster are gone", func() string {
		if n := len(prom.query(t, fmt.Sprintf(`{instance=%q}`, gone))); n > 0 {
			return fmt.Sprintf("%d series", n)
		}
		return ""
	})
	if n := len(prom.query(t, fmt.Sprintf(`count_over_time(css_vpcep_up{cluster_id=%q}[10m])`, gone))); n != 1 {
		t.Error("the deleted cluster never had any series")
	}
	c.checkShown(t, prom)
	found.record(t, rowFollow, "the new target is scraped, the old one dropped, without a restart")
}

// testOwnMetrics scrapes only the exporters' own metrics (section 6 of the examples): no cluster is read.
func testOwnMetrics(t *testing.T, program string) {
	c := newCloud(t, 60, connections)
	exporters := c.exporters(t, program, 3, options{})
	job := replace(t, examples(t)["6"], "scrape_interval: 1m", "scrape_interval: 1s")
	for i, p := range exporters {
		job = replace(t, job, fmt.Sprintf("css-vpcep-exporter-%d:10247", i), p.address)
	}
	begun := time.Now()
	prom := startPrometheus(t, scrapeConfigs(job), nil)
	eventually(t, "all exporters are scraped three times", func() string {
		if n := prom.query(t, `count_over_time(css_vpcep_exporter_build_info[1m]) >= 3`); len(n) != len(exporters) {
			return fmt.Sprintf("%d exporters", len(n))
		}
		return ""
	})
	if got := prom.number(t, `sum(css_vpcep_discovery_clusters)`); got != 3*60 {
		t.Errorf("the exporters have found %v clusters, want 60 each", got)
	}
	if n := len(prom.query(t, `css_vpcep_up`)); n > 0 {
		t.Errorf("%d clusters are shown", n)
	}
	if n := len(c.reads(begun)); n > 0 {
		t.Errorf("%d clusters were read", n)
	}
}

// testRequestRate checks that requests_per_second limits each project of each exporter by itself.
func testRequestRate(t *testing.T, program string) {
	const clusters, rate = 150, 10 // fifty in each of three projects
	c := newCloud(t, clusters, connections)
	exporters := c.exporters(t, program, 2, options{requestsPerSecond: rate})
	client := newClient(t)
	const least = (clusters/3 - rate) * time.Second / rate // the burst is sent at once
	const together = (clusters - rate) * time.Second / rate
	begun := time.Now()
	var group sync.WaitGroup
	for _, p := range exporters {
		group.Go(func() {
			status, _ := get(t, client, "http://"+p.address+"/metrics")
			if took := time.Since(begun); status != http.StatusOK || took < least || took >= together {
				t.Errorf("%s: status %d after %s, want %s, and less than the %s of a limit for all projects", p.name, status, took, least, together)
			}
		})
	}
	group.Wait()
	reads := make(map[int]int)
	for _, r := range c.reads(begun) {
		reads[exporterOf(r.AccessKey)]++
	}
	if diff := cmp.Diff(map[int]int{0: clusters, 1: clusters}, reads); diff != "" {
		t.Errorf("reads by exporter (-want +got):\n%s", diff)
	}
}

// exporters starts several exporters.
func (c *cloud) exporters(t *testing.T, program string, count int, o options) []*process {
	t.Helper()
	var exporters []*process
	for i := range count {
		exporters = append(exporters, c.exporter(t, program, i, o))
	}
	return exporters
}

// checkShown compares the clusters that are up in Prometheus with the fleet.
func (c *cloud) checkShown(t *testing.T, prom *prometheus) {
	t.Helper()
	for _, metric := range []string{`css_vpcep_up == 1`, `up{job="css_vpcep_probe"} == 1`} {
		got := make(map[string]shown)
		for _, s := range prom.query(t, metric) {
			l := s.Labels
			got[l["cluster_id"]] = shown{l["cluster_name"], l["region"], l["project_id"], l["project"]}
			if l["instance"] != l["cluster_id"] {
				t.Errorf("%s: instance %s is cluster %s", metric, l["instance"], l["cluster_id"])
			}
		}
		if diff := cmp.Diff(c.clusters, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
	if n := prom.number(t, `count({__name__=~"css_vpcep_.+", exported_cluster_id!=""})`); n > 0 {
		t.Errorf("%g series have the label exported_cluster_id", n)
	}
	if n, want := prom.number(t, `sum(css_vpcep_connections{status="accepted"})`), len(c.clusters)*connections; int(n) != want {
		t.Errorf("%g connections, want %d", n, want)
	}
}

// checkOncePerScrape fails unless the cloud got exactly one request for each scrape of a cluster and none before the
// first.
func (c *cloud) checkOncePerScrape(t *testing.T, history map[string][]sample, begun time.Time) {
	t.Helper()
	reads := make(map[string][]time.Time)
	for _, r := range c.reads(begun) {
		reads[r.ID] = append(reads[r.ID], r.Start)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(c.clusters)), slices.Sorted(maps.Keys(history))); diff != "" {
		t.Fatalf("clusters that were scraped (-want +got):\n%s", diff)
	}
	scrapes := 0
	for id, samples := range history {
		if gap := longest(samples); len(samples) < 3 || gap > longestGap {
			t.Errorf("%s: %d samples, up to %s apart", id, len(samples), gap)
			continue
		}
		if slices.ContainsFunc(samples, func(s sample) bool { return s.value != 1 }) {
			t.Errorf("%s: a scrape failed: %v", id, samples)
		}
		// Prometheus aligns the timestamp of a sample if the scrape started within 2 ms of the due time.
		const early = 10 * time.Millisecond
		counts := make([]int, len(samples))
		for _, read := range reads[id] {
			i, _ := slices.BinarySearchFunc(samples, read.Add(early), func(s sample, at time.Time) int { return s.at.Compare(at) })
			if i == 0 {
				t.Errorf("%s was read at %s, before its first scrape", id, read)
				continue
			}
			counts[i-1]++
		}
		complete := counts[:len(counts)-1] // the next scrape may have started
		scrapes += len(complete)
		if slices.ContainsFunc(complete, func(n int) bool { return n != 1 }) || counts[len(counts)-1] == 0 {
			t.Errorf("%s: reads by scrape: %v", id, counts)
		}
	}
	t.Logf("%d scrapes of %d clusters: one read each", scrapes, len(history))
}

// longest returns the longest time between two samples.
func longest(samples []sample) time.Duration {
	gap := time.Duration(0)
	for i := 1; i < len(samples); i++ {
		gap = max(gap, samples[i].at.Sub(samples[i-1].at))
	}
	return gap
}

// missing returns the number of scrapes that have none of the samples.
func missing(scrapes, samples []sample) (n int) {
	for _, scrape := range scrapes {
		if !slices.ContainsFunc(samples, func(s sample) bool { return s.at.Equal(scrape.at) }) {
			n++
		}
	}
	return n
}

// values returns the values of a vector by instance.
func values(vector []series) map[string]float64 {
	values := make(map[string]float64, len(vector))
	for _, s := range vector {
		values[s.Labels["instance"]] = s.Value.value
	}
	return values
}

// waitForTargets waits until there are targets.
func (p *prometheus) waitForTargets(t *testing.T) map[string]target {
	t.Helper()
	var targets map[string]target
	eventually(t, "there are targets", func() string {
		if targets = p.targets(t); len(targets) == 0 {
			return "none"
		}
		return ""
	})
	return targets
}

// sd returns the cluster IDs in /sd of an exporter with TLS and basic authentication.
func (p *prometheus) sd(t *testing.T, exporter *process, pair certificate) map[string]bool {
	t.Helper()
	client := newClient(t)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pair.pool(), MinVersion: tls.VersionTLS12}
	if status, _ := get(t, client, "https://"+exporter.address+"/sd"); status != http.StatusUnauthorized {
		t.Errorf("/sd without a password: status %d", status)
	}
	status, body := get(t, client, "https://prometheus:test@"+exporter.address+"/sd")
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	ids := make(map[string]bool)
	for _, found := range regexp.MustCompile(`"targets":\["([^"]+)"\]`).FindAllStringSubmatch(body, -1) {
		ids[found[1]] = true
	}
	return ids
}

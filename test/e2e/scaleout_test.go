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

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

const (
	fleetSize   = 300          // clusters
	connections = 3            // of each cluster
	maxGap      = 5 * interval // between scrapes, generous for a busy machine
)

func TestScaleOut(t *testing.T) {
	program := buildExporter(t)
	for name, test := range map[string]func(*testing.T, string){
		"BalancedExportersTakeOver":          testBalancedExportersTakeOver,
		"ExportersShardClusters":             testExportersShardClusters,
		"ServersShardClusters":               testServersShardClusters,
		"OwnMetricsReadNoCluster":            testOwnMetricsReadNoCluster,
		"RequestRateIsPerExporterAndProject": testRequestRateIsPerExporterAndProject,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

func balancedJob(t *testing.T, address string) string {
	t.Helper()
	return quickProbes(t, replace(t, scrapeSections(t)["2"], "css-vpcep-exporter:10247", address))
}

func shardedJob(t *testing.T, exporters []*process) string {
	t.Helper()
	return quickProbes(t, withAddresses(t, scrapeSections(t)["3"], exporters))
}

func ownMetricsJob(t *testing.T, exporters []*process) string {
	t.Helper()
	return replace(t, withAddresses(t, scrapeSections(t)["6"], exporters), "scrape_interval: 1m", "scrape_interval: 1s")
}

func quickProbes(t *testing.T, job string) string {
	t.Helper()
	return replace(t, job,
		"scrape_interval: 1m", "scrape_interval: "+interval.String(),
		"scrape_timeout: 10s", "scrape_timeout: "+interval.String(),
		"refresh_interval: 1m", "refresh_interval: 1s")
}

func withAddresses(t *testing.T, job string, exporters []*process) string {
	t.Helper()
	for i, p := range exporters {
		job = replace(t, job, fmt.Sprintf("css-vpcep-exporter-%d:10247", i), p.address)
	}
	return job
}

func testBalancedExportersTakeOver(t *testing.T, program string) {
	c := newCloud(t, fleetSize, connections)
	exporters := c.startExporters(t, program, 3, exporterOptions{})
	start := time.Now()
	prom := startPrometheus(t, scrapeConfigs(balancedJob(t, startBalancer(t, exporters))), nil)
	prom.waitForProbes(t, fleetSize, 6)
	c.checkClusters(t, prom)
	c.checkOneReadPerScrape(t, prom.probeHistory(t, "up"), start)
	checkShares(t, c.readsSince(start), len(exporters))

	killed := exporters[1].kill(t)
	prom.waitForProbesSince(t, killed, fleetSize, 3)
	c.checkClusters(t, prom)
	totalFailures := 0
	ups, clusterUps := prom.probeHistory(t, "up"), prom.probeHistory(t, "css_vpcep_up")
	for id, scrapes := range ups {
		failures := countFailures(scrapes)
		totalFailures += failures
		if failures > 1 || scrapes[len(scrapes)-1].value != 1 {
			t.Errorf("%s: got %d failed scrapes, want at most 1, and not the last: %v", id, failures, scrapes)
		}
		if missing := countMissing(scrapes, clusterUps[id]); missing != failures {
			t.Errorf("%s: css_vpcep_up is missing in %d scrapes, but %d failed", id, missing, failures)
		}
		if gap := longestGap(clusterUps[id]); gap > maxGap {
			t.Errorf("%s: got no sample of css_vpcep_up for %s, want at most %s: %v", id, gap, maxGap, clusterUps[id])
		}
	}
	t.Logf("%d scrapes failed when an exporter was killed", totalFailures)
	if most := fleetSize / 10; totalFailures > most {
		t.Errorf("got %d failed scrapes after an exporter was killed, want at most %d", totalFailures, most)
	}
}

func checkShares(t *testing.T, reads []simulator.Request, exporters int) {
	t.Helper()
	shares := make(map[int]int)
	for _, r := range reads {
		if r.AccessKey != "" { // empty until it is verified
			shares[exporterOf(r.AccessKey)]++
		}
	}
	t.Logf("%d reads, by exporter: %v", len(reads), shares)
	for i := range exporters {
		if shares[i] == 0 || 2*shares[i] > len(reads) {
			t.Errorf("exporter %d made %d of %d reads, want some and at most half", i, shares[i], len(reads))
		}
	}
}

func testExportersShardClusters(t *testing.T, program string) {
	c := newCloud(t, fleetSize, connections)
	exporters := c.startExporters(t, program, 3, exporterOptions{})
	start := time.Now()
	prom := startPrometheus(t, scrapeConfigs(shardedJob(t, exporters)), nil)
	prom.waitForProbes(t, fleetSize, 5)
	c.checkClusters(t, prom)
	c.checkOneReadPerScrape(t, prom.probeHistory(t, "up"), start)
	owners := clusterOwners(t, c.readsSince(start), len(exporters))

	const dead = 1
	killed := exporters[dead].kill(t)
	prom.waitForProbesSince(t, killed, fleetSize, 2)
	wantUp := make(map[string]float64)
	for id, exporter := range owners {
		if wantUp[id] = 1; exporter == dead {
			wantUp[id] = 0
		}
	}
	if diff := cmp.Diff(wantUp, valuesByInstance(prom.query(t, `up{job="css_vpcep_probe"}`))); diff != "" {
		t.Errorf("up with a dead exporter (-want +got):\n%s", diff)
	}
	maps.DeleteFunc(wantUp, func(_ string, up float64) bool { return up == 0 })
	if diff := cmp.Diff(wantUp, valuesByInstance(prom.query(t, `css_vpcep_up`))); diff != "" {
		t.Errorf("css_vpcep_up with a dead exporter (-want +got):\n%s", diff)
	}
	ups, clusterUps := prom.probeHistory(t, "up"), prom.probeHistory(t, "css_vpcep_up")
	for id := range wantUp {
		if missing := countMissing(ups[id], clusterUps[id]); missing > 0 {
			t.Errorf("%s of a running exporter: css_vpcep_up is missing in %d scrapes, want 0", id, missing)
		}
		if gap := longestGap(clusterUps[id]); gap > maxGap {
			t.Errorf("%s of a running exporter: got no sample for %s, want at most %s", id, gap, maxGap)
		}
	}
	// Every scrape reads the cluster. Prometheus aligns timestamps by up to 2 ms.
	const lastSuccess = "css_vpcep_last_success_timestamp_seconds"
	if stale := prom.query(t, fmt.Sprintf(`%[1]s < timestamp(%[1]s) - 0.01`, lastSuccess)); len(stale) > 0 {
		t.Errorf("%d clusters of running exporters are stale, such as %v", len(stale), stale[0])
	}

	exporters[dead] = c.restart(t, exporters[dead])
	prom.waitForProbesSince(t, time.Now(), fleetSize, 1)
	c.checkClusters(t, prom)
}

// clusterOwners returns the exporters by cluster ID. Each cluster must have exactly one, and each exporter some.
func clusterOwners(t *testing.T, reads []simulator.Request, exporters int) map[string]int {
	t.Helper()
	owners := make(map[string]int)
	owned := make(map[int]int) // clusters by exporter
	for _, r := range reads {
		if r.AccessKey == "" {
			continue // not verified yet
		}
		exporter := exporterOf(r.AccessKey)
		if owner, ok := owners[r.ID]; !ok {
			owners[r.ID] = exporter
			owned[exporter]++
		} else if owner != exporter {
			t.Errorf("%s was read by exporters %d and %d, want 1 exporter", r.ID, owner, exporter)
		}
	}
	t.Logf("clusters by exporter: %v", owned)
	if len(owned) != exporters {
		t.Fatalf("got clusters of %d exporters, want %d: %v", len(owned), exporters, owned)
	}
	return owners
}

func testServersShardClusters(t *testing.T, program string) {
	c := newCloud(t, fleetSize, connections)
	address := startBalancer(t, c.startExporters(t, program, 2, exporterOptions{}))
	start := time.Now()
	var servers []*prometheus
	for i := range 2 {
		shard := replace(t, scrapeSections(t)["4"], `regex: "0"`, fmt.Sprintf(`regex: "%d"`, i))
		servers = append(servers, startPrometheus(t, scrapeConfigs(balancedJob(t, address), shard), nil))
	}
	for _, prom := range servers {
		prom.waitForProbes(t, len(prom.waitForTargets(t)), 4)
	}

	all := make(map[string][]sample)
	for i, prom := range servers {
		history := prom.probeHistory(t, "up")
		t.Logf("Prometheus %d: %d clusters", i, len(history))
		if len(history) == 0 || len(history) == fleetSize {
			t.Errorf("Prometheus %d has %d of %d clusters, want a part of them", i, len(history), fleetSize)
		}
		for id, samples := range history {
			if all[id] != nil {
				t.Errorf("both Prometheus servers scraped %s", id)
			}
			all[id] = samples
		}
	}
	c.checkOneReadPerScrape(t, all, start)
}

func testTargetsFollowFleet(t *testing.T, program string, r release, column *resultColumn) {
	const clusters = 30
	c := newCloud(t, clusters, connections)
	pair := newKeyPair(t)
	exporter := c.startExporter(t, program, 0, exporterOptions{refresh: time.Second, tls: pair})
	config := scrapeConfigs(withTLS(t, balancedJob(t, exporter.address), scrapeSections(t)["5"]))
	prom := startRelease(t, r.prometheus, config, pair.clientFiles())
	prom.waitForProbes(t, clusters, 2)
	c.checkClusters(t, prom)

	ids := slices.Sorted(maps.Keys(c.clusters))
	deleted, kept := ids[0], ids[1]
	c.RemoveCluster(deleted)
	delete(c.clusters, deleted)
	added := c.addCluster(c.Projects()[2], "added", connections)

	eventually(t, "Prometheus has the new targets", func() string {
		return cmp.Diff(slices.Sorted(maps.Keys(c.clusters)), slices.Sorted(maps.Keys(prom.targets(t))))
	})
	if diff := cmp.Diff(slices.Sorted(maps.Keys(c.clusters)), listTargets(t, exporter, pair)); diff != "" {
		t.Errorf("targets in /sd (-want +got):\n%s", diff)
	}
	eventually(t, "the new cluster and an old one are read", func() string {
		for _, id := range []string{added, kept} {
			for _, metric := range []string{"css_vpcep_up", "css_vpcep_cluster_info", "up"} {
				if n := len(prom.query(t, fmt.Sprintf(`%s{instance=%q} == 1`, metric, id))); n != 1 {
					return fmt.Sprintf("%d series %s of %s", n, metric, id)
				}
			}
		}
		return ""
	})
	// Without staleness markers, queries would find the series for 5 minutes, longer than eventually waits.
	eventually(t, "no series of the deleted cluster", func() string {
		if n := len(prom.query(t, fmt.Sprintf(`{instance=%q}`, deleted))); n > 0 {
			return fmt.Sprintf("%d series", n)
		}
		return ""
	})
	if n := len(prom.query(t, fmt.Sprintf(`count_over_time(css_vpcep_up{cluster_id=%q}[10m])`, deleted))); n != 1 {
		t.Errorf("got %d series of the deleted cluster in the last 10 minutes, want 1", n)
	}
	c.checkClusters(t, prom)
	column.record(t, rowFollow, "the new target is scraped, the old one dropped, without a restart")
}

func testOwnMetricsReadNoCluster(t *testing.T, program string) {
	const clusters = 60
	c := newCloud(t, clusters, connections)
	exporters := c.startExporters(t, program, 3, exporterOptions{})
	start := time.Now()
	prom := startPrometheus(t, scrapeConfigs(ownMetricsJob(t, exporters)), nil)
	eventually(t, "3 scrapes of each exporter", func() string {
		scraped := prom.query(t, `count_over_time(css_vpcep_exporter_build_info[1m]) >= 3`)
		if len(scraped) != len(exporters) {
			return fmt.Sprintf("%d exporters", len(scraped))
		}
		return ""
	})
	if got, want := prom.number(t, `sum(css_vpcep_discovery_clusters)`), float64(clusters*len(exporters)); got != want {
		t.Errorf("sum of css_vpcep_discovery_clusters: got %g, want %g", got, want)
	}
	if n := len(prom.query(t, `css_vpcep_up`)); n > 0 {
		t.Errorf("got %d series of css_vpcep_up, want 0", n)
	}
	if n := len(c.readsSince(start)); n > 0 {
		t.Errorf("got %d reads of clusters, want 0", n)
	}
}

func testRequestRateIsPerExporterAndProject(t *testing.T, program string) {
	const projects, clusters, rate = 3, 150, 10
	c := newCloud(t, clusters, connections)
	exporters := c.startExporters(t, program, 2, exporterOptions{requestsPerSecond: rate})
	client := newClient(t)
	// The first requests, as many as rate, are sent at once.
	const least = (clusters/projects - rate) * time.Second / rate
	const shared = (clusters - rate) * time.Second / rate // if the projects shared one limit
	start := time.Now()
	var group sync.WaitGroup
	for _, p := range exporters {
		group.Go(func() {
			status, _ := get(t, client, "http://"+p.address+"/metrics")
			if took := time.Since(start); status != http.StatusOK || took < least || took >= shared {
				t.Errorf("%s: got status %d after %s, want 200 after at least %s and less than %s",
					p.name, status, took, least, shared)
			}
		})
	}
	group.Wait()
	reads := make(map[int]int)
	for _, r := range c.readsSince(start) {
		reads[exporterOf(r.AccessKey)]++
	}
	if diff := cmp.Diff(map[int]int{0: clusters, 1: clusters}, reads); diff != "" {
		t.Errorf("reads by exporter (-want +got):\n%s", diff)
	}
}

func (c *cloud) checkClusters(t *testing.T, prom *prometheus) {
	t.Helper()
	for _, expr := range []string{`css_vpcep_up == 1`, `up{job="css_vpcep_probe"} == 1`} {
		got := make(map[string]clusterLabels)
		for _, s := range prom.query(t, expr) {
			l := s.Labels
			got[l["cluster_id"]] = clusterLabels{l["cluster_name"], l["region"], l["project_id"], l["project"]}
			if l["instance"] != l["cluster_id"] {
				t.Errorf("%s: got instance %q, want the cluster ID %q", expr, l["instance"], l["cluster_id"])
			}
		}
		if diff := cmp.Diff(c.clusters, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expr, diff)
		}
	}
	if n := prom.number(t, `count({__name__=~"css_vpcep_.+", exported_cluster_id!=""})`); n > 0 {
		t.Errorf("got %g series with the label exported_cluster_id, want 0", n)
	}
	want := len(c.clusters) * connections
	if got := prom.number(t, `sum(css_vpcep_connections{status="accepted"})`); int(got) != want {
		t.Errorf("got %g accepted connections, want %d", got, want)
	}
}

// checkOneReadPerScrape checks that every scrape succeeded and caused exactly one read. ups is by cluster ID.
func (c *cloud) checkOneReadPerScrape(t *testing.T, ups map[string][]sample, start time.Time) {
	t.Helper()
	reads := make(map[string][]time.Time)
	for _, r := range c.readsSince(start) {
		reads[r.ID] = append(reads[r.ID], r.Start)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(c.clusters)), slices.Sorted(maps.Keys(ups))); diff != "" {
		t.Fatalf("scraped clusters (-want +got):\n%s", diff)
	}
	scrapes := 0
	for id, samples := range ups {
		if gap := longestGap(samples); len(samples) < 3 || gap > maxGap {
			t.Errorf("%s: got %d scrapes, up to %s apart, want at least 3, at most %s apart", id, len(samples), gap, maxGap)
			continue
		}
		if failures := countFailures(samples); failures > 0 {
			t.Errorf("%s: got %d failed scrapes, want 0", id, failures)
		}
		counts := make([]int, len(samples)) // reads by scrape
		for _, read := range reads[id] {
			const alignment = 10 * time.Millisecond // Prometheus aligns timestamps by up to 2 ms
			i := firstSince(samples, read.Add(alignment))
			if i == 0 {
				t.Errorf("%s was read at %s, before its first scrape at %s", id, read, samples[0].at)
				continue
			}
			counts[i-1]++
		}
		last := len(counts) - 1
		scrapes += last
		// The read of a scrape that is not stored yet counts for the last one.
		if slices.ContainsFunc(counts[:last], func(n int) bool { return n != 1 }) || counts[last] == 0 {
			t.Errorf("%s: got reads by scrape %v, want 1 each", id, counts)
		}
	}
	t.Logf("checked the reads of %d scrapes of %d clusters", scrapes, len(ups))
}

func countFailures(ups []sample) (failures int) {
	for _, s := range ups {
		if s.value != 1 {
			failures++
		}
	}
	return failures
}

func valuesByInstance(vector []series) map[string]float64 {
	values := make(map[string]float64, len(vector))
	for _, s := range vector {
		values[s.Labels["instance"]] = s.Value.value
	}
	return values
}

func (p *prometheus) waitForTargets(t *testing.T) map[string]target {
	t.Helper()
	var targets map[string]target
	eventually(t, "some targets", func() string {
		if targets = p.targets(t); len(targets) == 0 {
			return "none"
		}
		return ""
	})
	return targets
}

// listTargets returns the sorted cluster IDs in /sd.
func listTargets(t *testing.T, exporter *process, pair keyPair) []string {
	t.Helper()
	client := newClient(t)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pair.pool(), MinVersion: tls.VersionTLS12}
	if status, _ := get(t, client, "https://"+exporter.address+"/sd"); status != http.StatusUnauthorized {
		t.Errorf("/sd without a password: got status %d, want 401", status)
	}
	status, body := get(t, client, "https://prometheus:"+password+"@"+exporter.address+"/sd")
	if status != http.StatusOK {
		t.Fatalf("/sd: got status %d, want 200: %s", status, body)
	}
	var ids []string
	for _, found := range regexp.MustCompile(`"targets":\["([^"]+)"\]`).FindAllStringSubmatch(body, -1) {
		ids = append(ids, found[1])
	}
	slices.Sort(ids)
	return ids
}

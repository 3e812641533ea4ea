// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// addRandomClusters adds clusters of several sizes, most of them with intermittent faults.
func addRandomClusters(cloud *simulator.Simulator, rng *rand.Rand, project string, n int) (ids []string) {
	statuses := []string{"accepted", "accepted", "accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting", "frozen"}
	for i := range n {
		c := simulator.Cluster{ID: fmt.Sprintf("c%03d", i), Status: "200", ServiceOff: rng.IntN(20) == 0}
		for j := range rng.IntN(5) {
			c.Connections = append(c.Connections, simulator.Connection{
				ID: fmt.Sprintf("%s-%d", c.ID, j), Status: statuses[rng.IntN(len(statuses))], MaxSession: "3000", DomainID: "d1",
			})
		}
		if rng.IntN(10) == 0 {
			c.Unlisted = 1 + rng.IntN(3)
		}
		cloud.AddCluster(project, c)
		var faults []simulator.Fault
		for range rng.IntN(4) {
			faults = append(faults, randomFault(rng))
		}
		cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: c.ID}, faults...)
		ids = append(ids, c.ID)
	}
	return ids
}

// randomFault returns a fault that may hide connections, but does not invent any.
func randomFault(rng *rand.Rand) simulator.Fault {
	faults := []simulator.Fault{
		{Status: 429}, {Status: 500}, {Status: 503, Body: "<html>"}, {Status: 403}, {Status: 404},
		{Status: 429, Header: http.Header{"Retry-After": {"0"}}},
		{Status: 400, Body: `{"errCode":"CSS.0001"}`}, {Status: 200}, {Body: "<html>"}, {Body: `{"connections":`},
		{Drop: true}, {CutAfter: 1 + rng.IntN(40)}, {Garbage: "\x15\x03\x01"}, {HeaderBytes: 2 << 10}, {Redirect: "/"},
		{Latency: time.Duration(rng.IntN(50)) * time.Millisecond}, {SlowHeader: 50 * time.Microsecond},
		{Gzip: true}, {Gzip: true, CutAfter: 20}, {Padding: 1 << 10}, {Padding: 1 << 16, Gzip: true},
		{PageCap: 1 + rng.IntN(4)}, {PageCap: 1 + rng.IntN(4), RepeatIDs: true}, {PageCap: 2, IgnoreOffset: true}, {RepeatIDs: true},
	}
	f := faults[rng.IntN(len(faults))]
	if rng.IntN(25) == 0 { // these take the whole scrape
		f = []simulator.Fault{{Hang: true}, {Trickle: 50 * time.Millisecond}, {SlowHeader: 50 * time.Millisecond}}[rng.IntN(3)]
	}
	f.Probability = 0.1 + 0.6*rng.Float64()
	return f
}

// compare compares a cluster's series with the cluster, and reports whether they are complete.
func compare(t *testing.T, c *simulator.Cluster, series map[string]float64) (complete bool) {
	t.Helper()
	up, enabled, truncated := series["up"], series["enabled"], series["connections_truncated"]
	switch {
	case up == 0:
		if !isDown(series) {
			t.Errorf("%s is down and shows %v", c.ID, series)
		}
		return false
	case enabled != 1:
		if _, counted := series["connections accepted"]; !c.ServiceOff || counted {
			t.Errorf("%s is shown as off: %v", c.ID, series)
		}
		return true
	case c.ServiceOff:
		t.Errorf("%s is off, but shown as on: %v", c.ID, series)
		return false
	}

	known := []string{"accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting"}
	want := map[string]float64{"reported_connections": float64(len(c.Connections) + c.Unlisted), "connections unknown": 0}
	for _, status := range known {
		want["connections "+status] = 0
	}
	for _, conn := range c.Connections {
		status := conn.Status
		if !slices.Contains(known, status) {
			status = "unknown"
		}
		want["connections "+status]++
		want["connection_status "+conn.ID+" "+status] = 1
	}
	listed := 0
	for name, value := range series {
		kind, _, _ := strings.Cut(name, " ")
		if kind == "connection_status" {
			listed++
		}
		if kind != "connections" && kind != "connection_status" && kind != "reported_connections" {
			continue
		}
		expected, ok := want[name]
		if !ok || value > expected || (value != expected && (truncated == 0 || kind != "connections")) {
			t.Errorf("%s: %s is %v, want %v (%t); truncated %v", c.ID, name, value, expected, ok, truncated)
		}
	}
	if _, ok := series["reported_connections"]; !ok {
		t.Errorf("%s: no reported_connections: %v", c.ID, series)
	}
	if all := listed == len(c.Connections)+c.Unlisted; all != (truncated == 0) {
		t.Errorf("%s: %d of %d+%d listed, truncated %v", c.ID, listed, len(c.Connections), c.Unlisted, truncated)
	}
	return listed == len(c.Connections)
}

// startRandom starts the program over clusters with random faults. scrape scrapes once and compares every cluster with
// the cloud, which must not change meanwhile.
func startRandom(t *testing.T, clusters int) (cloud *simulator.Simulator, scrape func()) {
	t.Helper()
	const seed = 20250815
	t.Logf("seed %d", seed)
	cloud, url := faultyCloud(t, seed, "mixed")
	ids := addRandomClusters(cloud, rand.New(rand.NewPCG(seed, seed)), "mixed", clusters) //nolint:gosec // repeatable
	p := start(t, "--scrape.timeout-offset=100ms",
		"--config.file="+faultyFile(t, url, "{concurrency: 64}", map[string][]string{"mixed": ids}))
	var complete, incomplete atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d results were complete, %d were not", complete.Load(), incomplete.Load())
		// Otherwise the comparison proves little.
		if all := complete.Load() + incomplete.Load(); complete.Load() < all/20 || incomplete.Load() < all/20 {
			t.Errorf("%d results were complete, %d were not", complete.Load(), incomplete.Load())
		}
	})
	return cloud, func() {
		actual := cloud.Clusters("mixed")
		shown, _, _ := p.scrape(t, "0.5")
		for i := range actual {
			if series, ok := shown[actual[i].ID]; !ok {
				t.Errorf("%s is not shown", actual[i].ID)
			} else if compare(t, &actual[i], series) {
				complete.Add(1)
			} else {
				incomplete.Add(1)
			}
		}
	}
}

// TestFaultsAtRandom scrapes 300 clusters like two Prometheus servers.
func TestFaultsAtRandom(t *testing.T) {
	_, scrape := startRandom(t, 300)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 10 {
				scrape()
			}
		})
	}
	wg.Wait()
}

// TestFaultsInAChangingFleet changes the clusters between scrapes, which must show no outdated value.
func TestFaultsInAChangingFleet(t *testing.T) {
	cloud, scrape := startRandom(t, 100)
	for range 5 {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(scrape)
		}
		wg.Wait()
		for range 200 {
			cloud.Step()
		}
	}
}

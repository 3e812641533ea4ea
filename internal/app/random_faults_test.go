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

// TestRandomFaultsNeverFalsifyAValue scrapes 300 clusters like two Prometheus servers.
func TestRandomFaultsNeverFalsifyAValue(t *testing.T) {
	r := startWithRandomFaults(t, 300)
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for range 10 {
				r.scrapeAndCompare(t)
			}
		})
	}
	clients.Wait()
}

// TestChangingFleetShowsNoOutdatedValue changes the clusters between scrapes.
func TestChangingFleetShowsNoOutdatedValue(t *testing.T) {
	r := startWithRandomFaults(t, 100)
	for range 5 {
		var clients sync.WaitGroup
		for range 2 {
			clients.Go(func() { r.scrapeAndCompare(t) })
		}
		clients.Wait()
		for range 200 {
			r.Step()
		}
	}
}

// randomFaults is a program over a cloud whose clusters fail at random.
type randomFaults struct {
	*testCloud
	*program
	complete, incomplete atomic.Int64 // results
}

// startWithRandomFaults makes the test fail at its end unless many results were complete and many were not. Otherwise
// the comparison proves little.
func startWithRandomFaults(t *testing.T, clusters int) *randomFaults {
	t.Helper()
	const seed = 20250815
	t.Logf("seed %d", seed)
	c := newCloud(t, simulator.Options{Seed: seed}, project{clusters: clusterIDs("c", clusters)})
	c.scrape = "{concurrency: 64}"
	c.randomize(rand.New(rand.NewPCG(seed, seed))) //nolint:gosec // repeatable
	r := &randomFaults{testCloud: c, program: c.start(t, "--scrape.timeout-offset=100ms")}
	t.Cleanup(func() {
		complete, incomplete := r.complete.Load(), r.incomplete.Load()
		t.Logf("%d results were complete, %d were not", complete, incomplete)
		if least := (complete + incomplete) / 20; complete < least || incomplete < least {
			t.Errorf("got %d complete and %d incomplete results, want at least %d of each", complete, incomplete, least)
		}
	})
	return r
}

// scrapeAndCompare compares the result of a scrape with the cloud, which must not change meanwhile.
func (r *randomFaults) scrapeAndCompare(t *testing.T) {
	t.Helper()
	actual := r.Clusters("p1")
	e := r.program.scrape(t, 500*time.Millisecond)
	for i := range actual {
		id := actual[i].ID
		switch {
		case e.clusters[id] == nil:
			t.Errorf("%s: not shown", id)
		case compare(t, &actual[i], e.clusters[id]):
			r.complete.Add(1)
		default:
			r.incomplete.Add(1)
		}
	}
}

// randomize gives the clusters random connections, and most of them intermittent faults.
func (c *testCloud) randomize(rng *rand.Rand) {
	statuses := []string{
		"accepted", "accepted", "accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting", "frozen",
	}
	for _, cluster := range c.Clusters("p1") {
		cluster.ServiceOff = rng.IntN(20) == 0
		for i := range rng.IntN(5) {
			cluster.Connections = append(cluster.Connections, simulator.Connection{
				ID:     fmt.Sprintf("%s-%d", cluster.ID, i),
				Status: statuses[rng.IntN(len(statuses))], MaxSession: "3000", DomainID: "d1",
			})
		}
		if rng.IntN(10) == 0 {
			cluster.Unlisted = 1 + rng.IntN(3)
		}
		c.AddCluster("p1", cluster)
		var faults []simulator.Fault
		for range rng.IntN(4) {
			faults = append(faults, randomFault(rng))
		}
		c.FailReads(cluster.ID, faults...)
	}
}

// randomFault returns a fault that may hide connections but does not invent any.
func randomFault(rng *rand.Rand) simulator.Fault {
	faults := []simulator.Fault{
		{Status: 429}, {Status: 500}, {Status: 503, Body: "<html>"}, {Status: 403}, {Status: 404},
		{Status: 429, Header: http.Header{"Retry-After": {"0"}}},
		{Status: 400, Body: `{"errCode":"CSS.0001"}`}, {Status: 200}, {Body: "<html>"}, {Body: `{"connections":`},
		{Drop: true}, {CutAfter: 1 + rng.IntN(40)}, {Garbage: "\x15\x03\x01"}, {HeaderBytes: 2 << 10}, {Redirect: "/"},
		{Latency: time.Duration(rng.IntN(50)) * time.Millisecond}, {SlowHeader: 50 * time.Microsecond},
		{Gzip: true}, {Gzip: true, CutAfter: 20}, {Padding: 1 << 10}, {Padding: 1 << 16, Gzip: true},
		{PageCap: 1 + rng.IntN(4)}, {PageCap: 1 + rng.IntN(4), RepeatIDs: true}, {PageCap: 2, IgnoreOffset: true},
		{RepeatIDs: true},
	}
	f := faults[rng.IntN(len(faults))]
	if rng.IntN(25) == 0 { // these take the whole scrape
		faults = []simulator.Fault{{Hang: true}, {Trickle: 50 * time.Millisecond}, {SlowHeader: 50 * time.Millisecond}}
		f = faults[rng.IntN(len(faults))]
	}
	f.Probability = 0.1 + 0.6*rng.Float64()
	return f
}

// compare compares a cluster's series with the cluster and reports whether they are complete.
func compare(t *testing.T, c *simulator.Cluster, got series) (complete bool) {
	t.Helper()
	switch {
	case got["up"] == 0:
		if !isDown(got) {
			t.Errorf("%s: got %v, want only the series of a failed cluster", c.ID, got)
		}
		return false
	case got["enabled"] != 1:
		if _, counted := got["connections accepted"]; !c.ServiceOff || counted {
			t.Errorf("%s: got %v, which shows it as off", c.ID, got)
		}
		return true
	case c.ServiceOff:
		t.Errorf("%s: got %v, want it shown as off", c.ID, got)
		return false
	}

	truncated := got["connections_truncated"] == 1
	want := completeSeries(c)
	listed := 0
	for name, value := range got {
		kind, _, _ := strings.Cut(name, " ")
		if kind == "connection_status" {
			listed++
		}
		if kind != "connections" && kind != "connection_status" && kind != "reported_connections" {
			continue
		}
		// A truncated list may count fewer connections.
		most, ok := want[name]
		if !ok || value > most || (value != most && (!truncated || kind != "connections")) {
			t.Errorf("%s: %s: got %v, want %v (%t); truncated: %t", c.ID, name, value, most, ok, truncated)
		}
	}
	if _, ok := got["reported_connections"]; !ok {
		t.Errorf("%s: got no reported_connections: %v", c.ID, got)
	}
	if all := listed == len(c.Connections)+c.Unlisted; all == truncated {
		t.Errorf("%s: got %d connections of %d+%d; truncated: %t", c.ID, listed, len(c.Connections), c.Unlisted, truncated)
	}
	return listed == len(c.Connections)
}

// completeSeries returns the series that are compared, as a complete list shows them.
func completeSeries(c *simulator.Cluster) series {
	statuses := []string{"accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting"}
	s := series{"reported_connections": float64(len(c.Connections) + c.Unlisted), "connections unknown": 0}
	for _, status := range statuses {
		s["connections "+status] = 0
	}
	for _, conn := range c.Connections {
		status := conn.Status
		if !slices.Contains(statuses, status) {
			status = "unknown"
		}
		s["connections "+status]++
		s["connection_status "+conn.ID+" "+status] = 1
	}
	return s
}

// SPDX-License-Identifier: Apache-2.0

//go:build !race

package server

import "testing"

const seriesPerConnection = 4.5

// allocations returns the allocations of a scrape, including those of the simulated cloud. It checks that the scrape
// sends one request for each cluster.
func allocations(t *testing.T, clusters, connections int, changing bool) float64 {
	t.Helper()
	s := newScrapes(t, clusters, connections, changing)
	const runs = 5
	before := s.requests.Load()
	perRun := testing.AllocsPerRun(runs, func() { s.scrape(t, responseForms()["text,gzip"]) })
	want := int64(runs+1) * int64(clusters) // AllocsPerRun runs it once more
	if got := s.requests.Load() - before; got != want {
		t.Errorf("%d clusters of %d connections: got %d requests, want %d", clusters, connections, got, want)
	}
	return perRun
}

func TestCostOfUnchangedConnections(t *testing.T) {
	more := allocations(t, 1, 1000, false) - allocations(t, 1, 10, false)
	if got := more / 990 / seriesPerConnection; got > 0.05 { // 0.00 measured
		t.Errorf("got %.3f allocations for each series, want none", got)
	}
}

func TestCostOfChangedConnections(t *testing.T) {
	more := allocations(t, 1, 1000, true) - allocations(t, 1, 10, true)
	// 2.8 measured: 0.5 for the connection's strings, the rest for its kept metrics and their labels.
	if got := more / 990 / seriesPerConnection; got > 3 {
		t.Errorf("got %.3f allocations for each series, want at most 3", got)
	}
}

func TestCostOfUnchangedClusters(t *testing.T) {
	more := allocations(t, 101, 10, false) - allocations(t, 1, 10, false)
	if got := more / 100; got > 235 { // 225 measured
		t.Errorf("got %.0f allocations for each cluster, want at most 235", got)
	}
}

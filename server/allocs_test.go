// SPDX-License-Identifier: Apache-2.0

//go:build !race

package server

import "testing"

// TestCost holds what a scrape costs, where that is the same on every machine: one call to the API for each cluster, and
// objects that do not grow with the connections, or with the clusters more than they must. The cloud's own are in it.
func TestCost(t *testing.T) {
	costs := func(clusters, connections int, changing bool) (allocations float64) {
		s := newScrapes(t, clusters, connections, changing)
		const runs = 5
		before := s.calls.Load()
		allocations = testing.AllocsPerRun(runs, func() { s.scrape(t, "gzip") })
		if calls := s.calls.Load() - before; calls != (runs+1)*int64(clusters) { // it runs once more, first
			t.Errorf("%d clusters of %d connections: %d calls in %d scrapes, want one for each cluster", clusters, connections, calls, runs+1)
		}
		return allocations
	}
	const series = 4.5 // of a connection
	few := costs(1, 10, false)
	if each := (costs(1, 1000, false) - few) / 990 / series; each > 0.05 {
		t.Errorf("%.3f allocations a series, if nothing changed, want next to none", each)
	}
	if each := (costs(1, 1000, true) - costs(1, 10, true)) / 990 / series; each > 0.55 {
		t.Errorf("%.3f allocations a series, if the answer changed, want no more than those of the id and the address", each)
	}
	if each := (costs(101, 10, false) - few) / 100; each > 240 {
		t.Errorf("%.0f allocations a cluster, want no more than 240", each)
	}
}

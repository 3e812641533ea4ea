// SPDX-License-Identifier: Apache-2.0

//go:build !race

package server

import "testing"

// TestCost bounds what does not depend on the machine: API requests, and allocations, including those of the simulated
// cloud. Without changes, allocations do not grow with the connections.
func TestCost(t *testing.T) {
	costs := func(clusters, connections int, changing bool) (allocations float64) {
		s := newScrapes(t, clusters, connections, changing)
		const runs = 5
		before := s.calls.Load()
		allocations = testing.AllocsPerRun(runs, func() { s.scrape(t, responseForms()["text,gzip"]) })
		if calls := s.calls.Load() - before; calls != (runs+1)*int64(clusters) { // AllocsPerRun runs it once more
			t.Errorf("%d clusters of %d connections: %d calls in %d scrapes, want one for each cluster",
				clusters, connections, calls, runs+1)
		}
		return allocations
	}
	const series = 4.5 // of a connection
	few := costs(1, 10, false)
	if each := (costs(1, 1000, false) - few) / 990 / series; each > 0.05 { // 0.00 measured
		t.Errorf("%.3f allocations a series of unchanged answers, want none", each)
	}
	// 2.8 measured: 0.5 for the connection's strings, the rest for its kept metrics and their labels.
	if each := (costs(1, 1000, true) - costs(1, 10, true)) / 990 / series; each > 3 {
		t.Errorf("%.3f allocations a series of changed answers, want at most 3", each)
	}
	if each := (costs(101, 10, false) - few) / 100; each > 240 { // 222 measured
		t.Errorf("%.0f allocations a cluster of unchanged answers, want at most 240", each)
	}
}

// SPDX-License-Identifier: Apache-2.0

//go:build !race

package collector

import "testing"

// TestAllocations bounds the allocations of Families, which are the same on every machine, unlike times.
func TestAllocations(t *testing.T) {
	allocations := func(clusters, connections int, changed bool) float64 {
		c := newBenchCollector(clusters, connections)
		c.Families()
		return testing.AllocsPerRun(5, func() {
			if changed {
				c.series = NewSeries()
			}
			c.Families()
		})
	}
	for _, tc := range []struct {
		changed             bool
		connection, cluster float64 // at most
	}{
		{false, 0, 30},    // measured: 0 and 23
		{true, 11.5, 340}, // measured: 10.5 and 311, in 4.5 series per connection
	} {
		one := allocations(1, 10, tc.changed)
		connection := (allocations(1, 1000, tc.changed) - one) / 990
		cluster := (allocations(101, 10, tc.changed) - one) / 100
		if connection > tc.connection || cluster > tc.cluster {
			t.Errorf("lists changed: %t: got %.2f allocations per connection and %.1f per cluster of 10, want at most %v and %v",
				tc.changed, connection, cluster, tc.connection, tc.cluster)
		}
	}
}

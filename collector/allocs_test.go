// SPDX-License-Identifier: Apache-2.0

//go:build !race

package collector

import (
	"bufio"
	"io"
	"testing"
)

// TestAllocations holds what it costs in objects to show lists: nothing for a connection, and a few for a cluster. Times
// differ from machine to machine; these do not.
func TestAllocations(t *testing.T) {
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	showing := func(clusters, connections int) float64 {
		v := shown(outcomesOf(clusters, connections))
		return testing.AllocsPerRun(5, func() {
			for _, f := range v.families() {
				if err := f.WriteText(w, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	one := showing(1, 10)
	if each := (showing(1, 1000) - one) / 990; each > 0.1 { // the map of ids, and lines that end a buffer
		t.Errorf("%.2f allocations to show a connection, want none", each)
	}
	if each := (showing(101, 10) - one) / 100; each > 30 {
		t.Errorf("%.0f allocations to show a cluster, want no more than 30", each)
	}
}

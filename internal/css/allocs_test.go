// SPDX-License-Identifier: Apache-2.0

//go:build !race

package css

import (
	"net/http"
	"testing"
)

// TestAllocations holds what an answer costs in objects: at most two and a bit for each connection if it is another one than
// before, and nothing at all for a connection if it is not. Times differ from machine to machine; these do not.
func TestAllocations(t *testing.T) {
	const few, many = 10, 1000
	parsing := func(n int) float64 {
		body := manyConnections(n)
		return testing.AllocsPerRun(10, func() {
			if _, err := parseConnections(body); err != nil {
				t.Error(err)
			}
		})
	}
	if each := (parsing(many) - parsing(few)) / (many - few); each > 2.1 {
		t.Errorf("%.2f allocations to parse a connection, want no more than its id and its address", each)
	}

	reading := func(n int) float64 {
		body := string(manyConnections(n))
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = w.Write([]byte(body)) })
		client := newTestClient(t, f.URL)
		last, err := client.Connections(t.Context(), "c", nil)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(10, func() {
			list, err := client.Connections(t.Context(), "c", last)
			if err != nil || list != last {
				t.Errorf("another list, or %v", err)
			}
		})
	}
	if each := (reading(many) - reading(few)) / (many - few); each > 0.1 { // the transport's buffers
		t.Errorf("%.2f allocations to read a connection that did not change, want none", each)
	}
}

// SPDX-License-Identifier: Apache-2.0

//go:build !race

package css_test

import (
	"fmt"
	"net/http"
	"testing"

	"css_vpcep_exporter/internal/css"
)

const few, many = 10, 1000 // connections

func TestAllocationsOfParsing(t *testing.T) {
	parse := func(n int) float64 {
		body := css.ManyConnections(n)
		return testing.AllocsPerRun(10, func() { css.MustParse(t, string(body)) })
	}
	if each := (parse(many) - parse(few)) / (many - few); each > 2.1 {
		t.Errorf("got %.2f allocations for each connection, want no more than its ID and its address", each)
	}
}

func TestAllocationsOfAnUnchangedList(t *testing.T) {
	read := func(n int) float64 {
		body := string(css.ManyConnections(n))
		_, client := answering(t, func(w http.ResponseWriter, _ *http.Request, _ int) { fmt.Fprint(w, body) })
		last, err := client.Connections(t.Context(), "c", nil)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(10, func() {
			list, err := client.Connections(t.Context(), "c", last)
			if err != nil || list != last {
				t.Errorf("got another list, or %v", err)
			}
		})
	}
	if each := (read(many) - read(few)) / (many - few); each > 0.1 { // the transport's buffers
		t.Errorf("got %.2f allocations for each connection, want none", each)
	}
}

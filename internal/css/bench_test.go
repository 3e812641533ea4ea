// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
)

// serve answers every request with the next of the bodies, without the work of the simulator.
func serve(b *testing.B, bodies ...[]byte) (url string) {
	b.Helper()
	var n atomic.Uint64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body := bodies[n.Add(1)%uint64(len(bodies))]
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}))
	b.Cleanup(srv.Close)
	return srv.URL
}

func BenchmarkConnections(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		body := css.ManyConnections(n)
		for name, bodies := range map[string][][]byte{
			"unchanged": {body},
			"changed":   {body, bytes.Replace(body, []byte("accepted"), []byte("rejected"), 1)},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				client := csstest.NewClient(b, serve(b, bodies...))
				var last *css.ConnectionList
				b.ReportAllocs()
				for b.Loop() {
					list, err := client.Connections(b.Context(), clusterID, last)
					if err != nil || len(list.Connections) != n {
						b.Fatal(err)
					}
					last = list
				}
			})
		}
	}
}

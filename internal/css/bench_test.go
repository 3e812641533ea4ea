// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"css_vpcep_exporter/internal/cloud"
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

// BenchmarkFetch is the least that an answer costs over loopback: a request whose body is read and discarded. It includes
// what the server in the same process allocates.
func BenchmarkFetch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			url := serve(b, css.ManyConnections(n))
			transport := cloud.NewTransport(nil, nil)
			b.Cleanup(transport.CloseIdleConnections)
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
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

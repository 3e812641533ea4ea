// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

func BenchmarkSign(b *testing.B) {
	req := httptest.NewRequestWithContext(b.Context(), http.MethodGet,
		"/v1.0/p1/clusters/5c77b71c-5b35-4f50-8984-76387e42451a/vpcepservice/connections?limit=1000", nil)
	req.Header.Set("X-Project-Id", "p1")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		sign(req, nil, testAK, testSK, now, "X-Project-Id", "X-Security-Token")
	}
}

// BenchmarkFetch is the least that a response costs over loopback: a signed request whose body, as large as a page of n
// connections, is read and discarded. It includes what the server in the same process allocates.
func BenchmarkFetch(b *testing.B) {
	const connection = 225 // bytes
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			body := make([]byte, n*connection)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				_, _ = w.Write(body)
			}))
			b.Cleanup(srv.Close)
			transport := NewTransport(nil, nil)
			b.Cleanup(transport.CloseIdleConnections)
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet,
					srv.URL+"/v1.0/p/clusters/c/vpcepservice/connections?limit=1000", nil)
				if err != nil {
					b.Fatal(err)
				}
				sign(req, nil, testAK, testSK, time.Now())
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

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkSign(b *testing.B) {
	req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v1.0/"+testProject+"/clusters/"+testCluster+"/vpcepservice/connections?limit=1000", nil)
	req.Header.Set("X-Project-Id", testProject)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		sign(req, nil, testAK, testSK, now, "X-Project-Id", "X-Security-Token")
	}
}

// manyConnections is an answer with n connections of the documented shape.
func manyConnections(n int) []byte {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"id":"54b7f739-31a1-40d0-862b-%012x","status":"accepted","maxSession":"3000",`+
			`"specificationName":"default","created_at":"2024-06-11T09:36:24Z","update_at":null,`+
			`"domain_id":"db9b76a0d9ae431f8e85e89da2ca867c","vpcepIp":"192.168.%d.%d","vpcepIpv6Address":null,"vpcepDnsName":null}`,
			i, i/250, i%250)
	}
	return fmt.Appendf(nil, `{"connections":[%s],"vpcepUpdateSwitch":false,"total_count":%d,"vpcServiceName":"cn-north-4.css",`+
		`"permissions":[{"id":"x","permission":"iam:domain::db9b76a0d9ae431f8e85e89da2ca867c","permission_type":"domainId"}]}`,
		strings.Join(items, ","), n)
}

func BenchmarkParseConnections(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := manyConnections(n)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				list, err := parseConnections(body)
				if err != nil || len(list.Connections) != n {
					b.Fatal(err)
				}
			}
		})
	}
}

// canned serves bodies in turn, each time the next one, to whoever asks.
func canned(b *testing.B, bodies ...[]byte) string {
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

// BenchmarkFetch is the least that an answer costs over loopback: a signed request, and its body read and thrown away. What
// the server in the same process allocates is in it.
func BenchmarkFetch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			url := canned(b, manyConnections(n))
			transport := NewTransport(nil, nil)
			b.Cleanup(transport.CloseIdleConnections)
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+"/v1.0/p/clusters/c/vpcepservice/connections?limit=1000", nil)
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

// BenchmarkConnections reads a list whose answer is the same each time, or another one each time.
func BenchmarkConnections(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		body := manyConnections(n)
		for name, bodies := range map[string][][]byte{
			"unchanged": {body},
			"changed":   {body, bytes.Replace(body, []byte("accepted"), []byte("rejected"), 1)},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				client := NewClient(Options{
					ProjectID: testProject, Endpoint: canned(b, bodies...), UserAgent: "test/1", Keys: NewKeys(),
					Credentials: NewFiles(Credentials{AccessKey: testAK, SecretKey: testSK}, Credentials{}), Transport: NewTransport(nil, nil),
				})
				b.Cleanup(client.Close)
				var last *ConnectionList
				b.ReportAllocs()
				for b.Loop() {
					list, err := client.Connections(b.Context(), testCluster, last)
					if err != nil || len(list.Connections) != n {
						b.Fatal(err)
					}
					last = list
				}
			})
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

type negotiation struct {
	accept, acceptEncoding             string
	status                             int
	contentType, contentEncoding, vary string
}

// recorder is a proxy between Prometheus and an exporter.
type recorder struct {
	address string

	mu           sync.Mutex
	negotiations []negotiation
}

// startRecorder replaces the Accept header of Prometheus unless accept is empty.
func startRecorder(t *testing.T, exporter *process, accept string) *recorder {
	t.Helper()
	r := &recorder{}
	transport := &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true} // or it adds Accept-Encoding
	exporterURL := &url.URL{Scheme: "http", Host: exporter.address}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(exporterURL)
			if accept != "" {
				p.Out.Header.Set("Accept", accept)
			}
		},
		Transport: transport,
		ModifyResponse: func(resp *http.Response) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.negotiations = append(r.negotiations, negotiation{
				accept: resp.Request.Header.Get("Accept"), acceptEncoding: resp.Request.Header.Get("Accept-Encoding"),
				status: resp.StatusCode, contentType: resp.Header.Get("Content-Type"),
				contentEncoding: resp.Header.Get("Content-Encoding"), vary: resp.Header.Get("Vary"),
			})
			return nil
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	})
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	r.address = server.Listener.Addr().String()
	return r
}

// negotiation returns that of all scrapes, which must be equal.
func (r *recorder) negotiation(t *testing.T, job string) negotiation {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.negotiations) == 0 {
		t.Fatalf("%s: got no scrape", job)
	}
	for _, n := range r.negotiations {
		if n != r.negotiations[0] {
			t.Errorf("%s: the negotiations of two scrapes differ: %+v, %+v", job, r.negotiations[0], n)
		}
	}
	return r.negotiations[0]
}

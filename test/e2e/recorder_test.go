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

// exchange has the negotiation headers of a scrape.
type exchange struct {
	accept, acceptEncoding             string
	status                             int
	contentType, contentEncoding, vary string
}

// recorder is a proxy between Prometheus and an exporter that stores the exchanges.
type recorder struct {
	address string

	mu   sync.Mutex
	seen []exchange
}

// record starts a recorder. A non-empty ask replaces the Accept header of Prometheus.
func record(t *testing.T, exporter *process, ask string) *recorder {
	t.Helper()
	r := &recorder{}
	// Requests and responses are passed on unchanged.
	transport := &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true}
	to := &url.URL{Scheme: "http", Host: exporter.address}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			if ask != "" {
				p.Out.Header.Set("Accept", ask)
			}
		},
		Transport: transport,
		ModifyResponse: func(resp *http.Response) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen = append(r.seen, exchange{
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

// exchange returns the exchange of all scrapes, which must be equal.
func (r *recorder) exchange(t *testing.T, job string) exchange {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		t.Fatalf("%s: no scrape", job)
	}
	for _, e := range r.seen {
		if e != r.seen[0] {
			t.Errorf("%s: scrapes differ: %+v, %+v", job, r.seen[0], e)
		}
	}
	return r.seen[0]
}

// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync/atomic"
	"syscall"
	"testing"
)

// balance serves one address for several exporters, as a Service or a load balancer does: in turn, and passing over one
// that refuses connections. A request that breaks later has failed.
func balance(t *testing.T, exporters []*process) (address string) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	b := &balancer{next: transport}
	for _, p := range exporters {
		b.addresses = append(b.addresses, p.address)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http" },
		Transport: b,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	})
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.Listener.Addr().String()
}

type balancer struct {
	addresses []string
	turn      atomic.Uint64
	next      http.RoundTripper
}

// RoundTrip sends a request to the first address, from the one whose turn it is, that takes it.
func (b *balancer) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	turn := int(b.turn.Add(1) % uint64(len(b.addresses))) //nolint:gosec // it is smaller than their number
	for i := range b.addresses {
		out := r.Clone(r.Context())
		out.URL.Host = b.addresses[(turn+i)%len(b.addresses)]
		resp, err = b.next.RoundTrip(out)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return resp, err
		}
	}
	return nil, err
}

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

// startBalancer starts a round-robin load balancer, which skips exporters that refuse connections.
func startBalancer(t *testing.T, exporters []*process) (address string) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	b := &balancer{transport: transport}
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
	next      atomic.Uint64
	transport http.RoundTripper
}

func (b *balancer) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	first := int(b.next.Add(1) % uint64(len(b.addresses))) //nolint:gosec // less than the number of addresses
	for i := range b.addresses {
		out := r.Clone(r.Context())
		out.URL.Host = b.addresses[(first+i)%len(b.addresses)]
		resp, err = b.transport.RoundTrip(out)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return resp, err
		}
	}
	return nil, err
}

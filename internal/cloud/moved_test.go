// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// movingCloud has an old and a new server. Until move is called the name leads to the old one, which answers with the
// status after that.
type movingCloud struct {
	old, new *countedServer
	address  atomic.Pointer[string]
	fails    atomic.Int64
}

func newMovingCloud(t *testing.T, http2 bool, status int) *movingCloud {
	t.Helper()
	m := new(movingCloud)
	serve := func(moved bool) *countedServer {
		s := newCountedServer(t, answering(simtest.NewUnserved(simulator.Options{}), func(w http.ResponseWriter, _ *http.Request, _ int) {
			time.Sleep(5 * time.Millisecond) // so that reads overlap
			if !moved && m.fails.Load() != 0 {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, listBody)
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		return s
	}
	m.old, m.new = serve(false), serve(true)
	m.leadTo(m.old)
	return m
}

func (m *movingCloud) leadTo(s *countedServer) { m.address.Store(new(s.Listener.Addr().String())) }

func (m *movingCloud) move() {
	m.leadTo(m.new)
	m.fails.Store(1)
}

func (m *movingCloud) transport() http.RoundTripper {
	roots := x509.NewCertPool()
	roots.AddCert(m.old.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return network.NewRenewable(func() *tls.Config { return config }, func(c *tls.Config) *http.Transport {
		t := cloud.NewTransport(c, nil)
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", *m.address.Load())
		}
		return t
	})
}

// TestMovedAddress: while the old address still answers, but with errors, the new one is used after at most two scrapes.
func TestMovedAddress(t *testing.T) {
	for _, test := range []struct {
		name     string
		http2    bool
		status   int
		clusters int
	}{
		{"HTTP/1.1, one cluster, 503", false, 503, 1},
		{"HTTP/1.1, one cluster, 500", false, 500, 1},
		{"HTTP/1.1, many clusters, 503", false, 503, 40},
		{"HTTP/1.1, many clusters, 500", false, 500, 40},
		{"HTTP/2, one cluster, 503", true, 503, 1},
		{"HTTP/2, one cluster, 500", true, 500, 1},
		{"HTTP/2, many clusters, 503", true, 503, 40},
		{"HTTP/2, many clusters, 500", true, 500, 40},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMovingCloud(t, test.http2, test.status)
			c := newClient(t, "https://example.com", withRetry(quickRetry()), withTransport(m.transport()))
			scrape := func() outcomes { return readAll(t.Context(), c, test.clusters, 20*time.Second) }
			healthy := outcomes{"": test.clusters}
			equal(t, "before", scrape(), healthy)
			m.move()
			scrape()
			scrape()
			equal(t, "the third scrape after the move", scrape(), healthy)
		})
	}
}

// TestBusyHTTP2ConnectionIsReplaced: requests that overlap all the time do not keep the old connection.
func TestBusyHTTP2ConnectionIsReplaced(t *testing.T) {
	m := newMovingCloud(t, true, 503)
	c := newClient(t, "https://example.com", withTransport(m.transport()))
	ctx := bounded(t)
	if _, err := c.read(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	m.move()
	done := make(chan int)
	for i := range 4 {
		go func() {
			n := 0
			for _, err := c.read(ctx, clusterID(i)); err != nil && ctx.Err() == nil; _, err = c.read(ctx, clusterID(i)) {
				n++
			}
			done <- n
		}()
	}
	for range 4 {
		if n := <-done; n > 20 {
			t.Errorf("got %d failures, want at most 20", n)
		}
	}
}

// TestRenewedConnectionsAreClosed: replaced connections are closed once their last request has ended.
func TestRenewedConnectionsAreClosed(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("HTTP/2 ", http2), func(t *testing.T) {
			m := newMovingCloud(t, http2, 503)
			transport := m.transport()
			c := newClient(t, "https://example.com", withTransport(transport))
			result := make(chan error)
			go func() {
				_, err := c.read(bounded(t), "c")
				result <- err
			}()
			for m.old.accepted.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			transport.(*network.Renewable).Renew()
			if err := <-result; err != nil {
				t.Errorf("the request under way failed: %v", err)
			}
			for ctx := bounded(t); m.old.closed.Load() == 0 && ctx.Err() == nil; {
				time.Sleep(time.Millisecond)
			}
			equal(t, "closed connections", m.old.closed.Load(), 1)
		})
	}
}

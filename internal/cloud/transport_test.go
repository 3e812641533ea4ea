// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// countedServer counts the connections that it accepts, and those that were closed.
type countedServer struct {
	*httptest.Server
	accepted, closed atomic.Int64
}

// newCountedServer returns a server that is not started, and closed when the test ends.
func newCountedServer(t *testing.T, h http.Handler) *countedServer {
	t.Helper()
	s := &countedServer{Server: httptest.NewUnstartedServer(h)}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.accepted.Add(1)
		case http.StateClosed:
			s.closed.Add(1)
		}
	}
	t.Cleanup(s.Close)
	return s
}

// failingDNS returns a transport that cannot resolve a name.
func failingDNS(d net.DNSError) *http.Transport {
	transport := cloud.NewTransport(nil, nil)
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &d}
	}
	return transport
}

// closedPort returns an address of loopback where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	return closed.Addr().String()
}

func TestTransportFailures(t *testing.T) {
	secure := newCountedServer(t, http.NotFoundHandler())
	secure.StartTLS()
	plain := newCloud(t, answer(200, listBody))
	for _, test := range []struct {
		name      string
		endpoint  string
		transport http.RoundTripper
		tries     int    // 0: not checked
		hint      string // part of it
	}{
		{"unknown name", "http://cloud.invalid", failingDNS(net.DNSError{Err: "no such host", IsNotFound: true}), 1, "DNS"},
		{"name server fails", "http://cloud.invalid", failingDNS(net.DNSError{Err: "server misbehaving", IsTemporary: true}), 4, "DNS"},
		{"connection refused", "http://" + closedPort(t), nil, 4, "network"},
		{"untrusted certificate", secure.URL, nil, 1, "tls_config.ca_file"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), nil, 1, "check the scheme (http or https)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkTransportFailure(t, test.endpoint, test.transport, test.tries, test.hint)
		})
	}
}

func TestBrokenResponses(t *testing.T) {
	long := "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 1000)
	for name, test := range map[string]struct {
		fault simulator.Fault
		tries int // 0: not checked
	}{
		"no response":      {simulator.Fault{Drop: true}, 4},
		"cut headers":      {simulator.Fault{Garbage: "HTTP/1.1 200 OK\r\nContent-Le"}, 4},
		"cut body":         {simulator.Fault{Garbage: "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + listBody}, 4},
		"cut chunks":       {simulator.Fault{Garbage: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"con"}, 4},
		"too long headers": {simulator.Fault{Garbage: long}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := simtest.New(t, simulator.Options{})
			c.FailReads("", test.fault)
			checkTransportFailure(t, c.URL, nil, test.tries, "network")
		})
	}
}

func checkTransportFailure(t *testing.T, endpoint string, transport http.RoundTripper, tries int, hint string) {
	t.Helper()
	_ = transportFailure(t, endpoint, transport, tries, hint)
}

// transportFailure is checkTransportFailure, and returns the failure.
func transportFailure(
	t *testing.T, endpoint string, transport http.RoundTripper, tries int, hint string,
) *cloud.Error {
	t.Helper()
	var tried int
	c := newClient(t, endpoint, withRetry(quickRetry()), func(o *cloud.Options) {
		o.Observe = func(cloud.Exchange) { tried++ }
		if transport != nil {
			o.Transport = transport
		}
	})
	response, err := c.read(bounded(t), "c")
	e := failure(t, err)
	if e.Reason != cloud.ReasonTransport || response.Body != nil {
		t.Errorf("got %v (reason %q) with the body %q, want transport and none", err, e.Reason, response.Body)
	}
	if tries > 0 && tried != tries {
		t.Errorf("got %d tries, want %d", tried, tries)
	}
	if !strings.Contains(e.Hint(), hint) {
		t.Errorf("got hint %q, want %q in it", e.Hint(), hint)
	}
	if len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("the error is long, or has several lines: %q", err)
	}
	return e
}

func TestHTTP2UsesOneConnection(t *testing.T) {
	var second atomic.Int64
	s := newCountedServer(t, answering(simtest.NewUnserved(simulator.Options{}), func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.ProtoMajor == 2 {
			second.Add(1)
		}
		fmt.Fprint(w, listBody)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(t, s.URL, withTransport(cloud.NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil)))
	for range 5 {
		if _, err := c.read(bounded(t), "c"); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "requests by HTTP/2", second.Load(), 5)
	equal(t, "connections", s.accepted.Load(), 1)
}

func TestConnectionsAreKept(t *testing.T) {
	for _, test := range []struct {
		name     string
		answer   handler
		parallel int
		most     int // connections
	}{
		{"success", answer(200, listBody), 1, 1},
		{"403", answer(403, `{"errCode":"CSS.0015"}`), 1, 1},
		{"400", answer(400, `{"errCode":"CSS.5182"}`), 1, 1},
		// After repeated failures the address is looked up again, but not more often than every 10 s.
		{"500 with a long body", answer(500, strings.Repeat("<html>", 5000)), 1, 2},
		{"HTML", answer(200, strings.Repeat("<html>", 5000)), 1, 1},
		// A request that waits may be served by another connection than the one it dialled.
		{"in parallel", answer(200, listBody), 8, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newCountedServer(t, answering(simtest.NewUnserved(simulator.Options{}), test.answer))
			s.Start()
			c := newClient(t, s.URL)
			for range 50 / test.parallel {
				var group sync.WaitGroup
				for range test.parallel {
					group.Go(func() { _, _ = c.read(bounded(t), "c") })
				}
				group.Wait()
			}
			if n := int(s.accepted.Load()); n > test.most {
				t.Errorf("got %d connections, want at most %d", n, test.most)
			}
		})
	}
}

// TestDeadline: a call ends at its deadline, whatever the server does, and the server's request is cancelled.
func TestDeadline(t *testing.T) {
	for _, test := range []struct {
		name string
		head func(w http.ResponseWriter)
		want cloud.Reason
	}{
		{"before the headers", func(http.ResponseWriter) {}, cloud.ReasonTimeout},
		{"before the body", func(w http.ResponseWriter) { w.WriteHeader(200); flush(w) }, cloud.ReasonTimeout},
		{"in the body", func(w http.ResponseWriter) { fmt.Fprint(w, listBody[:10]) }, cloud.ReasonTimeout},
		// The status is known, and says why there will be no list.
		{"in the body of a 403", func(w http.ResponseWriter) { w.WriteHeader(403); fmt.Fprint(w, `{"errCode":`) }, cloud.ReasonDenied},
		{"in the body of a 500", func(w http.ResponseWriter) { w.WriteHeader(500); fmt.Fprint(w, `<html>`) }, cloud.ReasonServer},
		{"while it trickles", trickle, cloud.ReasonTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cancelled atomic.Bool
				c := inMemory(t, func(w http.ResponseWriter, r *http.Request, _ int) {
					test.head(w)
					<-r.Context().Done()
					cancelled.Store(true)
				}, withRetry(quickRetry()))
				start := time.Now()
				_, err := c.read(within(t, 5*time.Second), "c")
				equal(t, "took", time.Since(start), 5*time.Second)
				e := failure(t, err)
				if e.Reason != test.want || e.Hint() == "" {
					t.Errorf("got %v (reason %q, hint %q), want %q with a hint", err, e.Reason, e.Hint(), test.want)
				}
				time.Sleep(10 * time.Second) // trickle ends
				if !cancelled.Load() {
					t.Error("the server's request is not cancelled")
				}
			})
		})
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// trickle writes a byte every second for longer than the deadline.
func trickle(w http.ResponseWriter) {
	for range 10 {
		fmt.Fprint(w, " ")
		time.Sleep(time.Second)
	}
}

func TestCancelledContextSendsNothing(t *testing.T) {
	f := newCloud(t, answer(200, listBody))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newClient(t, f.URL).read(ctx, "c")
	if e := failure(t, err); e.Reason != cloud.ReasonTimeout || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v (reason %q), want a timeout", err, e.Reason)
	}
	equal(t, "requests", f.Reads(""), 0)
}

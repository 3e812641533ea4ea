// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/pem"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestDeadConnectionsAreReplaced checks that connections that die silently cost one scrape, or the scrapes of 30 s.
func TestDeadConnectionsAreReplaced(t *testing.T) {
	slow(t)
	scrape := func(t *testing.T, p *program, ids []string, timeout time.Duration) bool {
		t.Helper()
		return p.scrape(t, timeout).countUp(ids) == len(ids)
	}
	probe := func(t *testing.T, p *program, ids []string, timeout time.Duration) bool {
		t.Helper()
		return p.probe(t, ids[0], timeout)
	}
	for name, test := range map[string]struct {
		protocol string
		attempt  attempt
	}{
		"HTTP 2, scrapes":   {"HTTP/2.0", scrape},
		"HTTP 2, probes":    {"HTTP/2.0", probe},
		"HTTP 1.1, scrapes": {"HTTP/1.1", scrape},
		"HTTP 1.1, probes":  {"HTTP/1.1", probe},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killConnections(t, test.protocol, test.attempt)
		})
	}
}

// attempt scrapes or probes, and reports whether all that it reads is up.
type attempt func(t *testing.T, p *program, ids []string, timeout time.Duration) bool

// killConnections makes all connections of a scrape die silently and repeats the attempt until it succeeds.
func killConnections(t *testing.T, protocol string, succeeds attempt) {
	t.Helper()
	const timeout = 5 * time.Second
	const mostFailed = 6 // in 30 s, because an attempt that meets a dead connection takes 4.5 s
	ids := clusterIDs("c", 40)
	c, relay := newRelayedCloud(t, protocol, ids)
	c.FailReads("", simulator.Fault{Latency: 100 * time.Millisecond}) // so that 16 connections are in use at once
	p := c.start(t)
	p.eventually(t, "the clusters are up at first", func() bool {
		return p.scrape(t, timeout).countUp(ids) == len(ids) && succeeds(t, p, ids, timeout)
	})
	if got := c.Requests()[0].Proto; got != protocol {
		t.Fatalf("got requests over %s, want %s", got, protocol)
	}
	t.Logf("%d connections over %s", relay.Accepted(), protocol)

	relay.Silence()
	failed := 0
	for failed <= mostFailed && !succeeds(t, p, ids, timeout) {
		failed++
	}
	if failed > mostFailed {
		t.Fatalf("got %d failed attempts, want at most %d", failed, mostFailed)
	}
	t.Logf("%d attempts failed", failed)
}

// newRelayedCloud returns a cloud behind TLS and a relay.
func newRelayedCloud(t *testing.T, protocol string, ids []string) (*testCloud, *simulator.Relay) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	c := newUnservedCloud(simulator.Options{}, project{
		clusters: ids, settings: "tls_config: {ca_file: " + strconv.Quote(ca) + "}",
	})
	server := httptest.NewUnstartedServer(c)
	server.EnableHTTP2 = protocol == "HTTP/2.0"
	server.StartTLS()
	t.Cleanup(server.Close)
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	relay, err := simulator.StartRelay(t.Context(), strings.TrimPrefix(server.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := relay.Close(); err != nil {
			t.Error(err)
		}
	})
	c.URL = "https://" + relay.Addr
	return c, relay
}

// TestUnansweredDialsTimeOut checks that a dial without an answer ends early enough for a second one, or that the
// cluster fails before the scrape times out.
func TestUnansweredDialsTimeOut(t *testing.T) {
	slow(t)
	c := newUnservedCloud(simulator.Options{}, project{clusters: []string{"c1"}})
	c.URL = "http://" + fullListener(t)
	e := c.start(t).scrape(t, 12*time.Second)
	var failed float64
	for _, m := range e.families["css_vpcep_exporter_api_requests_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "code" && l.GetValue() == "error" {
				failed += m.GetCounter().GetValue()
			}
		}
	}
	t.Logf("%v requests failed; failures by reason: %v", failed, e.failures())
	if failed == 0 || failed < 2 && e.failures()["timeout"] > 0 {
		t.Errorf("got %v failed requests and the failures %v; want two requests, or no timeout", failed, e.failures())
	}
}

// fullListener returns the address of a listener with a full backlog, which answers no SYN.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("the listener is bound to %v", name)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.Port))
	dialer := net.Dialer{Timeout: 500 * time.Millisecond}
	for range 5 {
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this system answers although the backlog is full")
	return ""
}

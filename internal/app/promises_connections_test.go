// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestDeadConnectionsAreReplaced checks that a silently dead connection costs one scrape or 30 s of data, and that a
// dial without a response times out.
func TestDeadConnectionsAreReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until a dead connection is noticed")
	}
	t.Parallel()
	together(t, map[string]func(*testing.T){
		"HTTP/2, scrapes":   func(t *testing.T) { silentDeath(t, true, scrapeAll) },
		"HTTP/2, probes":    func(t *testing.T) { silentDeath(t, true, probeOne) },
		"HTTP/1.1, scrapes": func(t *testing.T) { silentDeath(t, false, scrapeAll) },
		"HTTP/1.1, probes":  func(t *testing.T) { silentDeath(t, false, probeOne) },
		"unanswered dial":   unansweredDial,
	})
}

// attempt scrapes or probes with a timeout of 5 s, and reports whether all clusters are up.
type attempt func(t *testing.T, p *program, ids []string) bool

func scrapeAll(t *testing.T, p *program, ids []string) bool {
	t.Helper()
	clusters, _, _ := p.scrape(t, "5")
	return clusters.up(ids) == len(ids)
}

func probeOne(t *testing.T, p *program, ids []string) bool {
	t.Helper()
	return p.probe(t, ids[0])
}

// silentDeath makes all connections die silently after a scrape of 40 clusters, 16 at once. Then only one attempt may
// fail, or those that begin within 30 s.
func silentDeath(t *testing.T, http2 bool, try attempt) {
	t.Helper()
	const patience = 30 * time.Second
	ids := clusterIDs("c", 40)
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	cloud := newPromisesCloud(simulator.Options{},
		member{project: "p1", clusters: ids, settings: "tls_config: {ca_file: " + strconv.Quote(certificate) + "}"})
	cloud.slow(100 * time.Millisecond)
	server := httptest.NewUnstartedServer(cloud)
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(certificate, block, 0o600); err != nil {
		t.Fatal(err)
	}
	relay, err := simulator.StartRelay(t.Context(), strings.TrimPrefix(server.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := relay.Close(); err != nil {
			t.Error(err)
		}
	})

	p := start(t, "--config.file="+cloud.file(t, "https://"+relay.Addr))
	p.eventually(t, "the clusters are up at first", func() bool { return scrapeAll(t, p, ids) && try(t, p, ids) })
	want := "HTTP/1.1"
	if http2 {
		want = "HTTP/2.0"
	}
	if got := cloud.Requests()[0].Proto; got != want {
		t.Fatalf("requests came over %s", got)
	}
	t.Logf("%d connections over %s", relay.Accepted(), want)

	relay.Silence()
	died, lost := time.Now(), 0
	for begun := died; !try(t, p, ids); begun = time.Now() {
		lost++
		if lost > 1 && begun.Sub(died) > patience {
			t.Fatalf("%d attempts failed, the last of which began %v after the connections died", lost, begun.Sub(died))
		}
	}
	t.Logf("%d attempts failed; up %v after the connections died", lost, time.Since(died))
}

// unansweredDial dials an endpoint that never answers a SYN. The dial times out after 5 s: then either the cluster
// fails, or a second dial fits into the 11.5 s of the scrape.
func unansweredDial(t *testing.T) {
	ids := clusterIDs("c", 1)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	p := start(t, "--config.file="+cloud.file(t, "http://"+fullListener(t)))
	_, own, took := p.scrape(t, "12")
	failed := 0.0
	for _, m := range own["css_vpcep_exporter_api_requests_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "code" && l.GetValue() == "error" {
				failed += m.GetCounter().GetValue()
			}
		}
	}
	t.Logf("%v requests failed, the scrape took %v", failed, took)
	if failed < 2 && took > 7*time.Second {
		t.Errorf("%v requests failed in a scrape of %v: the dial did not time out after 5 s", failed, took)
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

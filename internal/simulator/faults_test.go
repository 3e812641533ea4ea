// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// emptyPage is the response to a request for connections if the cluster has none.
const emptyPage = `{"connections":[],"total_count":0}`

func clusterTarget() Target { return Target{Connections, testCluster} }

func TestFaultResponses(t *testing.T) {
	html := http.Header{"content-type": {"text/html"}, "Retry-After": {"7"}}
	for _, tc := range []struct {
		name        string
		fault       Fault
		status      int
		body        string
		contentType string
		retryAfter  string
	}{
		{"no fault", Fault{}, 200, emptyPage, "application/json", ""},
		{"status only", Fault{Status: 502}, 502, "", "", ""},
		{"empty 200", Fault{Status: 200}, 200, "", "", ""},
		{"body only", Fault{Body: `{}`}, 200, `{}`, "application/json", ""},
		{"status, body and header", Fault{Status: 429, Body: "<p>", Header: html}, 429, "<p>", "text/html", "7"},
		{"redirect", Fault{Redirect: "/elsewhere"}, 302, "", "", ""},
		{"redirect with status and body", Fault{Redirect: "/elsewhere", Status: 307, Body: "there"}, 307, "there",
			"application/json", ""},
		{"padding", Fault{Body: "{}", Padding: 3}, 200, "{}   ", "application/json", ""},
		{"header only", Fault{Header: http.Header{"Retry-After": {"1"}}}, 200, emptyPage, "application/json", "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.SetFault(clusterTarget(), tc.fault)
			w := get(t, s, connectionsPath)
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tc.status, tc.body)
			}
			if got := w.Header().Get("Content-Type"); got != tc.contentType {
				t.Errorf("got Content-Type %q, want %q", got, tc.contentType)
			}
			if got := w.Header().Get("Retry-After"); got != tc.retryAfter {
				t.Errorf("got Retry-After %q, want %q", got, tc.retryAfter)
			}
			if w.Header().Get("X-Request-Id") == "" {
				t.Error("got no X-Request-Id, want one")
			}
			if got := w.Header().Get("Location"); got != tc.fault.Redirect {
				t.Errorf("got Location %q, want %q", got, tc.fault.Redirect)
			}
		})
	}
}

// getStatuses sends n requests and returns the statuses of the responses.
func getStatuses(t *testing.T, s *Simulator, target string, n int) string {
	t.Helper()
	var out []string
	for range n {
		out = append(out, strconv.Itoa(get(t, s, target).Code))
	}
	return strings.Join(out, " ")
}

func TestFaultAppliesAfterAndFor(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults []Fault
		want   string
	}{
		{"always", []Fault{{Status: 500}}, "500 500 500 500 500"},
		{"after", []Fault{{Status: 500, After: 2}}, "200 200 500 500 500"},
		{"for", []Fault{{Status: 500, For: 2}}, "500 500 200 200 200"},
		{"after and for", []Fault{{Status: 500, After: 1, For: 2}}, "200 500 500 200 200"},
		{"one fault after the other", []Fault{{Status: 429, For: 1}, {Status: 503, After: 1, For: 1}}, "429 503 200 200 200"},
		{"the first match applies", []Fault{{Status: 429, For: 2}, {Status: 503}}, "429 429 503 503 503"},
		{"removed", nil, "200 200 200 200 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.SetFault(clusterTarget(), Fault{Status: 418})
			s.SetFault(clusterTarget(), tc.faults...)
			if got := getStatuses(t, s, connectionsPath, 5); got != tc.want {
				t.Errorf("got statuses %s, want %s", got, tc.want)
			}
		})
	}
}

func TestFaultsApplyToTheirTarget(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddCluster(testProject, Cluster{ID: "c2"})
	second := strings.Replace(connectionsPath, "c1", "c2", 1)
	checkStatuses := func(want string) {
		t.Helper()
		got := getStatuses(t, s, connectionsPath, 1) + " " + getStatuses(t, s, second, 1) + " " +
			getStatuses(t, s, "/v1.0/proj1/clusters", 1) + " " + getStatuses(t, s, "/v3/projects?name=cn-north-4", 1)
		if got != want {
			t.Errorf("got statuses %s, want %s", got, want)
		}
	}
	checkStatuses("200 200 200 200")
	s.SetFault(clusterTarget(), Fault{Status: 500})
	checkStatuses("500 200 200 200")
	s.SetFault(Target{Endpoint: Connections}, Fault{Status: 503})
	checkStatuses("500 503 200 200")
	s.SetFault(Target{Clusters, testProject}, Fault{Status: 502})
	s.SetFault(Target{Projects, "cn-north-4"}, Fault{Status: 501})
	checkStatuses("500 503 502 501")
	s.SetFault(clusterTarget())
	s.SetFault(Target{Endpoint: Connections})
	checkStatuses("200 200 502 501")
}

func TestFaultsDoNotHideInvalidSignatures(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetFault(clusterTarget(), Fault{Status: 500})
	r := signedRequest(t.Context(), "http://css.test", connectionsPath)
	r.Header.Del("Authorization")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("got status %d, want 401", w.Code)
	}
}

func TestFaultProbabilityDependsOnSeed(t *testing.T) {
	run := func(seed uint64) string {
		s := newTestSimulator(Options{Seed: seed})
		s.SetFault(clusterTarget(), Fault{Status: 500, Probability: 0.5})
		return getStatuses(t, s, connectionsPath, 200)
	}
	first := run(1)
	if n := strings.Count(first, "500"); n < 70 || n > 130 {
		t.Errorf("got %d of 200 requests failed, want about 100", n)
	}
	if run(1) != first {
		t.Error("got other faults with the same seed")
	}
	if run(2) == first {
		t.Error("got the same faults with another seed")
	}
}

func TestFaultAppliesWhileActive(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	s.SetFault(clusterTarget(), Fault{Status: 503, Active: func(now time.Time) bool { return now.Second() < 20 }})
	got := getStatuses(t, s, connectionsPath, 1)
	c.passed = 15 * time.Second
	if got += " " + getStatuses(t, s, connectionsPath, 1); got != "503 200" {
		t.Errorf("got statuses %s, want 503 200", got)
	}
}

func TestFaultsChangeConnectionPages(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault Fault
		query string
		want  string
	}{
		{"page cap", Fault{PageCap: 2}, "?limit=4&offset=1", "1 2"},
		{"page cap above the limit", Fault{PageCap: 4}, "?limit=2", "0 1"},
		{"offset ignored", Fault{IgnoreOffset: true}, "?limit=2&offset=2", "0 1"},
		{"IDs repeated", Fault{RepeatIDs: true}, "?limit=2&offset=2", "2 3 2"},
		{"combined", Fault{PageCap: 2, IgnoreOffset: true, RepeatIDs: true}, "?offset=2", "0 1 0"},
		{"nothing to repeat", Fault{RepeatIDs: true}, "?offset=5", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			setConnections(s, 5)
			s.SetFault(clusterTarget(), tc.fault)
			if p := getPage(t, s, connectionsPath+tc.query); p.ids() != tc.want || p.TotalCount != 5 {
				t.Errorf("got IDs %q of %d, want %q of 5", p.ids(), p.TotalCount, tc.want)
			}
		})
	}
}

func TestFaultsChangeClusterPages(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddCluster(testProject, Cluster{ID: "c2"})
	s.SetFault(Target{Clusters, testProject}, Fault{PageCap: 1, RepeatIDs: true, IgnoreOffset: true})
	if p := getPage(t, s, "/v1.0/proj1/clusters?offset=2"); p.ids() != "c1 c1" || p.TotalSize != 2 {
		t.Errorf("got IDs %q of %d, want %q of 2", p.ids(), p.TotalSize, "c1 c1")
	}
}

func TestLatencyDelaysTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSimulator(Options{})
		s.SetFault(clusterTarget(), Fault{Latency: 3 * time.Second})
		start := time.Now()
		if w := get(t, s, connectionsPath); w.Code != http.StatusOK {
			t.Errorf("got status %d, want 200", w.Code)
		}
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("got the response after %v, want 3s", waited)
		}
	})
}

func TestCancelDuringLatencyOrHang(t *testing.T) {
	for name, fault := range map[string]Fault{"latency": {Latency: time.Hour}, "hang": {Hang: true}} {
		synctest.Test(t, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.SetFault(clusterTarget(), fault)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			recovered := make(chan any)
			go func() {
				defer func() { recovered <- recover() }()
				s.ServeHTTP(httptest.NewRecorder(), signedRequest(ctx, "http://css.test", connectionsPath))
			}()
			synctest.Wait()
			if n := s.InFlight(); n != 1 {
				t.Errorf("%s: got %d requests in flight, want 1", name, n)
			}
			err, ok := (<-recovered).(error)
			if !ok || !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("%s: got panic %v, want %v", name, err, http.ErrAbortHandler)
			}
			if s.InFlight() != 0 || s.Cancelled() != 1 {
				t.Errorf("%s: got %d requests in flight, %d cancelled; want 0, 1", name, s.InFlight(), s.Cancelled())
			}
		})
	}
}

func TestDropClosesTheConnection(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	s.SetFault(clusterTarget(), Fault{Drop: true})
	resp, err := client.Do(signedRequest(t.Context(), srv.URL, connectionsPath))
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("got status %d, want no response", resp.StatusCode)
	}
	eventually(t, "the end of the request", func() bool { return s.InFlight() == 0 })
	for _, r := range s.Requests() { // net/http may have retried
		if r.Status != 0 || r.Cancelled || r.InFlight {
			t.Errorf("got record %+v, want status 0, not cancelled, not in flight", r)
		}
	}
}

func TestCutAfterEndsTheBodyEarly(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	for _, tc := range []struct {
		cutAfter int
		want     string
		err      error
	}{
		{5, emptyPage[:5], io.ErrUnexpectedEOF},
		{len(emptyPage), emptyPage, nil},
	} {
		s.SetFault(clusterTarget(), Fault{CutAfter: tc.cutAfter})
		got, err := fetch(t, client, srv.URL)
		if got.body != tc.want || !errors.Is(err, tc.err) || got.length != int64(len(emptyPage)) {
			t.Errorf("cut after %d: got body %q of %d bytes, error %v; want %q of %d, %v",
				tc.cutAfter, got.body, got.length, err, tc.want, len(emptyPage), tc.err)
		}
	}
}

// fetched is a response with the part of its body that arrived.
type fetched struct {
	status int
	header http.Header
	length int64 // Content-Length
	body   string
}

// fetch returns a response and the error of reading its body.
func fetch(t *testing.T, client *http.Client, url string) (fetched, error) {
	t.Helper()
	resp, err := client.Do(signedRequest(t.Context(), url, connectionsPath))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fetched{resp.StatusCode, resp.Header, resp.ContentLength, string(body)}, err
}

// pipeListener accepts connections within a bubble of testing/synctest. Unlike the RoundTripper of simtest, it supports
// hijacking.
type pipeListener struct {
	conns    chan net.Conn
	closed   chan struct{}
	close    sync.Once
	received atomic.Int64 // bytes that clients received
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return &countingConn{client, &l.received}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type countingConn struct {
	net.Conn
	received *atomic.Int64
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

// servePipes serves s and returns a client that reaches it within a bubble of testing/synctest.
func servePipes(t *testing.T, s *Simulator) (*pipeListener, *http.Client) {
	t.Helper()
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	serveErr := make(chan error, 1)
	go func() { serveErr <- server.Serve(listener) }()
	transport := &http.Transport{DialContext: listener.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-serveErr; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want %v", err, http.ErrServerClosed)
		}
	})
	return listener, &http.Client{Transport: transport}
}

func TestSlowResponsesAreComplete(t *testing.T) {
	for name, tc := range map[string]struct {
		fault Fault
		want  string
		err   error
	}{
		"trickle":          {Fault{Trickle: time.Second}, emptyPage, nil},
		"slow header":      {Fault{SlowHeader: time.Second}, emptyPage, nil},
		"both":             {Fault{SlowHeader: time.Second, Trickle: time.Minute}, emptyPage, nil},
		"trickle, cut":     {Fault{Trickle: time.Second, CutAfter: 5}, emptyPage[:5], io.ErrUnexpectedEOF},
		"slow header, cut": {Fault{SlowHeader: time.Second, CutAfter: 5}, emptyPage[:5], io.ErrUnexpectedEOF},
		"slow header, replaced body": {
			Fault{SlowHeader: time.Second, Status: 200, Body: "no", Padding: 1}, "no ", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestSimulator(Options{})
				listener, client := servePipes(t, s)
				s.SetFault(clusterTarget(), tc.fault)
				start := time.Now()
				got, err := fetch(t, client, "http://css.test")
				took := time.Since(start)
				if got.status != http.StatusOK || got.body != tc.want || !errors.Is(err, tc.err) {
					t.Errorf("got status %d, body %q, error %v; want 200, %q, %v", got.status, got.body, err, tc.want, tc.err)
				}
				headerBytes := listener.received.Load() - int64(len(got.body))
				want := time.Duration(headerBytes)*tc.fault.SlowHeader + time.Duration(len(got.body))*tc.fault.Trickle
				if took != want || headerBytes < 100 {
					t.Errorf("got %d bytes of header and the end of the body after %v, want at least 100 and %v",
						headerBytes, took, want)
				}
				if got.header.Get("X-Request-Id") == "" {
					t.Error("got no X-Request-Id, want one")
				}
			})
		})
	}
}

func TestDisconnectEndsUnfinishedResponse(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  Fault
		status int // recorded
	}{
		"trickle":         {Fault{Trickle: time.Hour}, 200},
		"slow header":     {Fault{SlowHeader: time.Hour}, 200},
		"endless":         {Fault{Endless: true}, 200},
		"endless, slow":   {Fault{Endless: true, Trickle: time.Millisecond, SlowHeader: time.Microsecond}, 200},
		"endless, gzip":   {Fault{Endless: true, Gzip: true}, 200},
		"garbage":         {Fault{Garbage: "\x16\x03\x01", SlowHeader: time.Hour}, 0},
		"endless garbage": {Fault{Garbage: "HTTP/1.1 200 OK\r\nX: ", Endless: true}, 0},
	} {
		for _, serverCloses := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, server closes: %t", name, serverCloses), func(t *testing.T) {
				s := newTestSimulator(Options{})
				srv := startServer(t, s)
				s.SetFault(clusterTarget(), tc.fault)
				conn := sendRaw(t, srv)
				eventually(t, "the start of the request", func() bool { return s.InFlight() == 1 })
				if tc.fault.Endless {
					if _, err := io.CopyN(io.Discard, conn, 400); err != nil {
						t.Fatal(err)
					}
				}
				if serverCloses {
					if err := srv.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				_ = conn.Close()
				eventually(t, "the end of the request", func() bool { return s.InFlight() == 0 })
				r, cancelled := s.Requests()[0], !serverCloses
				if r.Cancelled != cancelled || (s.Cancelled() == 1) != cancelled || r.Status != tc.status {
					t.Errorf("got record %+v and %d cancelled, want cancelled: %t, status %d",
						r, s.Cancelled(), cancelled, tc.status)
				}
			})
		}
	}
}

// sendRaw sends a request over a connection of its own, to which the response is sent.
func sendRaw(t *testing.T, srv *Server) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := signedRequest(t.Context(), srv.URL, connectionsPath).Write(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestEndlessPadding(t *testing.T) {
	for name, fault := range map[string]Fault{"plain": {Endless: true}, "gzip": {Endless: true, Gzip: true}} {
		s := newTestSimulator(Options{})
		srv, client := startServer(t, s), newClient(t)
		s.SetFault(clusterTarget(), fault)
		resp, err := client.Do(signedRequest(t.Context(), srv.URL, connectionsPath))
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 5<<20)
		_, err = io.ReadFull(resp.Body, body)
		_ = resp.Body.Close()
		if got := strings.TrimRight(string(body), " "); err != nil || got != emptyPage || resp.ContentLength != -1 {
			t.Errorf("%s: got body %.80q, Content-Length %d, error %v; want %q and blanks, -1, no error",
				name, got, resp.ContentLength, err, emptyPage)
		}
	}
}

func TestGzipCompressesPadding(t *testing.T) {
	s := newTestSimulator(Options{})
	srv := startServer(t, s)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	for _, padding := range []int{0, 7, blockSize, 100*blockSize + 7} {
		s.SetFault(clusterTarget(), Fault{Gzip: true, Padding: padding})
		got, err := fetch(t, &http.Client{Transport: transport}, srv.URL)
		if limit := 1000 + padding/900; err != nil || got.header.Get("Content-Encoding") != "gzip" || len(got.body) > limit {
			t.Fatalf("padding %d: got %d bytes, header %v, error %v; want at most %d bytes of gzip",
				padding, len(got.body), got.header, err, limit)
		}
		plain, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len(emptyPage))
		if _, err := io.ReadFull(plain, head); err != nil || string(head) != emptyPage {
			t.Errorf("padding %d: got %q, error %v; want %q", padding, head, err, emptyPage)
		}
		if n, err := io.Copy(io.Discard, plain); err != nil || n != int64(padding) { //nolint:gosec // it is a bomb
			t.Errorf("got %d bytes of padding, error %v; want %d", n, err, padding)
		}
	}
}

func TestPaddingAddsBlanks(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	for _, padding := range []int{1, blockSize, 2*blockSize + 1} {
		s.SetFault(clusterTarget(), Fault{Body: "{}", Padding: padding})
		got, err := fetch(t, client, srv.URL)
		if want := "{}" + strings.Repeat(" ", padding); err != nil || got.body != want || got.length != int64(len(want)) {
			t.Errorf("padding %d: got %d bytes, Content-Length %d, error %v; want %d bytes",
				padding, len(got.body), got.length, err, len(want))
		}
	}
}

func TestHeaderBytesAddsHeaders(t *testing.T) {
	for _, n := range []int{1, 1000, 1024, 5000, 300 << 10} {
		s := newTestSimulator(Options{})
		s.SetFault(clusterTarget(), Fault{HeaderBytes: n})
		got := 0
		for name, values := range get(t, s, connectionsPath).Header() {
			if strings.HasPrefix(name, "X-Padding-") {
				got += len(name) + len(values[0]) + len(": \r\n")
			}
		}
		if limit := n + len("X-Padding-300: \r\n"); got < n || got > limit {
			t.Errorf("got %d bytes of header, want %d to %d", got, n, limit)
		}
	}
}

func TestGarbageReplacesHTTP(t *testing.T) {
	const greeting = "SSH-2.0-OpenSSH_9.2\r\n"
	s := newTestSimulator(Options{})
	srv := startServer(t, s)
	s.SetFault(clusterTarget(), Fault{Garbage: greeting})
	if got, err := io.ReadAll(sendRaw(t, srv)); err != nil || string(got) != greeting {
		t.Errorf("got %q, error %v; want %q", got, err, greeting)
	}
	eventually(t, "the end of the request", func() bool { return s.InFlight() == 0 })
	if r := s.Requests()[0]; r.Status != 0 || r.Cancelled {
		t.Errorf("got record %+v, want status 0 and not cancelled", r)
	}
}

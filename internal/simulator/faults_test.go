// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func clusterTarget() Target { return Target{Connections, testCluster} }

func TestFaultAnswers(t *testing.T) {
	html := http.Header{"content-type": {"text/html"}, "Retry-After": {"7"}}
	for _, tc := range []struct {
		name        string
		fault       Fault
		status      int
		body        string
		contentType string
		retryAfter  string
	}{
		{"none", Fault{}, 200, `{"connections":[],"total_count":0}`, "application/json", ""},
		{"status alone", Fault{Status: 502}, 502, "", "", ""},
		{"empty 200", Fault{Status: 200}, 200, "", "", ""},
		{"raw body", Fault{Body: `{}`}, 200, `{}`, "application/json", ""},
		{"everything", Fault{Status: 429, Body: "<p>", Header: html}, 429, "<p>", "text/html", "7"},
		{"redirect", Fault{Redirect: "/elsewhere"}, 302, "", "", ""},
		{"redirect of another kind", Fault{Redirect: "/elsewhere", Status: 307, Body: "there"}, 307, "there",
			"application/json", ""},
		{"padding", Fault{Body: "{}", Padding: 3}, 200, "{}   ", "application/json", ""},
		{"header alone", Fault{Header: http.Header{"Retry-After": {"1"}}}, 200, `{"connections":[],"total_count":0}`,
			"application/json", "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.SetFault(clusterTarget(), tc.fault)
			w := get(t, s, connectionsPath)
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tc.status, tc.body)
			}
			if got := w.Header().Get("Content-Type"); got != tc.contentType {
				t.Errorf("Content-Type %q, want %q", got, tc.contentType)
			}
			if got := w.Header().Get("Retry-After"); got != tc.retryAfter {
				t.Errorf("Retry-After %q, want %q", got, tc.retryAfter)
			}
			if w.Header().Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
			if got := w.Header().Get("Location"); got != tc.fault.Redirect {
				t.Errorf("Location %q, want %q", got, tc.fault.Redirect)
			}
		})
	}
}

// getStatuses sends n requests and joins the statuses of the answers.
func getStatuses(t *testing.T, s *Simulator, target string, n int) string {
	t.Helper()
	var out []string
	for range n {
		out = append(out, strconv.Itoa(get(t, s, target).Code))
	}
	return strings.Join(out, " ")
}

func TestFaultSequence(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults []Fault
		want   string
	}{
		{"always", []Fault{{Status: 500}}, "500 500 500 500 500"},
		{"after", []Fault{{Status: 500, After: 2}}, "200 200 500 500 500"},
		{"for", []Fault{{Status: 500, For: 2}}, "500 500 200 200 200"},
		{"after and for", []Fault{{Status: 500, After: 1, For: 2}}, "200 500 500 200 200"},
		{"a sequence", []Fault{{Status: 429, For: 1}, {Status: 503, After: 1, For: 1}}, "429 503 200 200 200"},
		{"the first one wins", []Fault{{Status: 429, For: 2}, {Status: 503}}, "429 429 503 503 503"},
		{"cleared", nil, "200 200 200 200 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.SetFault(clusterTarget(), Fault{Status: 418})
			s.SetFault(clusterTarget(), tc.faults...)
			if got := getStatuses(t, s, connectionsPath, 5); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestFaultTargets(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddCluster(testProject, Cluster{ID: "c2"})
	second := strings.Replace(connectionsPath, "c1", "c2", 1)
	check := func(want string) {
		t.Helper()
		got := getStatuses(t, s, connectionsPath, 1) + " " + getStatuses(t, s, second, 1) + " " +
			getStatuses(t, s, "/v1.0/proj1/clusters", 1) + " " + getStatuses(t, s, "/v3/projects?name=cn-north-4", 1)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check("200 200 200 200")
	s.SetFault(clusterTarget(), Fault{Status: 500})
	check("500 200 200 200")
	s.SetFault(Target{Endpoint: Connections}, Fault{Status: 503})
	check("500 503 200 200")
	s.SetFault(Target{Clusters, testProject}, Fault{Status: 502})
	s.SetFault(Target{Projects, "cn-north-4"}, Fault{Status: 501})
	check("500 503 502 501")
	s.SetFault(clusterTarget())
	s.SetFault(Target{Endpoint: Connections})
	check("200 200 502 501")
}

func TestFaultsDoNotHideInvalidSignatures(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetFault(clusterTarget(), Fault{Status: 500})
	r := signedRequest(t.Context(), "http://css.test", connectionsPath)
	r.Header.Del("Authorization")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", w.Code)
	}
}

func TestFaultProbability(t *testing.T) {
	run := func(seed uint64) string {
		s := newTestSimulator(Options{Seed: seed})
		s.SetFault(clusterTarget(), Fault{Status: 500, Probability: 0.5})
		return getStatuses(t, s, connectionsPath, 200)
	}
	first := run(1)
	if n := strings.Count(first, "500"); n < 70 || n > 130 {
		t.Errorf("%d of 200 requests failed, want about 100", n)
	}
	if run(1) != first {
		t.Error("the same seed gave other faults")
	}
	if run(2) == first {
		t.Error("another seed gave the same faults")
	}
}

func TestFaultActive(t *testing.T) {
	offset := time.Duration(0)
	s := newTestSimulator(Options{Now: func() time.Time { return testNow().Add(offset) }})
	s.SetFault(clusterTarget(), Fault{Status: 503, Active: func(now time.Time) bool { return now.Second() < 20 }})
	got := getStatuses(t, s, connectionsPath, 1)
	offset = 15 * time.Second
	if got += " " + getStatuses(t, s, connectionsPath, 1); got != "503 200" {
		t.Errorf("got %s, want 503 200", got)
	}
}

func TestFaultPages(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault Fault
		query string
		want  string
	}{
		{"page cap", Fault{PageCap: 2}, "?limit=4&offset=1", "1 2"},
		{"page cap above the limit", Fault{PageCap: 4}, "?limit=2", "0 1"},
		{"offset ignored", Fault{IgnoreOffset: true}, "?limit=2&offset=2", "0 1"},
		{"ids repeated", Fault{RepeatIDs: true}, "?limit=2&offset=2", "2 3 2"},
		{"combined", Fault{PageCap: 2, IgnoreOffset: true, RepeatIDs: true}, "?offset=2", "0 1 0"},
		{"nothing to repeat", Fault{RepeatIDs: true}, "?offset=5", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			setConnections(s, 5)
			s.SetFault(clusterTarget(), tc.fault)
			if p := getPage(t, s, connectionsPath+tc.query); p.ids() != tc.want || p.TotalCount != 5 {
				t.Errorf("ids %q of %d, want %q of 5", p.ids(), p.TotalCount, tc.want)
			}
		})
	}

	s := newTestSimulator(Options{})
	s.AddCluster(testProject, Cluster{ID: "c2"})
	s.SetFault(Target{Clusters, testProject}, Fault{PageCap: 1, RepeatIDs: true, IgnoreOffset: true})
	if p := getPage(t, s, "/v1.0/proj1/clusters?offset=2"); p.ids() != "c1 c1" || p.TotalSize != 2 {
		t.Errorf("clusters %q of %d, want %q of 2", p.ids(), p.TotalSize, "c1 c1")
	}
}

func TestLatencyAndHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSimulator(Options{})
		s.SetFault(clusterTarget(), Fault{Latency: 3 * time.Second})
		begun := time.Now()
		if w := get(t, s, connectionsPath); w.Code != http.StatusOK {
			t.Errorf("status %d", w.Code)
		}
		if waited := time.Since(begun); waited != 3*time.Second {
			t.Errorf("waited %v, want 3s", waited)
		}
		for name, fault := range map[string]Fault{"latency": {Latency: time.Hour}, "hang": {Hang: true}} {
			s.ForgetRequests()
			s.SetFault(clusterTarget(), fault)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			ended := make(chan any)
			go func() {
				defer func() { ended <- recover() }()
				s.ServeHTTP(httptest.NewRecorder(), signedRequest(ctx, "http://css.test", connectionsPath))
			}()
			synctest.Wait()
			if n := s.InFlight(); n != 1 {
				t.Errorf("%s: %d in flight, want 1", name, n)
			}
			err, ok := (<-ended).(error)
			if !ok || !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("%s: ended with %v, want http.ErrAbortHandler", name, err)
			}
			if s.InFlight() != 0 || s.Cancelled() != 1 {
				t.Errorf("%s: %d in flight, %d cancelled, want 0 and 1", name, s.InFlight(), s.Cancelled())
			}
			cancel()
		}
	})
}

func TestBrokenConnections(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	const right = `{"connections":[],"total_count":0}`

	s.SetFault(clusterTarget(), Fault{Drop: true})
	resp, err := client.Do(signedRequest(t.Context(), srv.URL, connectionsPath))
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("dropped: status %d, want no answer", resp.StatusCode)
	}
	eventually(t, "end of the dropped request", func() bool { return s.InFlight() == 0 })
	for _, r := range s.Requests() { // net/http may have retried
		if r.Status != 0 || r.Cancelled || r.InFlight {
			t.Errorf("dropped: recorded %+v", r)
		}
	}

	for _, tc := range []struct {
		cut  int
		want string
		err  error
	}{
		{5, right[:5], io.ErrUnexpectedEOF},
		{len(right), right, nil},
	} {
		s.SetFault(clusterTarget(), Fault{CutAfter: tc.cut})
		resp, err := client.Do(signedRequest(t.Context(), srv.URL, connectionsPath))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(body) != tc.want || !errors.Is(err, tc.err) || resp.ContentLength != int64(len(right)) {
			t.Errorf("cut after %d: %q of %d, %v", tc.cut, body, resp.ContentLength, err)
		}
	}
}

// fetched is an answer with the part of its body that arrived.
type fetched struct {
	status int
	header http.Header
	length int64 // Content-Length
	body   string
}

// fetch returns an answer and the error of reading its body.
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

// TestSlowAnswers checks that slow answers are complete.
func TestSlowAnswers(t *testing.T) {
	const right = `{"connections":[],"total_count":0}`
	for name, tc := range map[string]struct {
		fault Fault
		least time.Duration
		want  string
		err   error
	}{
		"trickle":     {Fault{Trickle: time.Millisecond}, 34 * time.Millisecond, right, nil},
		"slow header": {Fault{SlowHeader: time.Millisecond}, 100 * time.Millisecond, right, nil},
		"both": {Fault{SlowHeader: time.Millisecond, Trickle: time.Millisecond}, 134 * time.Millisecond,
			right, nil},
		"trickle, cut": {Fault{Trickle: time.Millisecond, CutAfter: 5}, 5 * time.Millisecond, right[:5],
			io.ErrUnexpectedEOF},
		"slow header, cut": {Fault{SlowHeader: time.Millisecond, CutAfter: 5}, 100 * time.Millisecond, right[:5],
			io.ErrUnexpectedEOF},
		"slow header, other": {Fault{SlowHeader: time.Millisecond, Status: 200, Body: "no", Padding: 1},
			100 * time.Millisecond, "no ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			srv, client := startServer(t, s), newClient(t)
			s.SetFault(clusterTarget(), tc.fault)
			begun := time.Now()
			got, err := fetch(t, client, srv.URL)
			if got.status != http.StatusOK || got.body != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("status %d, %q, %v, want %q, %v", got.status, got.body, err, tc.want, tc.err)
			}
			if waited := time.Since(begun); waited < tc.least {
				t.Errorf("it took %v, want at least %v", waited, tc.least)
			}
			if got.header.Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
		})
	}
}

// TestDisconnectEndsEndlessAnswer checks that a disconnect ends an endless answer.
func TestDisconnectEndsEndlessAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  Fault
		status int // recorded
	}{
		"trickle":         {Fault{Trickle: time.Hour}, 200},
		"slow header":     {Fault{SlowHeader: time.Hour}, 200},
		"endless":         {Fault{Endless: true}, 200},
		"endless, slow":   {Fault{Endless: true, Trickle: time.Millisecond, SlowHeader: time.Microsecond}, 200},
		"endless, small":  {Fault{Endless: true, Gzip: true}, 200},
		"garbage":         {Fault{Garbage: "\x16\x03\x01", SlowHeader: time.Hour}, 0},
		"endless garbage": {Fault{Garbage: "HTTP/1.1 200 OK\r\nX: ", Endless: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, who := range []string{"client", "server"} {
				s := newTestSimulator(Options{})
				srv := startServer(t, s)
				s.SetFault(clusterTarget(), tc.fault)
				conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				if err := signedRequest(t.Context(), srv.URL, connectionsPath).Write(conn); err != nil {
					t.Fatal(err)
				}
				eventually(t, "start of the request", func() bool { return s.InFlight() == 1 })
				if tc.fault.Endless {
					if _, err := io.CopyN(io.Discard, conn, 400); err != nil {
						t.Fatal(err)
					}
				}
				if who == "server" {
					if err := srv.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				_ = conn.Close()
				eventually(t, "end of the request", func() bool { return s.InFlight() == 0 })
				r := s.Requests()[0]
				if gone := who == "client"; r.Cancelled != gone || (s.Cancelled() == 1) != gone || r.Status != tc.status {
					t.Errorf("ended by the %s: recorded %+v, %d cancelled, want status %d", who, r, s.Cancelled(), tc.status)
				}
			}
		})
	}
}

func TestEndless(t *testing.T) {
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
		if got := strings.TrimRight(string(body), " "); err != nil || got != `{"connections":[],"total_count":0}` ||
			resp.ContentLength != -1 {
			t.Errorf("%s: %.80q of %d, %v", name, got, resp.ContentLength, err)
		}
	}
}

func TestGzip(t *testing.T) {
	const right = `{"connections":[],"total_count":0}`
	s := newTestSimulator(Options{})
	srv := startServer(t, s)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	for _, padding := range []int{0, 7, blockSize, 100*blockSize + 7} {
		s.SetFault(clusterTarget(), Fault{Gzip: true, Padding: padding})
		got, err := fetch(t, &http.Client{Transport: transport}, srv.URL)
		if err != nil || got.header.Get("Content-Encoding") != "gzip" || len(got.body) > 1000+padding/900 {
			t.Fatalf("padding %d: %d bytes, header %v, %v", padding, len(got.body), got.header, err)
		}
		plain, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len(right))
		if _, err := io.ReadFull(plain, head); err != nil || string(head) != right {
			t.Errorf("padding %d: %q, %v", padding, head, err)
		}
		if n, err := io.Copy(io.Discard, plain); err != nil || n != int64(padding) { //nolint:gosec // it is a bomb
			t.Errorf("%d trailing blanks, want %d: %v", n, padding, err)
		}
	}
}

func TestPadding(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	for _, padding := range []int{1, blockSize, 2*blockSize + 1} {
		s.SetFault(clusterTarget(), Fault{Body: "{}", Padding: padding})
		got, err := fetch(t, client, srv.URL)
		if want := "{}" + strings.Repeat(" ", padding); err != nil || got.body != want || got.length != int64(len(want)) {
			t.Errorf("padding %d: %d bytes of %d, %v", padding, len(got.body), got.length, err)
		}
	}
}

func TestHeaderBytes(t *testing.T) {
	for _, n := range []int{1, 1000, 1024, 5000, 300 << 10} {
		s := newTestSimulator(Options{})
		s.SetFault(clusterTarget(), Fault{HeaderBytes: n})
		got := 0
		for name, values := range get(t, s, connectionsPath).Header() {
			if strings.HasPrefix(name, "X-Padding-") {
				got += len(name) + len(values[0]) + len(": \r\n")
			}
		}
		if got < n || got > n+len("X-Padding-300: \r\n") {
			t.Errorf("%d bytes of header, want %d", got, n)
		}
	}
}

// TestGarbage reads the raw connection, without an HTTP client.
func TestGarbage(t *testing.T) {
	const greeting = "SSH-2.0-OpenSSH_9.2\r\n"
	s := newTestSimulator(Options{})
	srv := startServer(t, s)
	s.SetFault(clusterTarget(), Fault{Garbage: greeting})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := signedRequest(t.Context(), srv.URL, connectionsPath).Write(conn); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(bufio.NewReader(conn)); err != nil || string(got) != greeting {
		t.Errorf("%q, %v", got, err)
	}
	eventually(t, "end of the request", func() bool { return s.InFlight() == 0 })
	if r := s.Requests()[0]; r.Status != 0 || r.Cancelled {
		t.Errorf("recorded %+v", r)
	}
}

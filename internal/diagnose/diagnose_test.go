// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAccessKeysAreShortened: never more than a third of a key is shown.
func TestAccessKeysAreShortened(t *testing.T) {
	for key, want := range map[string]string{
		"": "…", "A": "…", "AB": "…", "ABC": "A…", "ABCDEF": "AB…", "ABCDEFGHIJKL": "ABCD…", "ABCDEFGHIJKLMNO": "ABCD…O",
		"HSTABCDEFGHIJKLMNOPQ": "HSTA…PQ", strings.Repeat("K", 400): "KKKK…KK",
	} {
		if got := shorten(key); got != want || len(strings.ReplaceAll(got, "…", "")) > len(key)/3 {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

// TestAcceptedCredentials: not every 4xx proves that somebody has looked at them.
func TestAcceptedCredentials(t *testing.T) {
	for _, test := range []struct {
		status int
		reason cloud.Reason
		code   string
		want   state
	}{
		{403, cloud.ReasonDenied, "CSS.0015", ok}, {403, cloud.ReasonDenied, "APIGW.0302", ok}, {403, cloud.ReasonDenied, "403", ok},
		{400, cloud.ReasonInvalid, "CSS.0001", ok}, {404, cloud.ReasonNotFound, "CSS.0022", ok},
		{403, cloud.ReasonDenied, "", skipped}, // by a proxy or a firewall, for example
		{404, cloud.ReasonNotFound, "APIG.0101", skipped}, {404, cloud.ReasonNotFound, "APIGW.0101", skipped},
		{404, cloud.ReasonNotFound, "", skipped}, {429, cloud.ReasonThrottled, "APIGW.0308", skipped},
		{500, cloud.ReasonServer, "CSS.0005", skipped}, {401, cloud.ReasonAuth, "APIGW.0301", failed},
		{400, cloud.ReasonAuth, "CSS.0045", failed},
	} {
		got := judgeAuthentication(&cloud.Error{Status: test.status, Reason: test.reason, Code: test.code}, "CSS")
		if got.state != test.want {
			t.Errorf("%d %s: got %q, want %s", test.status, test.code, got, test.want)
		}
	}
}

func TestReportFitsIntoATerminal(t *testing.T) {
	var out strings.Builder
	r := report{to: &out}
	long := strings.Repeat("0123456789", 25)
	r.finding("CSS DNS", finding{failed, "a" + strings.Repeat(" word", 40) + " " + long + " 搜索" + strings.Repeat("长", 60) +
		" \x1b[31m\u202egnp\nnext\ttab", "check " + long})
	got := out.String()
	joined := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(got, "\n", ""), " ", ""), "-", "")
	if !strings.Contains(joined, long) || !strings.Contains(got, "What to do: ") || strings.ContainsAny(got, "\x1b\u202e\t") {
		t.Errorf("got:\n%s", got)
	}
	for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if n := columns(line); n > width || strings.HasSuffix(line, " ") || line == "" {
			t.Errorf("line %d has %d columns: %q", i+1, n, line)
		}
		if i > 0 && !strings.HasPrefix(line, "         ") {
			t.Errorf("line %d is not indented: %q", i+1, line)
		}
	}
	if !strings.HasPrefix(got, "failed   CSS DNS          a word word") {
		t.Errorf("got:\n%s", got)
	}
}

// TestMeterCountsWhatIsSent: net/http sends a request again if a kept connection breaks.
func TestMeterCountsWhatIsSent(t *testing.T) {
	var received atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := received.Add(1)
		if n%2 == 0 { // every second request, on a connection that was kept
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "{}")
	}))
	server.Config.ErrorLog = nil
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	m := NewMeter(transport)
	failed := 0
	for range 2 * MaxRequests {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := m.RoundTrip(req)
		if err != nil {
			failed++
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if n := received.Load(); n > MaxRequests || n < MaxRequests-1 || failed < MaxRequests {
		t.Errorf("the server received %d requests, and %d failed; want %d sent and the others refused", n, failed, MaxRequests)
	}
	if m.left() != 0 {
		t.Errorf("got %d requests left, want none", m.left())
	}
}

func TestDurations(t *testing.T) {
	var got []string
	for _, d := range []time.Duration{
		0, 99 * time.Microsecond, 1234 * time.Microsecond, 123456 * time.Microsecond, 12345 * time.Millisecond,
	} {
		got = append(got, took(d))
	}
	if want := []string{"less than 100µs", "less than 100µs", "1.2ms", "123ms", "12.3s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProbeIsSentOnce: net/http repeats a request that HTTP/2 refuses.
func TestProbeIsSentOnce(t *testing.T) {
	var received atomic.Int64
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) { refuseStreams(c, &received) },
	}
	server.StartTLS()
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	transport, isTransport := server.Client().Transport.(*http.Transport)
	if err != nil || !isTransport {
		t.Fatal(err)
	}
	transport.ForceAttemptHTTP2 = true
	trail := &trail{endpoint: endpoint}
	trail.send(t.Context(), transport, "test")
	if got := trail.judgeHTTP(); !errors.Is(trail.err, errAgain) || got.state != failed || received.Load() != 1 {
		t.Errorf("got %q after %d requests, want it to fail after one", got, received.Load())
	}
}

// refuseStreams refuses each request of an HTTP/2 connection.
func refuseStreams(c io.ReadWriter, received *atomic.Int64) {
	const headers, settings, refused = 1, 4, 7
	_, _ = io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	_, _ = c.Write([]byte{0, 0, 0, settings, 0, 0, 0, 0, 0})
	for frame := make([]byte, 9); ; {
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, c, int64(frame[0])<<16|int64(frame[1])<<8|int64(frame[2]))
		switch {
		case frame[3] == headers:
			received.Add(1)
			_, _ = c.Write(append([]byte{0, 0, 4, 3, 0}, frame[5], frame[6], frame[7], frame[8], 0, 0, 0, refused))
		case frame[3] == settings && frame[4] == 0:
			_, _ = c.Write([]byte{0, 0, 0, settings, 1, 0, 0, 0, 0})
		}
	}
}

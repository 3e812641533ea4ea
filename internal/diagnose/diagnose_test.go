// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/diagnose/report"

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
	const ok, failed, skipped = report.OK, report.Failed, report.Skipped
	for _, test := range []struct {
		status int
		reason cloud.Reason
		code   string
		want   report.State
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
		if got.State != test.want {
			t.Errorf("%d %s: got %q, want %s", test.status, test.code, got, test.want)
		}
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

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/discovery"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func TestNegotiatedEncodingsHaveTheSameContent(t *testing.T) {
	r := newRig(t, nil, "healthy")
	_, plain := r.fetch(t, http.MethodGet, "/metrics?collect[]=clusters", http.Header{"Accept-Encoding": {"identity"}})
	if !strings.Contains(plain, "css_vpcep_up{") {
		t.Fatal(plain)
	}
	for accepted, want := range map[string]string{
		"":                         "",
		"identity":                 "",
		"gzip":                     "gzip",
		"GZIP":                     "gzip",
		"zstd":                     "zstd",
		"gzip, zstd":               "zstd",
		"zstd,gzip":                "zstd", // sent by Prometheus with the feature zstd-scrape
		"zstd;q=0.5, gzip":         "gzip",
		"zstd;q=1.0, gzip;q=0.5":   "zstd",
		"zstd;q=0.5, gzip;q=0.6":   "gzip",
		"gzip;q=0":                 "",
		"gzip;q=0.000, zstd;q=0.1": "zstd",
		"gzip;q=0, *":              "", // wildcards are ignored
		"gzip;q=0.1":               "gzip",
		"identity;q=0, gzip":       "gzip",
		"identity;q=0, zstd":       "zstd",
		"identity;q=0":             "", // nothing else is offered
		"*":                        "",
		"*;q=0":                    "",
		"gzip;q=nonsense":          "",
		"gzip;level=9":             "gzip",
		"deflate, br":              "",
		",,;;=":                    "",
	} {
		for range 2 { // the second time with a reused compressor
			resp, body := r.fetch(t, http.MethodGet, "/metrics?collect[]=clusters", http.Header{"Accept-Encoding": {accepted}})
			if got := resp.Header.Get("Content-Encoding"); got != want {
				t.Errorf("%q: got Content-Encoding %q, want %q", accepted, got, want)
			}
			vary := resp.Header.Values("Vary")
			if !slices.Contains(vary, "Accept-Encoding") || !slices.Contains(vary, "Accept") {
				t.Errorf("%q: got Vary %q, want Accept-Encoding and Accept", accepted, vary)
			}
			body = decompressed(t, resp.Header.Get("Content-Encoding"), body)
			if diff := cmp.Diff(withoutTimes(strings.Split(plain, "\n")), withoutTimes(strings.Split(body, "\n"))); diff != "" {
				t.Errorf("%q: (-identity +got)\n%s", accepted, diff)
			}
		}
	}
}

func TestErrorsAreNotCompressed(t *testing.T) {
	r := newRig(t, nil, "healthy")
	resp, body := r.fetch(t, http.MethodGet, "/metrics?collect[]=nonsense", http.Header{"Accept-Encoding": {"gzip"}})
	encoding := resp.Header.Get("Content-Encoding")
	if resp.StatusCode != http.StatusBadRequest || encoding != "" || !strings.Contains(body, "collect[]") {
		t.Errorf("got %d, Content-Encoding %q: %q; want 400 and plain text", resp.StatusCode, encoding, body)
	}
}

func decompressed(t *testing.T, encoding, body string) string {
	t.Helper()
	reader := io.Reader(strings.NewReader(body))
	switch encoding {
	case "gzip":
		zipped, err := gzip.NewReader(reader)
		if err != nil {
			t.Fatal(err)
		}
		reader = zipped
	case "zstd":
		zipped, err := zstd.NewReader(reader)
		if err != nil {
			t.Fatal(err)
		}
		defer zipped.Close()
		reader = zipped
	}
	all, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestFormatsAreCompleteInAllEncodings(t *testing.T) {
	r := newRig(t, nil, "healthy", "nonsense")
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
	want := []string{"css_vpcep_connection_max_sessions", "css_vpcep_exporter_scrape_failures_total", "css_vpcep_up"}
	for _, format := range []string{
		"text/plain;version=0.0.4",
		"application/openmetrics-text;version=1.0.0", "application/openmetrics-text;version=0.0.1",
		protobuf + "delimited", protobuf + "text", protobuf + "compact-text", "nonsense", "",
	} {
		for range 2 { // the second time with a reused compressor
			for _, encoding := range []string{"gzip", "zstd", "identity"} {
				resp, body := r.fetch(t, http.MethodGet, "/metrics?name[]="+strings.Join(want, "&name[]="),
					http.Header{"Accept": {format}, "Accept-Encoding": {encoding}})
				body = decompressed(t, resp.Header.Get("Content-Encoding"), body)
				contentType := resp.Header.Get("Content-Type")
				accepted, _, _ := strings.Cut(format, ";")
				if strings.Contains(format, "/") && !strings.HasPrefix(contentType, accepted) {
					t.Errorf("%q: got Content-Type %q", format, contentType)
				}
				if strings.Contains(contentType, "openmetrics") != strings.HasSuffix(body, "\n# EOF\n") {
					t.Errorf("%q: the response ends with %q", format, body[max(0, len(body)-20):])
				}
				if names := familyNames(t, format, contentType, body); !slices.Equal(names, want) {
					t.Errorf("%q, %s: got families %q, want %q, in\n%.2000s", format, encoding, names, want, body)
				}
			}
		}
	}
}

// familyNames returns the names of the metric families in a response.
func familyNames(t *testing.T, format, contentType, body string) (names []string) {
	t.Helper()
	switch {
	case strings.Contains(format, "encoding=delimited"):
		decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.Format(contentType))
		for {
			var family dto.MetricFamily
			if err := decoder.Decode(&family); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				return names
			}
			names = append(names, family.GetName())
		}
	case strings.Contains(format, "protobuf"):
		return distinctMatches(`name:\s*"(css_vpcep_[a-z_]+)"`, body)
	case strings.Contains(contentType, "openmetrics"):
		return distinctMatches(`(?m)^(css_vpcep_[a-z_]+){`, body)
	}
	return distinctMatches(`(?m)^# TYPE (\S+)`, body)
}

// distinctMatches returns the matches of the first group of a regular expression, without repetitions.
func distinctMatches(expression, body string) (names []string) {
	for _, found := range regexp.MustCompile(expression).FindAllStringSubmatch(body, -1) {
		names = append(names, found[1])
	}
	return slices.Compact(names)
}

func TestHEADReturnsTheHeadersOfGETWithoutAPIRequests(t *testing.T) {
	r := newRig(t, nil, "healthy")
	for _, path := range []string{"/metrics", "/metrics?collect[]=exporter", "/probe?target=healthy"} {
		for _, accepted := range []string{"", "application/openmetrics-text;version=1.0.0"} {
			header := http.Header{"Accept": {accepted}, "Accept-Encoding": {"gzip"}}
			before := len(r.cloud.Requests())
			head, body := r.fetch(t, http.MethodHead, path, header)
			requests := len(r.cloud.Requests()) - before
			if head.StatusCode != http.StatusOK || body != "" || requests != 0 {
				t.Errorf("HEAD %s: got %d, %d API requests, body %q; want 200 and nothing else",
					path, head.StatusCode, requests, body)
			}
			get, _ := r.fetch(t, http.MethodGet, path, header)
			for _, name := range []string{"Content-Type", "Vary"} {
				if got, want := head.Header.Values(name), get.Header.Values(name); !slices.Equal(got, want) {
					t.Errorf("HEAD %s: got %s %q, want %q", path, name, got, want)
				}
			}
			if got := head.Header.Values("Content-Length"); got != nil { // it would have to be that of GET
				t.Errorf("HEAD %s: got Content-Length %q, want none", path, got)
			}
		}
	}
}

func TestHandlerMetricsCountScrapesAndProbes(t *testing.T) {
	r := newRig(t, nil, "healthy")
	r.get(t, http.MethodGet, "/probe?target=healthy", "")
	r.get(t, http.MethodGet, "/metrics?collect[]=nonsense", "")
	_, body := r.get(t, http.MethodGet, "/metrics?collect[]=exporter", "")
	for _, want := range []string{
		`promhttp_metric_handler_requests_total{code="200"} 1`,
		`promhttp_metric_handler_requests_total{code="400"} 1`,
		`promhttp_metric_handler_requests_in_flight 1`,
		`promhttp_metric_handler_errors_total{cause="encoding"} 0`,
		`promhttp_metric_handler_errors_total{cause="gathering"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("missing: %s\nin:\n%s", want, body)
		}
	}
}

func TestInvalidMetricIsLoggedAndLeavesTheOthers(t *testing.T) {
	r := newRig(t, nil, "healthy")
	var log strings.Builder
	r.server.logger = slog.New(slog.NewTextHandler(&log, nil))
	r.server.registry.MustRegister(prometheus.CollectorFunc(func(ch chan<- prometheus.Metric) {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("broken", "", nil, nil), errors.New("no value"))
	}))
	const counter = `promhttp_metric_handler_errors_total{cause="gathering"} 2`
	for range 2 {
		status, body := r.get(t, http.MethodGet, "/metrics", "")
		if status != http.StatusOK || !strings.Contains(body, "css_vpcep_up{") || !strings.Contains(body, "promhttp_") {
			t.Errorf("got %d, want 200 and all other metrics:\n%s", status, body)
		}
	}
	if _, body := r.get(t, http.MethodGet, "/metrics", ""); !strings.Contains(body, counter) {
		t.Errorf("missing: %s\nin:\n%s", counter, body)
	}
	const logged = `level=ERROR msg="Exposition failed" err="error gathering metrics:`
	if got := strings.Count(log.String(), logged); got != 3 {
		t.Errorf("got %d logged errors, want 3:\n%s", got, log.String())
	}
}

func TestDisconnectIsNotLoggedAndDoesNotAffectTheNextRequest(t *testing.T) {
	r := newRig(t, nil, "healthy")
	var log strings.Builder
	r.server.logger = slog.New(slog.NewTextHandler(&log, nil))
	handler, err := r.server.Handler()
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"gzip", "zstd", "identity"} {
		ctx, disconnect := context.WithCancel(t.Context())
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept-Encoding", encoding)
		handler.ServeHTTP(disconnectedWriter{httptest.NewRecorder(), disconnect}, req)
		if ctx.Err() == nil {
			t.Errorf("%s: nothing was written", encoding)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		for _, want := range []string{"css_vpcep_up{", "promhttp_metric_handler_requests_total{"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("missing after a client disconnected: %s\nin:\n%s", want, w.Body)
			}
		}
	}
	if log.Len() > 0 {
		t.Errorf("got log %s, want none", log.String())
	}
}

// disconnectedWriter writes to a client that has disconnected. As in net/http, the first write cancels the request.
type disconnectedWriter struct {
	*httptest.ResponseRecorder
	disconnect context.CancelFunc
}

func (w disconnectedWriter) Write([]byte) (int, error) {
	w.disconnect()
	return 0, io.ErrClosedPipe
}

func TestFamiliesAreSortedAndDistinct(t *testing.T) {
	r := newRig(t, &discovery.Search{}, "healthy")
	_, body := r.get(t, http.MethodGet, "/metrics", "")
	var names []string
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if !slices.IsSorted(names) || len(names) != len(slices.Compact(slices.Clone(names))) {
		t.Errorf("got families %q, want them sorted and distinct", names)
	}
	for _, want := range []string{"css_vpcep_up", "css_vpcep_exporter_scrape_failures_total"} {
		if !slices.Contains(names, want) {
			t.Errorf("missing: %s in %q", want, names)
		}
	}
}

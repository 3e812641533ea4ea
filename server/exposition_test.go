// SPDX-License-Identifier: Apache-2.0

package server

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/discovery"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// TestTakesGzip reads Accept-Encoding as RFC 9110 has it.
func TestTakesGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"":                           false,
		"gzip":                       true,
		"GZIP":                       true,
		"x-gzip":                     true,
		"zstd":                       false,
		"zstd, gzip":                 true,
		"zstd;q=1.0, gzip;q=0.5":     true,
		"identity":                   false,
		"*":                          true,
		"*;q=0":                      false,
		"gzip;q=0":                   false,
		"gzip;q=0.000, *":            false,
		"gzip;q=0.1":                 true,
		"gzip ; q=0.5 , identity":    false,
		"gzip;Q=0.5, identity;q=0.4": true,
		"identity;q=0, *":            true,
		"gzip;q=nonsense":            false,
		"gzip;level=9":               true,
		"deflate, br":                false,
		",,;;=":                      false,
	} {
		if got := takesGzip([]string{header}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
	if takesGzip(nil) || !takesGzip([]string{"br", "gzip"}) {
		t.Error("no header, or two")
	}
}

// TestCompressed has the same metrics compressed and not, and says which by the headers.
func TestCompressed(t *testing.T) {
	r := newRig(t, nil, "good")
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := func(body string) (names []string) {
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "# TYPE css_vpcep_") {
				names = append(names, line)
			}
		}
		return names
	}
	plain, body := r.fetch(t, http.MethodGet, "/metrics", http.Header{"Accept-Encoding": {"identity"}})
	if got := plain.Header.Get("Content-Encoding"); got != "" || !strings.Contains(body, "css_vpcep_up{") {
		t.Errorf("Content-Encoding %q:\n%.200s", got, body)
	}
	packed, zipped := r.fetch(t, http.MethodGet, "/metrics", http.Header{"Accept-Encoding": {"gzip"}})
	if got := packed.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding %q", got)
	}
	if got := names(unzipped(t, zipped)); !slices.Equal(got, names(body)) || len(got) < 15 {
		t.Errorf("compressed:\n%s\nas it is:\n%s", got, names(body))
	}
	for _, resp := range []http.Response{plain, packed} {
		if vary := resp.Header.Values("Vary"); !slices.Contains(vary, "Accept-Encoding") || !slices.Contains(vary, "Accept") {
			t.Errorf("Vary %q", vary)
		}
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
			t.Errorf("Content-Type %q", got)
		}
	}
	refused, said := r.fetch(t, http.MethodGet, "/metrics?collect[]=nonsense", http.Header{"Accept-Encoding": {"gzip"}})
	if refused.StatusCode != http.StatusBadRequest || refused.Header.Get("Content-Encoding") != "" || !strings.Contains(said, "collect[]") {
		t.Errorf("%d, %q: %q", refused.StatusCode, refused.Header.Get("Content-Encoding"), said)
	}
}

// TestFormats has the same families in all formats, each complete in its way.
func TestFormats(t *testing.T) {
	r := newRig(t, nil, "good", "nonsense")
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
	want := []string{"css_vpcep_connection_max_sessions", "css_vpcep_exporter_scrape_failures_total", "css_vpcep_up"}
	for _, format := range []string{
		"text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0", "application/openmetrics-text;version=0.0.1",
		protobuf + "delimited", protobuf + "text", protobuf + "compact-text", "nonsense", "",
	} {
		for range 2 { // a packer that was used is as good as new
			for _, encoding := range []string{"gzip", "identity"} {
				resp, body := r.fetch(t, http.MethodGet, "/metrics?name[]="+strings.Join(want, "&name[]="),
					http.Header{"Accept": {format}, "Accept-Encoding": {encoding}})
				if encoding == "gzip" {
					body = unzipped(t, body)
				}
				contentType := resp.Header.Get("Content-Type")
				if accepted, _, _ := strings.Cut(format, ";"); strings.Contains(format, "/") && !strings.HasPrefix(contentType, accepted) {
					t.Errorf("%q: Content-Type %q", format, contentType)
				}
				if openMetrics := strings.Contains(contentType, "openmetrics"); openMetrics != strings.HasSuffix(body, "\n# EOF\n") {
					t.Errorf("%q: its end is %q", format, body[max(0, len(body)-20):])
				}
				var names []string
				switch {
				case strings.Contains(format, "encoding=delimited"):
					decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.Format(contentType))
					for {
						var family dto.MetricFamily
						if err := decoder.Decode(&family); err != nil {
							if !errors.Is(err, io.EOF) {
								t.Error(err)
							}
							break
						}
						names = append(names, family.GetName())
					}
				case strings.Contains(format, "protobuf"):
					names = namesBy(`name:\s*"(css_vpcep_[a-z_]+)"`, body)
				case strings.Contains(contentType, "openmetrics"):
					names = namesBy(`(?m)^(css_vpcep_[a-z_]+){`, body)
				default:
					names = namesBy(`(?m)^# TYPE (\S+)`, body)
				}
				if !slices.Equal(names, want) {
					t.Errorf("%q, %s: %q in\n%.2000s", format, encoding, names, body)
				}
			}
		}
	}
}

// namesBy are what the group of a regular expression finds, each once.
func namesBy(expression, body string) (names []string) {
	for _, found := range regexp.MustCompile(expression).FindAllStringSubmatch(body, -1) {
		names = append(names, found[1])
	}
	return slices.Compact(names)
}

func unzipped(t *testing.T, body string) string {
	t.Helper()
	reader, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// TestNotTaken: a client that goes away in the middle costs no more than that, and the next one gets all.
func TestNotTaken(t *testing.T) {
	var p packers
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	for range 3 {
		if err := p.expose(goneWriter{httptest.NewRecorder()}, r, nil, slices.Repeat(families, 100)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v", err)
		}
		w := httptest.NewRecorder()
		if err := p.expose(w, r, nil, families); err != nil || strings.Count(w.Body.String(), "# TYPE") != len(families) {
			t.Errorf("%v:\n%s", err, w.Body)
		}
	}
}

type goneWriter struct{ *httptest.ResponseRecorder }

func (goneWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestSorted has the families of clusters and those of the exporter in the order of their names.
func TestSorted(t *testing.T) {
	r := newRig(t, &discovery.Search{}, "good")
	_, body := r.get(t, http.MethodGet, "/metrics", "")
	var names []string
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if !slices.IsSorted(names) || len(names) != len(slices.Compact(slices.Clone(names))) || !slices.Contains(names, "css_vpcep_up") ||
		!slices.Contains(names, "css_vpcep_exporter_scrape_failures_total") {
		t.Errorf("%q", names)
	}
}

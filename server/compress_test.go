// SPDX-License-Identifier: Apache-2.0

package server

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/discovery"
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
	reader, err := gzip.NewReader(strings.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(string(unpacked)); !slices.Equal(got, names(body)) || len(got) < 15 {
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

// TestPackedErrors: what is said instead of metrics stays readable, and a writer that was used is as good as new.
func TestPackedErrors(t *testing.T) {
	var z zippers
	answer := func(status int, body string) *httptest.ResponseRecorder {
		recorder := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		w := z.pack(recorder, r)
		w.WriteHeader(status)
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
		w.close()
		return recorder
	}
	for range 3 {
		if got := answer(http.StatusInternalServerError, "what went wrong"); got.Header().Get("Content-Encoding") != "" || got.Body.String() != "what went wrong" {
			t.Errorf("%q: %q", got.Header().Get("Content-Encoding"), got.Body)
		}
		reader, err := gzip.NewReader(answer(http.StatusOK, "what is right").Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); err != nil || string(got) != "what is right" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestJoined has the families of clusters and those of the exporter in the order of their names.
func TestJoined(t *testing.T) {
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

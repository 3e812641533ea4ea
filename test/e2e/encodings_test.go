// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestEncodings checks that clients other than Prometheus get an encoding that they accept, with the same content.
func TestEncodings(t *testing.T) {
	c, _ := newOddCloud(t)
	exporter := c.exporter(t, build(t), 0, options{scrape: "min_interval: 1h"})
	client := newClient(t)
	client.Transport.(*http.Transport).DisableCompression = true // the test sets Accept-Encoding
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	const gz, zs, plain = "gzip", "zstd", ""
	either, whichever := []string{gz, plain}, []string{gz, zs, plain}
	encodings := []struct {
		asked []string // nil: no header
		taken []string
	}{
		{nil, []string{plain}},
		{[]string{""}, []string{plain}},
		{[]string{"gzip"}, []string{gz}},
		{[]string{"identity"}, []string{plain}},
		{[]string{"deflate, gzip"}, either},
		{[]string{"gzip;q=0.5"}, either},
		{[]string{"gzip;q=0"}, []string{plain}},
		{[]string{"gzip;q=0, identity"}, []string{plain}},
		{[]string{"identity;q=0.5, gzip;q=1.0"}, either},
		{[]string{"br"}, []string{plain}},
		{[]string{"zstd"}, []string{zs}},
		{[]string{"zstd, gzip"}, whichever},
		{[]string{"zstd,gzip;q=0"}, []string{zs}},
		{[]string{"zstd;q=1.0, gzip;q=0.8, *;q=0.1"}, whichever},
		{[]string{"no such encoding;;;q=x,"}, []string{plain}},
	}
	formats := []struct{ accept, contentType string }{
		{"", typeText},
		{"*/*", ""},
		{"text/html", typeText},
		{"text/plain;version=0.0.4", typeText},
		{"application/openmetrics-text;version=1.0.0", typeOpen},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.2", typeOpen},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", typeProto},
	}
	// Only gauges, which are the same in OpenMetrics and in text.
	all := "http://" + exporter.address + "/metrics?collect[]=clusters"
	first, err := ask(t, client, all, "text/plain;version=0.0.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := decode(first)
	if err != nil || len(want) < 500 {
		t.Fatalf("%d series, %v", len(want), err)
	}
	var group sync.WaitGroup // concurrently, to find responses that share buffers
	for _, format := range formats {
		for _, encoding := range encodings {
			group.Go(func() {
				what := fmt.Sprintf("Accept: %s, Accept-Encoding: %q", format.accept, encoding.asked)
				got, err := ask(t, client, all, format.accept, encoding.asked)
				if err != nil {
					t.Errorf("%s: %s", what, err)
					return
				}
				if !slices.Contains(encoding.taken, got.encoding) || !strings.HasPrefix(got.contentType, format.contentType) {
					t.Errorf("%s: %s in %q", what, got.contentType, got.encoding)
				}
				for _, name := range []string{"Accept", "Accept-Encoding"} {
					if !slices.Contains(got.vary, name) {
						t.Errorf("%s: Vary: %v", what, got.vary)
					}
				}
				series, err := decode(got)
				if err != nil {
					t.Errorf("%s: %s", what, err)
				}
				if diff := gocmp.Diff(want, series); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			})
		}
	}
	group.Wait()
}

// answer is a decompressed response of the exporter.
type answer struct {
	contentType, encoding string
	vary                  []string
	body                  []byte
}

// ask requests a page and decompresses it.
func ask(t *testing.T, client *http.Client, url, accept string, encodings []string) (a answer, err error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	req.Header["Accept-Encoding"] = encodings
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %d: %s", resp.StatusCode, a.body)
	}
	a.contentType, a.encoding = resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding")
	for name := range strings.SplitSeq(strings.Join(resp.Header.Values("Vary"), ","), ",") {
		a.vary = append(a.vary, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	}
	switch a.encoding {
	case "":
		return a, nil
	case "gzip":
		r, err := gzip.NewReader(bytes.NewReader(a.body))
		if err != nil {
			return a, err
		}
		defer r.Close()
		err = a.decompress(r)
		return a, err
	case "zstd":
		r, err := zstd.NewReader(bytes.NewReader(a.body))
		if err != nil {
			return a, err
		}
		defer r.Close()
		err = a.decompress(r)
		return a, err
	default:
		return a, fmt.Errorf("unknown encoding %q", a.encoding)
	}
}

// decompress replaces the body by the content of r, which must be longer.
func (a *answer) decompress(r io.Reader) error {
	plain, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(a.body) >= len(plain) {
		return fmt.Errorf("%[2]d compressed bytes for %[1]d", len(plain), len(a.body))
	}
	a.body = plain
	return nil
}

// decode returns the series of clusters, with the value 0 where it changes with time.
func decode(a answer) (map[string]float64, error) {
	body := a.body
	format := expfmt.ResponseFormat(http.Header{"Content-Type": {a.contentType}})
	if format.FormatType() == expfmt.TypeOpenMetrics {
		var ended bool
		if body, ended = bytes.CutSuffix(body, []byte("# EOF\n")); !ended {
			return nil, errors.New("it does not end with # EOF")
		}
		format = expfmt.NewFormat(expfmt.TypeTextPlain)
	}
	series := make(map[string]float64)
	decoder := expfmt.NewDecoder(bytes.NewReader(body), format)
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			return series, nil
		} else if err != nil {
			return nil, err
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{model.MetricNameLabel: family.GetName()}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["cluster_id"] == "" {
				continue
			}
			value := m.GetGauge().GetValue()
			if family.GetName() == "css_vpcep_scrape_duration_seconds" {
				value = 0
			}
			key := fmt.Sprintf("%q", labels)
			if _, twice := series[key]; twice {
				return nil, fmt.Errorf("duplicate series %s", key)
			}
			series[key] = value
		}
	}
}

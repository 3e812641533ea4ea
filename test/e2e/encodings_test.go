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

// encodingRequest is an Accept-Encoding header and the allowed Content-Encodings.
type encodingRequest struct {
	header  []string // nil: no header
	allowed []string
}

func encodingRequests() []encodingRequest {
	const none = ""
	return []encodingRequest{
		{nil, []string{none}},
		{[]string{""}, []string{none}},
		{[]string{"gzip"}, []string{"gzip"}},
		{[]string{"identity"}, []string{none}},
		{[]string{"deflate, gzip"}, []string{"gzip", none}},
		{[]string{"gzip;q=0.5"}, []string{"gzip", none}},
		{[]string{"gzip;q=0"}, []string{none}},
		{[]string{"gzip;q=0, identity"}, []string{none}},
		{[]string{"identity;q=0.5, gzip;q=1.0"}, []string{"gzip", none}},
		{[]string{"br"}, []string{none}},
		{[]string{"zstd"}, []string{"zstd"}},
		{[]string{"zstd, gzip"}, []string{"gzip", "zstd", none}},
		{[]string{"zstd,gzip;q=0"}, []string{"zstd"}},
		{[]string{"zstd;q=1.0, gzip;q=0.8, *;q=0.1"}, []string{"gzip", "zstd", none}},
		{[]string{"no such encoding;;;q=x,"}, []string{none}},
	}
}

// formatRequest is an Accept header and a prefix of the expected Content-Type.
type formatRequest struct{ accept, contentType string }

func formatRequests() []formatRequest {
	return []formatRequest{
		{"", typeText},
		{"*/*", ""},
		{"text/html", typeText},
		{"text/plain;version=0.0.4", typeText},
		{"application/openmetrics-text;version=1.0.0", typeOpenMetrics},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.2", typeOpenMetrics},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", typeProtobuf},
	}
}

func TestClientsGetAnAcceptedEncoding(t *testing.T) {
	c, _ := newOddCloud(t)
	exporter := c.startExporter(t, buildExporter(t), 0, exporterOptions{scrape: "min_interval: 1h"})
	client := newClient(t)
	transport := client.Transport.(*http.Transport)
	transport.DisableCompression = true // the test sets Accept-Encoding
	transport.MaxIdleConnsPerHost = 64

	// The clusters have only gauges, which are the same in OpenMetrics and in text.
	url := "http://" + exporter.address + "/metrics?collect[]=clusters"
	first, err := fetch(t, client, url, "text/plain;version=0.0.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := first.clusterSeries()
	if err != nil || len(want) < 500 {
		t.Fatalf("got %d series, %v, want at least 500", len(want), err)
	}
	var group sync.WaitGroup // concurrently, to find responses that share buffers
	for _, format := range formatRequests() {
		for _, encoding := range encodingRequests() {
			group.Go(func() { checkEncoding(t, client, url, format, encoding, want) })
		}
	}
	group.Wait()
}

func checkEncoding(
	t *testing.T, client *http.Client, url string, format formatRequest, encoding encodingRequest, want map[string]float64,
) {
	name := fmt.Sprintf("Accept: %s, Accept-Encoding: %q", format.accept, encoding.header)
	got, err := fetch(t, client, url, format.accept, encoding.header)
	if err != nil {
		t.Errorf("%s: %s", name, err)
		return
	}
	if !strings.HasPrefix(got.contentType, format.contentType) {
		t.Errorf("%s: got Content-Type %q, want %q", name, got.contentType, format.contentType)
	}
	if !slices.Contains(encoding.allowed, got.encoding) {
		t.Errorf("%s: got Content-Encoding %q, want one of %q", name, got.encoding, encoding.allowed)
	}
	for _, header := range []string{"Accept", "Accept-Encoding"} {
		if !slices.Contains(got.vary, header) {
			t.Errorf("%s: got Vary %q, want %s in it", name, got.vary, header)
		}
	}
	series, err := got.clusterSeries()
	if err != nil {
		t.Errorf("%s: %s", name, err)
	}
	if diff := gocmp.Diff(want, series); diff != "" {
		t.Errorf("%s: series (-want +got):\n%s", name, diff)
	}
}

type page struct {
	contentType, encoding string
	vary                  []string
	body                  []byte
}

func fetch(t *testing.T, client *http.Client, url, accept string, acceptEncoding []string) (p page, err error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return p, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	req.Header["Accept-Encoding"] = acceptEncoding
	resp, err := client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if p.body, err = io.ReadAll(resp.Body); err != nil {
		return p, err
	}
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("got status %d: %s", resp.StatusCode, p.body)
	}
	p.contentType, p.encoding = resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding")
	for name := range strings.SplitSeq(strings.Join(resp.Header.Values("Vary"), ","), ",") {
		p.vary = append(p.vary, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	}
	err = p.decompress()
	return p, err
}

// decompress fails if compression saved nothing.
func (p *page) decompress() error {
	var r io.Reader
	switch compressed := bytes.NewReader(p.body); p.encoding {
	case "":
		return nil
	case "gzip":
		reader, err := gzip.NewReader(compressed)
		if err != nil {
			return err
		}
		defer reader.Close()
		r = reader
	case "zstd":
		reader, err := zstd.NewReader(compressed)
		if err != nil {
			return err
		}
		defer reader.Close()
		r = reader
	default:
		return fmt.Errorf("unknown Content-Encoding %q", p.encoding)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(p.body) >= len(content) {
		return fmt.Errorf("%d bytes were compressed to %d", len(content), len(p.body))
	}
	p.body = content
	return nil
}

// clusterSeries returns the series of clusters, with 0 for values that change with time.
func (p *page) clusterSeries() (map[string]float64, error) {
	body := p.body
	format := expfmt.ResponseFormat(http.Header{"Content-Type": {p.contentType}})
	if format.FormatType() == expfmt.TypeOpenMetrics {
		var complete bool
		if body, complete = bytes.CutSuffix(body, []byte("# EOF\n")); !complete {
			return nil, errors.New("the last line is not # EOF")
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
			if _, ok := series[key]; ok {
				return nil, fmt.Errorf("duplicate series %s", key)
			}
			series[key] = value
		}
	}
}

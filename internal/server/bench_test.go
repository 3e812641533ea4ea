// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapes is a server with a cloud whose prepared responses may change at each scrape.
type scrapes struct {
	handler  http.Handler
	requests atomic.Int64 // received by the cloud
}

func newScrapes(tb testing.TB, clusters, connections int, changing bool) *scrapes {
	tb.Helper()
	s := &scrapes{}
	bodies := [2][]byte{connectionsBody(connections, "accepted"), connectionsBody(connections, "rejected")}
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		scrape := int(s.requests.Add(1)-1) / clusters
		if !changing {
			scrape = 0
		}
		_, _ = w.Write(bodies[scrape%2])
	}))
	tb.Cleanup(cloud.Close)
	project := discovery.Project{
		Name: "production", Region: simtest.Region, Client: csstest.NewClient(tb, cloud.URL),
	}
	for i := range clusters {
		project.Listed = append(project.Listed, discovery.Listed{
			ID: fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012x", i), Name: fmt.Sprint("search-", i),
		})
	}
	logger := slog.New(slog.DiscardHandler)
	registry := prometheus.NewRegistry()
	metrics := collector.NewExporterMetrics(registry)
	scraper := collector.NewScraper(collector.ScrapeOptions{Concurrency: 16}, metrics, logger)
	tb.Cleanup(scraper.Wait)
	fleet := discovery.NewFleet([]discovery.Project{project}, logger)
	server := New(Options{TelemetryPath: "/metrics", Timeout: time.Minute}, fleet, scraper, registry, logger)
	server.Configure(collector.Options{Connections: true, MaxConnections: 2000})
	var err error
	if s.handler, err = server.Handler(); err != nil {
		tb.Fatal(err)
	}
	s.scrape(tb, responseForms()["text"]) // opens the connections
	return s
}

// connectionsBody returns a response with connections, every second of which has been updated.
func connectionsBody(connections int, firstStatus string) []byte {
	items := make([]string, connections)
	for i := range items {
		status, updated := "accepted", "null"
		if i == 0 {
			status = firstStatus
		}
		if i%2 == 0 {
			updated = `"2024-06-12T09:36:24Z"`
		}
		items[i] = fmt.Sprintf(`{"id":"%08x-31a1-40d0-862b-%012x","status":%q,"maxSession":"3000",`+
			`"specificationName":"default","created_at":"2024-06-11T09:36:24Z","update_at":%s,`+
			`"domain_id":"db9b76a0d9ae431f8e85e89da2ca867c","vpcepIp":"192.168.%d.%d"}`,
			i, i*i, status, updated, i/250, i%250)
	}
	return fmt.Appendf(nil, `{"connections":[%s],"vpcepUpdateSwitch":false,"total_count":%d,`+
		`"vpcServiceName":"cn-north-4.css","permissions":[{"id":"x","permission_type":"domainId",`+
		`"permission":"iam:domain::db9b76a0d9ae431f8e85e89da2ca867c"}]}`,
		strings.Join(items, ","), connections)
}

// responseForms returns request headers by response format and encoding. Prometheus requests gzip by default, and
// protobuf if it scrapes native histograms.
func responseForms() map[string]http.Header {
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	return map[string]http.Header{
		"text":          {"Accept-Encoding": {"identity"}},
		"text,gzip":     {"Accept-Encoding": {"gzip"}},
		"text,zstd":     {"Accept-Encoding": {"zstd"}},
		"protobuf,gzip": {"Accept-Encoding": {"gzip"}, "Accept": {protobuf}},
	}
}

// scrape requests the metrics of the clusters.
func (s *scrapes) scrape(tb testing.TB, form http.Header) {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/metrics?collect[]=clusters", nil)
	r.Header = form
	w := &discardingWriter{header: http.Header{}}
	s.handler.ServeHTTP(w, r)
	if w.status != http.StatusOK || w.bytes == 0 {
		tb.Fatalf("got status %d and %d bytes, want 200 and some", w.status, w.bytes)
	}
}

type discardingWriter struct {
	header        http.Header
	status, bytes int
}

func (w *discardingWriter) Header() http.Header    { return w.header }
func (w *discardingWriter) WriteHeader(status int) { w.status = status }
func (w *discardingWriter) Write(p []byte) (int, error) {
	w.bytes += len(p)
	return len(p), nil
}

// BenchmarkScrape measures a scrape from request to last byte, including the work of the simulated cloud.
func BenchmarkScrape(b *testing.B) {
	for _, size := range [][2]int{{1, 10}, {1, 100}, {1, 1000}, {100, 10}, {100, 100}, {1000, 10}, {1000, 50}} {
		for _, responses := range []string{"unchanged", "changed"} {
			for name, form := range responseForms() {
				b.Run(fmt.Sprintf("%dx%d/%s/%s", size[0], size[1], responses, name), func(b *testing.B) {
					s := newScrapes(b, size[0], size[1], responses == "changed")
					b.ReportAllocs()
					for b.Loop() {
						s.scrape(b, form)
					}
				})
			}
		}
	}
}

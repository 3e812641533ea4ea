// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"css_vpcep_exporter/collector"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

type gatherer struct {
	clusters *collector.Collector
	exporter prometheus.Gatherer
}

// Gather reads the clusters first, so that the exporter's metrics include this scrape.
func (g gatherer) Gather() (families []*dto.MetricFamily, done func(), err error) {
	families = g.clusters.Families()
	exporter, err := g.exporter.Gather()
	families = append(families, exporter...)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, func() {}, err
}

// instrument counts and compresses responses. The fastest level takes half the time of the default.
func (s *Server) instrument(h http.HandlerFunc) (http.Handler, error) {
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, err
	}
	return promhttp.InstrumentMetricHandler(s.registry, compress(h)), nil
}

// expose responds with the metrics of g. HEAD gathers nothing.
func (s *Server) expose(w http.ResponseWriter, r *http.Request, g gatherer) {
	if r.Method == http.MethodHead {
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
		w.Header().Set("Content-Type", string(format))
		w.Header().Add("Vary", "Accept")
		return
	}
	buffered := bufferedWriter{w, bufio.NewWriterSize(w, 64<<10)}
	promhttp.HandlerForTransactional(g, promhttp.HandlerOpts{
		Registry: s.registry, // for the error counter
		ErrorLog: errorLog(func(text string) {
			if r.Context().Err() == nil { // after a disconnect, all remaining families fail
				s.logger.Error("Exposition failed", "err", text)
			}
		}),
		ErrorHandling:      promhttp.ContinueOnError,
		DisableCompression: true,
		EnableOpenMetrics:  true,
	}).ServeHTTP(buffered, r)
	_ = buffered.Flush() // fails only after a disconnect
}

// bufferedWriter replaces the text encoders' own small buffers, which cost an eighth more CPU.
type bufferedWriter struct {
	http.ResponseWriter
	*bufio.Writer
}

func (w bufferedWriter) Write(p []byte) (int, error) { return w.Writer.Write(p) }

type errorLog func(text string)

func (l errorLog) Println(v ...any) { l(strings.TrimSpace(fmt.Sprintln(v...))) }

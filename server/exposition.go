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

// gatherer is the prometheus.TransactionalGatherer of one request.
type gatherer struct {
	clusters *collector.Collector
	own      prometheus.Gatherer // of the exporter itself
}

// Gather returns the families of the clusters and then, so that they include this scrape, of the exporter itself. done
// does nothing: kept metrics never change, so it does not matter how long they are used.
func (g gatherer) Gather() (families []*dto.MetricFamily, done func(), err error) {
	families = g.clusters.Families()
	own, err := g.own.Gather()
	families = append(families, own...)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, func() {}, err
}

// instrument returns a handler that counts the requests to h and compresses the responses, with zstd or gzip. The fastest
// level of gzip takes half the time of the default, for responses that are hardly larger.
func (s *Server) instrument(h http.HandlerFunc) (http.Handler, error) {
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, err
	}
	return promhttp.InstrumentMetricHandler(s.own, compress(h)), nil
}

// expose responds with what g gathers, in the format that r accepts. HEAD gathers nothing, and so makes no API call.
func (s *Server) expose(w http.ResponseWriter, r *http.Request, g gatherer) {
	if r.Method == http.MethodHead {
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
		w.Header().Set("Content-Type", string(format))
		w.Header().Add("Vary", "Accept")
		return
	}
	buffered := bufferedWriter{w, bufio.NewWriterSize(w, 64<<10)}
	promhttp.HandlerForTransactional(g, promhttp.HandlerOpts{
		Registry: s.own, // the error counter is registered by the first request and shared by all
		ErrorLog: errorLog(func(text string) {
			if r.Context().Err() == nil { // otherwise the client has disconnected, and every family left fails
				s.logger.Error("Exposition failed", "err", text)
			}
		}),
		ErrorHandling:      promhttp.ContinueOnError,
		DisableCompression: true, // instrument compresses
		EnableOpenMetrics:  true,
	}).ServeHTTP(buffered, r)
	_ = buffered.Flush() // an error means that the client has disconnected
}

// bufferedWriter is a ResponseWriter with the methods of a bufio.Writer, which the encoders of text use directly. With
// their own small buffers, an uncompressed response takes an eighth more CPU, in system calls.
type bufferedWriter struct {
	http.ResponseWriter
	*bufio.Writer
}

// Write implements io.Writer.
func (w bufferedWriter) Write(p []byte) (int, error) { return w.Writer.Write(p) }

// errorLog is a promhttp.Logger.
type errorLog func(text string)

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) { l(strings.TrimSpace(fmt.Sprintln(v...))) }

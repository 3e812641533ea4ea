// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/discovery"

	"github.com/prometheus/client_golang/prometheus"
)

// timeoutHeader is how Prometheus says how long it will wait.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// Once scrapes every cluster as a request to the telemetry path would, until ctx ends. failed is how many clusters could
// not be read.
func (s *Server) Once(ctx context.Context) (gatherer prometheus.Gatherer, failed func() int) {
	count := 0
	known := s.known()
	c := collector.New(ctx, s.scraper, s.series, targets(known), known.Labels, *s.metrics.Load())
	c.Each = func(o *collector.Outcome) {
		if o.Err != nil {
			count++
		}
	}
	registry := prometheus.NewRegistry() // which finds what is not as it should be: here there is time for that
	registry.MustRegister(c)
	return prometheus.Gatherers{registry, s.own}, func() int { return count }
}

// The values of the parameter collect[], by which a request asks for a part of the metrics.
const (
	collectClusters = "clusters"
	collectExporter = "exporter"
)

// scrape answers with every cluster and the exporter's own metrics, which are gathered after the scrape that they count;
// or with one of the two.
func (s *Server) scrape(w http.ResponseWriter, r *http.Request) {
	parts := r.URL.Query()["collect[]"]
	if len(parts) == 0 {
		parts = []string{collectClusters, collectExporter}
	}
	var all []collector.Target
	var own prometheus.Gatherers
	known := s.known()
	for _, part := range parts {
		switch part {
		case collectClusters:
			all = targets(known)
		case collectExporter:
			own = prometheus.Gatherers{s.own}
		default:
			http.Error(w, fmt.Sprintf("collect[]=%s: it must be %s or %s", quote(part), collectClusters, collectExporter),
				http.StatusBadRequest)
			return
		}
	}
	s.answer(w, r, all, known.Labels, own)
}

// answer scrapes targets within the request's deadline, and writes them out and what further gathers after that. Of the
// targets' labels, those named by labels are shown.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, targets []collector.Target, labels []string, further prometheus.Gatherers) {
	timeout, err := s.timeout(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout-s.writing.reserve(len(targets), timeout))
	defer cancel()
	c := collector.New(ctx, s.scraper, s.series, targets, labels, *s.metrics.Load())
	var read time.Time // the last cluster
	c.Each = func(*collector.Outcome) { read = notAfter(time.Now(), ctx) }
	clusters := c.Families()
	own, err := further.Gather()
	if err != nil {
		s.logger.Error("Metrics of the exporter itself are incomplete", "err", err)
	}
	timed := &timedWriter{ResponseWriter: w}
	if err := s.packers.expose(timed, r, clusters, own); err != nil && r.Context().Err() == nil { // else who asked went away
		s.logger.Warn("The answer cannot be written", "err", err)
	}
	if !read.IsZero() {
		made := time.Since(read) - timed.took
		s.writing.note(len(targets), made+min(timed.took, made))
	}
}

// timedWriter tells how long its client took to take the answer. Up to a point that is to be expected of the next one
// too; that one client hardly reads says nothing of another.
type timedWriter struct {
	http.ResponseWriter
	took time.Duration
}

func (w *timedWriter) Write(p []byte) (int, error) {
	start := time.Now()
	defer func() { w.took += time.Since(start) }()
	return w.ResponseWriter.Write(p)
}

// writing is how long the last answer about many clusters took, from its last cluster to its last byte. One of hundreds of
// thousands of series takes seconds, in which no cluster can be read if it is to be in time.
type writing struct {
	mu      sync.Mutex
	targets int
	took    time.Duration
}

// reserve is how much of the timeout an answer about that many targets needs to be written; at most half of it.
func (w *writing) reserve(targets int, timeout time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.targets == 0 {
		return 0
	}
	return min(w.took*time.Duration(targets)/time.Duration(w.targets), timeout/2)
}

// note remembers an answer, unless it was about a few of the targets of the last one.
func (w *writing) note(targets int, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if 2*targets >= w.targets {
		w.targets, w.took = targets, took
	}
}

// notAfter is t, or the end of ctx if that comes first.
func notAfter(t time.Time, ctx context.Context) time.Time { //nolint:revive // a time is what this is about
	if end, ok := ctx.Deadline(); ok && end.Before(t) {
		return end
	}
	return t
}

// timeout is how long a scrape may take: what Prometheus says, or else what the flag says, less the offset. Where the
// offset would leave nothing, half of it is used.
func (s *Server) timeout(r *http.Request) (time.Duration, error) {
	timeout := s.options.Timeout
	if value := r.Header.Get(timeoutHeader); value != "" {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(seconds) || seconds <= 0 {
			return 0, fmt.Errorf("%s: %s is no number of seconds", timeoutHeader, quote(value))
		}
		timeout = time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second))
	}
	if s.options.TimeoutOffset >= timeout {
		return timeout / 2, nil
	}
	return timeout - s.options.TimeoutOffset, nil
}

// known returns the fleet's clusters, after dropping what is kept of those that are gone.
func (s *Server) known() *discovery.Known {
	known := s.fleet.Known()
	if s.retained.Swap(known) != known {
		all := targets(known)
		s.scraper.Retain(all)
		s.series.Retain(all)
	}
	return known
}

// targets are all known clusters as the collector wants them.
func targets(known *discovery.Known) []collector.Target {
	targets := make([]collector.Target, len(known.Targets))
	for i := range known.Targets {
		targets[i] = target(&known.Targets[i])
	}
	return targets
}

// target is a cluster as the collector wants it.
func target(t *discovery.Target) collector.Target {
	return collector.Target{
		Project:   t.Project.Name,
		Region:    t.Project.Region,
		ProjectID: t.Project.Client.KnownProjectID(),
		Cluster:   t.Cluster,
		Labels:    t.Labels,
		Reader:    t.Project.Client,
	}
}

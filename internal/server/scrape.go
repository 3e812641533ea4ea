// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/discovery"

	"github.com/prometheus/client_golang/prometheus"
)

const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// Once returns a gatherer of all metrics, which reads the sessions after the clusters. After it has gathered, failed
// returns how many clusters, and reads of a project's sessions, failed.
func (s *Server) Once(ctx context.Context) (gatherer prometheus.Gatherer, failed func() int) {
	count := 0
	known := s.known()
	c := collector.New(ctx, s.scraper, s.series, newTargets(known), known.Labels, *s.metrics.Load())
	c.Each = func(o *collector.Outcome) {
		if o.Err != nil {
			count++
		}
	}
	c.Ready = func() { count += s.readSessions(ctx, known) }
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	return prometheus.Gatherers{registry, s.registry}, func() int { return count }
}

const (
	collectClusters = "clusters"
	collectExporter = "exporter"
)

func (s *Server) scrape(w http.ResponseWriter, r *http.Request) {
	parts := r.URL.Query()["collect[]"]
	if len(parts) == 0 {
		parts = []string{collectClusters, collectExporter}
	}
	var clusters []collector.Target
	var exporter prometheus.Gatherers
	known := s.known()
	for _, part := range parts {
		switch part {
		case collectClusters:
			clusters = newTargets(known)
		case collectExporter:
			exporter = prometheus.Gatherers{s.registry}
		default:
			text := fmt.Sprintf("invalid collect[] %s; it must be %s or %s", clean.Quote(part), collectClusters, collectExporter)
			http.Error(w, text, http.StatusBadRequest)
			return
		}
	}
	s.serveMetrics(w, r, clusters, known.Labels, exporter)
}

// serveMetrics responds with the metrics of targets and exporter. labels are cluster_info's configured labels.
func (s *Server) serveMetrics(
	w http.ResponseWriter, r *http.Request, targets []collector.Target, labels []string, exporter prometheus.Gatherers,
) {
	timeout, err := s.timeout(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	clusters := collector.New(ctx, s.scraper, s.series, targets, labels, *s.metrics.Load())
	s.expose(w, r, gatherer{clusters, exporter})
	if r.Method != http.MethodHead {
		s.offerSessions(targets)
	}
}

// timeout returns r's timeout minus the offset, or half of it if nothing would remain.
func (s *Server) timeout(r *http.Request) (time.Duration, error) {
	timeout := s.options.Timeout
	if value := r.Header.Get(timeoutHeader); value != "" {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(seconds) || seconds <= 0 {
			return 0, fmt.Errorf("invalid %s %s; it must be a positive number of seconds", timeoutHeader, clean.Quote(value))
		}
		timeout = time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second))
	}
	if s.options.TimeoutOffset >= timeout {
		return timeout / 2, nil
	}
	return timeout - s.options.TimeoutOffset, nil
}

// known returns the fleet's clusters and drops the data of removed ones.
func (s *Server) known() *discovery.Known {
	known := s.fleet.Known()
	if s.retained.Swap(known) != known {
		targets := newTargets(known)
		s.scraper.Retain(targets)
		s.series.Retain(targets)
	}
	return known
}

func newTargets(known *discovery.Known) []collector.Target {
	targets := make([]collector.Target, len(known.Targets))
	for i := range known.Targets {
		targets[i] = newTarget(&known.Targets[i])
	}
	return targets
}

func newTarget(t *discovery.Target) collector.Target {
	target := collector.Target{
		Key:     t.Project.Key,
		Project: t.Project.Name,
		Region:  t.Project.Region,
		Cluster: t.Cluster,
		Labels:  t.Labels,
		Reader:  t.Project.Client,
	}
	if t.Project.Sessions != nil { // a nil pointer in an interface is not nil
		target.Sessions = t.Project.Sessions
	}
	return target
}

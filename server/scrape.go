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
	"css_vpcep_exporter/discovery"

	"github.com/prometheus/client_golang/prometheus"
)

// timeoutHeader is the header in which Prometheus sends its scrape timeout.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// Once returns a gatherer that scrapes every cluster, like a request to the telemetry path, until ctx ends. After that
// failed returns how many clusters could not be read. The registry checks what is gathered.
func (s *Server) Once(ctx context.Context) (gatherer prometheus.Gatherer, failed func() int) {
	count := 0
	known := s.known()
	c := collector.New(ctx, s.scraper, s.series, targets(known), known.Labels, *s.metrics.Load())
	c.Each = func(o *collector.Outcome) {
		if o.Err != nil {
			count++
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	return prometheus.Gatherers{registry, s.own}, func() int { return count }
}

// The values of the parameter collect[], which selects a part of the metrics.
const (
	collectClusters = "clusters"
	collectExporter = "exporter"
)

// scrape responds with the metrics of every cluster and of the exporter itself, or with one of the two.
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
			text := fmt.Sprintf("collect[]=%s: it must be %s or %s", quote(part), collectClusters, collectExporter)
			http.Error(w, text, http.StatusBadRequest)
			return
		}
	}
	s.answer(w, r, all, known.Labels, own)
}

// answer scrapes targets until the request's deadline and responds with their metrics and those of own. The targets'
// labels of these names become labels of cluster_info.
func (s *Server) answer(
	w http.ResponseWriter, r *http.Request, targets []collector.Target, labels []string, own prometheus.Gatherers,
) {
	timeout, err := s.timeout(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	clusters := collector.New(ctx, s.scraper, s.series, targets, labels, *s.metrics.Load())
	s.expose(w, r, gatherer{clusters, own})
}

// timeout returns how long a scrape may take: the timeout of the request's header, or else the flag's, minus the offset.
// If the offset is not smaller than the timeout, half of the timeout is left.
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

// targets returns all known clusters as targets of the collector.
func targets(known *discovery.Known) []collector.Target {
	targets := make([]collector.Target, len(known.Targets))
	for i := range known.Targets {
		targets[i] = target(&known.Targets[i])
	}
	return targets
}

// target returns a cluster as a target of the collector.
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

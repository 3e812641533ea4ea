// SPDX-License-Identifier: Apache-2.0

// Package server answers HTTP: it makes of each request a deadline and a registry. It decides nothing about clusters;
// what there is comes from discovery, and what it says from collector.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/discovery"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

// timeoutHeader is how Prometheus says how long it will wait.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

const (
	pathHealthy = "/-/healthy"
	pathReady   = "/-/ready"
	pathReload  = "/-/reload"
)

// Options are the flags that concern HTTP.
type Options struct {
	TelemetryPath string
	Timeout       time.Duration // for a request that does not say how long it waits
	TimeoutOffset time.Duration // how long before that the answer is ready
	Version       string
	Reload        func() error // loads the configuration again; nil turns /-/reload off
}

// Validate finds what cannot work.
func (o *Options) Validate() error {
	switch {
	case o.Timeout <= 0:
		return fmt.Errorf("--scrape.timeout=%s: it must be more than 0s", o.Timeout)
	case o.TimeoutOffset < 0:
		return fmt.Errorf("--scrape.timeout-offset=%s: it must not be negative", o.TimeoutOffset)
	case len(o.TelemetryPath) < 2 || o.TelemetryPath[0] != '/' || strings.ContainsAny(o.TelemetryPath, "{} "):
		return fmt.Errorf("--web.telemetry-path=%q: it must be a path below /, such as /metrics", o.TelemetryPath)
	case slices.Contains([]string{pathHealthy, pathReady, pathReload}, o.TelemetryPath):
		return fmt.Errorf("--web.telemetry-path=%q: that path is taken", o.TelemetryPath)
	}
	return nil
}

// Server answers requests. It is made once and may be used by many goroutines together.
type Server struct {
	options  Options
	fleet    *discovery.Fleet
	scraper  *collector.Scraper
	own      *prometheus.Registry
	logger   *slog.Logger
	metrics  atomic.Pointer[collector.Options]
	retained atomic.Pointer[discovery.Known] // what the scraper remembers no more than
}

// Configure says what is shown of each cluster; it must be called before the first request.
func (s *Server) Configure(metrics collector.Options) { s.metrics.Store(&metrics) }

// New makes a server. The exporter's own metrics come from own, to which the server adds those of its handler.
func New(options Options, fleet *discovery.Fleet, scraper *collector.Scraper, own *prometheus.Registry, logger *slog.Logger) *Server {
	return &Server{options: options, fleet: fleet, scraper: scraper, own: own, logger: logger}
}

// Handler routes the requests.
func (s *Server) Handler() (http.Handler, error) {
	landing, err := web.NewLandingPage(web.LandingConfig{
		Name:        "CSS VPC Endpoint Exporter",
		Description: "Prometheus exporter for the VPC endpoint connections of Huawei Cloud CSS clusters",
		Version:     s.options.Version,
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: s.options.TelemetryPath, Text: "Metrics", Description: "Every cluster, read now"},
			{Address: pathHealthy, Text: "Healthy", Description: "Whether the process answers"},
			{Address: pathReady, Text: "Ready", Description: "Whether every project has been looked at once"},
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", landing)
	mux.HandleFunc("GET "+s.options.TelemetryPath, s.scrape)
	mux.HandleFunc("GET "+pathHealthy, s.healthy)
	mux.HandleFunc("GET "+pathReady, s.ready)
	mux.HandleFunc("POST "+pathReload, s.reload)
	mux.HandleFunc("PUT "+pathReload, s.reload)
	return mux, nil
}

// Once scrapes every cluster as a request to the telemetry path would, for at most the timeout. failed is how many
// clusters could not be read.
func (s *Server) Once(ctx context.Context) (gatherer prometheus.Gatherer, failed func() int) {
	count := 0
	c := s.collector(ctx)
	c.Outcomes = func(outcomes []collector.Outcome) {
		for i := range outcomes {
			if outcomes[i].Err != nil {
				count++
			}
		}
	}
	return s.gatherer(c), func() int { return count }
}

func (s *Server) scrape(w http.ResponseWriter, r *http.Request) {
	timeout, err := s.timeout(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	promhttp.HandlerFor(s.gatherer(s.collector(ctx)), promhttp.HandlerOpts{
		ErrorLog: errorLog{s.logger},
		// What one cluster said must not hide all others.
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          s.own,
		EnableOpenMetrics: true,
	}).ServeHTTP(w, r)
}

// timeout is how long a scrape may take: what Prometheus says, or else what the flag says, less the offset. Where the
// offset would leave nothing, half of it is used.
func (s *Server) timeout(r *http.Request) (time.Duration, error) {
	timeout := s.options.Timeout
	if value := r.Header.Get(timeoutHeader); value != "" {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(seconds) || seconds <= 0 {
			return 0, fmt.Errorf("%s: %q is no number of seconds", timeoutHeader, value)
		}
		timeout = time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second))
	}
	if s.options.TimeoutOffset >= timeout {
		return timeout / 2, nil
	}
	return timeout - s.options.TimeoutOffset, nil
}

// collector makes the collector of one request.
func (s *Server) collector(ctx context.Context) *collector.Collector {
	known := s.known()
	targets := make([]collector.Target, len(known.Targets))
	for i := range known.Targets {
		targets[i] = target(&known.Targets[i])
	}
	return collector.New(ctx, s.scraper, targets, known.Labels, *s.metrics.Load())
}

// gatherer joins one request's metrics with the exporter's own, which are gathered after the scrape that they count.
func (s *Server) gatherer(c *collector.Collector) prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	return prometheus.Gatherers{registry, s.own}
}

// known gives the fleet's clusters, and lets the scraper forget those that are gone.
func (s *Server) known() *discovery.Known {
	known := s.fleet.Known()
	if s.retained.Swap(known) == known {
		return known
	}
	targets := make([]collector.Target, len(known.Targets))
	for i := range known.Targets {
		targets[i] = target(&known.Targets[i])
	}
	s.scraper.Retain(targets)
	return known
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
		Budget:    t.Project.Budget,
	}
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "css_vpcep_exporter is healthy.")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.fleet.Ready() {
		http.Error(w, "css_vpcep_exporter is still looking for its clusters.", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "css_vpcep_exporter is ready.")
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	if s.options.Reload == nil {
		http.Error(w, "Reloading over HTTP is off: start with --web.enable-lifecycle, or send SIGHUP.", http.StatusForbidden)
		return
	}
	if err := s.options.Reload(); err != nil {
		http.Error(w, "The configuration was not changed:\n"+err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "The configuration is loaded.")
}

// errorLog is what promhttp tells its errors to.
type errorLog struct{ logger *slog.Logger }

func (l errorLog) Println(v ...any) {
	l.logger.Error("Metrics are incomplete", "err", errors.New(fmt.Sprint(v...)))
}

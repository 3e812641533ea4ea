// SPDX-License-Identifier: Apache-2.0

// Package server answers HTTP. It decides nothing about clusters: which there are comes from discovery, and what they
// say from collector.
//
// scrape.go turns requests for /metrics and, through probe.go, for /probe into a deadline and targets, and exposition.go
// responds with their metrics. sd.go tells Prometheus of the clusters, and status.go people of how they are. /sd and
// /status answer from memory alone.
package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/discovery"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
)

// The paths beside the telemetry path, which a flag sets.
const (
	pathProbe   = "/probe"
	pathSD      = "/sd"
	pathStatus  = "/status"
	pathHealthy = "/-/healthy"
	pathReady   = "/-/ready"
	pathReload  = "/-/reload"
)

const stillLooking = "css_vpcep_exporter is still looking for its clusters."

// Options are the flags that concern HTTP.
type Options struct {
	TelemetryPath string
	Timeout       time.Duration // for a request that does not say how long it waits
	TimeoutOffset time.Duration // how long before that the answer is ready
	Version       string
	Reload        func() error // loads the configuration again; nil turns /-/reload off
	// ConfigState tells whether the configuration was last loaded with success, and when it last was; nil leaves that
	// out of /status.
	ConfigState func() (ok bool, at time.Time)
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
	case path.Clean(o.TelemetryPath) != strings.TrimSuffix(o.TelemetryPath, "/"):
		return fmt.Errorf("--web.telemetry-path=%q: no request has a path like that", o.TelemetryPath)
	case slices.Contains([]string{pathProbe, pathSD, pathStatus, pathHealthy, pathReady, pathReload}, o.TelemetryPath):
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
	series   *collector.Series
	retained atomic.Pointer[discovery.Known] // the clusters that scraper and series last retained
}

// Configure says what is shown of each cluster; it must be called before the first request.
func (s *Server) Configure(metrics collector.Options) { s.metrics.Store(&metrics) }

// New makes a server. The exporter's own metrics come from own.
func New(options Options, fleet *discovery.Fleet, scraper *collector.Scraper, own *prometheus.Registry, logger *slog.Logger) *Server {
	return &Server{
		options: options, fleet: fleet, scraper: scraper, series: collector.NewSeries(), own: own, logger: logger,
	}
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
			{Address: pathStatus, Text: "Status", Description: "How every cluster was when it was last read, and what to do about it"},
			{Address: pathSD, Text: "Service discovery", Description: "Every cluster as a target, for http_sd_configs of Prometheus"},
			{Address: pathHealthy, Text: "Healthy", Description: "Whether the process answers"},
			{Address: pathReady, Text: "Ready", Description: "Whether every project has been looked at once"},
		},
		Form: web.LandingForm{
			Action: pathProbe,
			Inputs: []web.LandingFormInput{
				{Label: "Cluster to read now, by id or name", Type: "text", Name: "target"},
				{Label: "Project, if several have such a cluster", Type: "text", Name: "project"},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	page, err := newStatusPage()
	if err != nil {
		return nil, err
	}
	scrape, err := s.instrument(s.scrape)
	if err != nil {
		return nil, err
	}
	probe, err := s.instrument(s.probe)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", landing)
	mux.Handle("GET "+s.options.TelemetryPath, scrape)
	mux.Handle("GET "+pathProbe, probe)
	mux.HandleFunc("GET "+pathSD, s.sd)
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, r *http.Request) { s.status(w, r, page) })
	mux.HandleFunc("GET "+pathHealthy, s.healthy)
	mux.HandleFunc("GET "+pathReady, s.ready)
	mux.HandleFunc("POST "+pathReload, s.reload)
	mux.HandleFunc("PUT "+pathReload, s.reload)
	return mux, nil
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "css_vpcep_exporter is healthy.")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.fleet.Ready() {
		http.Error(w, stillLooking, http.StatusServiceUnavailable)
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

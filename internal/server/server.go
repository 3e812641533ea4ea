// SPDX-License-Identifier: Apache-2.0

// Package server serves HTTP: metrics, probes, service discovery and the status page.
package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/server/status"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	pathProbe   = "/probe"
	pathSD      = "/sd"
	pathHealthy = "/-/healthy"
	pathReady   = "/-/ready"
	pathReload  = "/-/reload"
)

const notReady = "css_vpcep_exporter is not ready: not every project has been refreshed yet."

// Build identifies the program.
type Build = status.Build

// Options configures a Server.
type Options struct {
	TelemetryPath string
	Timeout       time.Duration // without a timeout header
	TimeoutOffset time.Duration
	Build         Build
	Demo          bool                                    // the cloud is simulated
	Reload        func() error                            // nil disables /-/reload
	ConfigState   func() (ok bool, lastSuccess time.Time) // of reloads; may be nil
}

// Paths returns the served paths other than / and the telemetry path.
func Paths() []string {
	return []string{pathProbe, pathSD, status.Path, pathHealthy, pathReady, pathReload}
}

// Server is safe for concurrent use.
type Server struct {
	options  Options
	fleet    *discovery.Fleet
	scraper  *collector.Scraper
	registry *prometheus.Registry
	logger   *slog.Logger
	metrics  atomic.Pointer[collector.Options]
	series   *collector.Series
	retained atomic.Pointer[discovery.Known]
}

// Configure sets the metrics options; call it before the first request.
func (s *Server) Configure(metrics collector.Options) { s.metrics.Store(&metrics) }

// New returns a Server; registry has the exporter's metrics.
func New(
	options Options, fleet *discovery.Fleet, scraper *collector.Scraper, registry *prometheus.Registry,
	logger *slog.Logger,
) *Server {
	return &Server{
		options: options, fleet: fleet, scraper: scraper, series: collector.NewSeries(), registry: registry, logger: logger,
	}
}

// Handler returns the handler of all paths.
func (s *Server) Handler() (http.Handler, error) {
	landing, err := s.newLandingPage()
	if err != nil {
		return nil, err
	}
	statusPage, err := status.NewHandler(status.Options{
		TelemetryPath: s.options.TelemetryPath, Build: s.options.Build, Demo: s.options.Demo,
		Metrics: func() collector.Options { return *s.metrics.Load() }, ConfigState: s.options.ConfigState,
	}, s.fleet, s.scraper, s.logger)
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
	mux.Handle("GET "+status.Path, statusPage)
	mux.HandleFunc("GET "+pathHealthy, s.healthy)
	mux.HandleFunc("GET "+pathReady, s.ready)
	mux.HandleFunc("POST "+pathReload, s.reload)
	mux.HandleFunc("PUT "+pathReload, s.reload)
	return s.redirect(mux), nil
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "css_vpcep_exporter is healthy.")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.fleet.Ready() {
		http.Error(w, notReady, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "css_vpcep_exporter is ready.")
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	if s.options.Reload == nil {
		http.Error(w, "Reload is disabled; start with --web.enable-lifecycle, or send SIGHUP.", http.StatusForbidden)
		return
	}
	if err := s.options.Reload(); err != nil {
		text := "Reload failed; the previous configuration remains in use:\n" + err.Error()
		http.Error(w, text, http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "Configuration reloaded.")
}

// SPDX-License-Identifier: Apache-2.0

// Package status serves the status page: the last result of every project and cluster. It sends no API request.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/discovery"
)

// Path is the path of the page.
const Path = "/status"

// Values of the parameters. The first of each is the default.
const (
	sortTrouble = "trouble"
	sortName    = "name"
	showAll     = "all"
	showFailing = "failing"
	formatHTML  = "html"
	formatJSON  = "json"
)

// Options configures a Handler.
type Options struct {
	TelemetryPath string
	Version       string
	ConfigState   func() (ok bool, lastSuccess time.Time) // may be nil
}

// Fleet is implemented by *discovery.Fleet.
type Fleet interface {
	Known() *discovery.Known
	States() []discovery.State
	Ready() bool
}

// Scraper is implemented by *collector.Scraper.
type Scraper interface {
	State(projectKey, clusterID string) collector.State
}

// Handler serves the page and its JSON form.
type Handler struct {
	options  Options
	fleet    Fleet
	scraper  Scraper
	logger   *slog.Logger
	renderer *renderer
}

// NewHandler returns a Handler.
func NewHandler(options Options, fleet Fleet, scraper Scraper, logger *slog.Logger) (*Handler, error) {
	r, err := newRenderer()
	if err != nil {
		return nil, err
	}
	return &Handler{options: options, fleet: fleet, scraper: scraper, logger: logger, renderer: r}, nil
}

type parameters struct {
	sort, show, format string
	page               int
}

// ServeHTTP responds with the page.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, err := parseParameters(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := h.currentView(time.Now())
	v.filterAndSort(p)

	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if p.format == formatJSON {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // fails only after a disconnect
		return
	}
	body, err := h.renderer.render(v, p, h.options.TelemetryPath)
	if err != nil {
		h.logger.Error("Status page failed", "err", err)
		http.Error(w, "Failed to render the status page; see the exporter's log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", h.renderer.policy)
	_, _ = body.WriteTo(w)
}

// currentView returns the view of all projects and clusters.
func (h *Handler) currentView(now time.Time) *view {
	targets := h.fleet.Known().Targets
	states := make([]collector.State, len(targets))
	for i := range targets {
		states[i] = h.scraper.State(targets[i].Project.Key, targets[i].Cluster.ID)
	}
	v := newView(h.fleet.States(), targets, states, now)
	v.Version, v.Ready = h.options.Version, h.fleet.Ready()
	if h.options.ConfigState != nil {
		succeeded, lastSuccess := h.options.ConfigState()
		v.Config = &configStatus{OK: succeeded, LastSuccess: utc(lastSuccess)}
	}
	return v
}

// parseParameters rejects unknown values, so that a typing error is noticed.
func parseParameters(values url.Values) (parameters, error) {
	p := parameters{page: 1}
	var errs [4]error
	p.sort, errs[0] = choice(values, "sort", sortTrouble, sortName)
	p.show, errs[1] = choice(values, "show", showAll, showFailing)
	p.format, errs[2] = choice(values, "format", formatHTML, formatJSON)
	if text := values.Get("page"); text != "" {
		page, err := strconv.Atoi(text)
		if err != nil || page < 1 {
			errs[3] = fmt.Errorf("invalid page %s; it must be a positive number", clean.Quote(text))
		}
		p.page = page
	}
	return p, errors.Join(errs[:]...)
}

// choice returns the value of a parameter, by default the first valid one.
func choice(values url.Values, name string, valid ...string) (string, error) {
	value := values.Get(name)
	switch {
	case value == "":
		return valid[0], nil
	case slices.Contains(valid, value):
		return value, nil
	}
	return "", fmt.Errorf("invalid %s %s; it must be %s", name, clean.Quote(value), strings.Join(valid, " or "))
}

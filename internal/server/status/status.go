// SPDX-License-Identifier: Apache-2.0

// Package status serves the status page: the last results of all projects and clusters, from memory alone.
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
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
)

// Path is the path of the page.
const Path = "/status"

// The values of /status' parameters. The first of each kind is the default.
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
	// ConfigState returns whether the last reload succeeded and the time of the last success. It may be nil.
	ConfigState func() (ok bool, at time.Time)
}

// Fleet returns the projects and clusters; *discovery.Fleet implements it.
type Fleet interface {
	Known() *discovery.Known
	States() []discovery.State
	Ready() bool
}

// Scraper returns the results of clusters; *collector.Scraper implements it.
type Scraper interface {
	State(project, clusterID string) collector.State
}

// Handler serves the page and its JSON form.
type Handler struct {
	options Options
	fleet   Fleet
	scraper Scraper
	logger  *slog.Logger
	page    *renderer
}

// NewHandler returns a Handler.
func NewHandler(options Options, fleet Fleet, scraper Scraper, logger *slog.Logger) (*Handler, error) {
	page, err := newRenderer()
	if err != nil {
		return nil, err
	}
	return &Handler{options: options, fleet: fleet, scraper: scraper, logger: logger, page: page}, nil
}

type parameters struct {
	sort, show, format string
	page               int // from 1
}

// ServeHTTP responds with the last results of all projects and clusters, and sends no API request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, err := parseParameters(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := h.snapshot(time.Now())
	v.filterAndSort(q)

	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if q.format == formatJSON {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // fails only if the client has disconnected
		return
	}
	body, err := h.page.render(v, q, h.options.TelemetryPath)
	if err != nil {
		h.logger.Error("Status page failed", "err", err)
		http.Error(w, "Failed to render the status page; see the exporter's log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", h.page.policy)
	_, _ = body.WriteTo(w)
}

func (h *Handler) snapshot(now time.Time) *view {
	targets := h.fleet.Known().Targets
	states := make([]collector.State, len(targets))
	for i := range targets {
		states[i] = h.scraper.State(targets[i].Project.Name, targets[i].Cluster.ID)
	}
	v := newView(h.fleet.States(), targets, states, now)
	v.Version, v.Ready = h.options.Version, h.fleet.Ready()
	if h.options.ConfigState != nil {
		loaded, at := h.options.ConfigState()
		v.Config = &configStatus{OK: loaded, At: utc(at)}
	}
	return v
}

// parseParameters rejects unknown values, so that a typing error is not mistaken for an empty result.
func parseParameters(values url.Values) (parameters, error) {
	var q parameters
	var errs [4]error
	q.sort, errs[0] = choice(values, "sort", sortTrouble, sortName)
	q.show, errs[1] = choice(values, "show", showAll, showFailing)
	q.format, errs[2] = choice(values, "format", formatHTML, formatJSON)
	q.page = 1
	if text := values.Get("page"); text != "" {
		page, err := strconv.Atoi(text)
		if err != nil || page < 1 {
			errs[3] = fmt.Errorf("invalid page %s; it must be a positive number", quoteParameter(text))
		}
		q.page = page
	}
	return q, errors.Join(errs[:]...)
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
	return "", fmt.Errorf("invalid %s %s; it must be %s", name, quoteParameter(value), strings.Join(valid, " or "))
}

// quoteParameter returns untrusted text quoted, printable and truncated.
func quoteParameter(s string) string { return strconv.Quote(css.Clean(s, 200)) }

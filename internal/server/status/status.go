// SPDX-License-Identifier: Apache-2.0

// Package status serves the status page: the last result of every project and cluster. It sends no API request.
package status

import (
	"bytes"
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
	"unicode"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
)

// Path is the path of the page.
const Path = "/status"

// Values of the parameters. The first of each is the default.
const (
	sortTrouble   = "trouble"
	sortName      = "name"
	showAll       = "all"
	showAttention = "attention" // or a condition
	formatHTML    = "html"
	formatJSON    = "json"
)

// Build identifies the program.
type Build struct {
	Version   string `json:"version"`
	Revision  string `json:"revision,omitempty"`
	GoVersion string `json:"go_version,omitempty"`
}

// Options configures a Handler.
type Options struct {
	TelemetryPath string
	Build         Build
	Demo          bool // the cloud is simulated
	Metrics       func() collector.Options
	ConfigState   func() (ok bool, lastSuccess time.Time) // may be nil
}

// Fleet is implemented by *discovery.Fleet.
type Fleet interface {
	Known() *discovery.Known
	States() []discovery.State
	Accounts() []discovery.AccountState
	Ready() bool
}

// Scraper is implemented by *collector.Scraper.
type Scraper interface {
	State(projectKey, clusterID string) collector.State
	Changes(projectKey, clusterID string) (changes []css.Change, since time.Time)
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
	r, err := newRenderer(options.TelemetryPath)
	if err != nil {
		return nil, err
	}
	return &Handler{options: options, fleet: fleet, scraper: scraper, logger: logger, renderer: r}, nil
}

// ServeHTTP responds with the page.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, err := parseParameters(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v, err := h.currentView(p, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if p.format == formatJSON {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			h.logger.Debug("Writing the status failed", "err", err)
		}
		return
	}
	render := h.renderer.list
	if p.cluster != "" {
		render = h.renderer.clusters
	}
	body := new(bytes.Buffer)
	if err := render(body, v, p); err != nil {
		h.logger.Error("Status page failed", "err", err)
		http.Error(w, "Failed to render the status page; see the exporter's log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", h.renderer.policy)
	_, _ = body.WriteTo(w)
}

// currentView returns the view that the parameters select. It fails if they select an unknown cluster or project.
func (h *Handler) currentView(p parameters, now time.Time) (*view, error) {
	known, projects := h.fleet.Known(), h.fleet.States()
	if p.cluster != "" {
		targets := known.Find(p.cluster, p.project)
		if len(targets) == 0 {
			return nil, h.unknown(p)
		}
		projects = slices.DeleteFunc(projects, func(s discovery.State) bool {
			return !slices.ContainsFunc(targets, func(t *discovery.Target) bool { return t.Project.Name == s.Project.Name })
		})
		v := h.newView(projects, targets, now)
		h.addDetails(v.Clusters, targets, p.text)
		return v, nil
	}
	named := func(s discovery.State) bool { return s.Project.Name == p.project }
	if p.project != "" && !slices.ContainsFunc(projects, named) {
		return nil, h.unknown(p)
	}
	targets := make([]*discovery.Target, len(known.Targets))
	for i := range known.Targets {
		targets[i] = &known.Targets[i]
	}
	v := h.newView(projects, targets, now)
	v.addAccounts(h.fleet.Accounts(), now)
	v.filterAndSort(p)
	return v, nil
}

func (h *Handler) newView(projects []discovery.State, targets []*discovery.Target, now time.Time) *view {
	states := make([]collector.State, len(targets))
	for i, t := range targets {
		states[i] = h.scraper.State(t.Project.Key, t.Cluster.ID)
	}
	v := newView(projects, targets, states, h.options.Metrics(), now)
	v.Build, v.Demo, v.Ready = h.options.Build, h.options.Demo, h.fleet.Ready()
	if h.options.ConfigState != nil {
		succeeded, lastSuccess := h.options.ConfigState()
		v.Config = &configStatus{OK: succeeded, LastSuccess: utc(lastSuccess)}
	}
	return v
}

func (h *Handler) unknown(p parameters) error {
	text := "unknown project " + clean.Quote(p.project)
	if p.cluster != "" {
		text = "unknown cluster " + clean.Quote(p.cluster)
		if p.project != "" {
			text += " in project " + clean.Quote(p.project)
		}
	}
	if !h.fleet.Ready() {
		return errors.New(text + "; discovery has not finished yet: try again in a few seconds")
	}
	return errors.New(text + "; " + Path + " shows the known ones")
}

type parameters struct {
	sort, show, format     string
	cluster, project, text string
	page                   int
}

// parseParameters rejects unknown values, so that a typing error is noticed.
func parseParameters(values url.Values) (parameters, error) {
	p := parameters{
		cluster: values.Get("cluster"), project: values.Get("project"), text: searchText(values.Get("q")), page: 1,
	}
	shows := []string{showAll, showAttention}
	for _, what := range worstFirst() {
		shows = append(shows, string(what))
	}
	var errs [4]error
	p.sort, errs[0] = choice(values, "sort", sortTrouble, sortName)
	p.show, errs[1] = choice(values, "show", shows...)
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

// searchText drops what cannot be typed, and truncates the rest.
func searchText(text string) string {
	const maxBytes = 200
	return strings.TrimSpace(clean.Text(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text), maxBytes))
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
	last := len(valid) - 1
	all := strings.Join(valid[:last], ", ") + " or " + valid[last]
	return "", fmt.Errorf("invalid %s %s; it must be %s", name, clean.Quote(value), all)
}

// with returns the address of the page with changed parameters.
func (p parameters) with(change func(*parameters)) string {
	change(&p)
	return p.address()
}

// address returns a relative link to the page.
func (p parameters) address() string {
	values := url.Values{}
	for name, value := range map[string]struct{ is, byDefault string }{
		"cluster": {is: p.cluster}, "project": {is: p.project}, "q": {is: p.text}, "sort": {p.sort, sortTrouble},
		"show": {p.show, showAll}, "format": {p.format, formatHTML}, "page": {strconv.Itoa(p.page), "1"},
	} {
		if value.is != value.byDefault {
			values.Set(name, value.is)
		}
	}
	return strings.TrimSuffix("."+Path+"?"+values.Encode(), "?")
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/collector"
)

// The values of /status' parameters; the first of each kind is what is meant where none is given.
const (
	sortTrouble = "trouble"
	sortName    = "name"
	showAll     = "all"
	showFailing = "failing"
	formatHTML  = "html"
	formatJSON  = "json"
)

// statusQuery is what is asked of /status.
type statusQuery struct {
	sort, show, format string
	page               int // from 1
}

// status tells how everything was when it was last read. It makes no call: who looks must not cost anything.
func (s *Server) status(w http.ResponseWriter, r *http.Request, page *statusPage) {
	q, err := parseStatusQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := s.view(time.Now())
	v.arrange(q)

	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if q.format == formatJSON {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // who went away needs no answer
		return
	}
	body, err := page.render(v, q, s.options.TelemetryPath)
	if err != nil {
		s.logger.Error("The status page cannot be made", "err", err)
		http.Error(w, "The status page cannot be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", page.policy)
	_, _ = body.WriteTo(w)
}

// view is what is known at this moment, from memory.
func (s *Server) view(now time.Time) *statusView {
	targets := s.fleet.Known().Targets
	states := make([]collector.State, len(targets))
	for i := range targets {
		states[i] = s.scraper.State(targets[i].Project.Name, targets[i].Cluster.ID)
	}
	v := newStatusView(s.fleet.States(), targets, states, now)
	v.Version, v.Ready = s.options.Version, s.fleet.Ready()
	if s.options.ConfigState != nil {
		loaded, at := s.options.ConfigState()
		v.Config = &configStatus{OK: loaded, At: utc(at)}
	}
	return v
}

// parseStatusQuery takes no value that it does not know, so that a mistyped one does not look like an answer.
func parseStatusQuery(values url.Values) (statusQuery, error) {
	var q statusQuery
	var errs [4]error
	q.sort, errs[0] = choice(values, "sort", sortTrouble, sortName)
	q.show, errs[1] = choice(values, "show", showAll, showFailing)
	q.format, errs[2] = choice(values, "format", formatHTML, formatJSON)
	q.page = 1
	if text := values.Get("page"); text != "" {
		page, err := strconv.Atoi(text)
		if err != nil || page < 1 {
			errs[3] = fmt.Errorf("page=%s: it must be a number from 1", quote(text))
		}
		q.page = page
	}
	return q, errors.Join(errs[:]...)
}

// choice is a parameter that must have one of a few values. The first of them stands in for none.
func choice(values url.Values, name string, known ...string) (string, error) {
	value := values.Get(name)
	switch {
	case value == "":
		return known[0], nil
	case slices.Contains(known, value):
		return value, nil
	}
	return "", fmt.Errorf("%s=%s: it must be %s", name, quote(value), strings.Join(known, " or "))
}

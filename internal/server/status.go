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

// The values of /status' parameters. The first of each kind is the default.
const (
	sortTrouble = "trouble"
	sortName    = "name"
	showAll     = "all"
	showFailing = "failing"
	formatHTML  = "html"
	formatJSON  = "json"
)

type statusQuery struct {
	sort, show, format string
	page               int // from 1
}

// status responds with the last results of all projects and clusters, and sends no API request.
func (s *Server) status(w http.ResponseWriter, r *http.Request, page *statusPage) {
	q, err := parseStatusQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := s.snapshot(time.Now())
	v.arrange(q)

	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if q.format == formatJSON {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // fails only if the client has disconnected
		return
	}
	body, err := page.render(v, q, s.options.TelemetryPath)
	if err != nil {
		s.logger.Error("Status page failed", "err", err)
		http.Error(w, "Failed to render the status page; see the exporter's log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", page.policy)
	_, _ = body.WriteTo(w)
}

func (s *Server) snapshot(now time.Time) *statusView {
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

// parseStatusQuery rejects unknown values, so that a typing error is not mistaken for an empty result.
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
			errs[3] = fmt.Errorf("invalid page %s; it must be a positive number", quote(text))
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
	return "", fmt.Errorf("invalid %s %s; it must be %s", name, quote(value), strings.Join(valid, " or "))
}

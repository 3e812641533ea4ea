// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/css"
	"css_vpcep_exporter/discovery"
)

// probe answers with one cluster, read now, and with nothing of the exporter itself.
func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	known := s.known()
	found, status, err := s.find(known, r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	s.answer(w, r, []collector.Target{target(found)}, known.Labels, nil)
}

// find gives the cluster that a query means, or the HTTP status and the reason for which there is none.
func (s *Server) find(known *discovery.Known, query url.Values) (found *discovery.Target, status int, err error) {
	values := query["target"]
	if len(values) != 1 || values[0] == "" {
		return nil, http.StatusBadRequest, errors.New("say which cluster once, by its id or name: " + pathProbe + "?target=…")
	}
	projects := slices.DeleteFunc(slices.Clone(query["project"]), func(name string) bool { return name == "" })
	if len(projects) > 1 {
		return nil, http.StatusBadRequest, errors.New("project is given more than once")
	}
	project := strings.Join(projects, "")

	clusters := known.Find(values[0], project)
	switch {
	case len(clusters) == 0:
		return nil, http.StatusNotFound, s.unknown(values[0], project)
	case len(clusters) > 1:
		return nil, http.StatusBadRequest, ambiguous(values[0], clusters)
	}
	return clusters[0], http.StatusOK, nil
}

// unknown says that there is no such cluster, or none yet.
func (s *Server) unknown(target, project string) error {
	text := "no cluster with the id or name " + quote(target) + " is known"
	if project != "" {
		text += " in the project " + quote(project)
	}
	if !s.fleet.Ready() {
		text += "; " + stillLooking
	}
	return errors.New(text)
}

// ambiguous says how to tell the clusters apart that all go by what was asked for.
func ambiguous(target string, clusters []*discovery.Target) error {
	const most = 10 // projects that are named
	var projects []string
	for _, t := range clusters {
		projects = append(projects, t.Project.Name)
	}
	slices.Sort(projects)
	projects = slices.Compact(projects)
	several, byID := len(projects) > 1, clusters[0].Cluster.ID == target
	where := "in the project "
	if several {
		where = "in the projects "
	}
	for i, name := range projects[:min(len(projects), most)] {
		if i > 0 {
			where += ", "
		}
		where += quote(name)
	}
	if more := len(projects) - most; more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	remedy := "add project=… or use the id"
	switch {
	case byID:
		remedy = "add project=…"
	case !several:
		remedy = "use the id"
	}
	return fmt.Errorf("%s stands for %d clusters, %s: %s", quote(target), len(clusters), where, remedy)
}

// quote makes a text from elsewhere fit to be said back: in quotes, printable, and not long.
func quote(s string) string { return strconv.Quote(css.Clean(s, 200)) }

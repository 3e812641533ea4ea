// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/server/status"
)

func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	known := s.known()
	found, code, err := s.find(known, r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), code)
		return
	}
	s.serveMetrics(w, r, []collector.Target{newTarget(found)}, known.Labels, nil)
}

// find returns the cluster that query selects, or an HTTP status and an error.
func (s *Server) find(known *discovery.Known, query url.Values) (*discovery.Target, int, error) {
	values := query["target"]
	if len(values) != 1 || values[0] == "" {
		return nil, http.StatusBadRequest, errors.New(
			`parameter "target" must be given once, with a cluster ID or name: ` + pathProbe + "?target=…")
	}
	projects := slices.DeleteFunc(slices.Clone(query["project"]), func(name string) bool { return name == "" })
	if len(projects) > 1 {
		return nil, http.StatusBadRequest, errors.New(`parameter "project" must not be given more than once`)
	}
	project := strings.Join(projects, "")
	clusters := known.Find(values[0], project)
	switch {
	case len(clusters) == 0:
		return nil, http.StatusNotFound, s.unknownTarget(values[0], project)
	case len(clusters) > 1:
		return nil, http.StatusBadRequest, ambiguousTarget(values[0], clusters)
	}
	return clusters[0], http.StatusOK, nil
}

func (s *Server) unknownTarget(target, project string) error {
	text := "unknown cluster " + clean.Quote(target)
	if project != "" {
		text += " in project " + clean.Quote(project)
	}
	if !s.fleet.Ready() {
		return errors.New(text + "; discovery has not finished yet: try again in a few seconds")
	}
	return errors.New(text + "; " + status.Path + " shows the known clusters")
}

func ambiguousTarget(target string, clusters []*discovery.Target) error {
	var projects []string
	for _, t := range clusters {
		projects = append(projects, t.Project.Name)
	}
	slices.Sort(projects)
	projects = slices.Compact(projects)
	remedy := "add project=… or use the cluster ID"
	switch {
	case clusters[0].Cluster.ID == target:
		remedy = "add project=…"
	case len(projects) == 1:
		remedy = "use the cluster ID"
	}
	return fmt.Errorf("%s matches %d clusters in %s; %s", clean.Quote(target), len(clusters), nameProjects(projects), remedy)
}

func nameProjects(projects []string) string {
	const maxNamed = 10
	named := make([]string, min(len(projects), maxNamed))
	for i := range named {
		named[i] = clean.Quote(projects[i])
	}
	text := "project "
	if len(projects) > 1 {
		text = "projects "
	}
	text += strings.Join(named, ", ")
	if more := len(projects) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

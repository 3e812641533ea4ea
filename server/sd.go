// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"css_vpcep_exporter/css"
	"css_vpcep_exporter/discovery"
)

// maxMetaValue is the length in bytes at which the values of /sd end, as those of metrics do.
const maxMetaValue = 1024

// sd answers as Prometheus' http_sd wants it: one target per known cluster. Until every project has been looked at it
// refuses, as a list that lacks clusters would make Prometheus drop them.
func (s *Server) sd(w http.ResponseWriter, _ *http.Request) {
	ready, known := s.fleet.Ready(), s.fleet.Known()
	if !ready || !s.fleet.Ready() { // a reload in between may have brought a project that was not looked at
		http.Error(w, stillLooking+" Prometheus keeps the targets that it has.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = writeSD(w, known.Targets) // who went away needs no answer
}

// sdTarget is a target as http_sd wants it.
type sdTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// writeSD writes the targets in their order, each cluster of the cloud once.
func writeSD(w io.Writer, targets []discovery.Target) error {
	type cluster struct{ project, region, projectID, id string }
	written := make(map[cluster]struct{}, len(targets))
	out := bufio.NewWriterSize(w, 64<<10)
	separator := "[\n"
	for i := range targets {
		t := &targets[i]
		projectID := t.Project.Client.KnownProjectID()
		c := cluster{"", t.Project.Region, projectID, t.Cluster.ID}
		if projectID == "" {
			c.project = t.Project.Name // it may be any project
		}
		if _, twice := written[c]; twice {
			continue
		}
		written[c] = struct{}{}
		line, err := json.Marshal(newSDTarget(t, projectID))
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator) // Flush tells of errors
		_, _ = out.Write(line)
		separator = ",\n"
	}
	if len(written) == 0 {
		_, _ = out.WriteString("[")
	}
	_, _ = out.WriteString("]\n")
	return out.Flush()
}

func newSDTarget(t *discovery.Target, projectID string) sdTarget {
	labels := map[string]string{
		"__meta_css_region":       t.Project.Region,
		"__meta_css_project":      t.Project.Name,
		"__meta_css_project_id":   projectID,
		"__meta_css_cluster_id":   t.Cluster.ID,
		"__meta_css_cluster_name": t.Cluster.Name,
		"__meta_css_engine":       t.Cluster.Engine,
	}
	for _, key := range slices.Sorted(maps.Keys(t.Cluster.Tags)) {
		name := "__meta_css_tag_" + labelName(key)
		if _, taken := labels[name]; !taken { // else the keys differ only where a label's name cannot
			labels[name] = t.Cluster.Tags[key]
		}
	}
	for name, value := range labels {
		labels[name] = css.Clean(value, maxMetaValue)
	}
	return sdTarget{Targets: []string{t.Cluster.ID}, Labels: labels}
}

// labelName replaces what cannot stand in a label's name, as Prometheus' own service discoveries do.
func labelName(key string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, key)
}

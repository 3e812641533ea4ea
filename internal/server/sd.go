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
	"unicode"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/server/status"

	"github.com/prometheus/common/model"
)

// sd responds with 503 while the clusters of a project are unknown: Prometheus would drop them.
func (s *Server) sd(w http.ResponseWriter, _ *http.Request) {
	known, missing := s.fleet.KnownForSD()
	if len(missing) > 0 {
		text := "The clusters of " + nameProjects(missing) + " have not been read yet; " + status.Path +
			" shows why. Prometheus keeps its current targets."
		http.Error(w, text, http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = writeSD(w, known.Targets) // fails only after a disconnect
}

type sdTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// writeSD writes each cluster once, even if several projects share it.
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
			c.project = t.Project.Name // projects of unknown ID may differ
		}
		if _, exists := written[c]; exists {
			continue
		}
		written[c] = struct{}{}
		line, err := json.Marshal(newSDTarget(t, projectID))
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator) // Flush returns the first error
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
		if _, taken := labels[name]; !taken { // keys may differ only in replaced characters
			labels[name] = t.Cluster.Tags[key]
		}
	}
	for name, value := range labels {
		labels[name] = clean.Text(value, clean.MaxLength)
	}
	return sdTarget{Targets: []string{t.Cluster.ID}, Labels: labels}
}

// labelName replaces invalid characters as Prometheus' own discoveries do, and escapes keys that are not ASCII, of which
// nothing would remain.
func labelName(key string) string {
	if strings.IndexFunc(key, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return strings.ReplaceAll(model.EscapeName(key, model.ValueEncodingEscaping), ":", "_3a_") // invalid in a label
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, key)
}

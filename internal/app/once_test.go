// SPDX-License-Identifier: Apache-2.0

package app

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestOnceWritesWhatTheTextfileCollectorAccepts: node_exporter has go_ and process_ metrics of its own, and rejects a
// file with timestamps.
func TestOnceWritesWhatTheTextfileCollectorAccepts(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"healthy", "failing"}})
	c.FailReads("failing", simulator.Fault{Status: 500})
	for name, test := range map[string]struct {
		project project
		code    int
	}{
		"all read":          {project{clusters: []string{"healthy"}}, 0},
		"a cluster fails":   {project{clusters: []string{"healthy", "failing"}}, 1},
		"discovery":         {project{settings: "discovery: {}"}, 1},
		"nothing was found": {project{settings: "discovery: {name: none}"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := execute(t, "--once", "--config.file="+c.file(t, test.project))
			if code != test.code {
				t.Errorf("got exit code %d, want %d:\n%s", code, test.code, stderr)
			}
			parser := expfmt.NewTextParser(model.LegacyValidation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(stdout))
			if err != nil {
				t.Fatal(err, stdout)
			}
			for _, family := range families {
				for _, m := range family.GetMetric() {
					if m.TimestampMs != nil {
						t.Errorf("%s has a timestamp", family.GetName())
					}
				}
			}
			names := slices.Sorted(maps.Keys(families))
			for _, name := range names {
				if !strings.HasPrefix(name, "css_vpcep_") {
					t.Errorf("got the family %s", name)
				}
			}
			for _, kind := range []string{"HELP", "TYPE"} {
				got := findSorted("(?m)^# "+kind+" (\\S+)", stdout)
				if lines := strings.Count(stdout, "# "+kind+" "); !slices.Equal(got, names) || lines != len(names) {
					t.Errorf("got %d lines of %s for %q, want one for each of %q", lines, kind, got, names)
				}
			}
			for _, want := range []string{"css_vpcep_exporter_build_info", "css_vpcep_exporter_api_requests_total"} {
				if !slices.Contains(names, want) {
					t.Errorf("missing: %s in %q", want, names)
				}
			}
		})
	}
}

// TestOnceReadsOtherProjectsWhileAListHangs also reports that the list could not be read.
func TestOnceReadsOtherProjectsWhileAListHangs(t *testing.T) {
	slow(t)
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}},
		project{id: "p2", name: "hanging", clusters: []string{"c2"}, settings: "discovery: {}"})
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: "p2"}, simulator.Fault{Hang: true})
	code, stdout, stderr := execute(t, "--once", "--scrape.timeout=4s", "--config.file="+c.file(t, c.projects...))
	e := parse(t, stdout)
	if got := e.labelValues("css_vpcep_up", "cluster_id", 1); code != 1 || !slices.Equal(got, []string{"c1", "c2"}) {
		t.Errorf("got exit code %d and clusters %v up, want 1 and both:\n%s", code, got, stderr)
	}
	e.checkLines(t, `css_vpcep_discovery_up{project_id="p2",region="cn-north-4"} 0`)
	if !strings.Contains(stderr, `msg="Discovery failed" project=hanging`) || !strings.Contains(stderr, "reason=timeout") {
		t.Errorf("the failure is not logged:\n%s", stderr)
	}
}

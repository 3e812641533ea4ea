// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// TestFleet checks that 230 clusters, listed in pages of 100, are shown as soon as the program is ready.
func TestFleet(t *testing.T) {
	r := newRegion(t)
	var want []string
	for n := range 230 {
		r.add(n, nil)
		want = append(want, fmt.Sprintf("search-%03d", n))
	}
	r.write(t, "    discovery: {}")
	began := time.Now()
	p := start(t, "--config.file="+r.path)
	_, metrics := p.get(t, "/metrics")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if diff := cmp.Diff(want, labelled(metrics, "css_vpcep_up", "cluster_name", "1")); diff != "" {
		t.Errorf("up (-want +got):\n%s", diff)
	}
	for _, line := range []string{
		`css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 1`,
		`css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 230`,
		`css_vpcep_cluster_info{cluster_id="id-007",cluster_name="search-007",engine="elasticsearch",engine_version="7.10.2",` +
			`enterprise_project_id="0",project="cn-north-4",project_id="p1",region="cn-north-4",vpc_id="vpc"} 1`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="clusters",region="cn-north-4"} 3`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="projects",region="cn-north-4"} 1`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="cn-north-4"} 230`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}

	// /sd and /probe know the same clusters, and no others.
	_, sd := p.get(t, "/sd")
	var groups []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	if err := json.Unmarshal([]byte(sd), &groups); err != nil || len(groups) != 230 {
		t.Fatalf("%d targets: %v", len(groups), err)
	}
	if diff := cmp.Diff(map[string]string{
		"__meta_css_region": "cn-north-4", "__meta_css_project": "cn-north-4", "__meta_css_project_id": "p1", "__meta_css_cluster_id": "id-007",
		"__meta_css_cluster_name": "search-007", "__meta_css_engine": "elasticsearch", "__meta_css_tag_team": "search",
	}, groups[7].Labels); diff != "" || !slices.Equal(groups[7].Targets, []string{"id-007"}) {
		t.Errorf("%v (-want +got):\n%s", groups[7].Targets, diff)
	}
	requests := len(r.Requests())
	for _, target := range []string{"id-007", "search-007", "search-007&project=cn-north-4"} {
		status, metrics := p.get(t, "/probe?target="+target)
		if got := labelled(metrics, "css_vpcep_up", "cluster_id", "1"); status != http.StatusOK || !slices.Equal(got, []string{"id-007"}) {
			t.Errorf("%s: %d, up: %v", target, status, got)
		}
	}
	if n := len(r.Requests()) - requests; n != 3 {
		t.Errorf("%d requests for three probes", n)
	}
	for target, want := range map[string]int{
		"": http.StatusBadRequest, "?target=": http.StatusBadRequest, "?project=cn-north-4": http.StatusBadRequest,
		"?target=id-999": http.StatusNotFound, "?target=id-007&project=other": http.StatusNotFound, "?target=ID-007": http.StatusNotFound,
		"?target=http://127.0.0.1:1/": http.StatusNotFound, "?target=../id-007": http.StatusNotFound, "?target=search-.*": http.StatusNotFound,
		"?target=id-007%00": http.StatusNotFound, "?target=%ff": http.StatusNotFound,
	} {
		if status, text := p.get(t, "/probe"+target); status != want {
			t.Errorf("/probe%s: %d %s, want %d", target, status, text, want)
		}
	}
	if n := len(r.Requests()) - requests; n != 3 {
		t.Errorf("%d requests for unknown clusters", n-3)
	}
}

// TestFilters checks which clusters each filter selects, and all together.
func TestFilters(t *testing.T) {
	r := newRegion(t)
	r.add(1, nil)
	r.add(2, func(c *simulator.Cluster) { c.Name = "my-search-002" })
	r.add(3, func(c *simulator.Cluster) { c.Tags = []simulator.Tag{{Key: "team", Value: "search-2"}} })
	r.add(4, func(c *simulator.Cluster) { c.Tags = nil })
	r.add(5, func(c *simulator.Cluster) {
		c.Tags = []simulator.Tag{{Key: "stage", Value: "prod"}, {Key: "team", Value: "search"}}
	})
	r.add(6, func(c *simulator.Cluster) { c.Engine = "opensearch" })
	r.add(7, func(c *simulator.Cluster) { c.Engine = "logstash" })
	r.add(8, func(c *simulator.Cluster) { c.Status = "100" })
	r.add(9, func(c *simulator.Cluster) { c.Status = "303" })
	r.add(10, func(c *simulator.Cluster) { c.EnterpriseProjectID = "ep-1" })
	for filter, want := range map[string]string{
		"{}":                                  "1 2 3 4 5 6 10",
		`{name: "search-00[1-4]"}`:            "1 3 4",
		`{name: "search"}`:                    "",
		`{name: "search-001|my-.*"}`:          "1 2",
		`{tags: {team: search}}`:              "1 2 5 6 10",
		`{tags: {team: search, stage: prod}}`: "5",
		`{tags: {TEAM: search}}`:              "",
		`{tags: {team: "search|search-2"}}`:   "1 2 3 5 6 10",
		`{tags: {team: "search-[0-9]"}}`:      "3",
		`{tags: {stage: ".*"}}`:               "5",
		`{enterprise_project_id: "ep-.*|1"}`:  "10",
		`{engine: opensearch}`:                "6",
		`{engine: "opensearch|logstash"}`:     "6 7",
		`{engine: search}`:                    "",
		`{enterprise_project_id: ep-1}`:       "10",
		`{enterprise_project_id: "0"}`:        "1 2 3 4 5 6",
		`{name: "search-.*", tags: {team: search}, engine: elasticsearch, enterprise_project_id: "0"}`: "1 5",
	} {
		r.write(t, "    discovery: "+filter)
		p := start(t, "--config.file="+r.path)
		_, metrics := p.get(t, "/metrics")
		var got []string
		for _, id := range labelled(metrics, "css_vpcep_up", "cluster_id", "1") {
			got = append(got, strings.TrimLeft(strings.TrimPrefix(id, "id-"), "0"))
		}
		if found := strings.Join(got, " "); found != want {
			t.Errorf("%s selects %q, want %q", filter, found, want)
		}
		p.stop(t)
	}
}

// TestRefresh checks that a refresh adds and removes clusters, and that a failed one changes only discovery_up and is
// retried.
func TestRefresh(t *testing.T) {
	r := newRegion(t)
	r.add(1, nil)
	r.add(2, nil)
	r.write(t, "    clusters: [{id: id-002, name: by the file, labels: {owner: us}}]\n    discovery: {refresh_interval: 1s, labels_from_tags: [team]}")
	p := start(t, "--config.file="+r.path)
	shows := func(want string) {
		t.Helper()
		p.eventually(t, "the clusters are "+want, func() bool {
			_, metrics := p.get(t, "/metrics")
			return strings.Join(labelled(metrics, "css_vpcep_cluster_info", "cluster_name", "1"), ", ") == want
		})
	}
	shows("by the file, search-001")
	if _, metrics := p.get(t, "/metrics"); !strings.Contains(metrics, `cluster_name="by the file",engine="elasticsearch",engine_version="7.10.2",`+
		`enterprise_project_id="0",owner="us",project="cn-north-4",project_id="p1",region="cn-north-4",team="search",vpc_id="vpc"} 1`) {
		t.Errorf("the file and the API are not merged:\n%s", metrics)
	}
	r.add(3, nil)
	shows("by the file, search-001, search-003")
	r.RemoveCluster("id-001")
	shows("by the file, search-003")

	r.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Status: 500})
	r.add(4, nil)
	p.eventually(t, "discovery is down", func() bool {
		_, metrics := p.get(t, "/metrics")
		return strings.Contains(metrics, `css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 0`) &&
			strings.Contains(metrics, `css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 2`)
	})
	shows("by the file, search-003")
	r.SetFault(simulator.Target{Endpoint: simulator.Clusters})
	shows("by the file, search-003, search-004")
	if n := strings.Count(p.log.String(), "Discovery failed"); n != 1 {
		t.Errorf("the failure was logged %d times:\n%s", n, p.log)
	}
}

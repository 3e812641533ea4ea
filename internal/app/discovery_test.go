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

// addSearchCluster adds the nth cluster: id-00n, named search-00n, of the team search.
func (c *testCloud) addSearchCluster(n int, changes ...func(*simulator.Cluster)) {
	typical := func(c *simulator.Cluster) {
		c.Name, c.Version, c.EnterpriseProjectID, c.VPCID = fmt.Sprintf("search-%03d", n), "7.10.2", "0", "vpc"
		c.Tags = []simulator.Tag{{Key: "team", Value: "search"}}
	}
	c.addCluster("p1", fmt.Sprintf("id-%03d", n), append([]func(*simulator.Cluster){typical}, changes...)...)
}

// newFleet returns a cloud that lists 230 clusters in pages of 100, for a project with discovery.
func newFleet(t *testing.T) *testCloud {
	t.Helper()
	c := newCloud(t, simulator.Options{ClusterPageCap: 100}, project{lookUpID: true, settings: "discovery: {}"})
	for n := range 230 {
		c.addSearchCluster(n)
	}
	return c
}

// TestFirstScrapeShowsAllDiscoveredClusters also counts the requests.
func TestFirstScrapeShowsAllDiscoveredClusters(t *testing.T) {
	c := newFleet(t)
	var want []string
	for n := range 230 {
		want = append(want, fmt.Sprintf("search-%03d", n))
	}
	e := c.start(t).scrape(t, 10*time.Second)
	if diff := cmp.Diff(want, e.labelValues("css_vpcep_up", "cluster_name", 1)); diff != "" {
		t.Errorf("up (-want +got):\n%s", diff)
	}
	e.checkLines(t,
		`css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 1`,
		`css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 230`,
		`css_vpcep_cluster_info{cluster_id="id-007",cluster_name="search-007",engine="elasticsearch",`+
			`engine_version="7.10.2",enterprise_project_id="0",project="cn-north-4",project_id="p1",region="cn-north-4",`+
			`vpc_id="vpc"} 1`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="clusters",region="cn-north-4"} 3`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="projects",region="cn-north-4"} 1`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="cn-north-4"} 230`,
	)
}

func TestSDListsDiscoveredClusters(t *testing.T) {
	p := newFleet(t).start(t)
	_, body := p.get(t, "/sd")
	var groups []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	if err := json.Unmarshal([]byte(body), &groups); err != nil || len(groups) != 230 {
		t.Fatalf("got %d targets and error %v, want 230", len(groups), err)
	}
	if got := groups[7].Targets; !slices.Equal(got, []string{"id-007"}) {
		t.Errorf("got targets %v, want id-007", got)
	}
	want := map[string]string{
		"__meta_css_region": "cn-north-4", "__meta_css_project": "cn-north-4", "__meta_css_project_id": "p1",
		"__meta_css_cluster_id": "id-007", "__meta_css_cluster_name": "search-007", "__meta_css_engine": "elasticsearch",
		"__meta_css_tag_team": "search",
	}
	if diff := cmp.Diff(want, groups[7].Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

// TestProbeReadsOneCluster checks that a probe costs one request, and none if it selects no cluster.
func TestProbeReadsOneCluster(t *testing.T) {
	c := newFleet(t)
	p := c.start(t)
	before := len(c.Requests())
	for i, target := range []string{"id-007", "search-007", "search-007&project=cn-north-4"} {
		e := p.exposition(t, "/probe?target="+target, 10*time.Second)
		if got := e.labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(got, []string{"id-007"}) {
			t.Errorf("target %s: got %v up, want id-007", target, got)
		}
		if got, want := len(c.Requests())-before, i+1; got != want {
			t.Errorf("target %s: got %d requests so far, want %d", target, got, want)
		}
	}
	before = len(c.Requests())
	for query, want := range map[string]int{
		"":                             http.StatusBadRequest,
		"?target=":                     http.StatusBadRequest,
		"?project=cn-north-4":          http.StatusBadRequest,
		"?target=id-999":               http.StatusNotFound,
		"?target=id-007&project=other": http.StatusNotFound,
		"?target=ID-007":               http.StatusNotFound,
		"?target=http://127.0.0.1:1/":  http.StatusNotFound,
		"?target=../id-007":            http.StatusNotFound,
		"?target=search-.*":            http.StatusNotFound,
		"?target=id-007%00":            http.StatusNotFound,
		"?target=%ff":                  http.StatusNotFound,
	} {
		if status, body := p.get(t, "/probe"+query); status != want {
			t.Errorf("/probe%s: got status %d, want %d: %s", query, status, want, body)
		}
	}
	if n := len(c.Requests()) - before; n != 0 {
		t.Errorf("got %d requests for unknown clusters, want 0", n)
	}
}

func TestDiscoveryFilters(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{})
	c.addSearchCluster(1)
	c.addSearchCluster(2, func(c *simulator.Cluster) { c.Name = "my-search-002" })
	c.addSearchCluster(3, func(c *simulator.Cluster) { c.Tags = []simulator.Tag{{Key: "team", Value: "search-2"}} })
	c.addSearchCluster(4, func(c *simulator.Cluster) { c.Tags = nil })
	c.addSearchCluster(5, func(c *simulator.Cluster) {
		c.Tags = []simulator.Tag{{Key: "stage", Value: "prod"}, {Key: "team", Value: "search"}}
	})
	c.addSearchCluster(6, func(c *simulator.Cluster) { c.Engine = "opensearch" })
	c.addSearchCluster(7, func(c *simulator.Cluster) { c.Engine = "logstash" })
	c.addSearchCluster(8, func(c *simulator.Cluster) { c.Status = "100" })
	c.addSearchCluster(9, func(c *simulator.Cluster) { c.Status = "303" })
	c.addSearchCluster(10, func(c *simulator.Cluster) { c.EnterpriseProjectID = "ep-1" })
	for filter, want := range map[string]string{
		"{}":                                  "1 2 3 4 5 6 9 10",
		`{name: "search-00[1-4]"}`:            "1 3 4",
		`{name: "search"}`:                    "",
		`{name: "search-001|my-.*"}`:          "1 2",
		`{tags: {team: search}}`:              "1 2 5 6 9 10",
		`{tags: {team: search, stage: prod}}`: "5",
		`{tags: {TEAM: search}}`:              "",
		`{tags: {team: "search|search-2"}}`:   "1 2 3 5 6 9 10",
		`{tags: {team: "search-[0-9]"}}`:      "3",
		`{tags: {stage: ".*"}}`:               "5",
		`{enterprise_project_id: "ep-.*|1"}`:  "10",
		`{engine: opensearch}`:                "6",
		`{engine: "opensearch|logstash"}`:     "6 7",
		`{engine: search}`:                    "",
		`{enterprise_project_id: ep-1}`:       "10",
		`{enterprise_project_id: "0"}`:        "1 2 3 4 5 6 9",
		`{name: "search-.*", tags: {team: search}, engine: elasticsearch, enterprise_project_id: "0"}`: "1 5 9",
	} {
		p := start(t, "--config.file="+c.file(t, project{lookUpID: true, settings: "discovery: " + filter}))
		var got []string
		for _, id := range p.scrape(t, 10*time.Second).labelValues("css_vpcep_up", "cluster_id", 1) {
			got = append(got, strings.TrimLeft(strings.TrimPrefix(id, "id-"), "0"))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("filter %s: got clusters %q, want %q", filter, got, want)
		}
		p.stop(t)
	}
}

const everySecond = "discovery: {refresh_interval: 1s}"

// startRefreshing starts a program over the clusters search-001 and id-002, which the file calls "by the file".
func startRefreshing(t *testing.T) (c *testCloud, p *program) {
	t.Helper()
	c = newCloud(t, simulator.Options{}, project{
		lookUpID: true,
		settings: "discovery: {refresh_interval: 1s, labels_from_tags: [team]}\n" +
			"    clusters: [{id: id-002, name: by the file, labels: {owner: us}}]",
	})
	c.addSearchCluster(1)
	c.addSearchCluster(2)
	p = c.start(t)
	return c, p
}

// awaitClusters waits until a scrape shows exactly the clusters with these names.
func (p *program) awaitClusters(t *testing.T, names ...string) (e exposition) {
	t.Helper()
	p.eventually(t, fmt.Sprintf("the clusters are %q", names), func() bool {
		e = p.scrape(t, 10*time.Second)
		return slices.Equal(e.labelValues("css_vpcep_cluster_info", "cluster_name", 1), names)
	})
	return e
}

func TestDiscoveryCompletesTheClustersOfTheFile(t *testing.T) {
	_, p := startRefreshing(t)
	p.awaitClusters(t, "by the file", "search-001").checkLines(t,
		`css_vpcep_cluster_info{cluster_id="id-002",cluster_name="by the file",engine="elasticsearch",`+
			`engine_version="7.10.2",enterprise_project_id="0",owner="us",project="cn-north-4",project_id="p1",`+
			`region="cn-north-4",team="search",vpc_id="vpc"} 1`)
}

func TestRefreshAddsAndRemovesClusters(t *testing.T) {
	slow(t)
	c, p := startRefreshing(t)
	p.awaitClusters(t, "by the file", "search-001")
	c.addSearchCluster(3)
	p.awaitClusters(t, "by the file", "search-001", "search-003")
	c.RemoveCluster("id-001")
	p.awaitClusters(t, "by the file", "search-003")
}

func TestFailedRefreshKeepsTheClusters(t *testing.T) {
	slow(t)
	c, p := startRefreshing(t)
	p.awaitClusters(t, "by the file", "search-001")
	list := simulator.Target{Endpoint: simulator.Clusters}
	c.SetFault(list, simulator.Fault{Status: 500})
	c.addSearchCluster(3)
	p.eventually(t, "discovery is down", func() bool {
		e := p.scrape(t, 10*time.Second)
		return slices.Equal(e.labelValues("css_vpcep_discovery_up", "project_id", 0), []string{"p1"})
	})
	p.awaitClusters(t, "by the file", "search-001").checkLines(t,
		`css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 0`,
		`css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 2`,
	)
	c.SetFault(list)
	p.awaitClusters(t, "by the file", "search-001", "search-003")
	if n := strings.Count(p.log.String(), "Discovery failed"); n != 1 {
		t.Errorf("the failure was logged %d times, want once:\n%s", n, p.log)
	}
}

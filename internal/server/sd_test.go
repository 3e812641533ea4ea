// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// TestSD checks that /sd returns 503 until every project has been refreshed, and then all clusters, from memory.
func TestSD(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "listed")
	r.cloud.UpdateCluster("good", func(c *simulator.Cluster) {
		c.Tags = []simulator.Tag{
			{Key: "team", Value: "search"}, {Key: "a-b", Value: "\"first\"\n"}, {Key: "a.b", Value: "second"},
		}
	})
	const early = notReady + " Prometheus keeps its current targets.\n"
	if status, body := r.get(t, http.MethodGet, "/sd", ""); status != 503 || body != early {
		t.Error(status, body)
	}
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.cloud.Count(simulator.Target{})
	resp, body := r.fetch(t, http.MethodGet, "/sd", nil)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "application/json" {
		t.Error(resp.StatusCode, got)
	}
	want := `[
{"targets":["listed"],"labels":{"__meta_css_cluster_id":"listed","__meta_css_cluster_name":"name of listed","__meta_css_engine":"","__meta_css_project":"production","__meta_css_project_id":"p1","__meta_css_region":"cn-north-4"}},
{"targets":["good"],"labels":{"__meta_css_cluster_id":"good","__meta_css_cluster_name":"name of good","__meta_css_engine":"elasticsearch","__meta_css_project":"production","__meta_css_project_id":"p1","__meta_css_region":"cn-north-4","__meta_css_tag_a_b":"\"first\"\n","__meta_css_tag_team":"search"}},
{"targets":["nonsense"],"labels":{"__meta_css_cluster_id":"nonsense","__meta_css_cluster_name":"name of nonsense","__meta_css_engine":"elasticsearch","__meta_css_project":"production","__meta_css_project_id":"p1","__meta_css_region":"cn-north-4"}},
{"targets":["hangs"],"labels":{"__meta_css_cluster_id":"hangs","__meta_css_cluster_name":"name of hangs","__meta_css_engine":"elasticsearch","__meta_css_project":"production","__meta_css_project_id":"p1","__meta_css_region":"cn-north-4"}},
{"targets":["off"],"labels":{"__meta_css_cluster_id":"off","__meta_css_cluster_name":"name of off","__meta_css_engine":"elasticsearch","__meta_css_project":"production","__meta_css_project_id":"p1","__meta_css_region":"cn-north-4"}}]
`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	if after := r.cloud.Count(simulator.Target{}); after != before {
		t.Errorf("%d API requests were sent", after-before)
	}
}

// TestWriteSD checks that shared clusters are written once, and that hostile text gives valid JSON.
func TestWriteSD(t *testing.T) {
	project := func(name, id string) *discovery.Project {
		return &discovery.Project{Name: name, Region: "r", Client: newClient(t, "", id, nil)}
	}
	one := project("one", "p1")
	var targets []discovery.Target
	for _, p := range []*discovery.Project{
		one, project("same", "p1"), project("other", "p2"), project("u1", ""), project("u2", ""),
	} {
		targets = append(targets, discovery.Target{Project: p, Cluster: css.Cluster{ID: "c"}})
	}
	targets = append(targets, discovery.Target{Project: one, Cluster: css.Cluster{
		ID: "odd", Name: "</script>\x00\xff\u202e" + strings.Repeat("x", 2000), Tags: map[string]string{
			"A b": "2", "A-b": "3", "A\"b": "1", "": "empty", "été": "x", "9": strings.Repeat("y", 2000), "ok": "z",
		},
	}})
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	labels := func(project, projectID, id, name string, tags map[string]string) map[string]string {
		all := map[string]string{
			"__meta_css_region": "r", "__meta_css_project": project, "__meta_css_project_id": projectID,
			"__meta_css_cluster_id": id, "__meta_css_cluster_name": name, "__meta_css_engine": "",
		}
		for key, value := range tags {
			all["__meta_css_tag_"+key] = value
		}
		return all
	}
	want := []group{
		{[]string{"c"}, labels("one", "p1", "c", "", nil)},
		{[]string{"c"}, labels("other", "p2", "c", "", nil)},
		{[]string{"c"}, labels("u1", "", "c", "", nil)},
		{[]string{"c"}, labels("u2", "", "c", "", nil)},
		{[]string{"odd"}, labels("one", "p1", "odd", css.Clean("</script>\x00\xff\u202e"+strings.Repeat("x", 2000), 1024),
			map[string]string{"A_b": "2", "": "empty", "_t_": "x", "9": strings.Repeat("y", 1024), "ok": "z"})},
	}
	var b bytes.Buffer
	if err := writeSD(&b, targets); err != nil {
		t.Fatal(err)
	}
	var got []group
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err, b.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := writeSD(&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("%v %q", err, b.String())
	}
}

// BenchmarkSD writes the largest cluster list that discovery accepts.
func BenchmarkSD(b *testing.B) {
	client := newClient(b, "", "fbefa356da790ed7bdde940502998f3e", nil)
	project := &discovery.Project{Name: "production", Region: "cn-north-4", Client: client}
	var targets []discovery.Target
	for i, id := range clusterIDs(100_000) {
		targets = append(targets, discovery.Target{Project: project, Cluster: css.Cluster{
			ID: id, Name: fmt.Sprint("search-", i), Engine: "elasticsearch",
			Tags: map[string]string{"team": "search", "stage": "prod"},
		}})
	}
	var out counter
	b.ReportAllocs()
	for b.Loop() {
		out = 0
		if err := writeSD(&out, targets); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out), "bytes")
}

// counter counts the bytes written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

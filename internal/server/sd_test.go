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

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
)

func TestSDBeforeDiscovery(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "listed")
	const want = `The clusters of project "production" have not been read yet; /status shows why. ` +
		"Prometheus keeps its current targets.\n"
	if status, body := r.get(t, http.MethodGet, "/sd", ""); status != 503 || body != want {
		t.Errorf("got %d %s, want 503 %s", status, body, want)
	}
}

func TestSDReturnsAllClustersWithoutAPIRequests(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "listed")
	r.cloud.UpdateCluster("healthy", func(c *simulator.Cluster) {
		c.Tags = []simulator.Tag{
			{Key: "team", Value: "search"}, {Key: "a-b", Value: "\"first\"\n"}, {Key: "a.b", Value: "second"},
		}
	})
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.cloud.Count(simulator.Target{})
	resp, body := r.fetch(t, http.MethodGet, "/sd", nil)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "application/json" {
		t.Errorf("got %d, Content-Type %q; want 200, application/json", resp.StatusCode, got)
	}
	if requests := r.cloud.Count(simulator.Target{}) - before; requests != 0 {
		t.Errorf("got %d API requests, want none", requests)
	}
	const project = `"__meta_css_project":"production","__meta_css_project_id":"p1","__meta_css_region":"cn-north-4"`
	cluster := func(id, engine, tags string) string {
		return fmt.Sprintf(`{"targets":[%q],"labels":{"__meta_css_cluster_id":%[1]q,`+
			`"__meta_css_cluster_name":"name of %[1]s","__meta_css_engine":%q,%s%s}}`, id, engine, project, tags)
	}
	want := "[\n" + strings.Join([]string{
		cluster("listed", "", ""),
		cluster("healthy", "elasticsearch", `,"__meta_css_tag_a_b":"\"first\"\n","__meta_css_tag_team":"search"`),
		cluster("nonsense", "elasticsearch", ""),
		cluster("hangs", "elasticsearch", ""),
		cluster("off", "elasticsearch", ""),
	}, ",\n") + "]\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// sdGroup is a decoded sdTarget.
type sdGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func newSDGroup(project, projectID, id, name string, tags map[string]string) sdGroup {
	labels := map[string]string{
		"__meta_css_region": "r", "__meta_css_project": project, "__meta_css_project_id": projectID,
		"__meta_css_cluster_id": id, "__meta_css_cluster_name": name, "__meta_css_engine": "",
	}
	for key, value := range tags {
		labels["__meta_css_tag_"+key] = value
	}
	return sdGroup{[]string{id}, labels}
}

// written returns the decoded output of writeSD.
func written(t *testing.T, targets []discovery.Target) []sdGroup {
	t.Helper()
	var b bytes.Buffer
	if err := writeSD(&b, targets); err != nil {
		t.Fatal(err)
	}
	var groups []sdGroup
	if err := json.Unmarshal(b.Bytes(), &groups); err != nil {
		t.Fatal(err, b.String())
	}
	return groups
}

func newSDProject(t *testing.T, name, id string) *discovery.Project {
	t.Helper()
	return &discovery.Project{Name: name, Region: "r", Client: csstest.NewClient(t, "", func(o *csstest.Options) { o.ProjectID = id })}
}

func TestSDWritesSharedClustersOnce(t *testing.T) {
	var targets []discovery.Target
	for _, p := range []struct{ name, id string }{
		{"one", "p1"}, {"same", "p1"}, {"other", "p2"}, {"unknown1", ""}, {"unknown2", ""},
	} {
		targets = append(targets, discovery.Target{Project: newSDProject(t, p.name, p.id), Cluster: css.Cluster{ID: "c"}})
	}
	want := []sdGroup{
		newSDGroup("one", "p1", "c", "", nil),
		newSDGroup("other", "p2", "c", "", nil),
		newSDGroup("unknown1", "", "c", "", nil),
		newSDGroup("unknown2", "", "c", "", nil),
	}
	if diff := cmp.Diff(want, written(t, targets)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSDCleansHostileText(t *testing.T) {
	hostile := "</script>\x00\xff\u202e" + strings.Repeat("x", 2000)
	targets := []discovery.Target{{Project: newSDProject(t, "one", "p1"), Cluster: css.Cluster{
		ID: "odd", Name: hostile, Tags: map[string]string{
			"A b": "2", "A-b": "3", "A\"b": "1", "": "empty", "été": "x", "9": strings.Repeat("y", 2000), "ok": "z",
		},
	}}}
	want := []sdGroup{newSDGroup("one", "p1", "odd", clean.Text(hostile, 1024),
		map[string]string{"A_b": "2", "": "empty", "U___e9_t_e9_": "x", "9": strings.Repeat("y", 1024), "ok": "z"})}
	if diff := cmp.Diff(want, written(t, targets)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestSDEscapesTagKeys: keys that are not ASCII are escaped as Prometheus escapes names, so that each keeps its label.
func TestSDEscapesTagKeys(t *testing.T) {
	tags, want := make(map[string]string), make(map[string]string)
	for key, label := range map[string]string{
		"team":        "team",
		"cost-center": "cost_center",
		"a b/c:d@e":   "a_b_c_d_e",
		"U__90e8_":    "U__90e8_",
		"部门":          "U___90e8__95e8_",
		"部门2":         "U___90e8__95e8_2",
		"负责":          "U___8d1f__8d23_",
		"2部":          "U___32__90e8_",
		"部_门":         "U___90e8____95e8_",
		"部-门":         "U___90e8__2d__95e8_",
		"部:门":         "U___90e8__3a__95e8_", // a colon is valid in the name of a metric only
		"部 门":         "U___90e8__20__95e8_",
		"größe":       "U__gr_f6__df_e",
		"😀":           "U___1f600_",
		"\ufffd":      "U___fffd_",
	} {
		tags[key], want[label] = "value of "+key, "value of "+key
	}
	groups := written(t, []discovery.Target{{Project: newSDProject(t, "one", "p1"), Cluster: css.Cluster{ID: "c", Tags: tags}}})
	if diff := cmp.Diff([]sdGroup{newSDGroup("one", "p1", "c", "", want)}, groups); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for name := range groups[0].Labels {
		if !model.LegacyValidation.IsValidLabelName(name) { // Prometheus 2 would reject the whole response
			t.Errorf("%q is not a valid label name", name)
		}
		escaped, ok := strings.CutPrefix(name, "__meta_css_tag_U__")
		if key := model.UnescapeName("U__"+escaped, model.ValueEncodingEscaping); ok && escaped != "90e8_" &&
			groups[0].Labels[name] != "value of "+key {
			t.Errorf("%q is unescaped to %q", name, key)
		}
	}
}

func TestSDWithoutClusters(t *testing.T) {
	var b bytes.Buffer
	if err := writeSD(&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("got %q, %v; want []", b.String(), err)
	}
}

// BenchmarkSD writes the longest cluster list that discovery accepts.
func BenchmarkSD(b *testing.B) {
	client := csstest.NewClient(b, "", func(o *csstest.Options) { o.ProjectID = "fbefa356da790ed7bdde940502998f3e" })
	project := &discovery.Project{Name: "production", Region: "cn-north-4", Client: client}
	var targets []discovery.Target
	for i, id := range clusterIDs(100_000) {
		targets = append(targets, discovery.Target{Project: project, Cluster: css.Cluster{
			ID: id, Name: fmt.Sprint("search-", i), Engine: "elasticsearch",
			Tags: map[string]string{"team": "search", "stage": "prod"},
		}})
	}
	var out byteCounter
	b.ReportAllocs()
	for b.Loop() {
		out = 0
		if err := writeSD(&out, targets); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out), "bytes")
}

type byteCounter int

func (c *byteCounter) Write(p []byte) (int, error) {
	*c += byteCounter(len(p))
	return len(p), nil
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

func TestProbeReturnsTheSeriesOfOneCluster(t *testing.T) {
	r := newRig(t, nil, "healthy", "nonsense", "off")
	_, metrics := r.get(t, http.MethodGet, "/metrics", "")
	for _, tc := range []struct{ query, cluster string }{
		{"target=healthy", "healthy"},
		{"target=name+of+healthy", "healthy"},
		{"target=healthy&project=production", "healthy"},
		{"target=healthy&project=", "healthy"},
		{"target=healthy&module=unknown", "healthy"},
		{"target=off", "off"},
		{"target=nonsense", "nonsense"},
	} {
		status, probe := r.get(t, http.MethodGet, "/probe?"+tc.query, "")
		if status != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", tc.query, status, probe)
			continue
		}
		var series []string
		for line := range strings.Lines(probe) {
			if !strings.HasPrefix(line, "#") {
				series = append(series, strings.TrimSpace(line))
			}
		}
		if diff := cmp.Diff(withoutTimes(linesOf(tc.cluster, metrics)), withoutTimes(series)); diff != "" {
			t.Errorf("%s: -metrics +probe\n%s", tc.query, diff)
		}
	}
	_, probe := r.get(t, http.MethodGet, "/probe?target=nonsense", "")
	const down = `css_vpcep_up{cluster_id="nonsense",cluster_name="name of nonsense",` +
		`project_id="p1",region="cn-north-4"} 0`
	if !strings.Contains(probe, down) {
		t.Errorf("missing: %s\nin:\n%s", down, probe)
	}
}

// withoutTimes removes the values that differ at each scrape.
func withoutTimes(series []string) []string {
	times := regexp.MustCompile(`^(css_vpcep_(?:scrape_duration|last_success_timestamp)_seconds)(\{.*\}) .*$`)
	var lines []string
	for _, line := range series {
		lines = append(lines, times.ReplaceAllString(line, "$1$2"))
	}
	return lines
}

func TestProbeNegotiatesTheFormat(t *testing.T) {
	r := newRig(t, nil, "healthy")
	accept := http.Header{"Accept": {"application/openmetrics-text;version=1.0.0"}}
	resp, _ := r.fetch(t, http.MethodHead, "/probe?target=healthy", accept)
	got := resp.Header.Get("Content-Type")
	if resp.StatusCode != 200 || !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("got %d, Content-Type %q; want 200 and OpenMetrics", resp.StatusCode, got)
	}
}

func TestProbeRejectsInvalidTimeouts(t *testing.T) {
	r := newRig(t, nil, "healthy")
	const want = "invalid " + timeoutHeader + ` "soon"; it must be a positive number of seconds` + "\n"
	if status, body := r.get(t, http.MethodGet, "/probe?target=healthy", "soon"); status != 400 || body != want {
		t.Errorf("got %d %s, want 400 %s", status, body, want)
	}
}

func TestProbeRespondsBeforeItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOfflineRig(t, nil, "hangs")
		start := time.Now()
		status, body := r.get(t, http.MethodGet, "/probe?target=hangs", "1")
		took, down := time.Since(start), strings.Contains(body, `project_id="p1",region="cn-north-4"} 0`)
		if status != 200 || took != 500*time.Millisecond || !down {
			t.Errorf("got %d after %s, want 200 and up 0 after 500ms:\n%s", status, took, body)
		}
	})
}

func TestProbeOfUnknownClusterBeforeDiscovery(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "healthy")
	const want = `unknown cluster "absent"; discovery has not finished yet: try again in a few seconds` + "\n"
	if status, body := r.get(t, http.MethodGet, "/probe?target=absent", ""); status != 404 || body != want {
		t.Errorf("got %d %s, want 404 %s", status, body, want)
	}
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	const after = `unknown cluster "absent"; /status shows the known clusters` + "\n"
	if status, body := r.get(t, http.MethodGet, "/probe?target=absent", ""); status != 404 || body != after {
		t.Errorf("after discovery: got %d %s, want 404 %s", status, body, after)
	}
}

// newAmbiguousRig returns a rig of two projects that share cluster IDs and names.
func newAmbiguousRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	var projects []discovery.Project
	for i, name := range []string{"a", "b"} {
		project := r.project(name)
		project.Listed = []discovery.Listed{
			{ID: "healthy", Name: "alone in " + name}, {ID: fmt.Sprint("other", i), Name: "twice"},
		}
		projects = append(projects, project)
	}
	projects[1].Listed = append(projects[1].Listed,
		discovery.Listed{ID: "x", Name: "same"}, discovery.Listed{ID: "y", Name: "same"})
	r.fleet.Apply(projects)
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestInvalidProbesSendNoAPIRequest(t *testing.T) {
	r := newAmbiguousRig(t)
	const usage = `parameter "target" must be given once, with a cluster ID or name: /probe?target=…`
	const help = "; /status shows the known clusters"
	before := len(r.cloud.Requests())
	for query, want := range map[string]string{
		"":                        "400 " + usage,
		"target=":                 "400 " + usage,
		"target=healthy&target=x": "400 " + usage,
		"project=a":               "400 " + usage,
		"target=absent":           `404 unknown cluster "absent"` + help,
		"target=x&project=a":      `404 unknown cluster "x" in project "a"` + help,
		"target=x&project=<b>":    `404 unknown cluster "x" in project "<b>"` + help,
		"target=healthy":          `400 "healthy" matches 2 clusters in projects "a", "b"; add project=…`,
		"target=twice": `400 "twice" matches 2 clusters in projects "a", "b"; ` +
			"add project=… or use the cluster ID",
		"target=same":                               `400 "same" matches 2 clusters in project "b"; use the cluster ID`,
		"target=same&project=b":                     `400 "same" matches 2 clusters in project "b"; use the cluster ID`,
		"target=healthy&project=a&project=b":        `400 parameter "project" must not be given more than once`,
		"target=a%0Ab%1b%e2%80%ae%ff":               `404 unknown cluster "a\nb�\u202e�"` + help,
		"target=" + strings.Repeat("x", 100_000):    `404 unknown cluster "` + strings.Repeat("x", 200) + `"` + help,
		"target=..%2f..%2fetc%2Fpasswd&project=%00": `404 unknown cluster "../../etc/passwd" in project "�"` + help,
	} {
		status, body := r.get(t, http.MethodGet, "/probe?"+query, "")
		if got := fmt.Sprintf("%d %s", status, strings.TrimSuffix(body, "\n")); got != want {
			t.Errorf("%.80s:\n got %s\nwant %s", query, got, want)
		}
	}
	if requests := len(r.cloud.Requests()) - before; requests != 0 {
		t.Errorf("got %d API requests, want none", requests)
	}
}

func TestProjectParameterSelectsTheCluster(t *testing.T) {
	r := newAmbiguousRig(t)
	status, body := r.get(t, http.MethodGet, "/probe?target=healthy&project=b", "")
	if status != 200 || !strings.Contains(body, `cluster_name="alone in b",project_id="p1",region="cn-north-4"} 1`) {
		t.Errorf("got %d, want 200 and the cluster of project b:\n%s", status, body)
	}
}

func TestProbesDropTheDataOfRemovedClusters(t *testing.T) {
	r := newRig(t, nil, "healthy", "off")
	for _, id := range []string{"healthy", "off"} {
		r.get(t, http.MethodGet, "/probe?target="+id, "")
		if r.scraper.State("production", id).List == nil {
			t.Fatalf("%s was not read", id)
		}
	}
	known, options := r.server.known(), *r.server.metrics.Load()
	families := collector.New(t.Context(), r.scraper, r.server.series, newTargets(known), known.Labels, options).Families()
	info := families[0].GetMetric()
	if len(info) != 2 || info[0].GetLabel()[0].GetValue() != "healthy" {
		t.Fatal(families[0])
	}
	removed := weak.Make(info[0])
	project := r.project("production")
	project.Listed = []discovery.Listed{{ID: "off"}}
	r.fleet.Apply([]discovery.Project{project})
	r.get(t, http.MethodGet, "/probe?target=off", "")
	if r.scraper.State("production", "healthy").List != nil || r.scraper.State("production", "off").List == nil {
		t.Error("the list of the removed cluster was kept, or the other list was dropped")
	}
	runtime.GC()
	if removed.Value() != nil {
		t.Error("the metrics of the removed cluster were kept")
	}
}

func TestAmbiguousTargetErrorNamesAtMostTenProjects(t *testing.T) {
	var clusters []*discovery.Target
	for i := range 12 {
		clusters = append(clusters, &discovery.Target{Project: &discovery.Project{Name: fmt.Sprintf("p%02d", i)}})
	}
	const want = `"n" matches 12 clusters in projects ` +
		`"p00", "p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p09" and 2 more; ` +
		"add project=… or use the cluster ID"
	if got := ambiguousTarget("n", clusters).Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestConcurrentProbesAndScrapesShareAPIRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOfflineRig(t, nil, "healthy")
		r.cloud.FailReads("healthy", simulator.Fault{Latency: time.Second})
		var wg sync.WaitGroup
		for _, path := range []string{"/metrics", "/probe?target=healthy", "/probe?target=name+of+healthy"} {
			wg.Go(func() {
				status, body := r.get(t, http.MethodGet, path, "")
				if status != 200 || !strings.Contains(body, `region="cn-north-4"} 1`) {
					t.Errorf("%s: got %d, want 200 and up 1:\n%s", path, status, body)
				}
			})
		}
		wg.Wait()
		if n := r.cloud.Reads("healthy"); n != 1 {
			t.Errorf("got %d API requests, want 1", n)
		}
	})
}

// BenchmarkProbe shows that the time does not depend on the number of other clusters. min_interval prevents requests.
func BenchmarkProbe(b *testing.B) {
	for _, known := range []int{100, 100_000} {
		b.Run(fmt.Sprint("clusters=", known), func(b *testing.B) {
			r := newRig(b, nil, append(clusterIDs(known-1), "healthy")...)
			r.scraper.Configure(collector.ScrapeOptions{Concurrency: 4, MinInterval: time.Hour})
			handler, err := r.server.Handler()
			if err != nil {
				b.Fatal(err)
			}
			probe := func() *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/probe?target=healthy", nil))
				return w
			}
			if w := probe(); !strings.Contains(w.Body.String(), `region="cn-north-4"} 1`) {
				b.Fatal(w.Body)
			}
			b.ReportAllocs()
			for b.Loop() {
				probe()
			}
		})
	}
}

func clusterIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012d", i)
	}
	return ids
}

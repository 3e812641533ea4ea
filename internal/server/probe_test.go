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

// TestProbe checks that a probe returns the series that a scrape of everything returns for its cluster, and no others.
func TestProbe(t *testing.T) {
	r := newRig(t, nil, "good", "nonsense", "off")
	_, metrics := r.get(t, http.MethodGet, "/metrics", "")
	for _, tc := range []struct{ query, cluster string }{
		{"target=good", "good"},
		{"target=name+of+good", "good"},
		{"target=good&project=production", "good"},
		{"target=good&project=", "good"},
		{"target=good&module=unknown", "good"},
		{"target=off", "off"},
		{"target=nonsense", "nonsense"},
	} {
		status, probe := r.get(t, http.MethodGet, "/probe?"+tc.query, "")
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", tc.query, status, probe)
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
	const down = `css_vpcep_up{cluster_id="nonsense",cluster_name="name of nonsense",project_id="p1",region="cn-north-4"} 0`
	if !strings.Contains(probe, down) {
		t.Error(probe)
	}
}

// withoutTimes removes the values that differ at each scrape.
func withoutTimes(series []string) []string {
	moving := regexp.MustCompile(`^(css_vpcep_(?:scrape_duration|last_success_timestamp)_seconds)(\{.*\}) .*$`)
	var lines []string
	for _, line := range series {
		lines = append(lines, moving.ReplaceAllString(line, "$1$2"))
	}
	return lines
}

// TestProbeForms checks that a probe has the negotiation and methods of a scrape.
func TestProbeForms(t *testing.T) {
	r := newRig(t, nil, "good")
	accept := http.Header{"Accept": {"application/openmetrics-text;version=1.0.0"}}
	resp, _ := r.fetch(t, http.MethodHead, "/probe?target=good", accept)
	got := resp.Header.Get("Content-Type")
	if resp.StatusCode != 200 || !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Error(resp.StatusCode, got)
	}
	const invalid = "invalid " + timeoutHeader + ` "soon"; it must be a positive number of seconds` + "\n"
	if status, body := r.get(t, http.MethodGet, "/probe?target=good", "soon"); status != 400 || body != invalid {
		t.Error(status, body)
	}
}

// TestProbeDeadline checks that a probe has the deadline of a scrape.
func TestProbeDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOfflineRig(t, nil, "hangs")
		start := time.Now()
		status, body := r.get(t, http.MethodGet, "/probe?target=hangs", "1")
		took, down := time.Since(start), strings.Contains(body, `project_id="p1",region="cn-north-4"} 0`)
		if status != 200 || took != 500*time.Millisecond || !down {
			t.Error(took, status, body)
		}
	})
}

// TestProbeInvalid checks the errors of invalid probes, which send no API request.
func TestProbeInvalid(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "good")
	const which = `parameter "target" must be given once, with a cluster ID or name: /probe?target=…`
	const help = "; /status shows the known clusters"
	const early = `unknown cluster "bad"; discovery has not finished yet: try again in a few seconds`
	if status, body := r.get(t, http.MethodGet, "/probe?target=bad", ""); status != 404 || body != early+"\n" {
		t.Error(status, body)
	}
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var clusters []discovery.Project
	for i, name := range []string{"a", "b"} {
		project := r.project(name)
		project.Listed = []discovery.Listed{
			{ID: "good", Name: "alone in " + name}, {ID: fmt.Sprint("other", i), Name: "twice"},
		}
		clusters = append(clusters, project)
	}
	clusters[1].Listed = append(clusters[1].Listed,
		discovery.Listed{ID: "x", Name: "same"}, discovery.Listed{ID: "y", Name: "same"})
	r.fleet.Apply(clusters)
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(r.cloud.Requests())
	for query, want := range map[string]string{
		"":                                       "400 " + which,
		"target=":                                "400 " + which,
		"target=good&target=x":                   "400 " + which,
		"project=a":                              "400 " + which,
		"target=bad":                             `404 unknown cluster "bad"` + help,
		"target=x&project=a":                     `404 unknown cluster "x" in project "a"` + help,
		"target=x&project=<b>":                   `404 unknown cluster "x" in project "<b>"` + help,
		"target=good":                            `400 "good" matches 2 clusters in projects "a", "b"; add project=…`,
		"target=twice":                           `400 "twice" matches 2 clusters in projects "a", "b"; add project=… or use the cluster ID`,
		"target=same":                            `400 "same" matches 2 clusters in project "b"; use the cluster ID`,
		"target=same&project=b":                  `400 "same" matches 2 clusters in project "b"; use the cluster ID`,
		"target=good&project=a&project=b":        `400 parameter "project" must not be given more than once`,
		"target=a%0Ab%1b%e2%80%ae%ff":            `404 unknown cluster "a\nb�\u202e�"` + help,
		"target=" + strings.Repeat("x", 100_000): `404 unknown cluster "` + strings.Repeat("x", 200) + `"` + help,
		"target=..%2f..%2fetc%2Fpasswd&project=%00": `404 unknown cluster "../../etc/passwd" in project "�"` + help,
	} {
		status, body := r.get(t, http.MethodGet, "/probe?"+query, "")
		if got := fmt.Sprintf("%d %s", status, strings.TrimSuffix(body, "\n")); got != want {
			t.Errorf("%.80s:\n got %s\nwant %s", query, got, want)
		}
	}
	if after := len(r.cloud.Requests()); after != before {
		t.Errorf("%d API requests were sent", after-before)
	}
	status, body := r.get(t, http.MethodGet, "/probe?target=good&project=b", "")
	if status != 200 || !strings.Contains(body, `cluster_name="alone in b",project_id="p1",region="cn-north-4"} 1`) {
		t.Error(status, body)
	}
}

// TestDropRemoved checks that the lists and metrics of removed clusters are dropped, even if there are only probes.
func TestDropRemoved(t *testing.T) {
	r := newRig(t, nil, "good", "off")
	for _, id := range []string{"good", "off"} {
		r.get(t, http.MethodGet, "/probe?target="+id, "")
		if r.scraper.State("production", id).List == nil {
			t.Fatalf("%s was not read", id)
		}
	}
	known, options := r.server.known(), *r.server.metrics.Load()
	families := collector.New(t.Context(), r.scraper, r.server.series, newTargets(known), known.Labels, options).Families()
	info := families[0].GetMetric()
	if len(info) != 2 || info[0].GetLabel()[0].GetValue() != "good" {
		t.Fatal(families[0])
	}
	good := weak.Make(info[0])
	project := r.project("production")
	project.Listed = []discovery.Listed{{ID: "off"}}
	r.fleet.Apply([]discovery.Project{project})
	r.get(t, http.MethodGet, "/probe?target=off", "")
	if r.scraper.State("production", "good").List != nil || r.scraper.State("production", "off").List == nil {
		t.Error("the list of the removed cluster was kept, or that of the other one was dropped")
	}
	runtime.GC()
	if good.Value() != nil {
		t.Error("the metrics of the removed cluster were kept")
	}
}

// TestAmbiguousBounded checks that an error names at most ten projects.
func TestAmbiguousBounded(t *testing.T) {
	var clusters []*discovery.Target
	for i := range 12 {
		clusters = append(clusters, &discovery.Target{Project: &discovery.Project{Name: fmt.Sprintf("p%02d", i)}})
	}
	const want = `"n" matches 12 clusters in projects ` +
		`"p00", "p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p09" and 2 more; ` +
		"add project=… or use the cluster ID"
	if got := ambiguousTarget("n", clusters).Error(); got != want {
		t.Error(got)
	}
}

// TestProbeShares checks that concurrent probes and scrapes share one API request.
func TestProbeShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOfflineRig(t, nil, "good")
		r.cloud.FailReads("good", simulator.Fault{Latency: time.Second})
		var wg sync.WaitGroup
		for _, path := range []string{"/metrics", "/probe?target=good", "/probe?target=name+of+good"} {
			wg.Go(func() {
				status, body := r.get(t, http.MethodGet, path, "")
				if status != 200 || !strings.Contains(body, `region="cn-north-4"} 1`) {
					t.Error(path, status, body)
				}
			})
		}
		wg.Wait()
		if n := r.cloud.Reads("good"); n != 1 {
			t.Errorf("%d API requests, want 1", n)
		}
	})
}

// BenchmarkProbe must not depend on the number of other clusters. min_interval keeps it from sending requests.
func BenchmarkProbe(b *testing.B) {
	for _, known := range []int{100, 100_000} {
		b.Run(fmt.Sprint("clusters=", known), func(b *testing.B) {
			r := newRig(b, nil, append(clusterIDs(known-1), "good")...)
			r.scraper.Configure(collector.ScrapeOptions{Concurrency: 4, MinInterval: time.Hour})
			handler, err := r.server.Handler()
			if err != nil {
				b.Fatal(err)
			}
			probe := func() *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/probe?target=good", nil))
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

// clusterIDs returns n cluster IDs.
func clusterIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012d", i)
	}
	return ids
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server with a simulated project of the clusters "healthy", "nonsense", "hangs" and "off".
type rig struct {
	t         testing.TB
	cloud     *simtest.Cloud
	transport http.RoundTripper // to the cloud; nil for that of the exporter
	fleet     *discovery.Fleet
	scraper   *collector.Scraper
	server    *Server
	handler   http.Handler
	url       string
	http      *http.Client
}

// newRig returns a rig whose server and cloud listen on loopback.
func newRig(t testing.TB, search *discovery.Search, listed ...string) *rig {
	t.Helper()
	r := &rig{t: t, cloud: simtest.New(t, simulator.Options{})}
	r.start(search, listed)
	r.serve(t, r.handler)
	return r
}

// serve serves a handler on loopback until the test ends.
func (r *rig) serve(t testing.TB, handler http.Handler) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	r.url, r.http = server.URL, server.Client()
}

// newOfflineRig returns a rig without a network, for tests in virtual time.
func newOfflineRig(t testing.TB, search *discovery.Search, listed ...string) *rig {
	t.Helper()
	r := &rig{t: t, cloud: simtest.NewUnserved(simulator.Options{})}
	r.cloud.URL, r.transport = "http://cloud.invalid", &simtest.RoundTripper{Handler: r.cloud}
	r.start(search, listed)
	r.url, r.http = "http://exporter.invalid", &http.Client{Transport: &simtest.RoundTripper{Handler: r.handler}}
	return r
}

// start adds the clusters to the cloud and creates the server.
func (r *rig) start(search *discovery.Search, listed []string) {
	r.t.Helper()
	for _, id := range []string{"healthy", "nonsense", "hangs", "off"} {
		r.cloud.Add(id, func(c *simulator.Cluster) {
			c.ServiceOff = id == "off"
			c.Connections = []simulator.Connection{
				{ID: "c1", Status: "accepted", MaxSession: simulator.Text("3000"), DomainID: "a1"},
			}
		})
	}
	r.cloud.FailReads("nonsense", simulator.Fault{Body: `{"nonsense": true}`})
	r.cloud.FailReads("hangs", simulator.Fault{Hang: true})
	project := r.project("production")
	project.Search = search
	for _, id := range listed {
		project.Listed = append(project.Listed, discovery.Listed{ID: id, Name: "name of " + id, Labels: labelsOf(id)})
	}
	logger := slog.New(slog.DiscardHandler)
	registry := prometheus.NewRegistry()
	metrics := collector.NewExporterMetrics(registry)
	r.fleet = discovery.NewFleet([]discovery.Project{project}, logger)
	r.scraper = collector.NewScraper(collector.ScrapeOptions{Concurrency: 4}, metrics, logger)
	r.server = New(Options{
		TelemetryPath: "/metrics", Timeout: 10 * time.Second, TimeoutOffset: 500 * time.Millisecond, Build: Build{Version: "test"},
		ConfigState: func() (bool, time.Time) { return true, time.Time{} },
	}, r.fleet, r.scraper, registry, logger)
	r.server.Configure(collector.Options{Connections: true, MaxConnections: 10})
	var err error
	if r.handler, err = r.server.Handler(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.scraper.Wait)
}

// labelsOf returns the labels of a cluster. Clusters have different labels.
func labelsOf(id string) map[string]string {
	return map[string]map[string]string{"healthy": {"team": "search"}, "off": {"stage": "prod"}}[id]
}

// project returns a project without clusters. All of them read the same project of the cloud.
func (r *rig) project(name string) discovery.Project {
	client := csstest.NewClient(r.t, r.cloud.URL, func(o *csstest.Options) { o.Transport = r.transport })
	return discovery.Project{Key: name, Name: name, Region: simtest.Region, Client: client}
}

// get sends a request, with a timeout header unless timeout is empty, and returns the status and the body.
func (r *rig) get(t *testing.T, method, path, timeout string) (int, string) {
	t.Helper()
	header := http.Header{}
	if timeout != "" {
		header.Set(timeoutHeader, timeout)
	}
	resp, body := r.fetch(t, method, path, header)
	return resp.StatusCode, body
}

// fetch sends a request and returns the response and its body.
func (r *rig) fetch(t *testing.T, method, path string, header http.Header) (got http.Response, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return *resp, string(all)
}

// linesOf returns the series of one cluster.
func linesOf(cluster, metrics string) []string {
	var lines []string
	for line := range strings.Lines(metrics) {
		if strings.Contains(line, `cluster_id="`+cluster+`"`) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestFailingClustersDoNotAffectOthers(t *testing.T) {
	r := newRig(t, nil, "healthy", "nonsense", "off", "missing")
	status, body := r.get(t, http.MethodGet, "/metrics", "")
	if status != http.StatusOK {
		t.Fatalf("got %d %s, want 200", status, body)
	}
	const labels = `project_id="p1",region="cn-north-4"`
	for _, want := range []string{
		`css_vpcep_up{cluster_id="healthy",cluster_name="name of healthy",` + labels + `} 1`,
		`css_vpcep_connections{cluster_id="healthy",cluster_name="name of healthy",` + labels + `,status="accepted"} 1`,
		`css_vpcep_up{cluster_id="nonsense",cluster_name="name of nonsense",` + labels + `} 0`,
		`css_vpcep_up{cluster_id="off",cluster_name="name of off",` + labels + `} 1`,
		`css_vpcep_enabled{cluster_id="off",cluster_name="name of off",` + labels + `} 0`,
		`css_vpcep_up{cluster_id="missing",cluster_name="name of missing",` + labels + `} 0`,
		`css_vpcep_exporter_scrape_failures_total{reason="decode"} 1`,
		`css_vpcep_exporter_scrape_failures_total{reason="denied"} 1`,
		`css_vpcep_exporter_scrape_failures_total{reason="auth"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	for cluster, want := range map[string]int{"nonsense": 4, "missing": 4, "off": 5} {
		if lines := linesOf(cluster, body); len(lines) != want {
			t.Errorf("%s: got %d series, want %d:\n%s", cluster, len(lines), want, strings.Join(lines, "\n"))
		}
	}
}

func TestScrapeRespondsBeforeItsDeadlineWithTheClustersRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOfflineRig(t, nil, "hangs", "healthy")
		r.get(t, http.MethodGet, "/probe?target=healthy", "") // the key is accepted; until then, requests are sent one by one
		start := time.Now()
		status, body := r.get(t, http.MethodGet, "/metrics", "1")
		if took := time.Since(start); status != http.StatusOK || took != 500*time.Millisecond {
			t.Errorf("got status %d after %s, want 200 after 500ms", status, took)
		}
		for _, want := range []string{
			`css_vpcep_up{cluster_id="healthy",cluster_name="name of healthy",project_id="p1",region="cn-north-4"} 1`,
			`css_vpcep_up{cluster_id="hangs",cluster_name="name of hangs",project_id="p1",region="cn-north-4"} 0`,
		} {
			if !strings.Contains(body, want+"\n") {
				t.Errorf("missing: %s", want)
			}
		}
	})
}

func TestCollectSelectsMetrics(t *testing.T) {
	r := newRig(t, nil, "healthy")
	for query, want := range map[string]struct {
		status, requests   int
		clusters, exporter bool
	}{
		"":                                       {200, 1, true, true},
		"?collect[]=clusters":                    {200, 1, true, false},
		"?collect[]=exporter":                    {200, 0, false, true},
		"?collect%5B%5D=exporter":                {200, 0, false, true},
		"?collect[]=exporter&collect[]=clusters": {200, 1, true, true},
		"?collect[]=":                            {400, 0, false, false},
		"?collect[]=go":                          {400, 0, false, false},
		"?collect=exporter":                      {200, 1, true, true}, // ignored
	} {
		before := r.cloud.Reads("")
		status, body := r.get(t, http.MethodGet, "/metrics"+query, "")
		requests := r.cloud.Reads("") - before
		clusters := strings.Contains(body, "css_vpcep_up{")
		exporter := strings.Contains(body, "css_vpcep_exporter_api_requests_total{") ||
			strings.Contains(body, "\ncss_vpcep_exporter_scrape_failures_total{")
		if status != want.status || requests != want.requests || clusters != want.clusters || exporter != want.exporter {
			t.Errorf("/metrics%s: got %d with %d API requests, clusters %t, exporter %t; want %+v:\n%.200s",
				query, status, requests, clusters, exporter, want, body)
		}
	}
}

func TestTimeoutOfHeaderOrFlagMinusOffset(t *testing.T) {
	s := &Server{options: Options{Timeout: 10 * time.Second, TimeoutOffset: 500 * time.Millisecond}}
	for header, want := range map[string]time.Duration{
		"":     9500 * time.Millisecond,
		"10":   9500 * time.Millisecond,
		"2.5":  2 * time.Second,
		"30":   29500 * time.Millisecond,
		"0.5":  250 * time.Millisecond,
		"0.1":  50 * time.Millisecond,
		"1e99": time.Hour - 500*time.Millisecond,
		"x":    0, "-1": 0, "0": 0, "NaN": 0,
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		if header != "" {
			req.Header.Set(timeoutHeader, header)
		}
		got, err := s.timeout(req)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: got %s, %v; want %s", header, got, err, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	r := newRig(t, nil, "healthy")
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{http.MethodGet, "/", 200, `href="./metrics"`},
		{http.MethodGet, "/-/healthy", 200, "healthy"},
		{http.MethodHead, "/-/healthy", 200, ""},
		{http.MethodGet, "/", 200, `href="./status"`},
		{http.MethodGet, "/", 200, `href="./sd"`},
		{http.MethodGet, "/", 200, `<form action="./probe">`},
		{http.MethodHead, "/probe?target=healthy", 200, ""},
		{http.MethodHead, "/probe", 400, ""},
		{http.MethodHead, "/sd", 503, ""},
		{http.MethodHead, "/status", 200, ""},
		{http.MethodPost, "/probe?target=healthy", 405, ""},
		{http.MethodPost, "/sd", 405, ""},
		{http.MethodPut, "/status", 405, ""},
		{http.MethodGet, "/status/", 404, ""},
		{http.MethodGet, "/nothing", 404, ""},
		{http.MethodPost, "/metrics", 405, ""},
		{http.MethodPost, "/-/reload", 403, "--web.enable-lifecycle"},
		{http.MethodGet, "/-/reload", 405, ""},
	} {
		status, body := r.get(t, tc.method, tc.path, "")
		if status != tc.status || !strings.Contains(body, tc.body) {
			t.Errorf("%s %s: got %d, want %d and %q in:\n%s", tc.method, tc.path, status, tc.status, tc.body, body)
		}
	}
}

func TestPathsAreServed(t *testing.T) {
	r := newRig(t, nil, "healthy")
	for _, path := range Paths() {
		if status, body := r.get(t, http.MethodGet, path, ""); status == 404 {
			t.Errorf("%s: got 404 %s", path, body)
		}
	}
}

func TestLandingPageDoesNotLinkToProfiles(t *testing.T) {
	r := newRig(t, nil, "healthy")
	if _, body := r.get(t, http.MethodGet, "/", ""); strings.Contains(body, "debug/pprof") {
		t.Error("got a link to profiles, which are not served")
	}
}

func TestScrapeRejectsInvalidTimeouts(t *testing.T) {
	r := newRig(t, nil, "healthy")
	status, body := r.get(t, http.MethodGet, "/metrics", "soon")
	if status != 400 || !strings.Contains(body, `"soon"; it must be a positive number of seconds`) {
		t.Errorf("got %d %s, want 400", status, body)
	}
}

func TestReadyOnceEveryProjectWasRefreshed(t *testing.T) {
	for name, fault := range map[string][]simulator.Fault{"succeeded": nil, "failed": {{Status: 500}}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &discovery.Search{RefreshInterval: time.Hour})
			r.cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters}, fault...)
			if status, body := r.get(t, http.MethodGet, "/-/ready", ""); status != 503 {
				t.Errorf("before the refresh: got %d %s, want 503", status, body)
			}
			if err := r.fleet.Refresh(t.Context()); (err != nil) != (name == "failed") {
				t.Errorf("got error %v", err)
			}
			if status, body := r.get(t, http.MethodGet, "/-/ready", ""); status != 200 {
				t.Errorf("after the refresh: got %d %s, want 200", status, body)
			}
		})
	}
}

func TestStatusShowsProbesAndScrapes(t *testing.T) {
	r := newRig(t, nil, "healthy", "nonsense")
	for _, step := range []struct{ path, clusters string }{
		{"/probe?target=healthy", "[{nonsense unread} {healthy ok}]"},
		{"/metrics", "[{nonsense failing} {healthy ok}]"},
	} {
		r.get(t, http.MethodGet, step.path, "")
		var view struct {
			Version string
			Config  struct {
				OK bool `json:"last_reload_successful"`
			}
			Clusters []struct{ ID, State string }
		}
		_, text := r.get(t, http.MethodGet, "/status?format=json", "")
		if err := json.Unmarshal([]byte(text), &view); err != nil {
			t.Fatal(err, text)
		}
		if got, want := fmt.Sprint(view), "{test {true} "+step.clusters+"}"; got != want {
			t.Errorf("after %s: got %s, want %s", step.path, got, want)
		}
	}
	if _, page := r.get(t, http.MethodGet, "/status", ""); !strings.Contains(page, `<a href="./metrics">Metrics</a>`) {
		t.Errorf("no link to the metrics in:\n%s", page)
	}
}

// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Handler with a simulated project of the clusters "healthy", "nonsense", "hangs" and "off".
type rig struct {
	handler   *Handler
	simulated *simtest.Cloud
	fleet     *discovery.Fleet
	scraper   *collector.Scraper
}

func newRig(t *testing.T, search *discovery.Search, listed ...discovery.Listed) *rig {
	t.Helper()
	simulated := simtest.NewUnserved(simulator.Options{})
	for _, id := range []string{"healthy", "nonsense", "hangs", "off"} {
		simulated.Add(id, func(c *simulator.Cluster) {
			c.ServiceOff = id == "off"
			c.Connections = []simulator.Connection{
				{ID: "c1", Status: "accepted", MaxSession: simulator.Text("3000"), DomainID: "a1"},
			}
		})
	}
	simulated.FailReads("nonsense", simulator.Fault{Body: `{"nonsense": true}`})
	simulated.FailReads("hangs", simulator.Fault{Hang: true})
	client := csstest.InMemory(simulated)
	project := discovery.Project{
		Name: "production", Region: simtest.Region, Client: client, Search: search, Listed: listed,
	}
	logger := slog.New(slog.DiscardHandler)
	metrics := collector.NewExporterMetrics(prometheus.NewRegistry())
	r := &rig{
		simulated: simulated,
		fleet:     discovery.NewFleet([]discovery.Project{project}, logger),
		scraper:   collector.NewScraper(collector.ScrapeOptions{Concurrency: 4}, metrics, logger),
	}
	t.Cleanup(r.scraper.Wait)
	var err error
	r.handler, err = NewHandler(Options{
		TelemetryPath: "/metrics", Build: Build{Version: "test"},
		Metrics:     func() collector.Options { return collector.Options{} },
		ConfigState: func() (bool, time.Time) { return true, noon().In(time.FixedZone("", 3600)) },
	}, r.fleet, r.scraper, logger)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// scrape reads the clusters with these IDs, or all.
func (r *rig) scrape(ctx context.Context, ids ...string) {
	var targets []collector.Target
	for _, t := range r.fleet.Known().Targets {
		if len(ids) == 0 || slices.Contains(ids, t.Cluster.ID) {
			targets = append(targets, collector.Target{
				Key: t.Project.Key, Project: t.Project.Name, Region: t.Project.Region, Cluster: t.Cluster,
				Reader: t.Project.Client,
			})
		}
	}
	for range r.scraper.Scrape(ctx, targets) {
	}
}

func (r *rig) request(t *testing.T, method, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, Path+"?"+query, nil))
	return w
}

// html returns the page.
func (r *rig) html(t *testing.T, query string) string {
	t.Helper()
	page := r.request(t, http.MethodGet, query).Body.String()
	checkWellFormed(t, page)
	return page
}

// json returns the JSON form of the page, decoded and as text.
func (r *rig) json(t *testing.T, query string) (v *view, text string) {
	t.Helper()
	text = r.request(t, http.MethodGet, "format=json&"+query).Body.String()
	v = new(view)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err, text)
	}
	return v, text
}

// check compares the states of a view, and checks that the page sends no API request.
func (r *rig) check(t *testing.T, query, want string) {
	t.Helper()
	before := r.simulated.Count(simulator.Target{})
	r.html(t, query)
	v, _ := r.json(t, query)
	if n := r.simulated.Count(simulator.Target{}) - before; n != 0 {
		t.Errorf("%s: got %d API requests, want none", query, n)
	}
	if got := states(v); got != want {
		t.Errorf("%s:\n got %s\nwant %s", query, got, want)
	}
}

// states returns the states of a view in one line.
func states(v *view) string {
	line := fmt.Sprint(v.Ready, v.Config.OK, v.Config.LastSuccess.Format(time.RFC3339), " ")
	for _, p := range v.Projects {
		line += p.Name + ":" + string(p.State) + " "
	}
	for i := range v.Clusters {
		line += v.Clusters[i].ID + ":" + string(v.Clusters[i].State) + " "
		if e := v.Clusters[i].Error; e != nil {
			line += fmt.Sprint("(", e.Reason, " ", e.HTTPStatus, ") ")
		}
	}
	return strings.TrimSpace(line)
}

func TestStatusShowsRefreshesAndScrapesWithoutAPIRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, discovery.Listed{ID: "listed", Name: "name of listed"})
		const config = "true2026-11-23T12:00:00Z "
		r.check(t, "", "false "+config+"production:unread listed:unread")
		if err := r.fleet.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		const ready = "true " + config
		r.check(t, "", ready+"production:ok hangs:unread healthy:unread listed:unread nonsense:unread off:unread")
		r.scrape(t.Context(), "healthy")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.scrape(ctx)
		const hangs, others = "hangs:failing (timeout 0) ", "listed:failing (denied 403) nonsense:failing (decode 0)"
		r.check(t, "", ready+"production:ok "+hangs+others+" off:off healthy:ok")
		r.check(t, "sort=name", ready+"production:ok "+hangs+"healthy:ok "+others+" off:off")
		r.check(t, "show=failing", ready+hangs+others)

		r.simulated.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Status: 403})
		if err := r.fleet.Refresh(t.Context()); err == nil {
			t.Error("a refresh succeeded despite HTTP 403")
		}
		r.check(t, "show=failing&sort=trouble", ready+"production:failing "+hangs+others)
	})
}

func TestHeadersRestrictThePageAndItsCaching(t *testing.T) {
	r := newRig(t, nil, discovery.Listed{ID: "healthy"})
	policy := r.handler.renderer.policy
	for query, want := range map[string]map[string]string{
		"":            {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy},
		"format=html": {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy},
		"format=json": {"Content-Type": "application/json"},
	} {
		want["Cache-Control"], want["X-Content-Type-Options"] = "no-store", "nosniff"
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp := r.request(t, method, query)
			for name, value := range want {
				if got := resp.Header().Get(name); resp.Code != 200 || got != value {
					t.Errorf("%s %s: got %d, %s %q, want 200 and %q", method, query, resp.Code, name, got, value)
				}
			}
		}
	}
}

func TestInvalidParameters(t *testing.T) {
	r := newRig(t, nil, discovery.Listed{ID: "healthy"})
	const invalidSort = `invalid sort "x"; it must be trouble or name`
	for query, want := range map[string]string{
		"sort=age": `invalid sort "age"; it must be trouble or name`,
		"show=broken": `invalid show "broken"; it must be all, attention, failing, failed, almost_full, unlisted, rejected, ` +
			`truncated, filling, pending, unknown, stale, off, unread, ok, open or limited`,
		"format=xml":                `invalid format "xml"; it must be html or json`,
		"page=0":                    `invalid page "0"; it must be a positive number`,
		"page=-1":                   `invalid page "-1"; it must be a positive number`,
		"page=two":                  `invalid page "two"; it must be a positive number`,
		"page=99999999999999999999": `invalid page "99999999999999999999"; it must be a positive number`,
		"sort=x&page=y":             invalidSort + "\n" + `invalid page "y"; it must be a positive number`,
		"sort=" + strings.Repeat("z", 9_000): `invalid sort "` + strings.Repeat("z", 200) +
			`"; it must be trouble or name`,
	} {
		if resp := r.request(t, http.MethodGet, query); resp.Code != 400 || resp.Body.String() != want+"\n" {
			t.Errorf("%.40s: got %d %s, want 400 %s", query, resp.Code, resp.Body, want)
		}
	}
}

func TestValidParameters(t *testing.T) {
	for query, want := range map[string]parameters{
		"":                                      {sort: sortTrouble, show: showAll, format: formatHTML, page: 1},
		"sort=&show=&format=&page=&project=&q=": {sort: sortTrouble, show: showAll, format: formatHTML, page: 1},
		"sort=name&show=failing":                {sort: sortName, show: "failing", format: formatHTML, page: 1},
		"format=json&page=3&other=ok":           {sort: sortTrouble, show: showAll, format: formatJSON, page: 3},
		"cluster=c&project=p&q=+a%00+b%0A": {
			sort: sortTrouble, show: showAll, format: formatHTML, page: 1, cluster: "c", project: "p", text: "a b",
		},
		"q=" + strings.Repeat("z", 9_000): {
			sort: sortTrouble, show: showAll, format: formatHTML, page: 1, text: strings.Repeat("z", 200),
		},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseParameters(values); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", query, got, err, want)
		}
	}
}

func TestHostileNamesAreEscapedOnThePageOnly(t *testing.T) {
	var listed []discovery.Listed
	for i, name := range hostile() {
		listed = append(listed, discovery.Listed{ID: fmt.Sprint("id", i), Name: name})
	}
	r := newRig(t, nil, listed...)
	page := r.html(t, "")
	for _, want := range []string{
		"<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi></a></b>",
		"<bdi>abc&lt;U&#43;202E&gt;def&lt;U&#43;2066&gt;&lt;U&#43;200B&gt;</bdi></a></b>",
		"<bdi>" + strings.Repeat("x", 300) + "…</bdi></a></b>",
		`href="./status?cluster=id0&amp;project=production"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing: %s", want)
		}
	}
	v, text := r.json(t, "sort=name")
	if strings.Contains(text, "<script>") {
		t.Errorf("got a tag in %s", text)
	}
	names := make(map[string]string)
	for i := range v.Clusters {
		names[v.Clusters[i].ID] = v.Clusters[i].Name
	}
	if diff := cmp.Diff([]string{hostile()[0], hostile()[5]}, []string{names["id0"], names["id5"]}); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// BenchmarkStatus renders HTML and JSON for 10,000 clusters with 50 connections each.
func BenchmarkStatus(b *testing.B) {
	client := csstest.NewClient(b, "")
	project := &discovery.Project{Name: "production", Region: "cn-north-4", Client: client}
	var targets []*discovery.Target
	var states []collector.State
	for i := range 10_000 {
		targets = append(targets, &discovery.Target{Project: project, Cluster: css.Cluster{
			ID:     fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012d", i),
			Name:   fmt.Sprint("search-", (i*7919)%10_000),
			Engine: "elasticsearch",
		}})
		statuses := make([]css.Status, 50)
		for j := range statuses {
			statuses[j] = css.StatusAccepted
		}
		if i%10 == 0 {
			statuses[7] = css.StatusRejected
		}
		state := collector.State{List: reporting(50, permitting(list(statuses...), "iam:domain::a")), ReadAt: noon()}
		if i%100 == 0 {
			state.Err = &cloud.Error{Reason: cloud.ReasonTimeout, Message: "timed out waiting for the response"}
			state.Failing, state.FailedAt = noon(), noon()
		}
		states = append(states, state)
	}
	r, err := newRenderer("/metrics")
	if err != nil {
		b.Fatal(err)
	}
	p := parameters{sort: sortTrouble, show: showAll, format: formatHTML, page: 1}
	for format, write := range map[string]func(v *view, to *bytes.Buffer) error{
		formatJSON: func(v *view, to *bytes.Buffer) error { return json.NewEncoder(to).Encode(v) },
		formatHTML: func(v *view, to *bytes.Buffer) error { return r.list(to, v, p) },
	} {
		b.Run(format, func(b *testing.B) {
			var out bytes.Buffer
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				v := newView(nil, targets, states, collector.Options{}, noon())
				v.filterAndSort(p)
				if err := write(v, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Len()), "bytes")
		})
	}
}

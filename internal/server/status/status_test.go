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
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// rig is a Handler with a simulated project of the clusters "good", "nonsense", "hangs" and "off".
type rig struct {
	handler *Handler
	cloud   *simtest.Cloud
	fleet   *discovery.Fleet
	scraper *collector.Scraper
}

func newRig(t *testing.T, search *discovery.Search, listed ...discovery.Listed) *rig {
	t.Helper()
	cloud := simtest.NewUnserved(simulator.Options{})
	for _, id := range []string{"good", "nonsense", "hangs", "off"} {
		cloud.Add(id, func(c *simulator.Cluster) {
			c.ServiceOff = id == "off"
			c.Connections = []simulator.Connection{
				{ID: "c1", Status: "accepted", MaxSession: simulator.Text("3000"), DomainID: "a1"},
			}
		})
	}
	cloud.FailReads("nonsense", simulator.Fault{Body: `{"nonsense": true}`})
	cloud.FailReads("hangs", simulator.Fault{Hang: true})
	client := newClient(t, "http://cloud.invalid", simtest.ProjectID, &simtest.RoundTripper{Handler: cloud})
	project := discovery.Project{
		Name: "production", Region: simtest.Region, Client: client, Search: search, Listed: listed,
	}
	logger := slog.New(slog.DiscardHandler)
	metrics := collector.NewExporterMetrics(prometheus.NewRegistry())
	r := &rig{
		cloud:   cloud,
		fleet:   discovery.NewFleet([]discovery.Project{project}, logger),
		scraper: collector.NewScraper(collector.ScrapeOptions{Concurrency: 4}, metrics, logger),
	}
	t.Cleanup(r.scraper.Wait)
	var err error
	r.handler, err = NewHandler(Options{
		TelemetryPath: "/metrics", Version: "test",
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
	for _, known := range r.fleet.Known().Targets {
		if len(ids) == 0 || slices.Contains(ids, known.Cluster.ID) {
			targets = append(targets, collector.Target{
				Project: known.Project.Name, Region: known.Project.Region, ProjectID: simtest.ProjectID,
				Cluster: known.Cluster, Reader: known.Project.Client,
			})
		}
	}
	for range r.scraper.Scrape(ctx, targets) { //nolint:revive // for its effect
	}
}

// get returns the response to a GET request with that query.
func (r *rig) get(t *testing.T, query string) (status int, body string) {
	t.Helper()
	w := r.request(t, http.MethodGet, query)
	return w.Code, w.Body.String()
}

func (r *rig) request(t *testing.T, method, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, Path+"?"+query, nil))
	return w
}

// view returns the JSON form of the page.
func (r *rig) view(t *testing.T, query string) (v view, text string) {
	t.Helper()
	_, text = r.get(t, "format=json&"+query)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err, text)
	}
	return v, text
}

// summary returns the states of a view in one line.
func summary(v *view) string {
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

// TestStatus checks /status from the start through scrapes to a failed refresh. It sends no API request itself.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, discovery.Listed{ID: "listed", Name: "name of listed"})
		expect := func(query, want string) {
			t.Helper()
			before := r.cloud.Count(simulator.Target{})
			_, page := r.get(t, query)
			view, _ := r.view(t, query)
			if n := r.cloud.Count(simulator.Target{}) - before; n != 0 {
				t.Errorf("%d API requests were sent", n)
			}
			wellFormed(t, page)
			if got := summary(&view); got != want {
				t.Errorf("%s:\n got %s\nwant %s", query, got, want)
			}
		}
		const top = "true true2026-11-23T12:00:00Z "
		expect("", "false true2026-11-23T12:00:00Z production:unread listed:unread")
		if err := r.fleet.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect("", top+"production:ok good:unread hangs:unread listed:unread nonsense:unread off:unread")
		r.scrape(t.Context(), "good")
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		r.scrape(ctx)
		const after = "production:ok hangs:failing (timeout 0) listed:failing (denied 403) nonsense:failing (decode 0) "
		expect("", top+after+"off:off good:ok")
		failing := strings.TrimPrefix(strings.TrimSpace(after), "production:ok ")
		expect("sort=name", top+"production:ok good:ok "+failing+" off:off")
		expect("show=failing", top+failing)

		r.cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Status: 403})
		if err := r.fleet.Refresh(t.Context()); err == nil {
			t.Error("a refresh succeeded despite HTTP 403")
		}
		expect("show=failing&sort=trouble", top+"production:failing "+failing)
	})
}

// TestStatusHeaders checks the headers that restrict the page and its caching.
func TestStatusHeaders(t *testing.T) {
	r := newRig(t, nil, discovery.Listed{ID: "good"})
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
					t.Errorf("%s %s: %d %s: %s", method, query, resp.Code, name, got)
				}
			}
		}
	}
}

func TestStatusQuery(t *testing.T) {
	r := newRig(t, nil, discovery.Listed{ID: "good"})
	for query, want := range map[string]string{
		"sort=age":                           `invalid sort "age"; it must be trouble or name`,
		"show=ok":                            `invalid show "ok"; it must be all or failing`,
		"format=xml":                         `invalid format "xml"; it must be html or json`,
		"page=0":                             `invalid page "0"; it must be a positive number`,
		"page=-1":                            `invalid page "-1"; it must be a positive number`,
		"page=two":                           `invalid page "two"; it must be a positive number`,
		"page=99999999999999999999":          `invalid page "99999999999999999999"; it must be a positive number`,
		"sort=x&page=y":                      `invalid sort "x"; it must be trouble or name` + "\n" + `invalid page "y"; it must be a positive number`,
		"sort=" + strings.Repeat("z", 9_000): `invalid sort "` + strings.Repeat("z", 200) + `"; it must be trouble or name`,
	} {
		if status, body := r.get(t, query); status != 400 || body != want+"\n" {
			t.Errorf("%.40s: %d %s", query, status, body)
		}
	}
	for query, want := range map[string]parameters{
		"":                            {sortTrouble, showAll, formatHTML, 1},
		"sort=&show=&format=&page=":   {sortTrouble, showAll, formatHTML, 1},
		"sort=name&show=failing":      {sortName, showFailing, formatHTML, 1},
		"format=json&page=3&other=ok": {sortTrouble, showAll, formatJSON, 3},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/status?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseParameters(req.URL.Query())
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", query, got, err)
		}
	}
}

// TestStatusNames checks that hostile cluster names are escaped on the page and kept in JSON.
func TestStatusNames(t *testing.T) {
	var listed []discovery.Listed
	for i, name := range hostile() {
		listed = append(listed, discovery.Listed{ID: fmt.Sprint("id", i), Name: name})
	}
	r := newRig(t, nil, listed...)
	_, page := r.get(t, "")
	wellFormed(t, page)
	for _, want := range []string{
		"<b><bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi></b>",
		"<b><bdi>abc&lt;U&#43;202E&gt;def&lt;U&#43;2066&gt;&lt;U&#43;200B&gt;</bdi></b>",
		"<b><bdi>" + strings.Repeat("x", 300) + "…</bdi></b>",
		`href="./probe?target=id0&amp;project=production"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing: %s", want)
		}
	}
	view, text := r.view(t, "sort=name")
	if strings.Contains(text, "<script>") {
		t.Fatal(text)
	}
	names := make(map[string]string)
	for i := range view.Clusters {
		names[view.Clusters[i].ID] = view.Clusters[i].Name
	}
	if diff := cmp.Diff([]string{hostile()[0], hostile()[5]}, []string{names["id0"], names["id5"]}); diff != "" {
		t.Error(diff)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkStatus renders HTML and JSON for 10,000 clusters with 50 connections each.
func BenchmarkStatus(b *testing.B) {
	client := newClient(b, "", "p1", nil)
	project := &discovery.Project{Name: "production", Region: "cn-north-4", Client: client}
	var targets []discovery.Target
	var states []collector.State
	for i := range 10_000 {
		targets = append(targets, discovery.Target{Project: project, Cluster: css.Cluster{
			ID: fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012d", i), Name: fmt.Sprint("search-", (i*7919)%10_000), Engine: "elasticsearch",
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
			state.Err = &css.Error{Reason: css.ReasonTimeout, Message: "timed out waiting for the response"}
			state.Failing, state.FailedAt = noon(), noon()
		}
		states = append(states, state)
	}
	page, err := newRenderer()
	if err != nil {
		b.Fatal(err)
	}
	q := parameters{sort: sortTrouble, show: showAll, format: formatHTML, page: 1}
	for format, write := range map[string]func(v *view, to *bytes.Buffer) error{
		formatJSON: func(v *view, to *bytes.Buffer) error { return json.NewEncoder(to).Encode(v) },
		formatHTML: func(v *view, to *bytes.Buffer) error {
			body, err := page.render(v, q, "/metrics")
			*to = *body
			return err
		},
	} {
		b.Run(format, func(b *testing.B) {
			var out bytes.Buffer
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				v := newView(nil, targets, states, noon())
				v.filterAndSort(q)
				if err := write(v, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Len()), "bytes")
		})
	}
}

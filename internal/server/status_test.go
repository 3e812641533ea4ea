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

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// TestStatus checks /status from the start through scrapes to a failed refresh. It sends no API request itself.
func TestStatus(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "listed")
	r.server.options.ConfigState = func() (bool, time.Time) { return true, noon().In(time.FixedZone("", 3600)) }
	calls := func() int { return r.cloud.Count(simulator.Target{}) }
	summary := func(query string) string {
		before := calls()
		_, page := r.get(t, http.MethodGet, "/status?"+query, "")
		_, text := r.get(t, http.MethodGet, "/status?format=json&"+query, "")
		if n := calls() - before; n != 0 {
			t.Errorf("%d API requests were sent", n)
		}
		wellFormed(t, page)
		var view statusView
		if err := json.Unmarshal([]byte(text), &view); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(view.Ready, view.Config.OK, view.Config.At.Format(time.RFC3339), " ")
		for _, p := range view.Projects {
			line += p.Name + ":" + string(p.State) + " "
		}
		for i := range view.Clusters {
			line += view.Clusters[i].ID + ":" + string(view.Clusters[i].State) + " "
			if e := view.Clusters[i].Error; e != nil {
				line += fmt.Sprint("(", e.Reason, " ", e.HTTPStatus, ") ")
			}
		}
		return strings.TrimSpace(line)
	}
	expect := func(query, want string) {
		t.Helper()
		if got := summary(query); got != want {
			t.Errorf("%s:\n got %s\nwant %s", query, got, want)
		}
	}
	const top = "true true2026-11-23T12:00:00Z "
	expect("", "false true2026-11-23T12:00:00Z production:unread listed:unread")
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("", top+"production:ok good:unread hangs:unread listed:unread nonsense:unread off:unread")
	r.get(t, http.MethodGet, "/probe?target=good", "")
	r.get(t, http.MethodGet, "/metrics", "1.2")
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
}

// TestStatusHeaders checks the headers that restrict the page and its caching.
func TestStatusHeaders(t *testing.T) {
	r := newRig(t, nil, "good")
	page, err := newStatusPage()
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]map[string]string{
		"":             {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.policy},
		"?format=html": {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.policy},
		"?format=json": {"Content-Type": "application/json"},
	} {
		want["Cache-Control"], want["X-Content-Type-Options"] = "no-store", "nosniff"
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, _ := r.fetch(t, method, "/status"+query, nil)
			for name, value := range want {
				if got := resp.Header.Get(name); resp.StatusCode != 200 || got != value {
					t.Errorf("%s %s: %d %s: %s", method, query, resp.StatusCode, name, got)
				}
			}
		}
	}
}

func TestStatusQuery(t *testing.T) {
	r := newRig(t, nil, "good")
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
		if status, body := r.get(t, http.MethodGet, "/status?"+query, ""); status != 400 || body != want+"\n" {
			t.Errorf("%.40s: %d %s", query, status, body)
		}
	}
	for query, want := range map[string]statusQuery{
		"":                            {sortTrouble, showAll, formatHTML, 1},
		"sort=&show=&format=&page=":   {sortTrouble, showAll, formatHTML, 1},
		"sort=name&show=failing":      {sortName, showFailing, formatHTML, 1},
		"format=json&page=3&other=ok": {sortTrouble, showAll, formatJSON, 3},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/status?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseStatusQuery(req.URL.Query())
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", query, got, err)
		}
	}
}

// TestStatusNames checks that hostile cluster names are escaped on the page and kept in JSON.
func TestStatusNames(t *testing.T) {
	r := newRig(t, nil)
	project := r.project("production")
	for i, name := range hostile() {
		project.Listed = append(project.Listed, discovery.Listed{ID: fmt.Sprint("id", i), Name: name})
	}
	r.fleet.Apply([]discovery.Project{project})
	_, page := r.get(t, http.MethodGet, "/status", "")
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
	_, text := r.get(t, http.MethodGet, "/status?format=json&sort=name", "")
	var view statusView
	if err := json.Unmarshal([]byte(text), &view); err != nil || strings.Contains(text, "<script>") {
		t.Fatal(err, text)
	}
	names := make(map[string]string)
	for i := range view.Clusters {
		names[view.Clusters[i].ID] = view.Clusters[i].Name
	}
	if diff := cmp.Diff([]string{hostile()[0], hostile()[5]}, []string{names["id0"], names["id5"]}); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkStatus renders HTML and JSON for 10,000 clusters with 50 connections each.
func BenchmarkStatus(b *testing.B) {
	client := newClient(b, "", "p1", nil)
	project := &discovery.Project{Name: "production", Region: "cn-north-4", Client: client}
	var targets []discovery.Target
	var states []collector.State
	for i, id := range clusterIDs(10_000) {
		targets = append(targets, discovery.Target{Project: project, Cluster: css.Cluster{
			ID: id, Name: fmt.Sprint("search-", (i*7919)%10_000), Engine: "elasticsearch",
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
	page, err := newStatusPage()
	if err != nil {
		b.Fatal(err)
	}
	q := statusQuery{sort: sortTrouble, show: showAll, format: formatHTML, page: 1}
	for format, write := range map[string]func(v *statusView, to *bytes.Buffer) error{
		formatJSON: func(v *statusView, to *bytes.Buffer) error { return json.NewEncoder(to).Encode(v) },
		formatHTML: func(v *statusView, to *bytes.Buffer) error {
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
				v := newStatusView(nil, targets, states, noon())
				v.arrange(q)
				if err := write(v, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Len()), "bytes")
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/lenient"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// noon returns the time of the views in these tests.
func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func emptyView() *view { return newView(nil, nil, nil, collector.Options{}, noon()) }

// list returns a list of connections with these statuses, owned by account "a".
func list(statuses ...css.Status) *css.ConnectionList {
	l := &css.ConnectionList{Enabled: true}
	for i, status := range statuses {
		l.Connections = append(l.Connections, css.Connection{ID: fmt.Sprint("c", i), Status: status, DomainID: "a"})
	}
	return l
}

// reporting sets the reported total of l.
func reporting(total float64, l *css.ConnectionList) *css.ConnectionList {
	l.Reported = lenient.Optional[float64]{Value: total, Set: true}
	return l
}

// permitting sets the permissions of l.
func permitting(l *css.ConnectionList, permissions ...string) *css.ConnectionList {
	l.Permissions.Set = true
	for _, text := range permissions {
		l.Permissions.Value = append(l.Permissions.Value, css.Permission{Text: text})
	}
	return l
}

func TestConditionsAreAllThatApply(t *testing.T) {
	const accepted, waiting, refused = css.StatusAccepted, css.StatusPendingAcceptance, css.StatusRejected
	unlistedOwner := func(statuses ...css.Status) *css.ConnectionList {
		return permitting(list(statuses...), "iam:domain::b")
	}
	incomplete := list(accepted)
	incomplete.Incomplete = true
	for name, tc := range map[string]struct {
		state collector.State
		want  []condition
	}{
		"unread":               {collector.State{}, []condition{unread}},
		"accepted":             {collector.State{List: reporting(1, list(accepted))}, []condition{ok}},
		"empty":                {collector.State{List: reporting(0, list())}, []condition{ok}},
		"in transition":        {collector.State{List: list(css.StatusCreating, css.StatusDeleting)}, []condition{ok}},
		"no status":            {collector.State{List: list(accepted, "")}, []condition{unknown}},
		"listed":               {collector.State{List: permitting(list(accepted), "iam:domain::a")}, []condition{ok}},
		"open":                 {collector.State{List: permitting(list(accepted), "iam:domain::*")}, []condition{ok, open}},
		"open, rejected":       {collector.State{List: permitting(list(refused), "*")}, []condition{rejected, open}},
		"off":                  {collector.State{List: &css.ConnectionList{}}, []condition{off}},
		"unlisted":             {collector.State{List: unlistedOwner(accepted)}, []condition{unlisted}},
		"unlisted and pending": {collector.State{List: unlistedOwner(accepted, waiting)}, []condition{unlisted, pending}},
		"truncated, pending":   {collector.State{List: reporting(3, list(waiting))}, []condition{truncated, pending}},
		"incomplete":           {collector.State{List: incomplete}, []condition{truncated}},
		"rejected, truncated":  {collector.State{List: reporting(3, list(refused))}, []condition{rejected, truncated}},
		"failed":               {collector.State{List: list(css.StatusFailed)}, []condition{failed}},
		"nearly all": {
			collector.State{Err: &cloud.Error{}, List: reporting(9, permitting(
				list(accepted, waiting, refused, css.StatusFailed), "iam:domain::b"))},
			[]condition{failing, failed, unlisted, rejected, truncated, pending},
		},
		"failing":         {collector.State{Err: &cloud.Error{}}, []condition{failing}},
		"failing, was ok": {collector.State{Err: &cloud.Error{}, List: list(accepted)}, []condition{failing}},
		"failing, was off": {
			collector.State{Err: &cloud.Error{}, List: &css.ConnectionList{}}, []condition{failing, off},
		},
		"failing, other error": {collector.State{Err: context.DeadlineExceeded}, []condition{failing}},
	} {
		target := discovery.Target{Project: newProject(t, "", "", nil)}
		tc.state.ReadAt = noon().Add(-15 * time.Minute)
		c := newClusterStatus(&target, &tc.state, nil, collector.Options{}, noon())
		if diff := cmp.Diff(tc.want, c.Conditions); diff != "" || c.State != tc.want[0] {
			t.Errorf("%s: got state %s; conditions: -want +got\n%s", name, c.State, diff)
		}
		if attention := c.needsAttention(); attention != (tc.want[0].rank() <= unknown.rank()) {
			t.Errorf("%s: got attention %t", name, attention)
		}
		if tc.state.List == nil {
			continue
		}
		tc.state.ReadAt = noon().Add(-15*time.Minute - time.Second)
		c = newClusterStatus(&target, &tc.state, nil, collector.Options{}, noon())
		if !c.is(stale) || c.is(ok) || !c.needsAttention() {
			t.Errorf("%s: got conditions %s of an old list, want them to include stale", name, c.Conditions)
		}
	}
}

// reader is a collector.Reader with a fixed list.
type reader struct{ list *css.ConnectionList }

func (r reader) Connections(context.Context, string, *css.ConnectionList) (*css.ConnectionList, error) {
	return r.list, nil
}
func (r reader) Reserve(context.Context, string) error { return nil }
func (r reader) KnownProjectID() string                { return "p" }

func TestViewAndMetricsHaveTheSameCounts(t *testing.T) {
	const accepted = css.StatusAccepted
	withoutOwner := permitting(list(accepted, accepted), "iam:domain::b")
	withoutOwner.Connections[1].DomainID = ""
	rejectedWithoutOwner := permitting(list(accepted, css.StatusRejected), "iam:domain::b")
	rejectedWithoutOwner.Connections[1].DomainID = ""
	for name, l := range map[string]*css.ConnectionList{
		"empty":                     list(),
		"off":                       {},
		"all statuses":              reporting(9, list(append(css.Statuses(), "", accepted)...)),
		"truncated":                 reporting(2, list(accepted)),
		"more listed than reported": reporting(1, list(accepted, accepted)),
		"no allowlist":              list(accepted),
		"empty allowlist":           permitting(list(accepted)),
		"listed":                    permitting(list(accepted), "iam:domain::a", "iam:domain::b"),
		"unlisted":                  permitting(list(accepted, accepted, css.StatusRejected), "iam:domain::b"),
		"wildcard":                  permitting(list(accepted), "iam:domain::b", "*"),
		"wildcard, path":            permitting(list(accepted), "organizations:orgPath::o/*", "iam:domain::*"),
		"path":                      permitting(list(accepted), "iam:domain::b", "organizations:orgPath::o/*"),
		"path first":                permitting(list(accepted), "organizations:orgPath::o/*", "iam:domain::b"),
		"invalid permission":        permitting(list(accepted), ""),
		"no owner":                  withoutOwner,
		"rejected, no owner":        rejectedWithoutOwner,
	} {
		if diff := cmp.Diff(metricCounts(t, l), viewCounts(t, l)); diff != "" {
			t.Errorf("%s: -metrics +view\n%s", name, diff)
		}
	}
}

// metricCounts returns the metrics that are on the page too, by name and status.
func metricCounts(t *testing.T, l *css.ConnectionList) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics := collector.NewExporterMetrics(prometheus.NewRegistry())
	scraper := collector.NewScraper(collector.ScrapeOptions{Concurrency: 1}, metrics, slog.New(slog.DiscardHandler))
	defer scraper.Wait()
	targets := []collector.Target{{Reader: reader{l}}}
	registry.MustRegister(
		collector.New(t.Context(), scraper, collector.NewSeries(), targets, nil, limitedOptions()))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series := strings.TrimPrefix(family.GetName(), "css_vpcep_")
			for _, label := range m.GetLabel() {
				if label.GetName() == "status" {
					series += " " + label.GetValue()
				}
			}
			counts[series] = m.GetGauge().GetValue()
		}
	}
	for _, other := range []string{
		"up", "scrape_duration_seconds", "cluster_info", "last_success_timestamp_seconds",
	} {
		delete(counts, other)
	}
	maps.DeleteFunc(counts, func(name string, _ float64) bool {
		return strings.HasPrefix(name, "connection_") || strings.HasPrefix(name, "permission_")
	})
	return counts
}

func limitedOptions() collector.Options {
	return collector.Options{Connections: true, Permissions: true, MaxConnections: 1}
}

// viewCounts returns the values of the page by the name and status of their metric.
func viewCounts(t *testing.T, l *css.ConnectionList) map[string]float64 {
	t.Helper()
	target := discovery.Target{Project: newProject(t, "", "", nil)}
	c := newClusterStatus(&target, &collector.State{List: l}, nil, limitedOptions(), noon())
	counts := map[string]float64{"enabled": boolValue(*c.Enabled)}
	for status, n := range c.Connections {
		counts["connections "+string(status)] = float64(n)
	}
	if c.Reported != nil {
		counts["reported_connections"] = *c.Reported
	}
	if c.Truncated != nil {
		counts["connections_truncated"] = boolValue(*c.Truncated)
	}
	if c.Unlisted != nil {
		counts["unlisted_connections"] = float64(*c.Unlisted)
	}
	if c.Limited != nil {
		counts["connections_limited"] = boolValue(*c.Limited)
	}
	if c.Permissions != nil {
		counts["permissions"], counts["permissions_wildcard"] = float64(*c.Permissions), boolValue(*c.Wildcard)
	}
	return counts
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func newProject(t *testing.T, name, id string, search *discovery.Search) *discovery.Project {
	t.Helper()
	client := csstest.NewClient(t, "", func(o *csstest.Options) { o.ProjectID = id })
	return &discovery.Project{Name: name, Region: "r-" + name, Client: client, Search: search}
}

// exampleView returns a view with a project and a cluster in most conditions.
func exampleView(t *testing.T) *view {
	t.Helper()
	search := &discovery.Search{}
	production, listed := newProject(t, "production", "p1", search), newProject(t, "listed", "p3", nil)
	projects := []discovery.State{
		{Project: production, Tried: true, LastSuccess: noon().Add(-90500 * time.Millisecond), Found: 0},
		{Project: newProject(t, "lost", "", search), Tried: true, Err: &cloud.Error{
			Reason: cloud.ReasonAuth, Status: 401, Code: "APIGW.0307", RequestID: "r1",
			Message: "the credentials were not accepted",
		}},
		{Project: listed, Tried: true},
		{
			Project: newProject(t, "partial", "p4", search), Tried: true, Found: 3, LastSuccess: time.Time{},
			Err: fmt.Errorf("%w: 3 of 5", css.ErrIncomplete),
		},
		{Project: newProject(t, "fresh", "p5", search)},
	}
	targets := []*discovery.Target{
		{Project: listed, Cluster: css.Cluster{ID: "new"}},
		{Project: production, Cluster: css.Cluster{
			ID: "healthy", Name: "z", Engine: "opensearch", EngineVersion: "2.19.0",
		}},
		{Project: production, Cluster: css.Cluster{ID: "off"}},
		{Project: production, Cluster: css.Cluster{ID: "throttled"}},
	}
	states := []collector.State{
		{},
		{
			List:   reporting(2, permitting(list(css.StatusAccepted, css.StatusAccepted), "*")),
			ReadAt: noon().Add(time.Second),
		},
		{List: &css.ConnectionList{}, ReadAt: noon()},
		{
			List: list(css.StatusRejected), ReadAt: noon().Add(-time.Hour),
			Err:     &cloud.Error{Reason: cloud.ReasonThrottled, Status: 429, Message: "too many"},
			Failing: noon().Add(-30 * time.Minute).In(time.FixedZone("", 3600)), FailedAt: noon().Add(-time.Millisecond / 4),
		},
	}
	v := newView(projects, targets, states, collector.Options{}, noon())
	v.Build = Build{Version: "1.2.3"}
	v.filterAndSort(firstPage())
	return v
}

// checkJSON compares a value of the JSON form of a view.
func checkJSON(t *testing.T, v *view, key, want string) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, string(text)).(map[string]any)[key]
	if diff := cmp.Diff(decoded(t, want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", key, diff)
	}
}

func decoded(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err, text)
	}
	return value
}

func TestJSONOfTotals(t *testing.T) {
	checkJSON(t, exampleView(t), "totals", `{
  "projects": 5,
  "failing_projects": 2,
  "clusters": 4,
  "clusters_needing_attention": 1,
  "states": {
   "failing": 1, "failed": 0, "almost_full": 0, "filling": 0, "limited": 0, "off": 1, "ok": 1, "open": 1, "pending": 0, "rejected": 1, "stale": 1,
   "truncated": 0, "unknown": 0, "unlisted": 0, "unread": 1
  },
  "connections": {
   "accepted": 2, "creating": 0, "deleting": 0, "failed": 0, "pendingAcceptance": 0, "rejected": 1, "unknown": 0
  }
 }`)
}

func TestJSONOfProjects(t *testing.T) {
	checkJSON(t, exampleView(t), "projects", `[
  {"name": "lost", "region": "r-lost", "state": "failing", "discovery": {"enabled": true}, "error": {
   "reason": "auth", "http_status": 401, "code": "APIGW.0307", "request_id": "r1",
   "message": "the credentials were not accepted",
   "hint": "the token has expired: check whatever renews it"
  }},
  {"name": "partial", "region": "r-partial", "project_id": "p4", "state": "failing",
   "discovery": {"enabled": true, "clusters": 3}, "error": {
   "message": "the cluster list is incomplete: 3 of 5",
   "hint": "clusters may be missing; those found before are kept until three lists in a row lack them"
  }},
  {"name": "fresh", "region": "r-fresh", "project_id": "p5", "state": "unread", "discovery": {"enabled": true}},
  {"name": "listed", "region": "r-listed", "project_id": "p3", "state": "ok", "discovery": {"enabled": false}},
  {"name": "production", "region": "r-production", "project_id": "p1", "state": "ok",
   "discovery": {"enabled": true, "last_success": "2026-11-23T11:58:29.5Z", "age_seconds": 90, "clusters": 0}}
 ]`)
}

func TestJSONOfClusters(t *testing.T) {
	checkJSON(t, exampleView(t), "clusters", `[
  {"project": "production", "region": "r-production", "project_id": "p1", "id": "throttled", "state": "failing",
   "states": ["failing", "rejected", "stale"], "enabled": true, "connections": {
    "accepted": 0, "creating": 0, "deleting": 0, "failed": 0, "pendingAcceptance": 0, "rejected": 1, "unknown": 0
   },
   "truncated": false, "connections_limited": false, "last_success": "2026-11-23T11:00:00Z", "age_seconds": 3600,
   "error": {"reason": "throttled", "http_status": 429, "message": "too many",
    "hint": "lower requests_per_second, scrape less often, or set scrape.min_interval",
    "since": "2026-11-23T11:30:00Z", "last": "2026-11-23T11:59:59.999Z"}},
  {"project": "production", "region": "r-production", "project_id": "p1", "id": "off", "state": "off",
   "states": ["off"], "enabled": false, "last_success": "2026-11-23T12:00:00Z", "age_seconds": 0},
  {"project": "listed", "region": "r-listed", "project_id": "p3", "id": "new", "state": "unread", "states": ["unread"]},
  {"project": "production", "region": "r-production", "project_id": "p1", "id": "healthy", "name": "z",
   "engine": "opensearch", "engine_version": "2.19.0", "state": "ok", "states": ["ok", "open"], "enabled": true,
   "reported_connections": 2, "connections": {
    "accepted": 2, "creating": 0, "deleting": 0, "failed": 0, "pendingAcceptance": 0, "rejected": 0, "unknown": 0
   },
   "truncated": false, "unlisted_connections": 0, "permissions": 1, "permissions_wildcard": true,
   "connections_limited": false, "last_success": "2026-11-23T12:00:01Z", "age_seconds": 0}
 ]`)
}

func TestJSONOfVersionAndTime(t *testing.T) {
	v := exampleView(t)
	v.Totals, v.Projects, v.Clusters = totals{}, nil, nil
	text, err := json.Marshal(v)
	const want = `{"version":"1.2.3","ready":false,"time":"2026-11-23T12:00:00Z",` +
		`"totals":{"projects":0,"failing_projects":0,"clusters":0,"clusters_needing_attention":0,"states":null},` +
		`"projects":null,"clusters":null}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
}

func TestJSONOfAnEmptyViewHasEmptyLists(t *testing.T) {
	text, err := json.Marshal(emptyView())
	if err != nil || !strings.Contains(string(text), `"projects":[],"clusters":[]}`) {
		t.Errorf("got %s, %v; want empty lists", text, err)
	}
}

func TestFailureOfAPIErrorsAndOthers(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want failure
	}{
		{fmt.Errorf("wrapped: %w", (&cloud.Error{Reason: cloud.ReasonNotFound, Status: 404}).WithHint("check endpoint")),
			failure{Reason: cloud.ReasonNotFound, HTTPStatus: 404, Hint: "check endpoint"}},
		{context.DeadlineExceeded, failure{Reason: cloud.ReasonTimeout, Message: "context deadline exceeded"}},
		{errors.New("odd\x00"), failure{Reason: cloud.ReasonTransport, Message: "odd�"}},
	} {
		if diff := cmp.Diff(&tc.want, newFailure(tc.err)); diff != "" {
			t.Errorf("%v: -want +got\n%s", tc.err, diff)
		}
	}
}

func TestFilterAndSort(t *testing.T) {
	newExample := func() *view {
		v := &view{
			Projects: []projectStatus{
				{Name: "c", State: failing}, {Name: "b", State: ok}, {Name: "d", State: unread}, {Name: "a", State: failing},
			},
		}
		for i, c := range []clusterStatus{
			{Project: "c", Name: "a", State: ok}, {Project: "c", Name: "b", State: unread},
			{Project: "c", Name: "c", State: off}, {Project: "c", Name: "e", State: pending},
			{Project: "c", Name: "d", State: unlisted, Conditions: []condition{pending, open}},
			{Project: "c", Name: "f", State: truncated}, {Project: "c", Name: "a", State: rejected},
			{Project: "d", Name: "a", State: failing, Error: &failure{Code: "CSS.0015"}},
			{Project: "c", Name: "z", State: failing},
			{Project: "c", Name: "a", State: rejected, list: permitting(list(css.StatusRejected), "iam:domain::owner-9")},
		} {
			c.ID, c.Conditions = fmt.Sprint("id-", i), append([]condition{c.State}, c.Conditions...)
			v.Clusters = append(v.Clusters, c)
		}
		return v
	}
	for _, tc := range []struct {
		query              string
		projects, clusters string
	}{
		{"", "acdb", "8746953210"},
		{"sort=name", "abcd", "0697124358"},
		{"show=failing", "ac", "87"},
		{"show=failing&sort=name", "ac", "78"},
		{"show=attention", "ac", "8746953"},
		{"show=pending", "ac", "43"},
		{"show=open", "ac", "4"},
		{"show=stale", "ac", ""},
		{"project=d", "d", "7"},
		{"project=c&show=failing", "c", "8"},
		{"q=ID-7", "", "7"},
		{"q=css.0015", "", "7"},
		{"q=OWNER-9", "", "9"},
		{"q=c0", "", "9"},
		{"q=nowhere", "", ""},
		{"q=+d%E2%80%AE+", "d", "8746953210"},
	} {
		values, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseParameters(values)
		if err != nil {
			t.Fatal(err)
		}
		v := newExample()
		v.filterAndSort(p)
		projects, clusters := "", ""
		for _, p := range v.Projects {
			projects += p.Name
		}
		for i := range v.Clusters {
			clusters += strings.TrimPrefix(v.Clusters[i].ID, "id-")
		}
		if projects != tc.projects || clusters != tc.clusters {
			t.Errorf("%s: got %s %s, want %s %s", tc.query, projects, clusters, tc.projects, tc.clusters)
		}
	}
}

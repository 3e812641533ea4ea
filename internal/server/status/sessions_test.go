// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"html"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/lenient"
	"css_vpcep_exporter/internal/sessions"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
)

type projectID string

func (id projectID) KnownID() string { return string(id) }

// newSessionsRig returns a rig whose project reads sessions, and the reader. The cluster "healthy" has these connections:
// ID, sessions that are allowed, and sessions in use, which are negative if Cloud Eye has no value.
func newSessionsRig(t *testing.T, connections map[string][2]float64) (*rig, *sessions.Reader) {
	t.Helper()
	r := newRig(t, nil)
	r.handler.options.Metrics = func() collector.Options {
		return collector.Options{Connections: true, MaxConnections: 100}
	}
	r.simulated.Add("healthy", func(c *simulator.Cluster) {
		for id, n := range connections {
			c.Connections = append(c.Connections, simulator.Connection{
				ID: id, Status: "accepted", MaxSession: simulator.JSON(fmt.Sprint(int(n[0]))),
			})
			if n[1] >= 0 {
				r.simulated.SetSessions(id, func(time.Time) (float64, float64, bool) { return n[1], 0.5, true })
			}
		}
	})
	key := cloud.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}
	client := cloud.NewClient(cloud.Options{
		Region: simtest.Region, UserAgent: "test/1", Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1}, Scope: "sessions",
		Credentials: credentials.NewFiles(key, cloud.Credentials{}), Transport: &simtest.RoundTripper{Handler: r.simulated},
	})
	reader := sessions.New(ces.NewClient(client, "http://ces.invalid", projectID(simtest.ProjectID), func(map[string]int) {}),
		ces.MaxMetrics, slog.New(slog.DiscardHandler))
	r.fleet.Apply([]discovery.Project{{
		Key: "1", Name: "production", Region: simtest.Region, Client: csstest.InMemory(r.simulated), Sessions: reader,
		Listed: []discovery.Listed{{ID: "healthy", Name: "search"}},
	}})
	return r, reader
}

func (r *rig) checkTexts(t *testing.T, query string, want ...string) {
	t.Helper()
	page := html.UnescapeString(textOf(r.html(t, query)))
	for _, want := range want {
		if !strings.Contains(page, want) {
			t.Errorf("%s: missing: %s\nin: %s", query, want, page)
		}
	}
}

func TestSessionsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon()))
		connections := map[string][2]float64{
			"used": {3000, 1234}, "full": {3000, 2900}, "fuller": {3000, 3100}, "filling": {3000, 2500},
			"silent": {3000, -1}, "idle": {3000, 0}, "x y": {3000, 5},
		}
		r, reader := newSessionsRig(t, connections)
		if err := r.fleet.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.scrape(t.Context())
		const page = "cluster=healthy"
		r.checkTexts(t, "", "Reading of sessions in use is on. It has not succeeded yet.", "No problems in the clusters")
		r.checkTexts(t, page, "Sessions in use / allowed", "used unknown In the allowlist: unknown not read / 3,000")
		var ids []string
		for id := range connections {
			ids = append(ids, id)
		}
		if err := reader.Read(t.Context(), ids); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		const owner = " unknown In the allowlist: unknown "
		r.checkTexts(t, page,
			"2 connections above 95 % of their sessions Tell the owners now",
			"1 connection above 80 % of its sessions Ask the owners",
			"accepted above 95 % of sessions fuller"+owner+"3,100 / 3,000 active: 0.5 – – "+
				"accepted above 95 % of sessions full"+owner+"2,900 / 3,000 active: 0.5 – – "+
				"accepted above 80 % of sessions filling"+owner+"2,500 / 3,000 active: 0.5 – – accepted idle"+owner+"0 / 3,000",
			"accepted used"+owner+"1,234 / 3,000 active: 0.5", "accepted silent"+owner+"no value / 3,000 – –",
			"accepted x y"+owner+"not read / 3,000 – –",
			"Sessions in use are values of Cloud Eye that are at most 10 minutes old. docs/metrics.md says what they count.",
		)
		r.checkTexts(t, "", "1 cluster has connections above 95 % of their sessions", "2 above 95 % of sessions 1 above 80 % of sessions",
			"Reading of sessions in use is on. Last success 2 min ago 2026-11-23T12:00:00Z")
		v, text := r.json(t, page)
		got := make(map[string]string)
		for _, c := range v.Clusters[0].Details.Connections {
			got[c.ID] = describeUse(c.Sessions, c.ActiveSessions, c.UsedRatio)
		}
		if diff := cmp.Diff(map[string]string{
			"used": "1234 0.5 0.411", "full": "2900 0.5 0.967", "fuller": "3100 0.5 1.033", "filling": "2500 0.5 0.833",
			"silent": "- - -", "idle": "0 0.5 0.000", "x y": "- - -",
		}, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		project := decoded(t, text).(map[string]any)["projects"].([]any)[0].(map[string]any)
		want := decoded(t, `{"state": "ok", "last_success": "2026-11-23T12:00:00Z", "age_seconds": 120}`)
		if diff := cmp.Diff(want, project["sessions"]); diff != "" {
			t.Errorf("sessions of the project: -want +got\n%s", diff)
		}
		for query, want := range map[string]int{"show=almost_full": 1, "show=filling": 1, "show=ok": 0, "show=attention": 1} {
			if v, _ := r.json(t, query); len(v.Clusters) != want {
				t.Errorf("%s: got %d clusters, want %d", query, len(v.Clusters), want)
			}
		}
	})
}

func describeUse(values ...*float64) string {
	var parts []string
	for i, v := range values {
		switch {
		case v == nil:
			parts = append(parts, "-")
		case i == len(values)-1:
			parts = append(parts, fmt.Sprintf("%.3f", *v))
		default:
			parts = append(parts, fmt.Sprint(*v))
		}
	}
	return strings.Join(parts, " ")
}

func TestSessionsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon()))
		r, reader := newSessionsRig(t, map[string][2]float64{"c1": {3000, 2999}})
		if err := r.fleet.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.scrape(t.Context())
		r.simulated.SetCloudEye(simtest.ProjectID, simulator.CloudEye{Denied: true})
		if err := reader.Read(t.Context(), []string{"c1"}); err == nil {
			t.Fatal("the read succeeded")
		}
		const hint = "What to do: Allow ces:metricData:list, or remove sessions from the project. "
		r.checkTexts(t, "", "CSS VPC endpoints Refresh JSON Metrics Start page 1 project's sessions cannot be read Connections are read as usual. ",
			"1 project whose sessions cannot be read State", "ok sessions failing production",
			"Sessions in use could not be read: denied HTTP 403", hint, "It has not succeeded yet.")
		r.checkTexts(t, "cluster=healthy", "Sessions in use could not be read: denied HTTP 403", hint, "not read / 3,000")
		v, _ := r.json(t, "show=attention")
		if len(v.Projects) != 1 || v.Projects[0].State != ok || v.Projects[0].Sessions.State != failing ||
			v.Projects[0].Sessions.Error.Reason != cloud.ReasonDenied {
			t.Errorf("got projects %+v", v.Projects)
		}
		if v.Totals.FailingSessions != 1 || v.Totals.FailingProjects != 0 || v.Totals.Attention != 0 || len(v.Clusters) != 0 {
			t.Errorf("got totals %+v and %d clusters", v.Totals, len(v.Clusters))
		}
		if v, _ := r.json(t, "show=failing"); len(v.Projects) != 0 {
			t.Errorf("got %d projects whose refresh failed, want none", len(v.Projects))
		}

		r.simulated.SetCloudEye(simtest.ProjectID, simulator.CloudEye{})
		if err := reader.Read(t.Context(), []string{"c1"}); err != nil {
			t.Fatal(err)
		}
		r.checkTexts(t, "cluster=healthy", "2,999 / 3,000")
		if v, _ := r.json(t, ""); v.Totals.FailingSessions != 0 || v.Totals.States[almostFull] != 1 {
			t.Errorf("got totals %+v", v.Totals)
		}
		time.Sleep(11 * time.Minute)
		r.checkTexts(t, "cluster=healthy", "accepted c1 unknown In the allowlist: unknown not read for 10 minutes / 3,000")
		if v, _ := r.json(t, ""); v.Totals.States[almostFull] != 0 {
			t.Errorf("got totals %+v of old values", v.Totals)
		}
	})
}

// TestSessionsThatAreNotAskedFor: the page explains why a cluster with many connections has no sessions in use.
func TestSessionsThatAreNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reader := newSessionsRig(t, map[string][2]float64{"c1": {3000, -1}, "c2": {3000, 3}})
		r.scrape(t.Context())
		if err := reader.Read(t.Context(), []string{"c2"}); err != nil {
			t.Fatal(err)
		}
		r.handler.options.Metrics = func() collector.Options { return collector.Options{Connections: true, MaxConnections: 1} }
		r.checkTexts(t, "cluster=healthy", "c1 unknown In the allowlist: unknown not read / 3,000", "3 / 3,000 active: 0.5",
			"Sessions in use are read only for clusters whose connections the metrics show.")
	})
}

func TestConnectionsNearTheirLimit(t *testing.T) {
	for _, test := range []struct {
		inUse, allowed float64
		want           condition
	}{
		{2400, 3000, ""}, {2400.5, 3000, filling}, {2401, 3000, filling}, {2850, 3000, filling}, {2851, 3000, almostFull},
		{3000, 3000, almostFull}, {9000, 3000, almostFull}, {5, 0, ""}, {0, 0, ""}, {0, 3000, ""}, {1, 1, almostFull},
	} {
		l := list(css.StatusAccepted)
		l.Connections[0].MaxSessions = lenient.Some(test.allowed)
		inUse := sessions.InUse{Sessions: sessions.Count{Value: test.inUse, Known: true}}
		u := &usage{status: &sessionsStatus{State: ok}, values: sessions.NewValues(map[string]sessions.InUse{"c0": inUse})}
		got := newDetails(l, u, "").Connections[0].nearLimit()
		n1, n2 := u.countNearLimit(l)
		if got != test.want || (n1 == 1) != (got == almostFull) || (n2 == 1) != (got == filling) {
			t.Errorf("%v of %v: got %q, and %d and %d in the cluster; want %q", test.inUse, test.allowed, got, n1, n2, test.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", 3.5: "3.5", 1234.567: "1,234.57", 2999.999: "3,000",
		0.001: "below 0.01", 0.29: "0.29", 1.05: "1.05", 9007199254740990: "9,007,199,254,740,990", 1e300: "1e+300",
	} {
		if got := number(n); got != want {
			t.Errorf("%v: got %s, want %s", n, got, want)
		}
	}
}

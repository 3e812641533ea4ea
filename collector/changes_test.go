// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// watcher scrapes the cluster c1 after changing it, and logs.
type watcher struct {
	*testCloud
	scraper *Scraper
	log     bytes.Buffer
}

func newWatcher(t *testing.T) *watcher {
	t.Helper()
	w := &watcher{testCloud: newCloud()}
	logger := slog.New(slog.NewTextHandler(&w.log, nil))
	w.scraper = NewScraper(ScrapeOptions{Concurrency: 1}, NewExporterMetrics(prometheus.NewRegistry()), logger)
	t.Cleanup(w.scraper.Wait)
	return w
}

// read replaces the cluster, scrapes it, and returns the changes that this has added.
func (w *watcher) read(t *testing.T, cluster func(*simulator.Cluster)) []string {
	t.Helper()
	before := len(w.changes())
	w.Add("c1", cluster)
	scrapeAll(t.Context(), w.scraper, w.targets("c1"))
	w.scraper.Wait()
	return lines(w.changes()[before:])
}

func (w *watcher) changes() []css.Change {
	changes, _ := w.scraper.Changes("production", "c1")
	return changes
}

func lines(changes []css.Change) []string {
	texts := []string{}
	for _, c := range changes {
		text := fmt.Sprint(c.Kind, " ", c.ConnectionID, c.Permission, " ", c.From, ">", c.To)
		texts = append(texts, strings.TrimSpace(strings.TrimSuffix(text, " >")))
	}
	return texts
}

// having returns a cluster with connections "id status", and permissions for accounts unless that is nil.
func having(permissions []string, connections ...string) func(*simulator.Cluster) {
	return func(c *simulator.Cluster) {
		for _, text := range connections {
			id, status, _ := strings.Cut(text, " ")
			c.Connections = append(c.Connections, simulator.Connection{
				ID: id, Status: status, DomainID: "owner-" + id, IP: "192.168.0.1",
			})
		}
		if permissions != nil {
			c.Permissions = []simulator.Permission{}
		}
		for _, id := range permissions {
			c.Permissions = append(c.Permissions, simulator.Permission{ID: "p-" + id, Permission: "iam:domain::" + id})
		}
	}
}

func off(c *simulator.Cluster) { c.ServiceOff = true }

func truncating(change func(*simulator.Cluster)) func(*simulator.Cluster) {
	return func(c *simulator.Cluster) {
		change(c)
		c.Unlisted = 5
	}
}

func TestChangesBetweenLists(t *testing.T) {
	for name, tc := range map[string]struct {
		lists []func(*simulator.Cluster)
		want  []string // of the last list
	}{
		"first":     {lists: []func(*simulator.Cluster){having([]string{"a"}, "x accepted")}},
		"unchanged": {lists: []func(*simulator.Cluster){having(nil, "x accepted"), having(nil, "x accepted")}},
		"another order": {lists: []func(*simulator.Cluster){
			having([]string{"a", "b"}, "x accepted", "y rejected"), having([]string{"b", "a"}, "y rejected", "x accepted"),
		}},
		"connections": {
			lists: []func(*simulator.Cluster){
				having(nil, "w accepted", "x accepted", "y pendingAcceptance"),
				having(nil, "x rejected", "y accepted", "z creating"),
			},
			want: []string{
				"connection_status_changed x accepted>rejected", "connection_status_changed y pendingAcceptance>accepted",
				"connection_appeared z >creating", "connection_disappeared w accepted>",
			},
		},
		"undocumented status": {
			lists: []func(*simulator.Cluster){having(nil, "x accepted"), having(nil, "x frozen")},
			want:  []string{"connection_status_changed x accepted>unknown"},
		},
		"all gone": {
			lists: []func(*simulator.Cluster){having(nil, "x accepted"), having(nil)},
			want:  []string{"connection_disappeared x accepted>"},
		},
		"no ID": {lists: []func(*simulator.Cluster){having(nil, " accepted"), having(nil, " rejected")}},
		"IDs missing for a while": {
			lists: []func(*simulator.Cluster){
				having(nil, "x accepted", "y accepted"), having(nil, " accepted"), having(nil, "y rejected"),
			},
			want: []string{"connection_status_changed y accepted>rejected", "connection_disappeared x accepted>"},
		},
		"IDs missing": {lists: []func(*simulator.Cluster){having(nil, "x accepted"), having(nil, " accepted")}},
		"permission without text": {lists: []func(*simulator.Cluster){
			having([]string{"a"}), func(c *simulator.Cluster) { c.Permissions = []simulator.Permission{{ID: "p-a"}} },
		}},
		"repeated permission": {
			lists: []func(*simulator.Cluster){having([]string{"a"}), having([]string{"a", "b", "a", "b"})},
			want:  []string{"permission_added iam:domain::b"},
		},
		"permissions": {
			lists: []func(*simulator.Cluster){having([]string{"a", "b"}), having([]string{"b", "*"})},
			want:  []string{"permission_removed iam:domain::a", "permission_added iam:domain::*"},
		},
		"first permission": {
			lists: []func(*simulator.Cluster){having([]string{}), having([]string{"a"})},
			want:  []string{"permission_added iam:domain::a"},
		},
		"last permission": {
			lists: []func(*simulator.Cluster){having([]string{"a"}), having([]string{})},
			want:  []string{"permission_removed iam:domain::a"},
		},
		"permissions absent for a while": {
			lists: []func(*simulator.Cluster){having([]string{"a"}), having(nil), having([]string{"b"})},
			want:  []string{"permission_removed iam:domain::a", "permission_added iam:domain::b"},
		},
		"permissions absent":  {lists: []func(*simulator.Cluster){having([]string{"a"}), having(nil)}},
		"permissions at last": {lists: []func(*simulator.Cluster){having(nil), having([]string{"a"})}},
		"truncated": {lists: []func(*simulator.Cluster){
			having(nil, "x accepted"), truncating(having(nil, "y accepted")),
		}},
		"truncated from the start": {lists: []func(*simulator.Cluster){truncating(having(nil)), having(nil, "x accepted")}},
		"truncated for a while": {
			lists: []func(*simulator.Cluster){
				having(nil, "x accepted", "y accepted"), truncating(having(nil, "x rejected")),
				having(nil, "x rejected", "y accepted"),
			},
			want: []string{"connection_status_changed x accepted>rejected"},
		},
		"off": {
			lists: []func(*simulator.Cluster){having([]string{"a"}, "x accepted"), off},
			want:  []string{"service_disabled"},
		},
		"off for a while": {
			lists: []func(*simulator.Cluster){having(nil, "x accepted"), off, off, having(nil, "y accepted")},
			want:  []string{"service_enabled", "connection_appeared y >accepted", "connection_disappeared x accepted>"},
		},
		"off from the start": {
			lists: []func(*simulator.Cluster){off, having(nil, "x accepted")},
			want:  []string{"service_enabled"},
		},
	} {
		w := newWatcher(t)
		got := []string{}
		for _, list := range tc.lists {
			got = w.read(t, list)
		}
		if diff := cmp.Diff(append([]string{}, tc.want...), got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestFailedReadsReportNoChanges(t *testing.T) {
	w := newWatcher(t)
	w.read(t, having(nil, "x accepted", "y accepted"))
	for _, f := range []fault{
		{Status: 500}, {Status: 403, Body: `{"errCode":"CSS.0015"}`}, {Body: `{"connections":[]`}, {Body: `{}`}, {Drop: true},
	} {
		w.FailReads("c1", f)
		if got := w.read(t, having(nil)); len(got) > 0 {
			t.Errorf("%+v: got changes %q, want none", f, got)
		}
	}
	w.FailReads("c1")
	want := []string{"connection_disappeared y accepted>"}
	if diff := cmp.Diff(want, w.read(t, having(nil, "x accepted"))); diff != "" {
		t.Errorf("after the failures: -want +got\n%s", diff)
	}
}

func TestChangesAreLogged(t *testing.T) {
	w := newWatcher(t)
	w.read(t, having([]string{"a"}, "x accepted", "y accepted"))
	w.read(t, having([]string{"b"}, "x rejected", "z creating"))
	w.read(t, having([]string{"b"}, "x rejected", "z creating"))
	w.read(t, off)
	w.read(t, having([]string{"b"}, "x rejected", "z creating"))
	const cluster = "level=INFO msg=MSG project=production region=cn-north-4 cluster_id=c1 cluster_name=\"name of c1\""
	var want []string
	for _, line := range []string{
		`"Connection status changed" connection_id=x domain_id=owner-x ip=192.168.0.1 from=accepted to=rejected`,
		`"Connection appeared" connection_id=z domain_id=owner-z ip=192.168.0.1 status=creating`,
		`"Connection disappeared" connection_id=y domain_id=owner-y ip=192.168.0.1 status=accepted`,
		`"Permission removed" permission=iam:domain::a`,
		`"Permission added" permission=iam:domain::b`,
		`"VPC endpoint service disabled"`,
		`"VPC endpoint service enabled"`,
	} {
		message, fields, _ := strings.Cut(line[1:], `"`)
		want = append(want, strings.Replace(cluster, "MSG", `"`+message+`"`, 1)+fields)
	}
	log := regexp.MustCompile(`(?m)^time=\S+ `).ReplaceAllString(w.log.String(), "")
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(log), "\n")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestLastChangesAreKept(t *testing.T) {
	w := newWatcher(t)
	w.read(t, having(nil))
	many := make([]string, 1200)
	for i := range many {
		many[i] = fmt.Sprintf("c%04d accepted", i)
	}
	w.read(t, having(nil, many...))
	changes := w.changes()
	if len(changes) != 50 || changes[0].ConnectionID != "c1150" || changes[49].ConnectionID != "c1199" {
		t.Errorf("got %d changes, want those of c1150 to c1199", len(changes))
	}
	if n := strings.Count(w.log.String(), `msg="Connection appeared"`); n != 1000 {
		t.Errorf("got %d lines for connections, want 1000", n)
	}
	if !strings.Contains(w.log.String(), `msg="Further changes are not logged"`) ||
		!strings.HasSuffix(w.log.String(), "changes=200\n") {
		t.Error("the log does not say that 200 changes are missing")
	}

	w.read(t, having(nil, append(many[1:], "new creating")...))
	got := lines(w.changes())
	want := []string{
		"connection_appeared c1199 >accepted", "connection_appeared new >creating", "connection_disappeared c0000 accepted>",
	}
	if diff := cmp.Diff(want, got[47:]); len(got) != 50 || diff != "" {
		t.Errorf("got %d changes, want 50; -want +got\n%s", len(got), diff)
	}
	if got := lines(changes); got[49] != "connection_appeared c1199 >accepted" {
		t.Errorf("a slice that State returned has changed: %s", got[49])
	}
}

// A reload may bring credentials whose project in the same region is another one.
func TestListsOfDifferentProjectsAreNotCompared(t *testing.T) {
	w := newWatcher(t)
	w.read(t, having(nil, "x accepted"))
	w.read(t, having(nil, "x rejected"))
	w.AddProject(simulator.Project{Name: "p2", Region: "cn-north-4", ID: "p2", Keys: w.Projects()[0].Keys})
	other := simulator.Cluster{ID: "c1", Status: "200"}
	having(nil, "y accepted")(&other)
	w.AddCluster("p2", other)
	w.client = csstest.InMemory(w.Cloud, func(o *csstest.Options) { o.ProjectID = "p2" })
	scrapeAll(t.Context(), w.scraper, w.targets("c1"))
	if id := w.scraper.State("production", "c1").List.Connections[0].ID; id != "y" || len(w.changes()) > 0 {
		t.Errorf("got connection %s and changes %q, want y and none", id, lines(w.changes()))
	}
}

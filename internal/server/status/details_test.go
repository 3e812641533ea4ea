// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/lenient"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
)

// example is a cluster with connections in several states.
func example(c *simulator.Cluster) {
	c.Name, c.ServiceName, c.UpdateSwitch = "search", simulator.Text("service-1"), "false"
	c.Connections = []simulator.Connection{
		{
			ID: "c1", Status: "accepted", MaxSession: simulator.Text("3000"), Specification: "default", IP: "192.168.0.1",
			IPv6: simulator.Text("2001:db8::1"), DNSName: simulator.Text("c1.internal"), DomainID: "a1",
			CreatedAt: simulator.Text("2026-11-22T12:00:00Z"), UpdatedAt: simulator.Text("2026-11-23T11:00:00Z"),
		},
		{ID: "c2", Status: "accepted", MaxSession: simulator.Text("1000000"), DomainID: "a2"},
		{ID: "c3", Status: "rejected", DomainID: "a2", IP: "192.168.0.3"},
		{ID: "c4", Status: "frozen"},
	}
	c.Permissions = []simulator.Permission{
		{ID: "p1", Permission: "iam:domain::a1", Type: "domainId", CreatedAt: simulator.Text("2026-11-20T12:00:00Z")},
	}
}

func TestClusterPageShowsListsAndChangesWithoutAPIRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon()))
		r := newRig(t, nil, discovery.Listed{ID: "healthy", Name: "search"})
		r.simulated.Add("healthy", example)
		r.scrape(t.Context())
		time.Sleep(time.Minute)
		r.simulated.Add("healthy", func(c *simulator.Cluster) {
			example(c)
			c.Connections[2].Status = "deleting"
			c.Permissions = append(c.Permissions, simulator.Permission{Permission: "organizations:orgPath::o/*"})
		})
		r.scrape(t.Context())
		time.Sleep(time.Minute)
		before := r.simulated.Count(simulator.Target{})
		v, text := r.json(t, "cluster=healthy")
		page := textOf(r.html(t, "cluster=healthy"))
		if n := r.simulated.Count(simulator.Target{}) - before; n != 0 {
			t.Errorf("got %d API requests, want none", n)
		}
		if len(v.Projects) != 1 || len(v.Clusters) != 1 {
			t.Fatalf("got %d projects and %d clusters, want 1 and 1", len(v.Projects), len(v.Clusters))
		}
		details := decoded(t, text).(map[string]any)["clusters"].([]any)[0].(map[string]any)["details"]
		if diff := cmp.Diff(decoded(t, `{
  "service_name": "service-1", "update_switch": false, "changes_since": "2026-11-23T12:00:00Z",
  "connections": [
   {"id": "c3", "status": "deleting", "domain_id": "a2", "ip": "192.168.0.3"},
   {"id": "c4", "status": "unknown"},
   {"id": "c1", "status": "accepted", "domain_id": "a1", "in_allowlist": true, "ip": "192.168.0.1",
    "ipv6": "2001:db8::1", "dns_name": "c1.internal", "specification_name": "default", "max_sessions": 3000,
    "created": "2026-11-22T12:00:00Z", "updated": "2026-11-23T11:00:00Z"},
   {"id": "c2", "status": "accepted", "domain_id": "a2", "max_sessions": 1000000}
  ],
  "permissions": [
   {"id": "p1", "permission": "iam:domain::a1", "permission_type": "domainId", "domain_id": "a1",
    "created": "2026-11-20T12:00:00Z"},
   {"permission": "organizations:orgPath::o/*"}
  ],
  "changes": [
   {"time": "2026-11-23T12:01:00Z", "change": "permission_added", "permission": "organizations:orgPath::o/*"},
   {"time": "2026-11-23T12:01:00Z", "change": "connection_status_changed", "connection_id": "c3", "domain_id": "a2",
    "ip": "192.168.0.3", "from": "rejected", "to": "deleting"}
  ]}`), details); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for _, want := range []string{
			"search Cluster ID healthy Project production Region cn-north-4 Project ID p1",
			"Last successful read 1 min ago 2026-11-23T12:01:00Z",
			"Recent changes When Change Connection or permission " +
				"1 min ago 2026-11-23T12:01:00Z Permission added organizations:orgPath::o/* " +
				"1 min ago 2026-11-23T12:01:00Z Connection status changed rejected → deleting c3 Owner a2 at 192.168.0.3 " +
				"The last 50 at most, since the exporter started. First list: 2 min ago 2026-11-23T12:00:00Z",
			"deleting c3 192.168.0.3 a2 In the allowlist: unknown unknown – – ",
			"unknown c4 unknown In the allowlist: unknown unknown – – ",
			"accepted c1 192.168.0.1 2001:db8::1 c1.internal a1 In the allowlist: yes 3,000 default " +
				"1 h ago 2026-11-23T11:00:00Z 24 h ago 2026-11-22T12:00:00Z",
			"accepted c2 a2 In the allowlist: unknown 1,000,000 – – ",
			"Allowlist The accounts of some connections cannot be judged: not every permission and connection names an account.",
			"iam:domain::a1 domainId p1 3 d ago 2026-11-20T12:00:00Z organizations:orgPath::o/* unknown – ",
			"Service name service-1 vpcepUpdateSwitch (meaning undocumented) false",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("missing: %s\nin: %s", want, page)
			}
		}
	})
}

func TestUnknownClustersAndProjects(t *testing.T) {
	r := newRig(t, nil, discovery.Listed{ID: "healthy", Name: "search"})
	const starting = "; discovery has not finished yet: try again in a few seconds"
	check := func(query, want string) {
		t.Helper()
		for _, query := range []string{query, query + "&format=json"} {
			if resp := r.request(t, http.MethodGet, query); resp.Code != 404 || resp.Body.String() != want+"\n" {
				t.Errorf("%s: got %d %s, want 404 %s", query, resp.Code, resp.Body, want)
			}
		}
	}
	check("cluster=absent", `unknown cluster "absent"`+starting)
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	const known = "; /status shows the known ones"
	check("cluster=absent", `unknown cluster "absent"`+known)
	check("cluster=%3Cb%3E%0A"+strings.Repeat("z", 500), `unknown cluster "<b>\n`+strings.Repeat("z", 196)+`"`+known)
	check("cluster=healthy&project=staging", `unknown cluster "healthy" in project "staging"`+known)
	check("project=staging", `unknown project "staging"`+known)
	for _, query := range []string{
		"cluster=healthy", "cluster=search", "cluster=search&project=production", "project=production",
	} {
		if resp := r.request(t, http.MethodGet, query); resp.Code != 200 {
			t.Errorf("%s: got %d %s, want 200", query, resp.Code, resp.Body)
		}
	}
}

func TestClusterOfTwoProjectsIsShownForEach(t *testing.T) {
	r := newRig(t, nil)
	r.simulated.AddProject(simulator.Project{
		Name: "p2", Region: simtest.Region, ID: "p2", Keys: r.simulated.Projects()[0].Keys,
	})
	r.simulated.AddCluster("p2", simulator.Cluster{
		ID: "healthy", Connections: []simulator.Connection{{ID: "other", Status: "rejected"}},
	})
	var projects []discovery.Project
	for _, id := range []string{"p1", "p2"} {
		client := csstest.InMemory(r.simulated, func(o *csstest.Options) { o.ProjectID = id })
		projects = append(projects, discovery.Project{
			Name: "name of " + id, Key: id, Region: simtest.Region, Client: client, Listed: []discovery.Listed{{ID: "healthy"}},
		})
	}
	r.fleet.Apply(projects)
	r.scrape(t.Context())
	for query, want := range map[string]string{
		"cluster=healthy":                        "name of p1: c1, name of p2: other",
		"cluster=healthy&project=name+of+p1":     "name of p1: c1",
		"cluster=healthy&project=name+of+p2&q=x": "name of p2:",
		"cluster=healthy&project=name+of+p2":     "name of p2: other",
	} {
		v, _ := r.json(t, query)
		page := r.html(t, query)
		var got []string
		for _, c := range v.Clusters {
			text := c.Project + ":"
			for _, connection := range c.Details.Connections {
				text += " " + connection.ID
			}
			got = append(got, text)
			if !strings.Contains(page, "<bdi>"+c.Project+"</bdi>") {
				t.Errorf("%s: the page does not show project %s", query, c.Project)
			}
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
		if len(v.Projects) != len(v.Clusters) {
			t.Errorf("%s: got %d projects, want those of the %d clusters", query, len(v.Projects), len(v.Clusters))
		}
	}
	page := html.UnescapeString(r.html(t, ""))
	for _, project := range []string{"p1", "p2"} {
		link := "./status?" + url.Values{"cluster": {"healthy"}, "project": {"name of " + project}}.Encode()
		if !strings.Contains(page, `href="`+link+`"`) {
			t.Errorf("the list has no link to %s", link)
		}
	}
}

func TestFindingsOfAClusterPage(t *testing.T) {
	many := permitting(list(css.StatusAccepted, css.StatusAccepted, css.StatusFailed), "iam:domain::b")
	const unlisted = "2 accepted connections of accounts that are not in the allowlist If an account should have access, " +
		"add it to the allowlist. Otherwise reject its connections. "
	const failed = "1 failed connection Ask the owners to delete the endpoints and to create them again. " +
		"Accepting failed connections does not help. "
	err := &cloud.Error{Reason: cloud.ReasonServer, Status: 503}
	for name, tc := range map[string]struct {
		state       collector.State
		title, want string
	}{
		"unread": {
			collector.State{}, "This cluster has not been read yet, search – ",
			"This cluster has not been read yet This is normal if another exporter is responsible. Recent changes",
		},
		"ok": {collector.State{List: list(css.StatusAccepted)}, "No problems, search – ", "No problems To accept"},
		"two": {
			collector.State{List: many}, "1 failed connection, search – ", failed + unlisted + "To accept or reject",
		},
		"never read": {
			collector.State{Err: err}, "This cluster cannot be read, search – ",
			"This cluster cannot be read server HTTP 503",
		},
		"read before": {
			collector.State{Err: err, List: many}, "This cluster cannot be read, search – ",
			"This cluster cannot be read What this page shows is from the last successful read. " + failed + unlisted + "server",
		},
	} {
		target := discovery.Target{
			Project: newProject(t, "production", "p1", nil), Cluster: css.Cluster{ID: "id", Name: "search"},
		}
		tc.state.ReadAt = noon()
		v := newView(nil, []*discovery.Target{&target}, []collector.State{tc.state}, collector.Options{}, noon())
		v.Clusters[0].Details = newDetails(tc.state.List, nil, "")
		p := firstPage()
		p.cluster = "id"
		page := rendered(t, v, p)
		if !strings.Contains(page, "<title>"+tc.title) || !strings.Contains(textOf(page), tc.want) {
			t.Errorf("%s: want title %s and text %s in:\n%s", name, tc.title, tc.want, textOf(page))
		}
	}
}

func TestConnectionsAreSortedByTrouble(t *testing.T) {
	statuses := append(css.Statuses(), "", css.StatusAccepted, css.StatusAccepted, css.StatusAccepted)
	l := permitting(list(statuses...), "iam:domain::a")
	l.Connections[8].DomainID = "stranger"
	l.Connections[9].UpdatedAt = lenient.Some(noon())
	l.Connections[10].CreatedAt = lenient.Some(noon())
	var got []string
	for _, c := range newDetails(l, nil, "").Connections {
		got = append(got, fmt.Sprint(c.Status, " ", c.ID))
	}
	want := []string{
		"failed c4", "accepted c8", "rejected c1", "pendingAcceptance c2", "creating c3", "deleting c5", "unknown c6",
		"unknown c7",
		"accepted c9", "accepted c10", "accepted c0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestConnectionsAreFilteredByText(t *testing.T) {
	l := list(css.StatusAccepted, css.StatusAccepted)
	l.Connections[0] = css.Connection{
		ID: "Connection", DomainID: "owner", IP: "10.0.0.1", IPv6: "2001:db8::1", DNSName: "x.internal",
	}
	for text, want := range map[string]int{
		"": 2, "nection": 1, "OWNER": 1, "10.0.0.1": 1, "2001:DB8": 1, ".internal": 1, "c1": 1, "nothing": 0,
	} {
		if got := len(newDetails(l, nil, text).Connections); got != want {
			t.Errorf("%q: got %d connections, want %d", text, got, want)
		}
	}
}

func TestManyConnectionsAndChangesAreFolded(t *testing.T) {
	statuses := make([]css.Status, 1100)
	for i := range statuses {
		statuses[i] = css.StatusAccepted
	}
	target := discovery.Target{Project: newProject(t, "production", "p1", nil), Cluster: css.Cluster{ID: "id"}}
	state := collector.State{List: list(statuses...), ReadAt: noon()}
	v := newView(nil, []*discovery.Target{&target}, []collector.State{state}, collector.Options{}, noon())
	d := newDetails(state.List, nil, "")
	for i := range 12 {
		d.Changes = append(d.Changes, changeStatus{
			Time: noon(), Kind: css.PermissionAdded, Permission: fmt.Sprint("n", i),
		})
	}
	v.Clusters[0].Details = d
	p := firstPage()
	p.cluster = "id"
	for page, want := range map[int]int{1: 500, 2: 500, 3: 100, 9: 100} {
		p.page = page
		got := rendered(t, v, p)
		if rows := strings.Count(got, "In the allowlist:"); rows != want {
			t.Errorf("page %d: got %d connections, want %d", page, rows, want)
		}
		if page == 2 && !strings.Contains(got, `<a href="./status?cluster=id&amp;page=3" rel="next">`) {
			t.Errorf("page %d: no link to the next page", page)
		}
		open, folded, _ := strings.Cut(got, "<summary>2 earlier</summary>")
		if strings.Count(open, "Permission added") != 10 || strings.Count(folded, "Permission added") != 2 {
			t.Errorf("page %d: got %d changes at first and %d folded, want 10 and 2", page,
				strings.Count(open, "Permission added"), strings.Count(folded, "Permission added"))
		}
	}
}

func TestManyPermissionsHaveSeveralPages(t *testing.T) {
	l := permitting(list(css.StatusAccepted))
	for i := range 1100 {
		l.Permissions.Value = append(l.Permissions.Value, css.Permission{Text: fmt.Sprint("iam:domain::a", i)})
	}
	target := discovery.Target{Project: newProject(t, "production", "p1", nil), Cluster: css.Cluster{ID: "id"}}
	v := newView(nil, []*discovery.Target{&target}, []collector.State{{List: l, ReadAt: noon()}}, collector.Options{}, noon())
	v.Clusters[0].Details = newDetails(l, nil, "")
	p := firstPage()
	p.cluster = "id"
	for page, want := range map[int]int{1: 500, 2: 500, 3: 100} {
		p.page = page
		got := rendered(t, v, p)
		if rows := strings.Count(got, "<code>iam:domain::a"); rows != want {
			t.Errorf("page %d: got %d permissions, want %d", page, rows, want)
		}
		if strings.Contains(got, "The API lists no connections.") ||
			strings.Contains(got, "All connections are on earlier pages.") != (page > 1) {
			t.Errorf("page %d: the connection is on the first page:\n%s", page, got)
		}
	}
}

func TestNotesOfChangesAndAllowlists(t *testing.T) {
	const notRecorded = "Changes are not recorded while the list is truncated, or something in it has no ID."
	truncatedList, withoutID := reporting(9, permitting(list(css.StatusAccepted))), list(css.StatusAccepted)
	withoutID.Connections[0].ID = ""
	for name, tc := range map[string]struct {
		list               *css.ConnectionList
		changes, allowlist string
	}{
		"unread": {
			nil, "No list has been read since the exporter started.", "Nothing is known about the allowlist.",
		},
		"truncated": {truncatedList, notRecorded, "The allowlist is empty."},
		"no ID":     {withoutID, notRecorded, "accepted no ID a In the allowlist: unknown"},
		"off":       {&css.ConnectionList{}, "No list has been read since the exporter started.", "Nothing is known"},
		"no list":   {list(css.StatusAccepted), "None since the exporter started.", "The API has sent no allowlist."},
		"open": {
			permitting(list(css.StatusAccepted), "*"), "None since the exporter started.", "every account may connect.",
		},
	} {
		target := discovery.Target{Project: newProject(t, "production", "p1", nil), Cluster: css.Cluster{ID: "id"}}
		states := []collector.State{{List: tc.list, ReadAt: noon()}}
		v := newView(nil, []*discovery.Target{&target}, states, collector.Options{}, noon())
		v.Clusters[0].Details = newDetails(tc.list, nil, "")
		if tc.list != nil && tc.list.Comparable() {
			v.Clusters[0].Details.ChangesSince = noon()
		}
		p := firstPage()
		p.cluster = "id"
		page := textOf(rendered(t, v, p))
		for _, want := range []string{"Recent changes " + tc.changes, tc.allowlist} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: missing: %s\nin: %s", name, want, page)
			}
		}
	}
}

// JSON has no years beyond 9999, and none before 0.
func TestImpossibleTimesAreOmitted(t *testing.T) {
	l := list(css.StatusAccepted)
	l.Connections[0].CreatedAt = lenient.Some(time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 12*3600)))
	l.Connections[0].UpdatedAt = lenient.Some(time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -12*3600)))
	text, err := json.Marshal(newDetails(l, nil, ""))
	if err != nil || strings.Contains(string(text), "created") || strings.Contains(string(text), "updated") {
		t.Errorf("got %s, %v; want no times", text, err)
	}
}

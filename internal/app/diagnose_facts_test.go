// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

func TestFactsOfEachGeneration(t *testing.T) {
	const few = "unknown (needs more than 1 connection)"
	for name, test := range map[string]struct {
		options     simulator.Options
		connections int
		want        map[string]string
	}{
		"offset from 0": {simulator.Options{}, 25, map[string]string{
			"offset": "counts items from 0", "generation": "limit and offset honoured; start ignored", "default_limit": "10",
			"page_cap": "none seen (25 connections on one page)", "total_count": "equals the list",
		}},
		"offset from 0, capped": {simulator.Options{ConnectionPageCap: 20}, 50, map[string]string{
			"offset": "counts items from 0", "default_limit": "10", "page_cap": "20", "total_count": "equals the list",
		}},
		"capped at the default limit": {simulator.Options{ConnectionPageCap: 10}, 25, map[string]string{
			"default_limit": "unknown (a page never has more than 10 connections)", "page_cap": "10",
		}},
		"offset from 1": {simulator.Options{ConnectionsPaging: simulator.ByOffsetFromOne}, 25, map[string]string{
			"offset": "counts items from 1", "generation": "limit and offset honoured; start ignored", "default_limit": "10",
		}},
		"offset from 1, two connections": {simulator.Options{ConnectionsPaging: simulator.ByOffsetFromOne}, 2, map[string]string{
			"offset": "counts items from 1", "default_limit": "unknown (needs more than 10 connections)",
		}},
		"start": {simulator.Options{ConnectionsPaging: simulator.ByStart}, 25, map[string]string{
			"offset": "ignored", "generation": "limit and start honoured; offset ignored", "default_limit": "10",
		}},
		"start, capped": {simulator.Options{ConnectionsPaging: simulator.ByStart, ConnectionPageCap: 20}, 25, map[string]string{
			"offset": "ignored", "generation": "limit and start honoured; offset ignored", "total_count": "larger than the list",
			"page_cap": "unknown (total_count is larger than what can be listed)",
		}},
		"start, capped at the default limit": {
			simulator.Options{ConnectionsPaging: simulator.ByStart, ConnectionPageCap: 10}, 25, map[string]string{
				"default_limit": "unknown (a page never has more than 10 connections)",
			}},
		"limit": {simulator.Options{ConnectionsPaging: simulator.ByLimit}, 25, map[string]string{
			"offset": "ignored", "generation": "limit honoured; offset and start ignored",
		}},
		"offset refused": {simulator.Options{ConnectionsPaging: simulator.ByLimitAlone}, 25, map[string]string{
			"offset": "refused (HTTP 400 CSS.0001)", "generation": "limit honoured; offset and start refused",
		}},
		"no paging": {simulator.Options{ConnectionsPaging: simulator.Unpaged}, 25, map[string]string{
			"offset": "ignored", "generation": "limit, offset and start ignored", "default_limit": "none; all 25 connections came",
		}},
		"one connection": {simulator.Options{}, 1, map[string]string{
			"offset": few, "generation": few, "unknown_cluster": "HTTP 403 CSS.0015",
		}},
		"no connection": {simulator.Options{}, 0, map[string]string{"offset": few, "statuses": "not seen"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, test.options, project{})
			c.addCluster("p1", "c1", withConnections(test.connections))
			c.addCluster("p1", "c2", withConnections(test.connections/2))
			d := c.diagnose(t)
			for key, want := range test.want {
				if got := d.fact(key); got != want {
					t.Errorf("%s: got %q, want %q", key, got, want)
				}
			}
			if d.code != 0 {
				t.Errorf("got exit code %d:\n%s", d.code, d.text)
			}
			t.Logf("| %s | %s | %s | %d |", name, d.fact("offset"), d.fact("generation"), len(c.Requests()))
		})
	}
}

// TestFactsOfAListThatChanges: positions in it mean nothing.
func TestFactsOfAListThatChanges(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *simulator.Cluster)
		want   string
	}{
		"a new connection": {func(c *simulator.Cluster) {
			c.Connections = slices.Insert(c.Connections, 0, simulator.Connection{ID: "new", Status: "accepted"})
		}, "unknown (the list changed between requests)"},
		"another order": {func(c *simulator.Cluster) { slices.Reverse(c.Connections) },
			"unknown (the order of the list is not stable)"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
			c.addCluster("p1", "c1", withConnections(12))
			again := 0
			c.FailReads("c1", simulator.Fault{Active: func(time.Time) bool {
				again++
				if again == 2 {
					go c.UpdateCluster("c1", test.change)
					time.Sleep(20 * time.Millisecond)
				}
				return false
			}})
			d := c.diagnose(t)
			if got := d.fact("offset"); got != test.want {
				t.Errorf("got %q, want %q:\n%s", got, test.want, d.text)
			}
		})
	}
}

func TestFactsOfFields(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1", "off"}})
	c.addCluster("p1", "off", func(c *simulator.Cluster) { c.ServiceOff = true })
	c.addCluster("p1", "c1", func(c *simulator.Cluster) {
		c.UpdateSwitch, c.OmitTotal = simulator.Text("false"), true
		for i, x := range []struct{ status, session, created, updated simulator.JSON }{
			{"accepted", `"3000"`, `"2024-06-11T09:36:24Z"`, ""},
			{"rejected", "3000", `"2024-06-11T09:36:24"`, "null"},
			{"Accepted", `""`, `"2018-01-30T07:42:01.174"`, `"2018-01-30T07:42:01.174Z"`},
			{"melting", "null", "1718098584000", `"2024-06-11T09:36:24+08:00"`},
			{"frozen", "1.5", `"1718098584000"`, `"soon"`},
		} {
			c.Connections = append(c.Connections, simulator.Connection{
				ID: fmt.Sprintf("connection-%d", i), Status: string(x.status), MaxSession: x.session, CreatedAt: x.created,
				UpdatedAt: x.updated,
			})
		}
		c.Permissions = []simulator.Permission{
			{Permission: "iam:domain::0123456789"}, {Permission: "*"}, {Permission: "organizations:orgPath::o-1/r-1"}, {Permission: "x"},
		}
	})
	d := c.diagnose(t)
	for key, want := range map[string]string{
		"max_session": "null; number, whole numbers; number, with fraction or exponent; string, empty; string, whole numbers",
		"created_at": "RFC 3339 without zone; RFC 3339 without zone, with fraction; RFC 3339, UTC; " +
			"number, whole numbers; string, 13 digits",
		"update_at": "RFC 3339 with an offset; RFC 3339, UTC, with fraction; null; string, text; absent in some",
		"statuses":  "Accepted, accepted, rejected, other (2)", "permissions": "domainId, orgPath, other, wildcard",
		"update_switch": "string, true or false; false beside accepted connections", "total_count": "absent",
		"total_count_type": "absent", "service_off": "HTTP 400 CSS.5182", "region": "custom", "sessions": "not configured",
	} {
		if got := d.fact(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestFactsOfHeaders(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1", "c2"}})
	c.addCluster("p1", "c1", withConnections(2))
	c.FailReads("c1", simulator.Fault{Header: http.Header{
		"X-Ratelimit-Remaining": {"account-of-x"}, "X-Ratelimit-Account-0123": {"1"}, "X-Openstack-Request-Id": {"req-0123"},
	}})
	c.FailReads("c2", simulator.Fault{Status: 429, Header: http.Header{"Retry-After": {"17"}}})
	d := c.diagnose(t)
	for key, want := range map[string]string{
		"rate_limit_headers": "Retry-After, X-Ratelimit-Remaining, other (1)", "retry_after": "17, in seconds",
		"request_id_header": "X-Openstack-Request-Id, X-Request-Id", "offset": "unknown (the API throttles requests)",
	} {
		if got := d.fact(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

// privateTexts returns every ID, name, address, account and secret that the simulator holds.
func privateTexts(c *testCloud) []string {
	texts := slices.Clone(c.secrets)
	for _, p := range c.Projects() {
		texts = append(texts, p.ID, p.Name, p.Region)
		for _, k := range p.Keys {
			texts = append(texts, k.Access, k.Secret, k.SecurityToken)
		}
		for _, x := range c.Clusters(p.ID) {
			texts = append(texts, x.ID, x.Name, x.VPCID, x.EnterpriseProjectID, string(x.Endpoint), string(x.ServiceName))
			for _, tag := range x.Tags {
				texts = append(texts, tag.Key, tag.Value)
			}
			for _, conn := range x.Connections {
				texts = append(texts, conn.ID, conn.IP, string(conn.IPv6), string(conn.DNSName), conn.DomainID)
			}
			for _, permission := range x.Permissions {
				texts = append(texts, permission.ID, permission.Permission, strings.TrimPrefix(permission.Permission, "iam:domain::"))
			}
		}
	}
	for _, r := range c.Requests() {
		texts = append(texts, r.RequestID)
	}
	return append(texts, strings.TrimPrefix(c.URL, "http://"), "127.0.0.1", "localhost")
}

// leaks returns which private texts are in the facts. A text of one or two characters is in any of them.
func leaks(facts string, private []string) []string {
	found := make(map[string]bool)
	for _, text := range private {
		if text = strings.Trim(text, `"`); len(text) > 2 && strings.Contains(facts, text) {
			found[text] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// TestFactsAreSafeToShare compares the facts with everything that the simulator holds.
func TestFactsAreSafeToShare(t *testing.T) {
	demo := simulator.Demo(simulator.Options{})
	for name, fault := range map[string]simulator.Fault{
		"healthy": {}, "denied": {Status: 403, Body: `{"errCode":"CSS.0015","externalMessage":"no access to name of c1"}`},
		"code with an ID": {Status: 400, Body: `{"errCode":"CSS.5c77b71c5b354f50898476387e42451a"}`},
		"code of letters": {Status: 400, Body: `{"errCode":"searchprod.12345678901234567890"}`},
		"throttled":       {Status: 429, Header: http.Header{"Retry-After": {"192.168.0.1"}}},
		"Cloud Eye: denied": {
			Status: 403, Body: `{"http_code":"403","message":{"details":"no access to company","code":"403"}}`,
		},
		"Cloud Eye: code with an ID": {
			Status: 400, Body: `{"http_code":400,"message":{"details":"x","code":"ces.5c77b71c5b354f50898476387e42451a"}}`,
		},
		"Cloud Eye: throttled": {Status: 429, Header: http.Header{"X-Company-Request-Id": {"company"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, project{name: "production"})
			c.projects[0].settings = c.sessionsOf("")
			endpoint := simulator.Connections
			if strings.HasPrefix(name, "Cloud Eye") {
				endpoint = simulator.Sessions
			}
			for _, p := range demo.Projects() {
				for _, cluster := range demo.Clusters(p.ID) {
					c.AddCluster("p1", cluster)
				}
			}
			c.SetFault(simulator.Target{Endpoint: endpoint}, fault)
			c.UpdateCluster(demo.Clusters(demo.Projects()[0].ID)[0].ID, func(c *simulator.Cluster) {
				c.Connections[0].Status = "owned-by-company"
				c.Permissions[0].Permission = "organizations:orgPath::o-company/r-root"
				c.UpdateSwitch = simulator.Text("switch-of-company")
			})
			private := append(privateTexts(c), "company", "5c77b71c", "searchprod", "192.168.0.1")
			d := c.diagnose(t)
			private = append(private, privateTexts(c)...)
			if len(private) < 100 {
				t.Fatalf("got %d private texts, want hundreds", len(private))
			}
			if found := leaks(d.facts, private); len(found) > 0 {
				t.Errorf("the facts contain %q:\n%s", found, d.facts)
			}
			if read := c.Requested(simulator.Sessions) == 1; read != (endpoint == simulator.Sessions || name == "healthy") {
				t.Errorf("sessions were read: %t", read)
			}
			if found := leaks(d.text, private); len(found) == 0 {
				t.Error("the checks contain none of the texts, so that the facts prove nothing")
			}
			for line := range strings.Lines(d.facts) {
				if !regexp.MustCompile(`^([a-z0-9_]+: .*| {4}.*|They hold .*|)\n$`).MatchString(line) {
					t.Errorf("not a fact: %s", line)
				}
			}
		})
	}
}

// TestFactsOfABuiltInRegion: only a region that everybody knows is shown.
func TestFactsOfABuiltInRegion(t *testing.T) {
	c := newUnservedCloud(simulator.Options{}, project{})
	path := c.file(t)
	writeFile(t, path, "projects: [{region: "+simtest.Region+", project_id: p1, proxy_url: 'http://127.0.0.1:1', "+
		"credentials: {access_key: "+simtest.AccessKey+", secret_key: "+simtest.SecretKey+"}}]")
	d := runDiagnose(t.Context(), t, environment(nil), "--config.file="+path)
	if got := d.fact("region"); got != simtest.Region || d.code != 1 {
		t.Errorf("got %q and exit code %d, want the region and 1:\n%s", got, d.code, d.text)
	}
}

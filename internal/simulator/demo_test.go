// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// getDemo sends a request signed with the project's key.
func getDemo(t *testing.T, s *Simulator, p Project, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, signedRequestBy(t.Context(), p.Keys[0], s.opts.Now(), "http://css.test", target))
	return w
}

// demoResponse is a response to a request for the connections of a cluster.
type demoResponse struct {
	Status, Listed, Total int
	Code                  string
}

// demoResponses returns the response for each cluster.
func demoResponses(t *testing.T, s *Simulator) map[string]demoResponse {
	t.Helper()
	got := map[string]demoResponse{}
	for _, p := range s.Projects() {
		var clusters struct {
			Clusters []struct{ ID, Name string }
		}
		w := getDemo(t, s, p, "/v1.0/"+p.ID+"/clusters?limit=1000")
		if err := json.Unmarshal(w.Body.Bytes(), &clusters); err != nil {
			t.Fatal(err)
		}
		for _, c := range clusters.Clusters {
			w := getDemo(t, s, p, "/v1.0/"+p.ID+"/clusters/"+c.ID+"/vpcepservice/connections?limit=1000")
			var body struct {
				Connections []struct{}
				TotalCount  int    `json:"total_count"`
				Code        string `json:"errCode"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			got[p.Name+"/"+c.Name] = demoResponse{w.Code, len(body.Connections), body.TotalCount, body.Code}
		}
	}
	return got
}

func TestDemoResponses(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 30, 0, time.UTC)
	s := Demo(Options{Now: func() time.Time { return now }})
	want := map[string]demoResponse{
		"production/search-prod":     {200, 10, 10, ""},
		"production/orders-search":   {200, 6, 6, ""},
		"production/logs-archive":    {400, 0, 0, "CSS.5182"},
		"production/ingest-pipeline": {400, 0, 0, "CSS.5182"},
		"production/catalog-next":    {400, 0, 0, "CSS.5182"},
		"production/metrics-hub":     {200, 50, 120, ""}, // the first page
		"production/audit-trail":     {200, 8, 33, ""},
		"staging/search-staging":     {200, 4, 4, ""},
		"staging/orders-staging":     {200, 3, 3, ""},
		"staging/sandbox":            {403, 0, 0, "CSS.0015"},
		"partner/partner-catalog":    {200, 2, 2, ""},
	}
	if diff := cmp.Diff(want, demoResponses(t, s)); diff != "" {
		t.Errorf("30 seconds after a full minute (-want +got):\n%s", diff)
	}
	now = now.Add(35 * time.Second)
	want["staging/orders-staging"] = demoResponse{503, 0, 0, ""}
	if diff := cmp.Diff(want, demoResponses(t, s)); diff != "" {
		t.Errorf("5 seconds after a full minute (-want +got):\n%s", diff)
	}
}

// demoFeatures returns what the exporter can show of a simulator, sorted.
func demoFeatures(s *Simulator) []string {
	features := map[string]struct{}{}
	add := func(kind, value string) { features[kind+": "+value] = struct{}{} }
	addIf := func(ok bool, feature string) {
		if ok {
			features[feature] = struct{}{}
		}
	}
	for _, p := range s.Projects() {
		for _, c := range s.Clusters(p.ID) {
			add("engine", c.Engine)
			add("cluster status", c.Status)
			add("update switch", string(c.UpdateSwitch))
			addIf(c.Endpoint == "", "cluster without endpoint")
			addIf(c.Permissions == nil, "permissions: absent")
			addIf(c.Permissions != nil && len(c.Permissions) == 0, "permissions: empty")
			for _, x := range c.Permissions {
				kind, value, _ := strings.Cut(x.Permission, "::")
				if value == "*" {
					kind = "wildcard"
				}
				add("permissions", kind)
			}
			for _, x := range c.Connections {
				add("connection status", x.Status)
				addIf(x.IPv6 != "", "IPv6 address")
				addIf(x.DNSName != "", "DNS name")
				addIf(strings.HasPrefix(string(x.UpdatedAt), `"`), "update time")
				addIf(x.UpdatedAt == "null", "update time is null")
				addIf(x.UpdatedAt == "", "no update time")
				addIf(x.MaxSession == `"unlimited"`, "maxSession without a number")
				permitted := slices.ContainsFunc(c.Permissions,
					func(e Permission) bool { return strings.HasSuffix(e.Permission, x.DomainID) })
				addIf(c.Name == "search-prod" && x.Status == "accepted" && !permitted, "owner without permission")
			}
		}
	}
	return slices.Sorted(maps.Keys(features))
}

func TestStepKeepsTheFeaturesOfTheDemo(t *testing.T) {
	s := Demo(Options{Now: testNow, Seed: 7})
	want := []string{
		"DNS name", "IPv6 address",
		"cluster status: 100", "cluster status: 200", "cluster without endpoint",
		"connection status: accepted", "connection status: creating", "connection status: deleting",
		"connection status: failed", "connection status: frozen", "connection status: pendingAcceptance",
		"connection status: rejected",
		"engine: elasticsearch", "engine: logstash", "engine: opensearch",
		"maxSession without a number",
		"no update time",
		"owner without permission",
		"permissions: absent", "permissions: empty", "permissions: iam:domain", "permissions: organizations:orgPath",
		"permissions: wildcard",
		"update switch: ", "update switch: false", "update switch: true",
		"update time", "update time is null",
	}
	if diff := cmp.Diff(want, demoFeatures(s)); diff != "" {
		t.Errorf("before any step (-want +got):\n%s", diff)
	}
	for range 5000 {
		if e := s.Step(); e.Kind == "" {
			t.Fatal("got no event, want one")
		}
	}
	if diff := cmp.Diff(want, demoFeatures(s)); diff != "" {
		t.Errorf("after 5000 steps (-want +got):\n%s", diff)
	}
}

func TestDemoKeysLookFake(t *testing.T) {
	for _, p := range Demo(Options{Now: testNow}).Projects() {
		key := p.Keys[0]
		if !strings.HasPrefix(key.Access, "SIMULATED-") || !strings.HasPrefix(key.Secret, "simulated-") {
			t.Errorf("project %s: got key %s, secret %s; want the prefixes SIMULATED-, simulated-",
				p.Name, key.Access, key.Secret)
		}
	}
}

func TestDemoIDsAreUniqueAndConstant(t *testing.T) {
	s, other := Demo(Options{Now: testNow}), Demo(Options{Now: testNow, Seed: 9})
	seen := map[string]bool{}
	check := func(id string) {
		t.Helper()
		if seen[id] || len(id) != 36 {
			t.Errorf("got ID %q, seen before: %t; want 36 bytes, false", id, seen[id])
		}
		seen[id] = true
	}
	var projects []string
	for _, p := range s.Projects() {
		projects = append(projects, p.Name+" "+p.Region)
		if diff := cmp.Diff(s.Clusters(p.ID), other.Clusters(p.ID)); diff != "" {
			t.Errorf("got other clusters with another seed:\n%s", diff)
		}
		for _, c := range s.Clusters(p.ID) {
			check(c.ID)
			for _, x := range c.Connections {
				check(x.ID)
			}
			for _, x := range c.Permissions {
				check(x.ID)
			}
		}
	}
	if diff := cmp.Diff([]string{"production cn-north-4", "staging ap-southeast-3", "partner cn-south-1"}, projects); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
}

// demoSessions returns the newest sessions of each connection that Cloud Eye knows, by cluster and number.
func demoSessions(t *testing.T, s *Simulator, now time.Time) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for _, p := range s.Projects() {
		for _, c := range s.Clusters(p.ID) {
			for i, x := range c.Connections {
				body := queryBody(metricsOf(x.ID), rawAverages,
					fmt.Sprintf(`"from":%d,"to":%d`, now.Add(-10*time.Minute).UnixMilli(), now.UnixMilli()))
				path := "/V1.0/" + p.ID + "/batch-query-metric-data"
				var answer struct {
					Metrics []struct{ Datapoints []struct{ Average float64 } }
				}
				w := serveResponse(s, signedPost(t, p.Keys[0], now, path, body))
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
					t.Fatalf("got %d %s: %v", w.Code, w.Body, err)
				}
				if points := answer.Metrics[0].Datapoints; len(points) > 0 {
					found[fmt.Sprintf("%s %d %s", c.Name, i, x.Status)] = points[len(points)-1].Average
				}
			}
		}
	}
	return found
}

func TestDemoSessions(t *testing.T) {
	s := Demo(Options{Now: testNow})
	got := demoSessions(t, s, testNow())
	want := []string{
		"audit-trail 0 accepted",
		"orders-search 0 accepted", "orders-search 2 accepted", "orders-search 4 accepted",
		"orders-staging 0 accepted", "orders-staging 1 accepted", "orders-staging 2 accepted",
		"partner-catalog 0 accepted", "partner-catalog 1 accepted",
		"search-prod 0 accepted", "search-prod 3 accepted",
		"search-staging 0 accepted", "search-staging 1 accepted", "search-staging 2 accepted", "search-staging 3 accepted",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("connections with sessions (-want +got):\n%s", diff)
	}
	for connection, sessions := range got {
		low, high := 300.0, 0.7*basicSessions
		switch connection {
		case "audit-trail 0 accepted":
			low, high = 0.8*basicSessions, basicSessions
		case "search-prod 0 accepted":
			low, high = 100_000, 700_000
		}
		if sessions < low || sessions > high {
			t.Errorf("%s: got %.0f sessions, want %.0f to %.0f", connection, sessions, low, high)
		}
	}
}

func TestStepKeepsSessionsOfTheDemo(t *testing.T) {
	s := Demo(Options{Now: testNow, Seed: 7})
	for range 5000 {
		s.Step()
	}
	got := demoSessions(t, s, testNow())
	for connection := range got {
		if !strings.HasSuffix(connection, " accepted") {
			t.Errorf("%s has sessions, want none", connection)
		}
	}
	if len(got) < 10 {
		t.Errorf("got %d connections with sessions, want at least 10: %v", len(got), slices.Sorted(maps.Keys(got)))
	}
	listed := map[string]bool{}
	for _, p := range s.Projects() {
		for _, c := range s.Clusters(p.ID) {
			for _, x := range c.Connections {
				listed[x.ID] = true
			}
		}
	}
	for id := range s.sessions {
		if !listed[id] {
			t.Errorf("the simulator keeps the sessions of %s, which was deleted", id)
		}
	}
}

func TestFullestConnectionOfTheDemo(t *testing.T) {
	s := Demo(Options{Now: testNow})
	above95 := 0
	at := s.sessions[demoFullest()]
	for minute := range 24 * 60 {
		sessions, _, _ := at(testNow().Add(time.Duration(minute) * time.Minute))
		used := sessions / basicSessions
		if used <= 0.8 || used > 1 {
			t.Errorf("after %d minutes: got used ratio %g, want more than 0.8 and at most 1", minute, used)
		}
		if used > 0.95 {
			above95++
		}
	}
	if above95 < 60 || above95 > 12*60 {
		t.Errorf("got a used ratio above 0.95 in %d minutes of a day, want 1 to 12 hours", above95)
	}
}

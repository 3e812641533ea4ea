// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// getDemo sends a request signed with the project's own key.
func getDemo(t *testing.T, s *Simulator, p Project, date time.Time, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	stamp := date.UTC().Format(dateLayout)
	r.Header.Set("X-Sdk-Date", stamp)
	request, ok := canonical(r, nil, []string{"x-sdk-date"})
	if !ok {
		t.Fatal("no canonical request")
	}
	r.Header.Set("Authorization", knownAuthorization(p.Keys[0].Access, "x-sdk-date",
		sign(request, stamp, p.Keys[0].Secret)))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestDemoAnswers(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 30, 0, time.UTC)
	s := Demo(Options{Now: func() time.Time { return at }})
	type outcome struct {
		Status, Listed, Total int
		Code                  string
	}
	ask := func() map[string]outcome {
		got := map[string]outcome{}
		for _, p := range s.Projects() {
			var clusters struct {
				Clusters []struct{ ID, Name string }
			}
			w := getDemo(t, s, p, at, "/v1.0/"+p.ID+"/clusters?limit=1000")
			if err := json.Unmarshal(w.Body.Bytes(), &clusters); err != nil {
				t.Fatal(err)
			}
			for _, c := range clusters.Clusters {
				w := getDemo(t, s, p, at, "/v1.0/"+p.ID+"/clusters/"+c.ID+"/vpcepservice/connections?limit=1000")
				var body struct {
					Connections []struct{}
					TotalCount  int    `json:"total_count"`
					Code        string `json:"errCode"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
					t.Fatal(err)
				}
				got[p.Name+"/"+c.Name] = outcome{w.Code, len(body.Connections), body.TotalCount, body.Code}
			}
		}
		return got
	}
	want := map[string]outcome{
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
	}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("second half of a minute (-want +got):\n%s", diff)
	}
	at = at.Add(35 * time.Second)
	want["staging/orders-staging"] = outcome{503, 0, 0, ""}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("beginning of a minute (-want +got):\n%s", diff)
	}
}

// TestStepKeepsWhatTheDemoShows checks that Step removes nothing that the demo is meant to show.
func TestStepKeepsWhatTheDemoShows(t *testing.T) {
	s := Demo(Options{Now: testNow, Seed: 7})
	check := func(when string) {
		statuses, switches, whitelists, engines, states := map[string]bool{}, map[JSON]bool{}, map[string]bool{},
			map[string]bool{}, map[string]bool{}
		seen := map[string]bool{}
		for _, p := range s.Projects() {
			for _, c := range s.Clusters(p.ID) {
				engines[c.Engine], states[c.Status], switches[c.UpdateSwitch] = true, true, true
				seen["no endpoint"] = seen["no endpoint"] || c.Endpoint == ""
				switch {
				case c.Permissions == nil:
					whitelists["absent"] = true
				case len(c.Permissions) == 0:
					whitelists["empty"] = true
				}
				for _, entry := range c.Permissions {
					kind, rest, _ := strings.Cut(entry.Permission, "::")
					if rest == "*" {
						kind = "wildcard"
					}
					whitelists[kind] = true
				}
				for _, x := range c.Connections {
					statuses[x.Status] = true
					seen["IPv6"] = seen["IPv6"] || x.IPv6 != ""
					seen["DNS name"] = seen["DNS name"] || x.DNSName != ""
					seen["update time"] = seen["update time"] || strings.HasPrefix(string(x.UpdatedAt), `"`)
					seen["null update time"] = seen["null update time"] || x.UpdatedAt == "null"
					seen["no update time"] = seen["no update time"] || x.UpdatedAt == ""
					seen["maxSession that is no number"] = seen["maxSession that is no number"] || x.MaxSession == `"unlimited"`
					seen["unlisted owner"] = seen["unlisted owner"] || (c.Name == "search-prod" && x.Status == "accepted" &&
						!slices.ContainsFunc(c.Permissions,
							func(e Permission) bool { return strings.HasSuffix(e.Permission, x.DomainID) }))
				}
			}
		}
		for _, tc := range []struct {
			what string
			got  []string
			want []string
		}{
			{"statuses", keys(statuses), []string{"accepted", "creating", "deleting", "failed", "frozen",
				"pendingAcceptance", "rejected"}},
			{"switches", keys(switches), []string{"", "false", "true"}},
			{"whitelists", keys(whitelists), []string{"absent", "empty", "iam:domain", "organizations:orgPath", "wildcard"}},
			{"engines", keys(engines), []string{"elasticsearch", "logstash", "opensearch"}},
			{"cluster states", keys(states), []string{"100", "200"}},
		} {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", when, tc.what, diff)
			}
		}
		for what, ok := range seen {
			if !ok {
				t.Errorf("%s: no %s", when, what)
			}
		}
	}
	check("at the start")
	for range 5000 {
		if e := s.Step(); e.Kind == "" {
			t.Fatal("nothing lives")
		}
	}
	check("after 5000 steps")
}

func keys[K ~string](m map[K]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, string(k))
	}
	slices.Sort(out)
	return out
}

// TestDemoKeysAndIDs checks that keys are obviously fake, and that IDs are unique and the same in every run.
func TestDemoKeysAndIDs(t *testing.T) {
	s, again := Demo(Options{Now: testNow}), Demo(Options{Now: testNow, Seed: 9})
	ids := map[string]bool{}
	var regions []string
	for _, p := range s.Projects() {
		regions = append(regions, p.Name+" "+p.Region)
		if !strings.HasPrefix(p.Keys[0].Access, "SIMULATED-") || !strings.HasPrefix(p.Keys[0].Secret, "simulated-") {
			t.Errorf("project %s has a key that looks real", p.Name)
		}
		if diff := cmp.Diff(s.Clusters(p.ID), again.Clusters(p.ID)); diff != "" {
			t.Errorf("another run has another fleet:\n%s", diff)
		}
		for _, c := range s.Clusters(p.ID) {
			all := []string{c.ID}
			for _, x := range c.Connections {
				all = append(all, x.ID)
			}
			for _, x := range c.Permissions {
				all = append(all, x.ID)
			}
			for _, id := range all {
				if ids[id] || len(id) != 36 {
					t.Errorf("id %s is there twice, or is none", id)
				}
				ids[id] = true
			}
		}
	}
	if diff := cmp.Diff([]string{"production cn-north-4", "staging ap-southeast-3"}, regions); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
}

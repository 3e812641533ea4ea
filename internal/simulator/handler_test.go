// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The vendor's page of 2025-08-15 has this example, with blanks between the tokens.
func TestConnectionsMatchVendorExample(t *testing.T) {
	s := newTestSimulator(Options{})
	const owner = "db9b76a0d9ae431f8e85e89da2ca867c"
	s.UpdateCluster(testCluster, func(c *Cluster) {
		c.Connections = []Connection{
			{ID: "54b7f739-31a1-40d0-862b-ac85b83ab2da", Status: "accepted", MaxSession: Text("3000"), Specification: "default",
				IP: "192.168.0.122", CreatedAt: Text("2024-06-11T09:36:24Z"), DomainID: owner},
			{ID: "e88ad0bc-c2c7-419c-bd9b-a961111f0a42", Status: "accepted", MaxSession: Text("3000"), Specification: "default",
				IP: "192.168.0.133", CreatedAt: Text("2023-10-12T07:33:16Z"), DomainID: owner},
		}
		c.UpdateSwitch = "false"
		c.ServiceName = Text("cn-north-4.css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd")
		c.Permissions = []Permission{{ID: "432a6429-f377-4168-8b24-feb5885af08c", Permission: "iam:domain::" + owner,
			Type: "domainId", CreatedAt: Text("2023-10-12T07:33:11Z")}}
	})
	const want = `{
  "connections" : [ {
    "id" : "54b7f739-31a1-40d0-862b-ac85b83ab2da",
    "status" : "accepted",
    "maxSession" : "3000",
    "specificationName" : "default",
    "vpcepIp" : "192.168.0.122",
    "created_at" : "2024-06-11T09:36:24Z",
    "domain_id" : "db9b76a0d9ae431f8e85e89da2ca867c"
  }, {
    "id" : "e88ad0bc-c2c7-419c-bd9b-a961111f0a42",
    "status" : "accepted",
    "maxSession" : "3000",
    "specificationName" : "default",
    "vpcepIp" : "192.168.0.133",
    "created_at" : "2023-10-12T07:33:16Z",
    "domain_id" : "db9b76a0d9ae431f8e85e89da2ca867c"
  } ],
  "vpcepUpdateSwitch" : false,
  "total_count" : 2,
  "vpcServiceName" : "cn-north-4.css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd",
  "permissions" : [ {
    "id" : "432a6429-f377-4168-8b24-feb5885af08c",
    "permission" : "iam:domain::db9b76a0d9ae431f8e85e89da2ca867c",
    "permission_type" : "domainId",
    "created_at" : "2023-10-12T07:33:11Z"
  } ]
}`
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(want)); err != nil {
		t.Fatal(err)
	}
	w := get(t, s, connectionsPath)
	if diff := cmp.Diff(compact.String(), w.Body.String()); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("got Content-Type %q, want application/json", got)
	}
}

func TestOptionalValuesAreSentAsGiven(t *testing.T) {
	for _, tc := range []struct {
		name    string
		cluster Cluster
		want    string
	}{
		{"no values", Cluster{}, emptyPage},
		{"empty permissions", Cluster{Permissions: []Permission{}}, `{"connections":[],"total_count":0,"permissions":[]}`},
		{"unlisted connections", Cluster{Unlisted: 3}, `{"connections":[],"total_count":3}`},
		{"raw values",
			Cluster{UpdateSwitch: `"false"`, ServiceName: "null", Connections: []Connection{{
				ID: "a", MaxSession: "3000", UpdatedAt: "null",
				IPv6: Text("2001:db8::1"), DNSName: Text("<a>"), CreatedAt: Text("t")}}},
			`{"connections":[{"id":"a","status":"","maxSession":3000,"specificationName":"","vpcepIp":"",` +
				`"vpcepIpv6Address":"2001:db8::1","vpcepDnsName":"\u003ca\u003e","created_at":"t","update_at":null,` +
				`"domain_id":""}],"vpcepUpdateSwitch":"false","total_count":1,"vpcServiceName":null}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			tc.cluster.ID = testCluster
			s.AddCluster(testProject, tc.cluster)
			if diff := cmp.Diff(tc.want, get(t, s, connectionsPath).Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// setConnections sets n connections with the IDs 0 to n-1.
func setConnections(s *Simulator, n int) {
	s.UpdateCluster(testCluster, func(c *Cluster) {
		c.Connections = nil
		for i := range n {
			c.Connections = append(c.Connections, Connection{ID: fmt.Sprint(i)})
		}
	})
}

// idRange returns the IDs start to end-1.
func idRange(start, end int) string {
	var out []string
	for i := start; i < end; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return strings.Join(out, " ")
}

func TestConnectionsArePagedByOffset(t *testing.T) {
	s := newTestSimulator(Options{})
	setConnections(s, 2100)
	for _, tc := range []struct{ query, want string }{
		{"", idRange(0, 10)},
		{"?limit=1", "0"},
		{"?limit=1000", idRange(0, 1000)},
		{"?limit=2&offset=3", "3 4"},
		{"?offset=0", idRange(0, 10)},
		{"?limit=1000&offset=1000", idRange(1000, 2000)},
		{"?limit=2&start=5", "0 1"}, // start is ignored
	} {
		if p := getPage(t, s, connectionsPath+tc.query); p.ids() != tc.want || p.TotalCount != 2100 {
			t.Errorf("%q: got IDs %q of %d, want %q of 2100", tc.query, p.ids(), p.TotalCount, tc.want)
		}
	}
	setConnections(s, 3)
	for query, want := range map[string]string{"?offset=2": "2", "?offset=3": "", "?offset=1000": ""} {
		if p := getPage(t, s, connectionsPath+query); p.ids() != want || p.TotalCount != 3 {
			t.Errorf("%q: got IDs %q of %d, want %q of 3", query, p.ids(), p.TotalCount, want)
		}
	}
}

func TestEachPagingHonoursItsParametersAlone(t *testing.T) {
	const refused = "refused"
	for paging, want := range map[Paging]map[string]string{
		ByOffset:        {"": idRange(0, 10), "?limit=2&offset=5": "5 6", "?limit=2&start=5": "0 1", "?limit=1&offset=0": "0"},
		ByOffsetFromOne: {"": idRange(0, 10), "?limit=2&offset=5": "4 5", "?limit=2&start=5": "0 1", "?limit=1&offset=0": refused},
		ByStart: {"": idRange(0, 10), "?limit=2&start=1": "0 1", "?limit=2&start=5": "4 5", "?limit=2&start=1000": "999 1000",
			"?limit=2&offset=5": "0 1", "?start=0": refused, "?start=1001": refused, "?start=x": refused},
		ByLimit:      {"": idRange(0, 10), "?limit=2": "0 1", "?limit=2&offset=5": "0 1", "?limit=2&start=5": "0 1"},
		ByLimitAlone: {"": idRange(0, 10), "?limit=2": "0 1", "?limit=2&offset=5": refused, "?limit=2&start=5": refused},
		Unpaged:      {"": idRange(0, 2100), "?limit=2&offset=5": idRange(0, 2100), "?limit=0": idRange(0, 2100)},
	} {
		s := newTestSimulator(Options{ConnectionsPaging: paging})
		setConnections(s, 2100)
		for query, ids := range want {
			if ids == refused {
				if w := get(t, s, connectionsPath+query); w.Code != http.StatusBadRequest {
					t.Errorf("paging %d, %q: got status %d, want 400", paging, query, w.Code)
				}
				continue
			}
			if p := getPage(t, s, connectionsPath+query); p.ids() != ids || p.TotalCount != 2100 {
				t.Errorf("paging %d, %q: got IDs %q of %d, want %q of 2100", paging, query, p.ids(), p.TotalCount, ids)
			}
		}
	}
}

func TestTotalCountMayBeAbsentOrTooSmall(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Cluster)
		want   string
	}{
		"absent":    {func(c *Cluster) { c.OmitTotal = true }, ""},
		"too small": {func(c *Cluster) { c.Unlisted = -1 }, `"total_count":2`},
	} {
		s := newTestSimulator(Options{})
		setConnections(s, 3)
		s.UpdateCluster("c1", test.change)
		body := get(t, s, connectionsPath).Body.String()
		if has := strings.Contains(body, "total_count"); has != (test.want != "") || !strings.Contains(body, test.want) {
			t.Errorf("%s: got %s", name, body)
		}
	}
}

func TestInvalidParametersAreRejected(t *testing.T) {
	const clustersPath = "/v1.0/proj1/clusters"
	s := newTestSimulator(Options{})
	for _, target := range []string{
		connectionsPath + "?limit=0",
		connectionsPath + "?limit=1001",
		connectionsPath + "?limit=",
		connectionsPath + "?limit=ten",
		connectionsPath + "?limit=1.5",
		connectionsPath + "?limit=99999999999999999999",
		connectionsPath + "?offset=-1",
		connectionsPath + "?offset=1001",
		clustersPath + "?limit=0",
		clustersPath + "?limit=1001",
		clustersPath + "?start=0",
		clustersPath + "?offset=0",
		clustersPath + "?offset=x",
	} {
		checkCSSError(t, s, target, 400, `{"errCode":"CSS.0001","externalMessage":"Incorrect parameters."}`)
	}
}

func TestUnreadableClustersAreRejected(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddCluster(testProject, Cluster{ID: "off", ServiceOff: true})
	s.AddProject(Project{ID: "proj2", Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	const denied = `{"errCode":"CSS.0015","externalMessage":"You do not have permission to access this cluster."}`
	checkCSSError(t, s, strings.Replace(connectionsPath, "c1", "c2", 1), 403, denied)
	checkCSSError(t, s, strings.Replace(connectionsPath, "proj1", "proj2", 1), 403, denied)
	checkCSSError(t, s, strings.Replace(connectionsPath, "c1", "off", 1), 400,
		`{"errCode":"CSS.5182","externalMessage":"The VPC endpoint service is not enabled."}`)
}

func checkCSSError(t *testing.T, s *Simulator, target string, status int, body string) {
	t.Helper()
	w := get(t, s, target)
	if w.Code != status || w.Body.String() != body {
		t.Errorf("%s: got %d %s, want %d %s", target, w.Code, w.Body, status, body)
	}
	if w.Header().Get("X-Request-Id") == "" {
		t.Errorf("%s: got no X-Request-Id, want one", target)
	}
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	s := newTestSimulator(Options{})
	for _, target := range []string{"/", "/v1.0/proj1", "/v1.0//clusters", "/v2.0/proj1/clusters",
		connectionsPath + "/x", "/v3/auth/tokens"} {
		const code = `"error_code":"APIGW.0101"`
		if w := get(t, s, target); w.Code != 404 || !strings.Contains(w.Body.String(), code) {
			t.Errorf("%s: got %d %s, want 404 %s", target, w.Code, w.Body, code)
		}
	}
}

func TestClustersArePaged(t *testing.T) {
	s := New(Options{Now: testNow, ClusterPageCap: 100})
	s.AddProject(Project{ID: testProject, Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	if got, want := get(t, s, "/v1.0/proj1/clusters").Body.String(), `{"clusters":[],"totalSize":0}`; got != want {
		t.Errorf("no clusters: got %s, want %s", got, want)
	}
	for i := range 150 {
		s.AddCluster(testProject, Cluster{ID: fmt.Sprint(i + 1)})
	}
	for _, tc := range []struct{ query, want string }{
		{"", idRange(1, 11)},
		{"?limit=1000", idRange(1, 101)},
		{"?limit=1000&offset=101&start=101", idRange(101, 151)},
		{"?limit=2&start=3", "3 4"},
		{"?limit=2&offset=3", "3 4"},
		{"?limit=2&offset=5&start=3", "5 6"},
		{"?limit=2&offset=150", "150"},
		{"?limit=2&offset=151", ""},
	} {
		if p := getPage(t, s, "/v1.0/proj1/clusters"+tc.query); p.ids() != tc.want || p.TotalSize != 150 {
			t.Errorf("%q: got IDs %q of %d, want %q of 150", tc.query, p.ids(), p.TotalSize, tc.want)
		}
	}
}

func TestClusterBody(t *testing.T) {
	s := New(Options{Now: testNow})
	s.AddProject(Project{ID: testProject, Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	created := time.Date(2024, 6, 11, 9, 36, 24, 0, time.FixedZone("", 3600))
	s.AddCluster(testProject, Cluster{ID: "c1", Name: "one", Status: "200", Engine: "opensearch", Version: "2.19.0",
		EnterpriseProjectID: "0", VPCID: "v", Tags: []Tag{{"team", "search"}}, Created: created,
		Endpoint: Text("192.168.0.10:9200")})
	s.AddCluster(testProject, Cluster{ID: "c2", Status: "100", Created: created})

	var body struct {
		Clusters []map[string]any `json:"clusters"`
	}
	if err := json.Unmarshal(get(t, s, "/v1.0/proj1/clusters").Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	used := []string{"id", "name", "status", "datastore", "enterpriseProjectId", "vpcId", "tags", "created", "endpoint"}
	var got []map[string]any
	for _, c := range body.Clusters {
		if len(c) <= len(used) {
			t.Errorf("got %v, want other fields too", c)
		}
		m := map[string]any{}
		for _, name := range used {
			v, ok := c[name]
			if !ok {
				t.Errorf("got %v, want a field %s", c, name)
			}
			m[name] = v
		}
		for _, instance := range c["instances"].([]any) {
			if size, ok := instance.(map[string]any)["volume"].(map[string]any)["size"].(float64); !ok || size <= 0 {
				t.Errorf("got instance %v, want a positive volume size", instance)
			}
		}
		got = append(got, m)
	}
	datastore := func(engine, version string) map[string]any {
		return map[string]any{"type": engine, "version": version, "supportSecuritymode": false}
	}
	want := []map[string]any{
		{"id": "c1", "name": "one", "status": "200", "datastore": datastore("opensearch", "2.19.0"),
			"enterpriseProjectId": "0", "vpcId": "v",
			"tags": []any{map[string]any{"key": "team", "value": "search"}}, "created": "2024-06-11T08:36:24",
			"endpoint": "192.168.0.10:9200"},
		{"id": "c2", "name": "", "status": "100", "datastore": datastore("", ""), "enterpriseProjectId": "", "vpcId": "",
			"tags": []any{}, "created": "2024-06-11T08:36:24", "endpoint": nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

func TestTheAccountListHasAllProjectsOfTheCaller(t *testing.T) {
	s := newTestSimulator(Options{})
	key := []Key{{Access: testAccess, Secret: testSecret}}
	s.AddProject(Project{Region: "eu-de", IAMName: "eu-de_sub", ID: "p2", Keys: key, Disabled: true, Domain: "other"})
	s.AddProject(Project{Region: "d", ID: "p3", Keys: key, IsDomain: true})
	s.AddProject(Project{Region: "eu-de", ID: "p4", Keys: []Key{{Access: "AKOTHER", Secret: testSecret}}})
	account := hexID("domain of the account")
	check := func(want string) {
		t.Helper()
		w := get(t, s, "/v3/auth/projects")
		var body struct {
			Projects []struct {
				ID, Name string
				DomainID string `json:"domain_id"`
				IsDomain bool   `json:"is_domain"`
				Enabled  bool
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range body.Projects {
			domain := strings.ReplaceAll(p.DomainID, account, "account")
			got += fmt.Sprintf("%s %s %s %t %t; ", p.ID, p.Name, domain, p.IsDomain, p.Enabled)
		}
		if w.Code != http.StatusOK || got != want {
			t.Errorf("got status %d and %s, want %s", w.Code, got, want)
		}
	}
	check("proj1 cn-north-4 account false true; p2 eu-de_sub other false false; p3 d account true true; ")
	if !s.RemoveProject("p2") || s.RemoveProject("p2") {
		t.Error("a project is not removed once")
	}
	check("proj1 cn-north-4 account false true; p3 d account true true; ")
	unsigned := httptest.NewRecorder()
	s.ServeHTTP(unsigned, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v3/auth/projects", http.NoBody))
	if unsigned.Code != http.StatusUnauthorized {
		t.Errorf("without a signature: got status %d, want 401", unsigned.Code)
	}
}

func TestProjectsAreListedByRegion(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddProject(Project{Region: "eu-de", ID: "p2", Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	s.AddProject(Project{Region: "eu-de", ID: "p3", Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	s.AddProject(Project{Region: "eu-de", ID: "p4", Keys: []Key{{Access: "AKOTHER", Secret: testSecret}}})
	for query, want := range map[string]string{
		"?name=cn-north-4": "proj1/cn-north-4",
		"?name=eu-de":      "p2/eu-de p3/eu-de",
		"?name=nowhere":    "",
		"":                 "proj1/cn-north-4 p2/eu-de p3/eu-de",
	} {
		w := get(t, s, "/v3/projects"+query)
		var body struct {
			Projects []struct{ ID, Name string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range body.Projects {
			got = append(got, p.ID+"/"+p.Name)
		}
		if w.Code != http.StatusOK || strings.Join(got, " ") != want {
			t.Errorf("%q: got status %d, projects %v; want 200, %s", query, w.Code, got, want)
		}
	}
}

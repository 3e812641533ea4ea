// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// TestExampleOfTheAPIDocumentation also checks that a scrape costs one request for each cluster.
func TestExampleOfTheAPIDocumentation(t *testing.T) {
	const id = "5c77b71c-5b35-4f50-8984-76387e42451a"
	body, err := os.ReadFile("../../collector/testdata/golden/seed.json")
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t, simulator.Options{},
		project{settings: "clusters: [{id: " + id + ", name: search-prod, labels: {team: search}}]"})
	c.addCluster("p1", id)
	c.FailReads(id, simulator.Fault{Body: string(body)})

	p := c.start(t)
	const labels = `cluster_id="` + id + `",cluster_name="search-prod",`
	const where = `project_id="p1",region="cn-north-4"`
	const first = `connection_id="54b7f739-31a1-40d0-862b-ac85b83ab2da",`
	const permission = `permission_id="432a6429-f377-4168-8b24-feb5885af08c",`
	const account = "db9b76a0d9ae431f8e85e89da2ca867c"
	const second = `connection_id="e88ad0bc-c2c7-419c-bd9b-a961111f0a42",`
	p.scrape(t, 10*time.Second).checkLines(t,
		`css_vpcep_up{`+labels+where+`} 1`,
		`css_vpcep_enabled{`+labels+where+`} 1`,
		`css_vpcep_reported_connections{`+labels+where+`} 2`,
		`css_vpcep_connections{`+labels+where+`,status="accepted"} 2`,
		`css_vpcep_connections{`+labels+where+`,status="rejected"} 0`,
		`css_vpcep_connections{`+labels+where+`,status="pendingAcceptance"} 0`,
		`css_vpcep_connections{`+labels+where+`,status="creating"} 0`,
		`css_vpcep_connections{`+labels+where+`,status="failed"} 0`,
		`css_vpcep_connections{`+labels+where+`,status="deleting"} 0`,
		`css_vpcep_connections{`+labels+where+`,status="unknown"} 0`,
		`css_vpcep_connections_truncated{`+labels+where+`} 0`,
		`css_vpcep_update_switch{`+labels+where+`} 0`,
		`css_vpcep_permissions{`+labels+where+`} 1`,
		`css_vpcep_permissions_wildcard{`+labels+where+`} 0`,
		`css_vpcep_unlisted_connections{`+labels+where+`} 0`,
		`css_vpcep_permission_info{`+labels+`domain_id="`+account+`",permission="iam:domain::`+account+`",`+
			permission+`permission_type="domainId",`+where+`} 1`,
		`css_vpcep_permission_created_timestamp_seconds{`+labels+permission+where+`} 1.697095991e+09`,
		`css_vpcep_connection_max_sessions{`+labels+first+where+`} 3000`,
		`css_vpcep_connection_max_sessions{`+labels+second+where+`} 3000`,
		`css_vpcep_connection_created_timestamp_seconds{`+labels+first+where+`} 1.718098584e+09`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="cn-north-4"} 1`,
	)
	if r := c.Requests(); len(r) != 1 || r[0].Query != "limit=1000" {
		t.Errorf("got %d requests, want one with the query limit=1000: %+v", len(r), r)
	}
}

// TestCountersExistFromTheStart: increase() sees only what comes after the first value.
func TestCountersExistFromTheStart(t *testing.T) {
	c := newCloud(t, simulator.Options{},
		project{clusters: []string{"c1"}},
		project{id: "p2", lookUpID: true, region: "ap-southeast-3", settings: "discovery: {}"},
		project{
			id: "p3", region: "eu-west-101", clusters: []string{"c3"},
			auth:     "{user: {name: watcher, domain: account, password: secret-3}}",
			settings: `sessions: {endpoint: "http://127.0.0.1:1"}`,
		})
	p := c.start(t)
	status, metrics := p.get(t, "/metrics?collect[]=exporter")
	if status != http.StatusOK {
		t.Fatalf("got status %d, want 200: %s", status, metrics)
	}
	got := findSorted(`(?m)^css_vpcep_exporter_api_requests_total\{(code="(?:200|429)",operation="\w+",region="[\w-]+")\} \d`, metrics)
	want := []string{
		`code="200",operation="clusters",region="ap-southeast-3"`,
		`code="200",operation="connections",region="ap-southeast-3"`,
		`code="200",operation="connections",region="cn-north-4"`,
		`code="200",operation="connections",region="eu-west-101"`,
		`code="200",operation="projects",region="ap-southeast-3"`,
		`code="200",operation="sessions",region="eu-west-101"`,
		`code="200",operation="token",region="eu-west-101"`,
		`code="429",operation="clusters",region="ap-southeast-3"`,
		`code="429",operation="connections",region="ap-southeast-3"`,
		`code="429",operation="connections",region="cn-north-4"`,
		`code="429",operation="connections",region="eu-west-101"`,
		`code="429",operation="projects",region="ap-southeast-3"`,
		`code="429",operation="sessions",region="eu-west-101"`,
		`code="429",operation="token",region="eu-west-101"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters of requests (-want +got)\n%s", diff)
	}
	fields := findSorted(`(?m)^css_vpcep_exporter_unparsable_values_total\{field="(\w+)"\} 0$`, metrics)
	all := slices.Sorted(slices.Values(slices.Concat(css.Fields(), ces.Fields())))
	if diff := cmp.Diff(slices.Compact(all), fields); diff != "" {
		t.Errorf("fields (-want +got)\n%s", diff)
	}
}

func TestUnparsableValuesOfClusterListsAreCounted(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{settings: "discovery: {}"})
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: "p1"},
		simulator.Fault{Body: `{"clusters":[{"id":"c1","tags":"none"}],"totalSize":1}`})
	p := c.start(t)
	p.scrape(t, 10*time.Second).checkLines(t, `css_vpcep_exporter_unparsable_values_total{field="tags"} 1`)
}

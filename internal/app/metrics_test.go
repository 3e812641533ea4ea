// SPDX-License-Identifier: Apache-2.0

package app

import (
	"os"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
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
		`css_vpcep_connection_max_sessions{`+labels+first+where+`} 3000`,
		`css_vpcep_connection_max_sessions{`+labels+second+where+`} 3000`,
		`css_vpcep_connection_created_timestamp_seconds{`+labels+first+where+`} 1.718098584e+09`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="cn-north-4"} 1`,
	)
	if r := c.Requests(); len(r) != 1 || r[0].Query != "limit=1000" {
		t.Errorf("got %d requests, want one with the query limit=1000: %+v", len(r), r)
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
)

func example(t *testing.T) string {
	t.Helper()
	body, err := os.ReadFile("../../collector/testdata/golden/seed.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestExample serves the example of the API documentation to the program: one request, and the documented values.
func TestExample(t *testing.T) {
	cloud, file := newCloud(t)
	const id = "5c77b71c-5b35-4f50-8984-76387e42451a"
	cloud.AddCluster("p1", simulator.Cluster{ID: id, Name: "search-prod", Status: "200"})
	cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, simulator.Fault{Body: example(t)})

	p := start(t, "--config.file="+file("[{id: "+id+", name: search-prod, labels: {team: search}}]"))
	status, metrics := p.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, metrics)
	}
	const labels = `cluster_id="` + id + `",cluster_name="search-prod",`
	const where = `project_id="p1",region="cn-north-4"`
	const first, second = `connection_id="54b7f739-31a1-40d0-862b-ac85b83ab2da",`, `connection_id="e88ad0bc-c2c7-419c-bd9b-a961111f0a42",`
	for _, want := range []string{
		`css_vpcep_up{` + labels + where + `} 1`,
		`css_vpcep_enabled{` + labels + where + `} 1`,
		`css_vpcep_reported_connections{` + labels + where + `} 2`,
		`css_vpcep_connections{` + labels + where + `,status="accepted"} 2`,
		`css_vpcep_connections{` + labels + where + `,status="rejected"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="pendingAcceptance"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="creating"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="failed"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="deleting"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="unknown"} 0`,
		`css_vpcep_connections_truncated{` + labels + where + `} 0`,
		`css_vpcep_update_switch{` + labels + where + `} 0`,
		`css_vpcep_permissions{` + labels + where + `} 1`,
		`css_vpcep_permissions_wildcard{` + labels + where + `} 0`,
		`css_vpcep_unlisted_connections{` + labels + where + `} 0`,
		`css_vpcep_connection_max_sessions{` + labels + first + where + `} 3000`,
		`css_vpcep_connection_max_sessions{` + labels + second + where + `} 3000`,
		`css_vpcep_connection_created_timestamp_seconds{` + labels + first + where + `} 1.718098584e+09`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="cn-north-4"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	requests := cloud.Requests()
	if len(requests) != 1 || requests[0].Query != "limit=1000" {
		t.Errorf("%d requests: %+v", len(requests), requests)
	}
}

func TestWithoutConnections(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{
		ID: "c1", Status: "200", Connections: []simulator.Connection{{ID: "x", Status: "accepted", DomainID: "a"}},
	})
	path := file("[{id: c1}]")
	for _, tc := range []struct {
		args []string
		want bool
	}{{nil, true}, {[]string{"--no-collector.connections"}, false}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append(tc.args, "--once", "--config.file="+path), noEnv, &stdout, &stderr); code != 0 {
			t.Fatalf("exit %d: %s", code, &stderr)
		}
		if got := strings.Contains(stdout.String(), "css_vpcep_connection_info{"); got != tc.want {
			t.Errorf("%v: per-connection series: %t", tc.args, got)
		}
		if !strings.Contains(stdout.String(), `status="accepted"} 1`) {
			t.Errorf("%v: no counts:\n%s", tc.args, &stdout)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsOfProjects(t *testing.T) {
	cloud := simtest.NewUnserved(simulator.Options{})
	cloud.Add("c1")
	cloud.Add("c2")
	search := &Search{RefreshInterval: time.Hour}
	project := newProject(cloud, simtest.ProjectID, search)
	failing := newProject(cloud, "p2", search) // the key has no access to it
	failing.Name = "failing"
	again := newProject(cloud, "p2", search)
	again.Name, again.Key = "other name", "other"
	undiscovered := newProject(cloud, simtest.ProjectID, nil, Listed{ID: "c1"})
	fleet := NewFleet([]Project{project, failing, again, undiscovered}, discardLogger())
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(fleet)

	if n, err := testutil.GatherAndCount(registry); err != nil || n != 0 {
		t.Errorf("before the first refresh: got %d series, error %v; want none", n, err)
	}
	if err := fleet.Refresh(t.Context()); err == nil {
		t.Error("the failing project returned no error")
	}
	want := `# HELP css_vpcep_discovery_clusters Number of discovered clusters that match the filters.
# TYPE css_vpcep_discovery_clusters gauge
css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 2
# HELP css_vpcep_discovery_failure_info Why the last refresh of the project's cluster list failed: reason, and error code of the API; always 1.
# TYPE css_vpcep_discovery_failure_info gauge
css_vpcep_discovery_failure_info{code="APIGW.0302",project="failing",project_id="p2",reason="denied",region="cn-north-4"} 1
css_vpcep_discovery_failure_info{code="APIGW.0302",project="other name",project_id="p2",reason="denied",region="cn-north-4"} 1
# HELP css_vpcep_discovery_up Whether the last refresh of the project's cluster list succeeded (1) or not (0).
# TYPE css_vpcep_discovery_up gauge
css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 1
css_vpcep_discovery_up{project_id="p2",region="cn-north-4"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"css_vpcep_discovery_clusters", "css_vpcep_discovery_failure_info", "css_vpcep_discovery_up"); err != nil {
		t.Error(err)
	}
	n, err := testutil.GatherAndCount(registry, "css_vpcep_discovery_last_success_timestamp_seconds")
	if err != nil || n != 1 {
		t.Errorf("got %d series of the last success, error %v; want 1", n, err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("got problems %v, error %v", problems, err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestDeniedLookupIsNotADeniedRead: the permissions of CSS may all be granted when IAM denies the lookup.
func TestDeniedLookupIsNotADeniedRead(t *testing.T) {
	for name, settings := range map[string]project{
		"listed":     {lookUpID: true, clusters: []string{"c1"}},
		"discovered": {lookUpID: true, settings: "clusters: [{id: c1}]\n    discovery: {}"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, settings)
			c.SetFault(simulator.Target{Endpoint: simulator.Projects}, simulator.Fault{
				Status: 403, Body: `{"error":{"code":403,"message":"You are not authorized.","title":"Forbidden"}}`,
			})
			p := c.start(t)
			p.scrape(t, 10*time.Second).checkLines(t,
				`css_vpcep_up{cluster_id="c1",cluster_name="",project_id="",region="cn-north-4"} 0`,
				`css_vpcep_exporter_scrape_failures_total{reason="denied"} 1`)
			_, page := p.get(t, "/status")
			_, asJSON := p.get(t, "/status?format=json")
			const hint = "et project_id, or allow the user to list the projects in IAM"
			for where, text := range map[string]string{"the log": p.log.String(), "/status": page, "the JSON": asJSON} {
				if n := strings.Count(text, hint); n != 2 { // of the project, and of the cluster
					t.Errorf("%s: got the hint %d times, want 2:\n%s", where, n, text)
				}
				if strings.Contains(text, "css:cluster:list") {
					t.Errorf("%s names permissions of CSS:\n%s", where, text)
				}
			}
		})
	}
}

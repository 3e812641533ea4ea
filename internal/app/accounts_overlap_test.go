// SPDX-License-Identifier: Apache-2.0

package app

import (
	"slices"
	"testing"
	"time"
)

// TestAProjectWithAnEntryForSomeClusters: an entry with regions still reads the others, and no cluster is shown twice.
func TestAProjectWithAnEntryForSomeClusters(t *testing.T) {
	for name, some := range map[string][]string{
		"listed":             {"region: cn-north-4", "project_id: a1", "clusters: [{id: of-a1, name: mine}]"},
		"listed, ID unknown": {"region: cn-north-4", "clusters: [{id: of-a1, name: mine}]"},
		"filtered":           {"region: cn-north-4", "project_id: a1", `discovery: {name: "name of of-a1"}`},
		"with regions":       {"regions: [cn-north-4]", `discovery: {name: "name of of-a1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"}, inAccount{id: "a3", region: "ap-southeast-3"})
			c.addCluster("a1", "another")
			p := start(t, "--config.file="+c.entriesFile(t,
				c.entry(append(some, "name: some")...), c.entry("name: all", `regions: ["*"]`)))
			e := p.scrape(t, 10*time.Second)
			want := []string{"another", "of-a1", "of-a3"}
			if got := e.labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(got, want) {
				t.Errorf("got clusters %v, want %v", got, want)
			}
			want = []string{"all/ap-southeast-3", "all/cn-north-4", "some"}
			if name == "with regions" {
				want[2] = "some/cn-north-4"
			}
			if got := e.labelValues("css_vpcep_cluster_info", "project", 1); !slices.Equal(got, want) {
				t.Errorf("got projects %v, want %v: the first entry takes precedence", got, want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSharedClusterIsShownOnce checks a cluster of two configured projects that have the same project ID.
func TestSharedClusterIsShownOnce(t *testing.T) {
	cloud := newCloud("c1")
	one, other := cloud.target("c1"), cloud.target("c1")
	other.Project, other.Cluster.Name = "another name", "another name"
	outcomes := scrapeAll(t.Context(), newScraper(ScrapeOptions{Concurrency: 2}), []Target{one, other})
	text := exposition(t, newCollector(outcomes, Options{Connections: true, MaxConnections: 10}))
	if n := strings.Count(text, "css_vpcep_up{"); n != 1 {
		t.Errorf("got %d series of up, want 1:\n%s", n, text)
	}
}

// TestFamiliesAreInRegistryOrder checks metrics that are not in the order of the clusters: a configured label sorts
// before cluster_id, and clusters of several regions have the same ID and name.
func TestFamiliesAreInRegistryOrder(t *testing.T) {
	var outcomes []Outcome
	for i, region := range []string{"cn-north-4", "ap-southeast-3", "cn-east-3"} {
		for j, id := range []string{"c2", "c1", "c3"} {
			o := newOutcomes(1, 3)[0]
			slices.Reverse(o.List.Connections)
			o.Target.Region, o.Target.Cluster.ID = region, id
			o.Target.Labels = map[string]string{"a_label": fmt.Sprint((i + 2*j) % 3)}
			outcomes = append(outcomes, o)
		}
	}
	exposition(t, newCollector(outcomes, Options{Connections: true, MaxConnections: 10}))
}

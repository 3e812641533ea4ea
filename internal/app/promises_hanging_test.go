// SPDX-License-Identifier: Apache-2.0

package app

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestHangingClustersAffectNoOthers scrapes 200 clusters, many of which hang, three times within 5 s each, 16 at once.
// All others are up each time.
func TestHangingClustersAffectNoOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("each scrape takes 5 s")
	}
	t.Parallel()
	hanging := func(n int) []string { return clusterIDs("hanging", n) }
	healthy := func(n int) []string { return clusterIDs("healthy", n) }
	one := func(ids []string) []member { return []member{{project: "p1", clusters: ids}} }
	together(t, map[string]func(*testing.T){
		"120 of 200, listed first": func(t *testing.T) {
			scrapeHanging(t, 0, one(slices.Concat(hanging(120), healthy(80))))
		},
		"100 of 200, listed first": func(t *testing.T) {
			scrapeHanging(t, 0, one(slices.Concat(hanging(100), healthy(100))))
		},
		"120 of 200, listed last": func(t *testing.T) {
			scrapeHanging(t, 0, one(slices.Concat(healthy(80), hanging(120))))
		},
		"120 of 200, interleaved": func(t *testing.T) {
			scrapeHanging(t, 0, one(interleave(hanging(120), healthy(80))))
		},
		"120 of 200, the others take 200 ms": func(t *testing.T) {
			scrapeHanging(t, 200*time.Millisecond, one(slices.Concat(hanging(120), healthy(80))))
		},
		"one of two projects": func(t *testing.T) {
			scrapeHanging(t, 0, []member{{project: "p1", clusters: hanging(120)}, {project: "p2", clusters: healthy(80)}})
		},
		"probes": probeHanging,
	})
}

// scrapeHanging scrapes three times. Clusters whose ID begins with "hanging" hang; the others have the latency.
func scrapeHanging(t *testing.T, latency time.Duration, members []member) {
	t.Helper()
	cloud := newPromisesCloud(simulator.Options{}, members...)
	var hanging, healthy []string
	for _, m := range members {
		for _, id := range m.clusters {
			if strings.HasPrefix(id, "hanging") {
				hanging = append(hanging, id)
			} else {
				healthy = append(healthy, id)
			}
		}
	}
	cloud.fault(hanging, simulator.Fault{Hang: true})
	cloud.fault(healthy, simulator.Fault{Latency: latency})
	p := cloud.start(t)
	for n := 1; n <= 3; n++ {
		clusters, _, _ := p.scrape(t, "5")
		if up := clusters.up(healthy); up != len(healthy) {
			t.Errorf("scrape %d: %d of %d healthy clusters are up", n, up, len(healthy))
		}
		if down := clusters.down(hanging); down != len(hanging) {
			t.Errorf("scrape %d: %d of %d hanging clusters are down", n, down, len(hanging))
		}
	}
	p.eventually(t, "no request is in flight", func() bool { return cloud.InFlight() == 0 })
}

// interleave distributes the elements of b evenly between those of a.
func interleave(a, b []string) []string {
	var all []string
	for i, id := range a {
		all = append(all, id)
		all = append(all, b[i*len(b)/len(a):(i+1)*len(b)/len(a)]...)
	}
	return all
}

// probeHanging probes a healthy cluster while 59 others are probed and hang.
func probeHanging(t *testing.T) {
	ids := clusterIDs("c", 60)
	healthy, hanging := ids[59], ids[:59]
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.fault(hanging, simulator.Fault{Hang: true})
	p := cloud.start(t)
	for n := 1; n <= 3; n++ {
		if !p.probe(t, healthy) {
			t.Errorf("round %d: the healthy cluster is down when probed alone", n)
		}
		var probes sync.WaitGroup
		for _, id := range hanging {
			probes.Go(func() {
				if p.probe(t, id) {
					t.Errorf("%s is up", id)
				}
			})
		}
		p.eventually(t, "16 clusters hang", func() bool { return cloud.InFlight() >= 16 })
		if !p.probe(t, healthy) {
			t.Errorf("round %d: the healthy cluster is down", n)
		}
		probes.Wait()
		p.eventually(t, "no request is in flight", func() bool { return cloud.InFlight() == 0 })
	}
}

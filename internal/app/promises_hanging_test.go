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

// TestHangingClustersAffectNoOthers scrapes 200 clusters three times, 16 at once. Many of them hang.
func TestHangingClustersAffectNoOthers(t *testing.T) {
	slow(t)
	hanging, healthy := clusterIDs("hanging", 120), clusterIDs("healthy", 80)
	inOneProject := func(ids ...string) []project { return []project{{clusters: ids}} }
	for name, test := range map[string]struct {
		projects []project
		latency  time.Duration // of the healthy clusters
	}{
		"listed first": {projects: inOneProject(slices.Concat(hanging, healthy)...)},
		"listed last":  {projects: inOneProject(slices.Concat(healthy, hanging)...)},
		"interleaved":  {projects: inOneProject(interleave(hanging, healthy)...)},
		"as many as healthy ones": {
			projects: inOneProject(slices.Concat(clusterIDs("hanging", 100), clusterIDs("healthy", 100))...),
		},
		"the others take 200 ms": {
			projects: inOneProject(slices.Concat(hanging, healthy)...), latency: 200 * time.Millisecond,
		},
		"one of two projects": {
			projects: []project{{name: "one", id: "p1", clusters: hanging}, {name: "two", id: "p2", clusters: healthy}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scrapeHanging(t, test.projects, test.latency)
		})
	}
}

// scrapeHanging scrapes three times. Clusters whose ID begins with "hanging" hang; the others have the latency.
func scrapeHanging(t *testing.T, projects []project, latency time.Duration) {
	t.Helper()
	var hanging, healthy []string
	for _, p := range projects {
		for _, id := range p.clusters {
			if strings.HasPrefix(id, "hanging") {
				hanging = append(hanging, id)
			} else {
				healthy = append(healthy, id)
			}
		}
	}
	c := newCloud(t, simulator.Options{}, projects...)
	c.failEach(hanging, simulator.Fault{Hang: true})
	c.failEach(healthy, simulator.Fault{Latency: latency})
	p := c.start(t)
	for n := 1; n <= 3; n++ {
		e := p.scrape(t, 5*time.Second)
		if got := e.countUp(healthy); got != len(healthy) {
			t.Errorf("scrape %d: got %d healthy clusters up, want %d", n, got, len(healthy))
		}
		if got := e.countDown(hanging); got != len(hanging) {
			t.Errorf("scrape %d: got %d hanging clusters down, want %d", n, got, len(hanging))
		}
		if got := e.failures(); got["timeout"] != n*len(hanging) || len(got) != 1 {
			t.Errorf("scrape %d: got the failures %v, want only timeout: %d", n, got, n*len(hanging))
		}
	}
	p.eventually(t, "no request is in flight", func() bool { return c.InFlight() == 0 })
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

// TestHangingProbesAffectNoOthers probes a healthy cluster while 59 others are probed and hang.
func TestHangingProbesAffectNoOthers(t *testing.T) {
	slow(t)
	hanging := clusterIDs("hanging", 59)
	c := newCloud(t, simulator.Options{}, project{clusters: append(hanging, "healthy")})
	c.failEach(hanging, simulator.Fault{Hang: true})
	p := c.start(t)
	for n := 1; n <= 3; n++ {
		if !p.probe(t, "healthy", 5*time.Second) {
			t.Errorf("round %d: the healthy cluster is down when probed alone", n)
		}
		var probes sync.WaitGroup
		for _, id := range hanging {
			probes.Go(func() {
				if p.probe(t, id, 5*time.Second) {
					t.Errorf("round %d: %s is up", n, id)
				}
			})
		}
		p.eventually(t, "16 clusters hang", func() bool { return c.InFlight() >= 16 })
		if !p.probe(t, "healthy", 5*time.Second) {
			t.Errorf("round %d: the healthy cluster is down", n)
		}
		probes.Wait()
		p.eventually(t, "no request is in flight", func() bool { return c.InFlight() == 0 })
	}
}

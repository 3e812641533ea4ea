// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/css/csstest"

	"golang.org/x/time/rate"
)

const (
	testLatency = 200 * time.Millisecond  // of healthy clusters
	testTimeout = 9500 * time.Millisecond // of a scrape
)

// newFleet returns a cloud with n clusters and their targets. Requests hang if hangs returns true for their cluster.
func newFleet(n int, hangs func(i int) bool) (cloud *testCloud, targets []Target) {
	ids := numberedIDs(n)
	cloud = newCloud(ids...)
	for i, id := range ids {
		cloud.FailReads(id, fault{Latency: testLatency, Hang: hangs(i)})
	}
	targets = cloud.targets(ids...)
	return cloud, targets
}

// TestHangingClustersReleaseSlots checks that all healthy clusters are read in every scrape, however many others hang.
func TestHangingClustersReleaseSlots(t *testing.T) {
	for name, hangs := range map[string]func(i int) bool{
		"120 first":   func(i int) bool { return i < 120 },
		"120 last":    func(i int) bool { return i >= 80 },
		"every other": func(i int) bool { return i%2 == 0 },
		"all but one": func(i int) bool { return i != 199 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, targets := newFleet(200, hangs)
				scraper := newScraper(ScrapeOptions{Concurrency: 16})
				for scrape := range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
					for i, o := range scrapeAll(ctx, scraper, targets) {
						if (o.Err == nil) == hangs(i) {
							t.Errorf("scrape %d, cluster %d: got %v, want an error: %t", scrape, i, o.Err, hangs(i))
						}
					}
					cancel()
					scraper.Wait()
					time.Sleep(5 * time.Second)
				}
			})
		})
	}
}

// TestProbesOfHangingClusters checks that every probe of a healthy cluster succeeds while 119 others are probed and
// hang.
func TestProbesOfHangingClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, targets := newFleet(120, func(i int) bool { return i != 0 })
		scraper := newScraper(ScrapeOptions{Concurrency: 16})
		probe := func(target Target) error {
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			return scrapeAll(ctx, scraper, []Target{target})[0].Err
		}
		const interval = 15 * time.Second
		var probes sync.WaitGroup
		for i, target := range targets {
			probes.Go(func() {
				time.Sleep(time.Duration(i) * interval / time.Duration(len(targets)))
				for range 3 {
					next := time.Now().Add(interval)
					if err := probe(target); err != nil && i == 0 {
						t.Errorf("the healthy cluster: got %v", err)
					}
					time.Sleep(time.Until(next))
				}
			})
		}
		probes.Wait()
		scraper.Wait()
	})
}

// TestHangingProjectReleasesSlots checks that a project whose requests all hang does not block a scrape of another one.
func TestHangingProjectReleasesSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, hanging := newFleet(20, func(int) bool { return true })
		for i := range hanging {
			hanging[i].Project = "another"
		}
		cloud.Add("valid1", withConnections(1))
		cloud.Add("valid2", withConnections(1))
		scraper := newScraper(ScrapeOptions{Concurrency: 4})
		if o := scrapeAll(t.Context(), scraper, cloud.targets("valid1")); o[0].Err != nil {
			t.Fatal(o[0].Err) // the key must be accepted first
		}
		ctx, cancel := context.WithCancel(t.Context())
		go scrapeAll(ctx, scraper, hanging)
		synctest.Wait()
		if n := cloud.InFlight(); n != 4 {
			t.Fatalf("got %d requests in flight, want 4, one in each slot", n)
		}

		ctx2, cancel2 := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel2()
		for o := range scraper.Scrape(ctx2, cloud.targets("valid1", "valid2")) {
			if o.Err != nil {
				t.Errorf("%s: %v", o.Target.Cluster.ID, o.Err)
			}
		}
		cancel()
		scraper.Wait()
	})
}

func TestSlotsLimitConcurrency(t *testing.T) {
	for _, tc := range []struct{ clusters, concurrency int }{{40, 3}, {200, 16}} {
		t.Run(fmt.Sprint(tc.concurrency), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, targets := newFleet(tc.clusters, func(int) bool { return false })
				scraper := newScraper(ScrapeOptions{Concurrency: tc.concurrency})
				ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
				defer cancel()
				scrapeAll(ctx, scraper, targets[:1]) // the key must be accepted first
				for i, o := range scrapeAll(ctx, scraper, targets) {
					if o.Err != nil || o.Target.Cluster.ID != targets[i].Cluster.ID {
						t.Errorf("got %s: %v, want %s", o.Target.Cluster.ID, o.Err, targets[i].Cluster.ID)
					}
				}
				if peak := cloud.PeakInFlight(); peak != tc.concurrency {
					t.Errorf("got %d requests in flight at once, want %d", peak, tc.concurrency)
				}
			})
		})
	}
}

// TestOldestTryGoesFirst checks that a tight request budget is spent on the clusters that waited longest.
func TestOldestTryGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := numberedIDs(6)
		cloud := newCloud(ids...)
		scraper := newScraper(ScrapeOptions{Concurrency: 4})
		for round := range 3 {
			cloud.client = csstest.InMemory(cloud.Cloud, func(o *csstest.Options) {
				o.Budget = rate.NewLimiter(rate.Every(time.Hour), 2) // two requests a round
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			outcomes := scrapeAll(ctx, scraper, cloud.targets(ids...))
			cancel()
			for i, o := range outcomes {
				if wantRead := i/2 == round; wantRead != (o.Err == nil) {
					t.Errorf("round %d, cluster %d: got %v, want a read: %t", round, i, o.Err, wantRead)
				}
			}
			time.Sleep(time.Minute)
		}
		for _, id := range ids {
			if n := cloud.Reads(id); n != 1 {
				t.Errorf("%s: got %d requests, want 1", id, n)
			}
		}
	})
}

// TestTimedOutClusterGoesLast checks that a cluster that timed out comes last, but not one that only waited for it,
// because the credentials had not been accepted yet.
func TestTimedOutClusterGoesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newCloud("hangs", "waits")
		cloud.FailReads("hangs", fault{Hang: true})
		scraper := newScraper(ScrapeOptions{Concurrency: 2})
		// Other requests wait for the first one of a key for longer than this.
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		go scrapeAll(ctx, scraper, cloud.targets("hangs"))
		synctest.Wait()
		if n := cloud.InFlight(); n != 1 {
			t.Fatalf("got %d requests in flight, want 1", n)
		}
		scrapeAll(ctx, scraper, cloud.targets("waits"))
		scraper.Wait()
		if c := scraper.clusters[clusterKey{"production", "hangs"}]; !c.timedOut {
			t.Error("the cluster that hung: got timedOut false, want true")
		}
		if c := scraper.clusters[clusterKey{"production", "waits"}]; c.timedOut || !c.triedAt.IsZero() {
			t.Errorf("the cluster that waited: got timedOut %t, triedAt %s; want no try", c.timedOut, c.triedAt)
		}
	})
}

func TestSlotTime(t *testing.T) {
	for _, tc := range []struct {
		timeout        time.Duration
		targets, known int
		want           time.Duration
	}{
		{10 * time.Second, 160, 0, 500 * time.Millisecond},
		{10 * time.Second, 161, 0, 5 * time.Second / 11},
		{10 * time.Second, 1, 160, 500 * time.Millisecond}, // of other scrapes
		{10 * time.Second, 33, 0, 5 * time.Second / 3},
		{10 * time.Second, 32, 0, maxSlotTime},
		{10 * time.Second, 1, 1, maxSlotTime},
		{time.Second, 0, 0, 500 * time.Millisecond},
		{0, 160, 0, maxSlotTime}, // without a deadline
	} {
		scraper := newScraper(ScrapeOptions{Concurrency: 16})
		for i := range tc.known {
			scraper.clusters[clusterKey{"production", fmt.Sprint(i)}] = nil
		}
		now, ctx, cancel := time.Now(), t.Context(), func() {}
		if tc.timeout > 0 {
			ctx, cancel = context.WithDeadline(ctx, now.Add(tc.timeout))
		}
		got := scraper.slotTime(ctx, now, tc.targets)
		cancel()
		if got != tc.want {
			t.Errorf("%s, %d targets, %d known clusters: got %s, want %s", tc.timeout, tc.targets, tc.known, got, tc.want)
		}
	}
}

func TestUrgency(t *testing.T) {
	now := time.Now()
	state := func(triedAt time.Time, timedOut bool) queued {
		return queued{state: clusterState{triedAt: triedAt, timedOut: timedOut}}
	}
	ordered := []queued{
		state(time.Time{}, false), state(now, false), state(now.Add(1), false), state(now, true), state(now.Add(1), true),
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := byUrgency(a, b), cmp.Compare(i, j); got != want {
				t.Errorf("%d and %d: got %d, want %d", i, j, got, want)
			}
		}
	}
}

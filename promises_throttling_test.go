// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"testing"
	"time"

	"css_vpcep_exporter/simulator"
)

// TestThrottlingIsRemembered holds that what was throttled is not asked again too early, by later scrapes and refreshes
// either, and that a throttled cluster costs the others nothing.
func TestThrottlingIsRemembered(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for what must not be sent again")
	}
	t.Parallel()
	clusters := simulator.Target{Endpoint: simulator.Connections}
	project := simulator.Target{Endpoint: simulator.WholeProject, ID: "p1"}
	together(t, map[string]func(*testing.T){
		"all clusters, with Retry-After":      func(t *testing.T) { throttledWithRetryAfter(t, clusters) },
		"the whole project, with Retry-After": func(t *testing.T) { throttledWithRetryAfter(t, project) },
		"by window, with Retry-After":         throttledByWindow,
		"without Retry-After":                 throttledWithoutRetryAfter,
		"one cluster, with Retry-After":       func(t *testing.T) { throttledAlone(t, "4", 4*time.Second, 3) },
		"one cluster, without Retry-After":    func(t *testing.T) { throttledAlone(t, "", time.Second, 5) },
		"discovery, from the start":           func(t *testing.T) { throttledDiscovery(t, true) },
		"discovery, later":                    func(t *testing.T) { throttledDiscovery(t, false) },
		"look-up":                             throttledLookup,
	})
}

// throttledScrape scrapes while all of the clusters are throttled, and returns how many calls that made. The nth such
// scrape fails for the reason throttled as the others did.
func throttledScrape(t *testing.T, cloud *promisesCloud, p *program, ids []string, n int) (calls int) {
	t.Helper()
	before := cloud.calls()
	clusters, own, _ := p.scrape(t, "3")
	if down := clusters.down(ids); down != len(ids) {
		t.Errorf("scrape %d: %d of %d throttled clusters are down", n, down, len(ids))
	}
	if failed := failures(own); failed["throttled"] != n*len(ids) || len(failed) != 1 {
		t.Errorf("scrape %d: failures by reason %v, want %d times throttled", n, failed, n*len(ids))
	}
	return cloud.calls() - before
}

// throttledWithRetryAfter has 100 clusters throttled for 30 s: the first scrape learns that, and the next two make no
// call.
func throttledWithRetryAfter(t *testing.T, target simulator.Target) {
	t.Helper()
	ids := clusterIDs("c", 100)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(target, simulator.Throttle{RetryAfter: "30"})
	p := cloud.start(t)
	first := throttledScrape(t, cloud, p, ids, 1)
	second, third := throttledScrape(t, cloud, p, ids, 2), throttledScrape(t, cloud, p, ids, 3)
	t.Logf("%d, %d and %d calls", first, second, third)
	if first == 0 || first > len(ids) || second != 0 || third != 0 {
		t.Errorf("%d, %d and %d calls; want 1 to %d, and none twice", first, second, third, len(ids))
	}
}

// throttledByWindow has a gateway that lets 40 calls a minute through. Scrapes that come later in the minute ask for
// nothing that was throttled before.
func throttledByWindow(t *testing.T) {
	ids := clusterIDs("c", 100)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(simulator.Target{Endpoint: simulator.WholeProject, ID: "p1"},
		simulator.Throttle{Limit: 40, Window: time.Minute, RetryAfter: "30"})
	p := cloud.start(t)
	for range 3 {
		p.scrape(t, "3")
	}
	calls, again := 0, 0
	for _, id := range ids {
		n := len(cloud.throttledAt(simulator.Connections, id))
		calls += n
		again += max(n-1, 0)
	}
	t.Logf("%d calls were throttled, %d of them for clusters that had been throttled before", calls, again)
	if calls == 0 || again > 0 {
		t.Errorf("%d calls were throttled, %d of them for clusters that had been throttled before; want some, and none",
			calls, again)
	}
}

// throttledWithoutRetryAfter scrapes 100 throttled clusters every 1.2 s for 7 s. A cluster is asked again after 1 s,
// then after 2 s, then after 4 s, or later.
func throttledWithoutRetryAfter(t *testing.T) {
	ids := clusterIDs("c", 100)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(simulator.Target{Endpoint: simulator.Connections}, simulator.Throttle{})
	p := cloud.start(t)
	var calls []int
	for n := 1; n <= 6; n++ {
		begun := time.Now()
		calls = append(calls, throttledScrape(t, cloud, p, ids, n))
		time.Sleep(time.Until(begun.Add(1200 * time.Millisecond)))
	}
	early := 0
	for _, id := range ids {
		starts, backoff := cloud.throttledAt(simulator.Connections, id), time.Second
		for i := range len(starts) - 1 {
			if starts[i+1].Sub(starts[i]) < backoff {
				early++
			}
			backoff *= 2
		}
	}
	t.Logf("%v calls, %d of them too early", calls, early)
	if calls[0] == 0 || early > 0 {
		t.Errorf("%v calls, %d of them too early", calls, early)
	}
}

// throttledAt returns when the requests for a target came that were throttled.
func (c *promisesCloud) throttledAt(endpoint simulator.Endpoint, id string) (times []time.Time) {
	for _, r := range c.Requests() {
		if r.Endpoint == endpoint && r.ID == id && r.Status == http.StatusTooManyRequests {
			times = append(times, r.Start)
		}
	}
	return times
}

// throttledAlone has one of 61 clusters throttled, and scrapes every second: the others are up each time, and it is
// asked again only after the wait, at most so many times in all.
func throttledAlone(t *testing.T, retryAfter string, wait time.Duration, most int) {
	t.Helper()
	const scrapes = 8
	ids := clusterIDs("c", 61)
	alone, others := ids[0], ids[1:]
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(simulator.Target{Endpoint: simulator.Connections, ID: alone},
		simulator.Throttle{RetryAfter: retryAfter})
	p := cloud.start(t)
	for n := 1; n <= scrapes; n++ {
		clusters, own, _ := p.scrape(t, "3")
		if up := clusters.up(others); up != len(others) {
			t.Errorf("scrape %d: %d of %d others were read", n, up, len(others))
		}
		if failed := failures(own); failed["throttled"] != n || len(failed) != 1 {
			t.Errorf("scrape %d: failures by reason %v, want %d times throttled", n, failed, n)
		}
		time.Sleep(time.Second)
	}
	starts := cloud.throttledAt(simulator.Connections, alone)
	shortest := time.Hour
	for i := range len(starts) - 1 {
		shortest = min(shortest, starts[i+1].Sub(starts[i]))
	}
	t.Logf("%d calls for the throttled cluster in %d scrapes, %v apart or more", len(starts), scrapes, shortest)
	if len(starts) == 0 || len(starts) > most || shortest < wait {
		t.Errorf("%d calls for the throttled cluster in %d scrapes, %v apart or more; want 1 to %d calls, %v apart or more",
			len(starts), scrapes, shortest, most, wait)
	}
}

// throttledDiscovery refreshes the cluster list every second. Once throttled for 30 s, it is not asked for again in the
// next 8 s, and the clusters that are known are read as before.
func throttledDiscovery(t *testing.T, fromTheStart bool) {
	t.Helper()
	ids := clusterIDs("c", 10)
	list := simulator.Target{Endpoint: simulator.Clusters, ID: "p1"}
	cloud := newPromisesCloud(simulator.Options{},
		member{project: "p1", clusters: ids, settings: everySecond})
	throttled := func() int { return len(cloud.throttledAt(list.Endpoint, list.ID)) }
	if fromTheStart {
		cloud.SetThrottle(list, simulator.Throttle{RetryAfter: "30"})
	}
	p := cloud.start(t)
	if !fromTheStart {
		cloud.SetThrottle(list, simulator.Throttle{RetryAfter: "30"})
		p.eventually(t, "a refresh is throttled", func() bool { return throttled() > 0 })
	}
	time.Sleep(8 * time.Second)
	clusters, _, _ := p.scrape(t, "3")
	if up := clusters.up(ids); up != len(ids) {
		t.Errorf("%d of %d clusters are up", up, len(ids))
	}
	t.Logf("the list was throttled %d times", throttled())
	if n := throttled(); n != 1 {
		t.Errorf("the list was asked for %d times in 8 s, not once", n)
	}
}

// throttledLookup scrapes 20 clusters of a project whose look-up is throttled for 30 s: it is asked once in 8 s.
func throttledLookup(t *testing.T) {
	ids := clusterIDs("c", 20)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", lookup: true, clusters: ids})
	lookup := simulator.Target{Endpoint: simulator.Projects, ID: "cn-north-4"}
	cloud.SetThrottle(lookup, simulator.Throttle{RetryAfter: "30"})
	p := cloud.start(t)
	for n := range 5 {
		if calls := throttledScrape(t, cloud, p, ids, n+1); calls != 0 {
			t.Errorf("%d calls without a project's id", calls)
		}
		time.Sleep(1600 * time.Millisecond)
	}
	t.Logf("%d look-ups", cloud.Count(lookup))
	if n := cloud.Count(lookup); n != 1 {
		t.Errorf("%d look-ups in 8 s, not one", n)
	}
}

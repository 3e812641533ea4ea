// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestThrottledRequestsAreNotRepeated checks that later scrapes and refreshes do not repeat throttled requests too
// early, and that a throttled cluster does not affect the others.
func TestThrottledRequestsAreNotRepeated(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for requests that must not be sent")
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
		"lookup":                              throttledLookup,
	})
}

// throttledScrape scrapes while all clusters are throttled, as the nth such scrape, and returns how many requests were
// sent.
func throttledScrape(t *testing.T, cloud *promisesCloud, p *program, ids []string, n int) (sent int) {
	t.Helper()
	before := cloud.requests()
	clusters, own, _ := p.scrape(t, "3")
	if down := clusters.down(ids); down != len(ids) {
		t.Errorf("scrape %d: %d of %d throttled clusters are down", n, down, len(ids))
	}
	if failed := failures(own); failed["throttled"] != n*len(ids) || len(failed) != 1 {
		t.Errorf("scrape %d: failures by reason %v, want throttled: %d", n, failed, n*len(ids))
	}
	return cloud.requests() - before
}

// throttledWithRetryAfter throttles 100 clusters for 30 s: only the first of three scrapes may send requests.
func throttledWithRetryAfter(t *testing.T, target simulator.Target) {
	t.Helper()
	ids := clusterIDs("c", 100)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(target, simulator.Throttle{RetryAfter: "30"})
	p := cloud.start(t)
	first := throttledScrape(t, cloud, p, ids, 1)
	second, third := throttledScrape(t, cloud, p, ids, 2), throttledScrape(t, cloud, p, ids, 3)
	t.Logf("%d, %d and %d requests", first, second, third)
	if first == 0 || first > len(ids) || second != 0 || third != 0 {
		t.Errorf("%d, %d and %d requests; want 1 to %d, 0 and 0", first, second, third, len(ids))
	}
}

// throttledByWindow limits the gateway to 40 requests a minute. Later scrapes in that minute must not repeat throttled
// requests.
func throttledByWindow(t *testing.T) {
	ids := clusterIDs("c", 100)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(simulator.Target{Endpoint: simulator.WholeProject, ID: "p1"},
		simulator.Throttle{Limit: 40, Window: time.Minute, RetryAfter: "30"})
	p := cloud.start(t)
	for range 3 {
		p.scrape(t, "3")
	}
	sent, again := 0, 0
	for _, id := range ids {
		n := len(cloud.throttledAt(simulator.Connections, id))
		sent += n
		again += max(n-1, 0)
	}
	t.Logf("%d requests were throttled, %d of them repeated", sent, again)
	if sent == 0 || again > 0 {
		t.Errorf("%d requests were throttled, want some; %d of them were repeated, want 0",
			sent, again)
	}
}

// throttledWithoutRetryAfter scrapes 100 throttled clusters every 1.2 s for 7 s. The requests for a cluster must be at
// least 1 s, then 2 s, then 4 s apart.
func throttledWithoutRetryAfter(t *testing.T) {
	ids := clusterIDs("c", 100)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", clusters: ids})
	cloud.SetThrottle(simulator.Target{Endpoint: simulator.Connections}, simulator.Throttle{})
	p := cloud.start(t)
	var sent []int
	for n := 1; n <= 6; n++ {
		begun := time.Now()
		sent = append(sent, throttledScrape(t, cloud, p, ids, n))
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
	t.Logf("%v requests, %d of them too early", sent, early)
	if sent[0] == 0 || early > 0 {
		t.Errorf("%v requests, %d of them too early", sent, early)
	}
}

// throttledAt returns the times of the throttled requests for a target.
func (c *promisesCloud) throttledAt(endpoint simulator.Endpoint, id string) (times []time.Time) {
	for _, r := range c.Requests() {
		if r.Endpoint == endpoint && r.ID == id && r.Status == http.StatusTooManyRequests {
			times = append(times, r.Start)
		}
	}
	return times
}

// throttledAlone throttles one of 61 clusters and scrapes every second: the others are up each time, and at most `most`
// requests are sent for that one, at least `wait` apart.
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
			t.Errorf("scrape %d: %d of %d others are up", n, up, len(others))
		}
		if failed := failures(own); failed["throttled"] != n || len(failed) != 1 {
			t.Errorf("scrape %d: failures by reason %v, want throttled: %d", n, failed, n)
		}
		time.Sleep(time.Second)
	}
	starts := cloud.throttledAt(simulator.Connections, alone)
	shortest := time.Hour
	for i := range len(starts) - 1 {
		shortest = min(shortest, starts[i+1].Sub(starts[i]))
	}
	t.Logf("%d requests for the throttled cluster in %d scrapes, at least %v apart", len(starts), scrapes, shortest)
	if len(starts) == 0 || len(starts) > most || shortest < wait {
		t.Errorf("%d requests for the throttled cluster in %d scrapes, at least %v apart; want 1 to %d, at least %v apart",
			len(starts), scrapes, shortest, most, wait)
	}
}

// throttledDiscovery refreshes the cluster list every second. Once throttled for 30 s, no refresh is sent in the next 8
// s, and the known clusters are up.
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
		t.Errorf("the list was requested %d times in 8 s, want 1", n)
	}
}

// throttledLookup scrapes 20 clusters of a project whose ID lookup is throttled for 30 s: one lookup is sent in 8 s.
func throttledLookup(t *testing.T) {
	ids := clusterIDs("c", 20)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", lookup: true, clusters: ids})
	lookup := simulator.Target{Endpoint: simulator.Projects, ID: "cn-north-4"}
	cloud.SetThrottle(lookup, simulator.Throttle{RetryAfter: "30"})
	p := cloud.start(t)
	for n := range 5 {
		if sent := throttledScrape(t, cloud, p, ids, n+1); sent != 0 {
			t.Errorf("%d requests without a project ID", sent)
		}
		time.Sleep(1600 * time.Millisecond)
	}
	t.Logf("%d lookups", cloud.Count(lookup))
	if n := cloud.Count(lookup); n != 1 {
		t.Errorf("%d lookups in 8 s, want 1", n)
	}
}

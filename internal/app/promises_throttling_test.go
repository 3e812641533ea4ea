// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// throttledAt returns when the throttled requests for a target arrived.
func (c *testCloud) throttledAt(target simulator.Target) (times []time.Time) {
	for _, r := range c.Requests() {
		if r.Target == target && r.Status == http.StatusTooManyRequests {
			times = append(times, r.Start)
		}
	}
	return times
}

func connectionsOf(id string) simulator.Target {
	return simulator.Target{Endpoint: simulator.Connections, ID: id}
}

// scrapeThrottled scrapes for the nth time while all clusters are throttled. It returns the number of requests for
// connections.
func (p *program) scrapeThrottled(t *testing.T, c *testCloud, ids []string, n int) (sent int) {
	t.Helper()
	before := c.Reads("")
	e := p.scrape(t, 3*time.Second)
	if got := e.countDown(ids); got != len(ids) {
		t.Errorf("scrape %d: got %d throttled clusters down, want %d", n, got, len(ids))
	}
	if got := e.failures(); got["throttled"] != n*len(ids) || len(got) != 1 {
		t.Errorf("scrape %d: got the failures %v, want only throttled: %d", n, got, n*len(ids))
	}
	return c.Reads("") - before
}

// TestRetryAfterOutlastsTheScrape throttles 100 clusters for 30 s. Only the first of three scrapes may send requests.
func TestRetryAfterOutlastsTheScrape(t *testing.T) {
	for name, target := range map[string]simulator.Target{
		"all clusters":      connectionsOf(""),
		"the whole project": {Endpoint: simulator.WholeProject, ID: "p1"},
	} {
		t.Run(name, func(t *testing.T) {
			ids := clusterIDs("c", 100)
			c := newCloud(t, simulator.Options{}, project{clusters: ids})
			c.SetThrottle(target, simulator.Throttle{RetryAfter: "30"})
			p := c.start(t)
			if sent := p.scrapeThrottled(t, c, ids, 1); sent == 0 || sent > len(ids) {
				t.Errorf("scrape 1: got %d requests, want 1 to %d", sent, len(ids))
			}
			for n := 2; n <= 3; n++ {
				if sent := p.scrapeThrottled(t, c, ids, n); sent != 0 {
					t.Errorf("scrape %d: got %d requests, want 0", n, sent)
				}
			}
		})
	}
}

// TestThrottledRequestsAreNotRepeated limits the gateway to 40 requests a minute, fewer than there are clusters.
func TestThrottledRequestsAreNotRepeated(t *testing.T) {
	ids := clusterIDs("c", 100)
	c := newCloud(t, simulator.Options{}, project{clusters: ids})
	c.SetThrottle(simulator.Target{Endpoint: simulator.WholeProject, ID: "p1"},
		simulator.Throttle{Limit: 40, Window: time.Minute, RetryAfter: "30"})
	p := c.start(t)
	for range 3 {
		p.scrape(t, 3*time.Second)
	}
	throttled, repeated := 0, 0
	for _, id := range ids {
		n := len(c.throttledAt(connectionsOf(id)))
		throttled += n
		repeated += max(n-1, 0)
	}
	t.Logf("%d requests were throttled, %d of them repeated", throttled, repeated)
	if throttled == 0 || repeated > 0 {
		t.Errorf("got %d throttled and %d repeated requests, want some and 0", throttled, repeated)
	}
}

// TestBackoffWithoutRetryAfterDoubles scrapes 100 throttled clusters every 1.2 s. The requests for a cluster must be
// at least 1 s, then 2 s, then 4 s apart.
func TestBackoffWithoutRetryAfterDoubles(t *testing.T) {
	slow(t)
	ids := clusterIDs("c", 100)
	c := newCloud(t, simulator.Options{}, project{clusters: ids})
	c.SetThrottle(connectionsOf(""), simulator.Throttle{})
	p := c.start(t)
	interval := time.NewTicker(1200 * time.Millisecond)
	defer interval.Stop()
	var sent []int
	for n := 1; n <= 6; n++ {
		if n > 1 {
			<-interval.C
		}
		sent = append(sent, p.scrapeThrottled(t, c, ids, n))
	}
	early := 0
	for _, id := range ids {
		times, backoff := c.throttledAt(connectionsOf(id)), time.Second
		for i := range len(times) - 1 {
			if times[i+1].Sub(times[i]) < backoff {
				early++
			}
			backoff *= 2
		}
	}
	t.Logf("%v requests, %d of them too early", sent, early)
	if sent[0] == 0 || early > 0 {
		t.Errorf("got %v requests, %d of them too early; want some in the first scrape and none too early", sent, early)
	}
}

// TestThrottledClusterAffectsNoOthers throttles one of 61 clusters and scrapes every second.
func TestThrottledClusterAffectsNoOthers(t *testing.T) {
	slow(t)
	for name, test := range map[string]struct {
		retryAfter string
		pause      func(n int) time.Duration // after request n, from 0, for the throttled cluster
	}{
		"with Retry-After":    {"4", func(int) time.Duration { return 4 * time.Second }},
		"without Retry-After": {"", func(n int) time.Duration { return time.Second << n }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			others := clusterIDs("c", 60)
			c := newCloud(t, simulator.Options{}, project{clusters: append([]string{"throttled"}, others...)})
			c.SetThrottle(connectionsOf("throttled"), simulator.Throttle{RetryAfter: test.retryAfter})
			p := c.start(t)
			for n := 1; n <= 8; n++ {
				if n > 1 {
					time.Sleep(time.Second)
				}
				e := p.scrape(t, 3*time.Second)
				if got := e.countUp(others); got != len(others) {
					t.Errorf("scrape %d: got %d others up, want %d", n, got, len(others))
				}
				if got := e.failures(); got["throttled"] != n || len(got) != 1 {
					t.Errorf("scrape %d: got the failures %v, want only throttled: %d", n, got, n)
				}
			}
			times := c.throttledAt(connectionsOf("throttled"))
			t.Logf("%d requests for the throttled cluster", len(times))
			if len(times) == 0 {
				t.Error("got no request for the throttled cluster")
			}
			for i := range len(times) - 1 {
				if pause, want := times[i+1].Sub(times[i]), test.pause(i); pause < want {
					t.Errorf("got request %d for the throttled cluster after %s, want at least %s", i+1, pause, want)
				}
			}
		})
	}
}

// TestThrottledRefreshIsNotRepeated throttles the cluster list, which is refreshed every second, for 30 s. No request
// for it may follow in the next 8 s, and the clusters of the file must be up.
func TestThrottledRefreshIsNotRepeated(t *testing.T) {
	slow(t)
	list := simulator.Target{Endpoint: simulator.Clusters, ID: "p1"}
	for name, fromTheStart := range map[string]bool{"from the start": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := clusterIDs("c", 10)
			c := newCloud(t, simulator.Options{}, project{clusters: ids, settings: everySecond})
			if fromTheStart {
				c.SetThrottle(list, simulator.Throttle{RetryAfter: "30"})
			}
			p := c.start(t)
			if !fromTheStart {
				c.SetThrottle(list, simulator.Throttle{RetryAfter: "30"})
				p.eventually(t, "a refresh is throttled", func() bool { return len(c.throttledAt(list)) > 0 })
			}
			time.Sleep(8 * time.Second)
			if got := p.scrape(t, 3*time.Second).countUp(ids); got != len(ids) {
				t.Errorf("got %d clusters up, want %d", got, len(ids))
			}
			if n := len(c.throttledAt(list)); n != 1 {
				t.Errorf("got %d throttled requests for the list, want 1", n)
			}
		})
	}
}

// TestThrottledLookupIsNotRepeated scrapes 20 clusters of a project whose ID cannot be looked up for 30 s.
func TestThrottledLookupIsNotRepeated(t *testing.T) {
	slow(t)
	ids := clusterIDs("c", 20)
	c := newCloud(t, simulator.Options{}, project{lookUpID: true, clusters: ids})
	lookup := simulator.Target{Endpoint: simulator.Projects, ID: "cn-north-4"}
	c.SetThrottle(lookup, simulator.Throttle{RetryAfter: "30"})
	p := c.start(t)
	for n := 1; n <= 5; n++ {
		if sent := p.scrapeThrottled(t, c, ids, n); sent != 0 {
			t.Errorf("scrape %d: got %d requests without a project ID, want 0", n, sent)
		}
		time.Sleep(1600 * time.Millisecond)
	}
	if n := c.Count(lookup); n != 1 {
		t.Errorf("got %d lookups in 8 s, want 1", n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// throttling is an API without a network that throttles the requests for which it is told to.
type throttling struct {
	throttles   func(path string) bool
	retryAfter  string
	healthyTake time.Duration // to be answered

	mu       sync.Mutex
	requests map[string]int // by the last element of the path that names a target
}

func (a *throttling) RoundTrip(r *http.Request) (*http.Response, error) {
	target := strings.TrimSuffix(r.URL.Path, "/vpcepservice/connections")
	target = target[strings.LastIndex(target, "/")+1:]
	a.mu.Lock()
	a.requests[target]++
	a.mu.Unlock()
	throttled := a.throttles(target)
	if throttled {
		time.Sleep(time.Millisecond)
	} else {
		time.Sleep(a.healthyTake)
	}
	switch {
	case throttled:
		resp := response(r, 429, `{"error_code":"APIGW.0308","error_msg":"throttled"}`)
		if a.retryAfter != "" {
			resp.Header.Set("Retry-After", a.retryAfter)
		}
		return resp, nil
	case target == "clusters":
		return response(r, 200, `{"clusters":[],"totalSize":0}`), nil
	case target == "projects":
		return response(r, 200, `{"projects":[{"id":"p1","name":"cn-north-4"}]}`), nil
	}
	return response(r, 200, seedBody), nil
}

// of returns the number of requests for a target, or for all.
func (a *throttling) of(target string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if target != "" {
		return a.requests[target]
	}
	sum := 0
	for _, n := range a.requests {
		sum += n
	}
	return sum
}

// throttledBy returns an API that throttles what the function says, and a client of it that retries nothing.
func throttledBy(t *testing.T, retryAfter string, throttles func(target string) bool, change ...func(*Options)) (*throttling, *Client) {
	t.Helper()
	a := &throttling{throttles: throttles, retryAfter: retryAfter, requests: make(map[string]int)}
	return a, newTestClient(t, "http://css.invalid", append([]func(*Options){withTransport(a)}, change...)...)
}

func isCluster(n int) func(string) bool {
	return func(target string) bool { return target == fmt.Sprint("cluster-", n) }
}

func TestThrottledClusterIsNotRequested(t *testing.T) {
	for header, wait := range map[string]time.Duration{
		"30": 30 * time.Second, "0": time.Second, "1": time.Second, "900": 15 * time.Minute, "86400": 15 * time.Minute,
		"Sat, 01 Jan 2000 00:00:40 GMT": 40 * time.Second, // virtual time begins at midnight
		"Fri, 31 Dec 1999 00:00:00 GMT": time.Second,
		"":                              time.Second, "soon": time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			a, c := throttledBy(t, header, isCluster(0))
			expect(t, "first", one(t, c), ReasonThrottled)
			time.Sleep(wait - 10*time.Millisecond)
			expect(t, "before the end of "+header, one(t, c), ReasonThrottled)
			expect(t, "requests", a.of(""), 1)
			time.Sleep(10 * time.Millisecond)
			expect(t, "after it", one(t, c), ReasonThrottled)
			expect(t, "requests", a.of(""), 2)
		})
	}
}

func TestThrottleBackOffDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		a, c := throttledBy(t, "", func(string) bool { return throttled })
		for i, seconds := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			one(t, c)
			expect(t, "requests", a.of(""), i+1)
			time.Sleep(seconds*time.Second - time.Millisecond)
			one(t, c)
			expect(t, "requests while backing off", a.of(""), i+1)
			time.Sleep(time.Millisecond)
		}
		throttled = false
		expect(t, "then", one(t, c), "ok")
		throttled = true
		one(t, c)
		time.Sleep(time.Second)
		throttled = false
		expect(t, "after a second again", one(t, c), "ok")
	})
}

func TestThrottledClusterAmongHealthyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := throttledBy(t, "60", isCluster(7))
		for range 10 {
			expect(t, "ended", round(t.Context(), c, 60, 9*time.Second), map[Reason]int{"ok": 59, ReasonThrottled: 1})
			time.Sleep(15 * time.Second)
		}
		expect(t, "requests for the throttled one", a.of("cluster-7"), 3)
	})
	t.Run("that is retried many times", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, c := throttledBy(t, "", isCluster(0), withRetry(DefaultRetry()))
			for range 5 {
				expect(t, "ended", round(t.Context(), c, 5, 9*time.Second), map[Reason]int{"ok": 4, ReasonThrottled: 1})
				time.Sleep(time.Second)
			}
		})
	})
}

// TestThrottledClustersAmongHealthyOnes: several clusters that are throttled at once do not stop those whose answers take
// longer than a 429.
func TestThrottledClustersAmongHealthyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := throttledBy(t, "60", func(target string) bool {
			return target == "cluster-1" || target == "cluster-2" || target == "cluster-3" || target == "cluster-4"
		})
		a.healthyTake = 200 * time.Millisecond
		for range 10 {
			expect(t, "ended", round(t.Context(), c, 60, 9*time.Second), map[Reason]int{"ok": 56, ReasonThrottled: 4})
			time.Sleep(15 * time.Second)
		}
	})
}

func TestThrottledProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		a, c := throttledBy(t, "30", func(string) bool { return throttled })
		for range 2 {
			expect(t, "ended", round(t.Context(), c, 100, 9*time.Second), map[Reason]int{ReasonThrottled: 100})
			time.Sleep(10 * time.Second)
		}
		requests := a.of("")
		if requests > 20 {
			t.Errorf("%d requests, want no more than were in flight", requests)
		}
		if _, err := c.Clusters(t.Context()); ReasonOf(err) != ReasonThrottled || a.of("") != requests {
			t.Errorf("the cluster list was requested: %v", err)
		}
		throttled = false
		time.Sleep(11 * time.Second)
		expect(t, "after the pause", round(t.Context(), c, 100, 9*time.Second), map[Reason]int{"ok": 100})
	})
}

func TestThrottledDiscoveryAndLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := ""
		a, c := throttledBy(t, "300", func(target string) bool { return target == throttled }, func(o *Options) {
			o.ProjectID, o.IAMEndpoint = "", "http://iam.invalid"
		})
		for _, target := range []string{"projects", "clusters"} {
			throttled = target
			before := a.of(target)
			for range 5 {
				if _, err := c.Clusters(t.Context()); ReasonOf(err) != ReasonThrottled {
					t.Errorf("%s: %v", target, err)
				}
				time.Sleep(59 * time.Second)
			}
			expect(t, "requests for "+target, a.of(target)-before, 1)
			throttled = ""
			time.Sleep(5 * time.Second)
			if _, err := c.Clusters(t.Context()); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}
	})
}

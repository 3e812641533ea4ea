// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// throttlingCloud is a cloud in virtual time that throttles some targets: a cluster's ID, "clusters" or "projects".
type throttlingCloud struct {
	throttles  func(target string) bool
	retryAfter string
	latency    time.Duration // of answers other than 429

	mu       sync.Mutex
	requests map[string]int // by target
}

func (a *throttlingCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := strings.TrimSuffix(r.URL.Path, "/vpcepservice/connections")
	target = target[strings.LastIndex(target, "/")+1:]
	a.mu.Lock()
	a.requests[target]++
	a.mu.Unlock()
	if a.throttles(target) {
		time.Sleep(time.Millisecond)
		if a.retryAfter != "" {
			w.Header().Set("Retry-After", a.retryAfter)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error_code":"APIGW.0308","error_msg":"throttled"}`)
		return
	}
	time.Sleep(a.latency)
	body := listBody
	switch target {
	case "clusters":
		body = `{"clusters":[],"totalSize":0}`
	case "projects":
		body = `{"projects":[{"id":"p1","name":"cn-north-4"}]}`
	}
	_, _ = io.WriteString(w, body)
}

// requested returns the number of requests for a target, or for all if it is empty.
func (a *throttlingCloud) requested(target string) int {
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

// newThrottlingCloud returns a cloud and a client of it that does not retry.
func newThrottlingCloud(t *testing.T, retryAfter string, throttles func(target string) bool, changes ...func(*cloud.Options)) (*throttlingCloud, *client) {
	t.Helper()
	a := &throttlingCloud{throttles: throttles, retryAfter: retryAfter, requests: make(map[string]int)}
	transport := withTransport(&simtest.RoundTripper{Handler: a})
	return a, newClient(t, "http://cloud.invalid", append([]func(*cloud.Options){transport}, changes...)...)
}

// isTarget matches the cluster of that number.
func isTarget(n int) func(string) bool {
	return func(target string) bool { return target == clusterID(n) }
}

func TestThrottledClusterIsNotRequested(t *testing.T) {
	for header, wait := range map[string]time.Duration{
		"30": 30 * time.Second, "0": time.Second, "1": time.Second, "900": 15 * time.Minute, "86400": 15 * time.Minute,
		"Sat, 01 Jan 2000 00:00:40 GMT": 40 * time.Second, // virtual time begins at midnight
		"Fri, 31 Dec 1999 00:00:00 GMT": time.Second,
		"":                              time.Second, "soon": time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			a, c := newThrottlingCloud(t, header, isTarget(0))
			equal(t, "first", readOne(t, c), cloud.ReasonThrottled)
			time.Sleep(wait - 10*time.Millisecond)
			equal(t, "before the end of "+header, readOne(t, c), cloud.ReasonThrottled)
			equal(t, "requests", a.requested(""), 1)
			time.Sleep(10 * time.Millisecond)
			equal(t, "after it", readOne(t, c), cloud.ReasonThrottled)
			equal(t, "requests", a.requested(""), 2)
		})
	}
}

func TestThrottleBackOffDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		a, c := newThrottlingCloud(t, "", func(string) bool { return throttled })
		for i, seconds := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			readOne(t, c)
			equal(t, "requests", a.requested(""), i+1)
			time.Sleep(seconds*time.Second - time.Millisecond)
			readOne(t, c)
			equal(t, "requests while backing off", a.requested(""), i+1)
			time.Sleep(time.Millisecond)
		}
		throttled = false
		equal(t, "then", readOne(t, c), "")
		throttled = true
		readOne(t, c)
		time.Sleep(time.Second)
		throttled = false
		equal(t, "after a second again", readOne(t, c), "")
	})
}

func TestThrottledClusterAmongHealthyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := newThrottlingCloud(t, "60", isTarget(7))
		for range 10 {
			equal(t, "ended", readAll(t.Context(), c, 60, 9*time.Second), outcomes{"": 59, cloud.ReasonThrottled: 1})
			time.Sleep(15 * time.Second)
		}
		equal(t, "requests for the throttled one", a.requested("cluster-7"), 3)
	})
	t.Run("that is retried many times", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, c := newThrottlingCloud(t, "", isTarget(0), withRetry(cloud.DefaultRetry()))
			for range 5 {
				equal(t, "ended", readAll(t.Context(), c, 5, 9*time.Second), outcomes{"": 4, cloud.ReasonThrottled: 1})
				time.Sleep(time.Second)
			}
		})
	})
}

// TestThrottledClustersAmongHealthyOnes: several clusters that are throttled at once do not stop those whose answers take
// longer than a 429.
func TestThrottledClustersAmongHealthyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := newThrottlingCloud(t, "60", func(target string) bool {
			return target == "cluster-1" || target == "cluster-2" || target == "cluster-3" || target == "cluster-4"
		})
		a.latency = 200 * time.Millisecond
		for range 10 {
			equal(t, "ended", readAll(t.Context(), c, 60, 9*time.Second), outcomes{"": 56, cloud.ReasonThrottled: 4})
			time.Sleep(15 * time.Second)
		}
	})
}

func TestThrottledProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		a, c := newThrottlingCloud(t, "30", func(string) bool { return throttled })
		for range 2 {
			equal(t, "ended", readAll(t.Context(), c, 100, 9*time.Second), outcomes{cloud.ReasonThrottled: 100})
			time.Sleep(10 * time.Second)
		}
		requests := a.requested("")
		if requests > 20 {
			t.Errorf("%d requests, want no more than were in flight", requests)
		}
		if err := c.listClusters(t.Context()); cloud.ReasonOf(err) != cloud.ReasonThrottled || a.requested("") != requests {
			t.Errorf("the cluster list was requested: %v", err)
		}
		throttled = false
		time.Sleep(11 * time.Second)
		equal(t, "after the pause", readAll(t.Context(), c, 100, 9*time.Second), outcomes{"": 100})
	})
}

func TestThrottledDiscoveryAndLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := ""
		a, c := newThrottlingCloud(t, "300", func(target string) bool { return target == throttled })
		discover := css.NewClient(c.Client, c.endpoint, iam.NewProject(c.Client, c.endpoint, simtest.Region, ""),
			func(map[string]int) {})
		for _, target := range []string{"projects", "clusters"} {
			throttled = target
			before := a.requested(target)
			for range 5 {
				if _, err := discover.Clusters(t.Context()); cloud.ReasonOf(err) != cloud.ReasonThrottled {
					t.Errorf("%s: got %v, want throttled", target, err)
				}
				time.Sleep(59 * time.Second)
			}
			equal(t, "requests for "+target, a.requested(target)-before, 1)
			throttled = ""
			time.Sleep(5 * time.Second)
			if _, err := discover.Clusters(t.Context()); err != nil {
				t.Errorf("%s after the back-off: %v", target, err)
			}
		}
	})
}

// TestBackOffKeepsTheCode checks that a failure without a request has the code of the 429, for a cluster and a project.
func TestBackOffKeepsTheCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := newThrottlingCloud(t, "300", func(string) bool { return true })
		equal(t, "first", readOne(t, c), cloud.ReasonThrottled)
		_, cluster := c.read(t.Context(), clusterID(0))
		equal(t, "code of the cluster", cloud.CodeOf(cluster), "APIGW.0308")
		equal(t, "requests", a.requested(""), 1)

		readAll(t.Context(), c, 100, 9*time.Second)
		requests := a.requested("")
		equal(t, "code of the project", cloud.CodeOf(c.listClusters(t.Context())), "APIGW.0308")
		equal(t, "further requests", a.requested("")-requests, 0)
	})
}

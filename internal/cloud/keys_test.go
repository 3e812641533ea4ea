// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// The protection of keys as cloud.Keys documents it.
const (
	trustFor      = 3 * time.Second
	tryPatience   = time.Second
	maxRejections = 3
)

// gate is an API in virtual time. It records when requests arrived and how many were in flight at once.
type gate struct {
	simtest.RoundTripper
	answer func(r *http.Request, n int) (status int, after time.Duration)
	start  time.Time

	mu       sync.Mutex
	arrived  []time.Duration // since start
	inFlight int
	peak     int
}

// newGate returns a gate. After a negative time it answers when the request is cancelled.
func newGate(answer func(r *http.Request, n int) (status int, after time.Duration)) *gate {
	g := &gate{answer: answer, start: time.Now()}
	g.Handler = http.HandlerFunc(g.handle)
	return g
}

func (g *gate) handle(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.arrived = append(g.arrived, time.Since(g.start))
	n := len(g.arrived)
	g.inFlight++
	g.peak = max(g.peak, g.inFlight)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.inFlight--
		g.mu.Unlock()
	}()
	status, after := g.answer(r, n)
	var done <-chan time.Time
	if after >= 0 {
		done = time.After(after)
	}
	select {
	case <-done:
	case <-r.Context().Done():
		status = 0
	}
	switch status {
	case 0:
		panic(http.ErrAbortHandler)
	case 200:
		fmt.Fprint(w, listBody)
	case 400:
		w.WriteHeader(400)
		fmt.Fprint(w, `{"errCode":"CSS.0045","externalMessage":"token incorrect"}`)
	default:
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error_code":"APIGW.0301","request_id":"r-%d"}`, n)
	}
}

func (g *gate) requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.arrived)
}

// resetPeak forgets the peak so far.
func (g *gate) resetPeak() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peak = 0
}

func always(status int, after time.Duration) func(*http.Request, int) (int, time.Duration) {
	return func(*http.Request, int) (int, time.Duration) { return status, after }
}

func gateClient(t *testing.T, g *gate, changes ...func(*cloud.Options)) *client {
	t.Helper()
	return newClient(t, "http://cloud.invalid", append([]func(*cloud.Options){withTransport(g)}, changes...)...)
}

// isCluster reports whether a request reads the cluster of that number.
func isCluster(r *http.Request, n int) bool {
	return strings.Contains(r.URL.Path, "/"+clusterID(n)+"/")
}

func TestKeysBurstStartsWithASingleTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, 100*time.Millisecond))
		c := gateClient(t, g)
		equal(t, "ended", readAll(t.Context(), c, 16, 10*time.Second), outcomes{"": 16})
		equal(t, "took", time.Since(g.start), 200*time.Millisecond)
		equal(t, "second request", g.arrived[1], 100*time.Millisecond)
		equal(t, "at once", g.peak, 15)

		time.Sleep(trustFor - time.Second) // the last acceptance still counts
		g.resetPeak()
		readAll(t.Context(), c, 16, 10*time.Second)
		equal(t, "at once within the trust", g.peak, 16)

		time.Sleep(trustFor)
		g.resetPeak()
		readAll(t.Context(), c, 16, 10*time.Second)
		equal(t, "at once after it", g.peak, 15)
	})
}

func TestKeysPauseGrowsToAQuarterOfAnHour(t *testing.T) {
	for _, status := range []int{401, 400} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(always(status, time.Millisecond))
			c := gateClient(t, g)
			for range maxRejections {
				equal(t, "tried", readOne(t, c), cloud.ReasonAuth)
			}
			for i, minutes := range []time.Duration{1, 2, 4, 8, 15, 15, 15} {
				equal(t, "requests", g.requests(), maxRejections+i)
				time.Sleep(minutes*time.Minute - time.Second)
				equal(t, "paused", readOne(t, c), cloud.ReasonAuth)
				equal(t, "requests during the pause", g.requests(), maxRejections+i)
				time.Sleep(time.Second)
				equal(t, "after the pause", readOne(t, c), cloud.ReasonAuth)
			}
		})
	}
}

func TestKeysAcceptanceResetsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 401
		g := newGate(func(*http.Request, int) (int, time.Duration) { return status, time.Millisecond })
		c := gateClient(t, g)
		for range maxRejections {
			readOne(t, c)
		}
		time.Sleep(time.Minute)
		readOne(t, c) // paused for two minutes now
		time.Sleep(2 * time.Minute)
		status = 200
		equal(t, "accepted", readOne(t, c), "")
		status = 401
		before := g.requests()
		for range 2 * maxRejections {
			equal(t, "rejected", readOne(t, c), cloud.ReasonAuth)
		}
		equal(t, "requests until the next pause", g.requests()-before, maxRejections)
		time.Sleep(time.Minute)
		status = 200
		equal(t, "after a minute", readOne(t, c), "")
	})
}

// changing is a source whose credentials change.
type changing struct {
	mu  sync.Mutex
	now cloud.Credentials
}

func (c *changing) Credentials(context.Context) (cloud.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, nil
}

func (c *changing) Invalidate(rejected cloud.Credentials, _ bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now != rejected
}

func (c *changing) set(to cloud.Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

// TestKeysOtherCredentialsAreTriedAtOnce changes each part of paused credentials.
func TestKeysOtherCredentialsAreTriedAtOnce(t *testing.T) {
	bad := cloud.Credentials{AccessKey: testAK, SecretKey: "wrong", SecurityToken: "t"}
	for name, good := range map[string]cloud.Credentials{
		"secret": {AccessKey: testAK, SecretKey: testSK, SecurityToken: "t"},
		"key":    {AccessKey: "other", SecretKey: "wrong", SecurityToken: "t"},
		"token":  {AccessKey: testAK, SecretKey: "wrong", SecurityToken: "u"},
		"kind":   {AuthToken: testAuth},
		"moved":  {AccessKey: testAK, SecretKey: "wrongt"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &changing{now: bad}
				g := newGate(func(*http.Request, int) (int, time.Duration) {
					if now, _ := source.Credentials(t.Context()); now == bad {
						return 401, time.Millisecond
					}
					return 200, time.Millisecond
				})
				c := gateClient(t, g, withCredentials(source))
				for range 2 * maxRejections {
					equal(t, "the first", readOne(t, c), cloud.ReasonAuth)
				}
				source.set(good)
				equal(t, "the new", readOne(t, c), "")
				source.set(bad)
				equal(t, "the old again", readOne(t, c), cloud.ReasonAuth)
				equal(t, "requests", g.requests(), maxRejections+1)
			})
		})
	}
}

// TestKeysChangeWhileWaiting: a request whose credentials are paused while it waits is sent with those that replace them.
func TestKeysChangeWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(r *http.Request, _ int) (int, time.Duration) {
			if r.Header.Get("X-Auth-Token") == "second" {
				return 200, 0
			}
			return 401, 500 * time.Millisecond
		})
		source := &changing{}
		source.set(cloud.Credentials{AuthToken: "first"})
		c := gateClient(t, g, withCredentials(source))
		ended := make(chan outcomes)
		go func() { ended <- readAll(t.Context(), c, 10, 10*time.Second) }()
		synctest.Wait()
		source.set(cloud.Credentials{AuthToken: "second"})
		equal(t, "ten calls", <-ended, outcomes{"": 10})
		equal(t, "requests", g.requests(), maxRejections+10)
	})
}

func TestKeysOneRejectedClusterAmongHealthyOnes(t *testing.T) {
	for _, status := range []int{401, 400} {
		for _, slow := range []time.Duration{0, 10 * time.Millisecond, 900 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(func(r *http.Request, n int) (int, time.Duration) {
					if isCluster(r, 3) {
						return status, slow
					}
					return 200, time.Duration(n%7) * 5 * time.Millisecond
				})
				c := gateClient(t, g)
				for range 10 {
					equal(t, "ended", readAll(t.Context(), c, 60, 9500*time.Millisecond), outcomes{"": 59, cloud.ReasonAuth: 1})
					time.Sleep(15 * time.Second)
				}
			})
		}
	}
}

// TestKeysWrongKey: the cloud locks a key after five rejections in a row, so a wrong one is rejected three times.
func TestKeysWrongKey(t *testing.T) {
	for _, connect := range []time.Duration{0, 2 * time.Second} {
		for _, slow := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond} {
			for _, interval := range []time.Duration{0, 5 * time.Second, 15 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(always(401, slow))
					g.Connect = connect
					c := gateClient(t, g)
					for range 3 {
						next := time.Now().Add(interval)
						ended := readAll(t.Context(), c, 20, 9500*time.Millisecond)
						equal(t, "ended", ended, outcomes{cloud.ReasonAuth: 20})
						time.Sleep(time.Until(next))
					}
					equal(t, "requests", g.requests(), maxRejections)
				})
			}
		}
	}
}

func TestKeysRevokedBetweenTwoScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		g := newGate(func(*http.Request, int) (int, time.Duration) { return status, 200 * time.Millisecond })
		c := gateClient(t, g)
		equal(t, "ended", readAll(t.Context(), c, 60, 9500*time.Millisecond), outcomes{"": 60})
		time.Sleep(15 * time.Second)
		status = 401
		for range 3 {
			equal(t, "ended", readAll(t.Context(), c, 60, 9500*time.Millisecond), outcomes{cloud.ReasonAuth: 60})
			time.Sleep(15 * time.Second)
		}
		equal(t, "requests", g.requests(), 60+maxRejections)
	})
}

// TestKeysRevokedInABurst: requests in flight are rejected; after the first rejection, requests are single tries.
func TestKeysRevokedInABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
			if n <= 8 {
				return 200, 200 * time.Millisecond // sent before it was revoked, answered after the first rejection
			}
			return 401, 10 * time.Millisecond
		})
		c := gateClient(t, g)
		equal(t, "the first", readOne(t, c), "")
		ended := readAll(t.Context(), c, 16, 9500*time.Millisecond)
		equal(t, "ended", ended, outcomes{"": 7, cloud.ReasonAuth: 9})
		equal(t, "later", readAll(t.Context(), c, 60, 9500*time.Millisecond), outcomes{cloud.ReasonAuth: 60})
		equal(t, "requests", g.requests(), 17)
	})
}

func TestKeysHangingTryIsNotWaitedFor(t *testing.T) {
	for _, hanging := range []int{1, 5, 40} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
				if n <= hanging {
					return 200, -1
				}
				return 200, 10 * time.Millisecond
			})
			c := gateClient(t, g)
			ended := readAll(t.Context(), c, 50, 5*time.Second)
			equal(t, "ended", ended, outcomes{"": 50 - hanging, cloud.ReasonTimeout: hanging})
			equal(t, "second request", g.arrived[1], tryPatience)
		})
	}
	t.Run("after a rejection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
				switch n {
				case 1:
					return 401, time.Millisecond
				case 2:
					return 200, -1
				}
				return 200, 10 * time.Millisecond
			})
			ended := readAll(t.Context(), gateClient(t, g), 50, 5*time.Second)
			equal(t, "ended", ended, outcomes{"": 48, cloud.ReasonTimeout: 1, cloud.ReasonAuth: 1})
		})
	})
	t.Run("but a login is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			keys, g := cloud.NewKeys(), newGate(always(401, 3*time.Second))
			var group sync.WaitGroup
			for range 10 {
				c := gateClient(t, g, func(o *cloud.Options) {
					o.Keys = keys
					login := credentials.Login{Endpoint: "http://iam.invalid", User: "u", Domain: "d", ProjectID: simtest.ProjectID}
					o.Credentials = credentials.NewUser(*o, login, fixed(cloud.Credentials{SecretKey: "wrong"}))
				})
				group.Go(func() { equal(t, "ended", readOne(t, c), cloud.ReasonAuth) })
			}
			group.Wait()
			equal(t, "logins", g.requests(), maxRejections)
		})
	})
}

// TestKeysTryWithoutVerdict: after a response that may precede the check of the key, the next request is a try. After a
// second, all are sent.
func TestKeysTryWithoutVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
			if n <= 3 {
				return []int{0, 503, 429}[n-1], 10 * time.Millisecond
			}
			return 200, 10 * time.Millisecond
		})
		ended := readAll(t.Context(), gateClient(t, g), 10, 5*time.Second)
		equal(t, "ended", ended, outcomes{"": 7, cloud.ReasonTransport: 1, cloud.ReasonServer: 1, cloud.ReasonThrottled: 1})
		equal(t, "took", time.Since(g.start), 50*time.Millisecond)
	})
	t.Run("for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(always(503, 300*time.Millisecond))
			ended := readAll(t.Context(), gateClient(t, g), 60, 5*time.Second)
			equal(t, "ended", ended, outcomes{cloud.ReasonServer: 60})
		})
	})
	t.Run("without a connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			failing := &simtest.RoundTripper{ConnectError: errors.New("connection refused"), Connect: 4 * time.Second}
			c := newClient(t, "http://cloud.invalid", withTransport(failing))
			equal(t, "ended", readAll(t.Context(), c, 60, 9500*time.Millisecond), outcomes{cloud.ReasonTransport: 60})
		})
	})
}

// sharing returns clients of several projects with one key.
func sharing(t *testing.T, g *gate, projects ...string) []*client {
	t.Helper()
	keys := cloud.NewKeys()
	var clients []*client
	for _, id := range projects {
		clients = append(clients, gateClient(t, g, func(o *cloud.Options) { o.Scope, o.Keys = id, keys }))
		clients[len(clients)-1].project = id
	}
	return clients
}

// together reads n clusters of each client at once, and adds up the outcomes of each.
func together(ctx context.Context, clients []*client, n int) []outcomes {
	ended := make([]outcomes, len(clients))
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() { ended[i] = readAll(ctx, c, n, 9500*time.Millisecond) })
	}
	group.Wait()
	return ended
}

func TestKeysSharedByProjects(t *testing.T) {
	for name, first := range map[string]int{"wrong from the start": 401, "revoked": 200} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status := first
				g := newGate(func(*http.Request, int) (int, time.Duration) { return status, 10 * time.Millisecond })
				clients := sharing(t, g, "a", "b", "c", "d", "e")
				together(t.Context(), clients, 10)
				before := g.requests()
				if first == 401 {
					before = 0
				}
				status = 401
				for range 3 {
					time.Sleep(15 * time.Second)
					for _, ended := range together(t.Context(), clients, 10) {
						equal(t, "ended", ended, outcomes{cloud.ReasonAuth: 10})
					}
				}
				equal(t, "rejections", g.requests()-before, maxRejections)
			})
		})
	}
}

// TestKeysOneRejectedProject: a project that is rejected alone is paused alone, after three rejections in all.
func TestKeysOneRejectedProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rejections := 0
		var mu sync.Mutex
		g := newGate(func(r *http.Request, _ int) (int, time.Duration) {
			if r.Header.Get("X-Project-Id") != "a" {
				return 200, 10 * time.Millisecond
			}
			mu.Lock()
			defer mu.Unlock()
			rejections++
			return 401, 10 * time.Millisecond
		})
		clients := sharing(t, g, "a", "b", "c")
		for range 4 {
			ended := together(t.Context(), clients, 20)
			equal(t, "a", ended[0], outcomes{cloud.ReasonAuth: 20})
			for _, healthy := range ended[1:] {
				equal(t, "healthy", healthy, outcomes{"": 20})
			}
			time.Sleep(10 * time.Second)
		}
		equal(t, "rejections", rejections, maxRejections)
	})
}

// TestKeysWaitEnds: a request waits for a single try no longer than its own deadline.
func TestKeysWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, 900*time.Millisecond))
		c := gateClient(t, g)
		go func() { _, _ = c.read(t.Context(), "slow") }()
		synctest.Wait()
		equal(t, "waiting", readAll(t.Context(), c, 5, 300*time.Millisecond), outcomes{cloud.ReasonTimeout: 5})
		equal(t, "after", time.Since(g.start), 300*time.Millisecond)
		equal(t, "requests", g.requests(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		equal(t, "cancelled", readAll(ctx, c, 1, time.Minute), outcomes{cloud.ReasonTimeout: 1})
		time.Sleep(time.Second)
		equal(t, "afterwards", readOne(t, c), "")
	})
}

// TestKeysForgetUnusedOnes: credentials that change every hour do not pile up. A forgotten key is paused after three
// rejections again, not after one.
func TestKeysForgetUnusedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := cloud.Credentials{AccessKey: testAK, SecretKey: "first"}
		source := &changing{}
		g := newGate(func(*http.Request, int) (int, time.Duration) {
			if now, _ := source.Credentials(t.Context()); now == first {
				return 401, time.Millisecond
			}
			return 200, time.Millisecond
		})
		c := gateClient(t, g, withCredentials(source))
		rejections := func() int {
			before := g.requests()
			source.set(first)
			for range 2 * maxRejections {
				equal(t, "the first key", readOne(t, c), cloud.ReasonAuth)
			}
			return g.requests() - before
		}
		equal(t, "rejections at first", rejections(), maxRejections)
		for hour := range 4 {
			source.set(cloud.Credentials{AccessKey: testAK, SecretKey: fmt.Sprint(hour)})
			equal(t, "another key", readOne(t, c), "")
			time.Sleep(time.Hour)
		}
		equal(t, "rejections after four hours", rejections(), maxRejections)
	})
}

// TestKeysEndToEnd reads 20 clusters with a wrong key, five rounds in parallel, over a network.
func TestKeysEndToEnd(t *testing.T) {
	c := simtest.New(t, simulator.Options{})
	wrong := newClient(t, c.URL, withRetry(quickRetry()), withCredentials(keys(simtest.AccessKey, "wrong", "")))
	for range 5 {
		equal(t, "ended", readAll(t.Context(), wrong, 20, 5*time.Second), outcomes{cloud.ReasonAuth: 20})
	}
	equal(t, "requests", c.Reads(""), maxRejections)
}

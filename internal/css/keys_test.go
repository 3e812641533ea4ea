// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gate is an API without a network, on virtual time. It records when requests came and how many were there at once.
type gate struct {
	answer  func(r *http.Request, n int) (status int, after time.Duration)
	connect time.Duration // before a request is sent
	began   time.Time

	mu     sync.Mutex
	at     []time.Duration
	inside int
	most   int
}

// newGate returns a gate; after a negative time it answers when the request is cancelled.
func newGate(answer func(r *http.Request, n int) (status int, after time.Duration)) *gate {
	return &gate{answer: answer, began: time.Now()}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(g.connect)
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	g.mu.Lock()
	g.at = append(g.at, time.Since(g.began))
	n := len(g.at)
	g.inside++
	g.most = max(g.most, g.inside)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.inside--
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
		return nil, r.Context().Err()
	}
	switch status {
	case 0:
		return nil, errors.New("connection reset")
	case 200:
		return response(r, 200, seedBody), nil
	case 400:
		return response(r, 400, `{"errCode":"CSS.0045","externalMessage":"token incorrect"}`), nil
	}
	return response(r, status, `{"error_code":"APIGW.0301","request_id":"r-`+fmt.Sprint(n)+`"}`), nil
}

func (g *gate) requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.at)
}

func always(status int, after time.Duration) func(*http.Request, int) (int, time.Duration) {
	return func(*http.Request, int) (int, time.Duration) { return status, after }
}

func gateClient(t *testing.T, g *gate, change ...func(*Options)) *Client {
	t.Helper()
	return newTestClient(t, "http://css.invalid", append([]func(*Options){withTransport(g)}, change...)...)
}

// round reads n clusters in parallel within the deadline, and counts the outcomes.
func round(ctx context.Context, c *Client, n int, deadline time.Duration) map[Reason]int {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	ended := make(map[Reason]int)
	for i := range n {
		group.Go(func() {
			_, err := c.Connections(ctx, fmt.Sprint("cluster-", i), nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ended["ok"]++
			} else {
				ended[ReasonOf(err)]++
			}
		})
	}
	group.Wait()
	return ended
}

func one(t *testing.T, c *Client) Reason {
	t.Helper()
	for reason := range round(t.Context(), c, 1, 10*time.Second) {
		return reason
	}
	return ""
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// ofCluster reports whether a request reads the cluster of that number.
func ofCluster(r *http.Request, n int) bool {
	return strings.Contains(r.URL.Path, fmt.Sprintf("/cluster-%d/", n))
}

func TestKeysBurstStartsWithASingleTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, 100*time.Millisecond))
		c := gateClient(t, g)
		expect(t, "ended", round(t.Context(), c, 16, 10*time.Second), map[Reason]int{"ok": 16})
		expect(t, "took", time.Since(g.began), 200*time.Millisecond)
		expect(t, "second request", g.at[1], 100*time.Millisecond)
		expect(t, "at once", g.most, 15)

		time.Sleep(trustFor - time.Second) // the last acceptance still counts
		g.most = 0
		round(t.Context(), c, 16, 10*time.Second)
		expect(t, "at once within the trust", g.most, 16)

		time.Sleep(trustFor)
		g.most = 0
		round(t.Context(), c, 16, 10*time.Second)
		expect(t, "at once after it", g.most, 15)
	})
}

func TestKeysPauseGrowsToAQuarterOfAnHour(t *testing.T) {
	for _, status := range []int{401, 400} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(always(status, time.Millisecond))
			c := gateClient(t, g)
			for range maxRefusals {
				expect(t, "tried", one(t, c), ReasonAuth)
			}
			for i, minutes := range []time.Duration{1, 2, 4, 8, 15, 15, 15} {
				expect(t, "requests", g.requests(), maxRefusals+i)
				time.Sleep(minutes*time.Minute - time.Second)
				expect(t, "paused", one(t, c), ReasonAuth)
				expect(t, "requests during the pause", g.requests(), maxRefusals+i)
				time.Sleep(time.Second)
				expect(t, "after the pause", one(t, c), ReasonAuth)
			}
		})
	}
}

func TestKeysAcceptanceResetsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 401
		g := newGate(func(*http.Request, int) (int, time.Duration) { return status, time.Millisecond })
		c := gateClient(t, g)
		for range maxRefusals {
			one(t, c)
		}
		time.Sleep(time.Minute)
		one(t, c) // paused for two minutes now
		time.Sleep(2 * time.Minute)
		status = 200
		expect(t, "accepted", one(t, c), "ok")
		status = 401
		before := g.requests()
		for range 2 * maxRefusals {
			expect(t, "refused", one(t, c), ReasonAuth)
		}
		expect(t, "requests until the next pause", g.requests()-before, maxRefusals)
		time.Sleep(time.Minute)
		status = 200
		expect(t, "after a minute", one(t, c), "ok")
	})
}

// changing is a source whose credentials change.
type changing struct {
	mu  sync.Mutex
	now Credentials
}

func (c *changing) Credentials(context.Context) (Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, nil
}

func (c *changing) Invalidate(rejected Credentials, _ bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now != rejected
}

func (c *changing) set(to Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

// TestKeysOtherCredentialsAreTriedAtOnce changes each part of paused credentials.
func TestKeysOtherCredentialsAreTriedAtOnce(t *testing.T) {
	bad := Credentials{AccessKey: testAK, SecretKey: "wrong", SecurityToken: "t"}
	for name, good := range map[string]Credentials{
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
				for range 2 * maxRefusals {
					expect(t, "the first", one(t, c), ReasonAuth)
				}
				source.set(good)
				expect(t, "the new", one(t, c), "ok")
				source.set(bad)
				expect(t, "the old again", one(t, c), ReasonAuth)
				expect(t, "requests", g.requests(), maxRefusals+1)
			})
		})
	}
}

// TestKeysChangeWhileWaiting: a request that waits while its credentials are paused is sent with those that replaced them.
func TestKeysChangeWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(r *http.Request, _ int) (int, time.Duration) {
			if r.Header.Get("X-Auth-Token") == "second" {
				return 200, 0
			}
			return 401, 500 * time.Millisecond
		})
		source := &changing{}
		source.set(Credentials{AuthToken: "first"})
		c := gateClient(t, g, withCredentials(source))
		ended := make(chan map[Reason]int)
		go func() { ended <- round(t.Context(), c, 10, 10*time.Second) }()
		synctest.Wait()
		source.set(Credentials{AuthToken: "second"})
		expect(t, "ten calls", <-ended, map[Reason]int{"ok": 10})
		expect(t, "requests", g.requests(), maxRefusals+10)
	})
}

func TestKeysOneRefusedClusterAmongHealthyOnes(t *testing.T) {
	for _, status := range []int{401, 400} {
		for _, slow := range []time.Duration{0, 10 * time.Millisecond, 900 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(func(r *http.Request, n int) (int, time.Duration) {
					if ofCluster(r, 3) {
						return status, slow
					}
					return 200, time.Duration(n%7) * 5 * time.Millisecond
				})
				c := gateClient(t, g)
				for range 10 {
					expect(t, "ended", round(t.Context(), c, 60, 9500*time.Millisecond), map[Reason]int{"ok": 59, ReasonAuth: 1})
					time.Sleep(15 * time.Second)
				}
			})
		}
	}
}

// TestKeysWrongKey: the cloud locks a key after five refusals in a row, so a wrong one is refused three times.
func TestKeysWrongKey(t *testing.T) {
	for _, connect := range []time.Duration{0, 2 * time.Second} {
		for _, slow := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond} {
			for _, interval := range []time.Duration{0, 5 * time.Second, 15 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(always(401, slow))
					g.connect = connect
					c := gateClient(t, g)
					for range 3 {
						next := time.Now().Add(interval)
						ended := round(t.Context(), c, 20, 9500*time.Millisecond)
						expect(t, "ended", ended, map[Reason]int{ReasonAuth: 20})
						time.Sleep(time.Until(next))
					}
					expect(t, "requests", g.requests(), maxRefusals)
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
		expect(t, "ended", round(t.Context(), c, 60, 9500*time.Millisecond), map[Reason]int{"ok": 60})
		time.Sleep(15 * time.Second)
		status = 401
		for range 3 {
			expect(t, "ended", round(t.Context(), c, 60, 9500*time.Millisecond), map[Reason]int{ReasonAuth: 60})
			time.Sleep(15 * time.Second)
		}
		expect(t, "requests", g.requests(), 60+maxRefusals)
	})
}

// TestKeysRevokedInABurst: what was in flight is refused; after the first refusal there are single tries at most.
func TestKeysRevokedInABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
			if n <= 8 {
				return 200, 200 * time.Millisecond // sent before it was revoked, answered after the first refusal
			}
			return 401, 10 * time.Millisecond
		})
		c := gateClient(t, g)
		expect(t, "the first", one(t, c), "ok")
		ended := round(t.Context(), c, 16, 9500*time.Millisecond)
		expect(t, "ended", ended, map[Reason]int{"ok": 7, ReasonAuth: 9})
		expect(t, "later", round(t.Context(), c, 60, 9500*time.Millisecond), map[Reason]int{ReasonAuth: 60})
		expect(t, "requests", g.requests(), 17)
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
			ended := round(t.Context(), c, 50, 5*time.Second)
			expect(t, "ended", ended, map[Reason]int{"ok": 50 - hanging, ReasonTimeout: hanging})
			expect(t, "second request", g.at[1], tryPatience)
		})
	}
	t.Run("after a refusal", func(t *testing.T) {
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
			ended := round(t.Context(), gateClient(t, g), 50, 5*time.Second)
			expect(t, "ended", ended, map[Reason]int{"ok": 48, ReasonTimeout: 1, ReasonAuth: 1})
		})
	})
	t.Run("but a login is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			keys, g := NewKeys(), newGate(always(401, 3*time.Second))
			var group sync.WaitGroup
			for range 10 {
				c := gateClient(t, g, func(o *Options) {
					o.Keys, o.IAMEndpoint = keys, "http://iam.invalid"
					o.Credentials = NewIAMToken(*o, User{Name: "u", Domain: "d"}, NewFiles(Credentials{SecretKey: "wrong"}, Credentials{}))
				})
				group.Go(func() { expect(t, "ended", one(t, c), ReasonAuth) })
			}
			group.Wait()
			expect(t, "logins", g.requests(), maxRefusals)
		})
	})
}

// TestKeysTryWithoutVerdict: an answer that may have been given before the key was checked lets the next request try, and all
// after a second.
func TestKeysTryWithoutVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
			if n <= 3 {
				return []int{0, 503, 429}[n-1], 10 * time.Millisecond
			}
			return 200, 10 * time.Millisecond
		})
		ended := round(t.Context(), gateClient(t, g), 10, 5*time.Second)
		expect(t, "ended", ended, map[Reason]int{"ok": 7, ReasonTransport: 1, ReasonServer: 1, ReasonThrottled: 1})
		expect(t, "took", time.Since(g.began), 50*time.Millisecond)
	})
	t.Run("for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(always(503, 300*time.Millisecond))
			ended := round(t.Context(), gateClient(t, g), 60, 5*time.Second)
			expect(t, "ended", ended, map[Reason]int{ReasonServer: 60})
		})
	})
	t.Run("without a connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			failing := roundTripper(func(*http.Request) (*http.Response, error) {
				time.Sleep(4 * time.Second)
				return nil, errors.New("connection refused")
			})
			c := newTestClient(t, "http://css.invalid", withTransport(failing))
			expect(t, "ended", round(t.Context(), c, 60, 9500*time.Millisecond), map[Reason]int{ReasonTransport: 60})
		})
	})
}

// sharing returns clients of several projects with one key.
func sharing(t *testing.T, g *gate, projects ...string) []*Client {
	t.Helper()
	keys := NewKeys()
	var clients []*Client
	for _, id := range projects {
		clients = append(clients, gateClient(t, g, func(o *Options) { o.ProjectID, o.Keys = id, keys }))
	}
	return clients
}

// together reads n clusters of each client at once, and adds up the outcomes of each.
func together(ctx context.Context, clients []*Client, n int) []map[Reason]int {
	ended := make([]map[Reason]int, len(clients))
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() { ended[i] = round(ctx, c, n, 9500*time.Millisecond) })
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
						expect(t, "ended", ended, map[Reason]int{ReasonAuth: 10})
					}
				}
				expect(t, "refusals", g.requests()-before, maxRefusals)
			})
		})
	}
}

// TestKeysOneRefusedProject: a project that is refused alone is paused alone, after three refusals in all.
func TestKeysOneRefusedProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusals := 0
		var mu sync.Mutex
		g := newGate(func(r *http.Request, _ int) (int, time.Duration) {
			if r.Header.Get("X-Project-Id") != "a" {
				return 200, 10 * time.Millisecond
			}
			mu.Lock()
			defer mu.Unlock()
			refusals++
			return 401, 10 * time.Millisecond
		})
		clients := sharing(t, g, "a", "b", "c")
		for range 4 {
			ended := together(t.Context(), clients, 20)
			expect(t, "a", ended[0], map[Reason]int{ReasonAuth: 20})
			for _, healthy := range ended[1:] {
				expect(t, "healthy", healthy, map[Reason]int{"ok": 20})
			}
			time.Sleep(10 * time.Second)
		}
		expect(t, "refusals", refusals, maxRefusals)
	})
}

// TestKeysWaitEnds: a request waits for another's try no longer than its own deadline.
func TestKeysWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, 900*time.Millisecond))
		c := gateClient(t, g)
		go func() { _, _ = c.Connections(t.Context(), "slow", nil) }()
		synctest.Wait()
		expect(t, "waiting", round(t.Context(), c, 5, 300*time.Millisecond), map[Reason]int{ReasonTimeout: 5})
		expect(t, "after", time.Since(g.began), 300*time.Millisecond)
		expect(t, "requests", g.requests(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		expect(t, "cancelled", round(ctx, c, 1, time.Minute), map[Reason]int{ReasonTimeout: 1})
		time.Sleep(time.Second)
		expect(t, "afterwards", one(t, c), "ok")
	})
}

// TestKeysForget: credentials that change every hour do not pile up.
func TestKeysForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &changing{}
		keys := NewKeys()
		c := gateClient(t, newGate(always(200, time.Millisecond)), withCredentials(source), func(o *Options) { o.Keys = keys })
		for i := range 200 {
			source.set(Credentials{AccessKey: testAK, SecretKey: fmt.Sprint(i)})
			expect(t, "ended", one(t, c), "ok")
			time.Sleep(time.Hour)
		}
		if n := len(keys.keys); n > 4 {
			t.Errorf("%d credentials are remembered", n)
		}
	})
}

// TestKeysEndToEnd reads 20 clusters with a wrong key, five rounds in parallel, over a network.
func TestKeysEndToEnd(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if err := verify(r, nil, testAK, "the right one", "", time.Now()); err == nil {
			t.Error("the wrong key signs right")
		}
		w.WriteHeader(401)
		fmt.Fprint(w, `{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail","request_id":"r"}`)
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, withRetry(quick()))
	for range 5 {
		expect(t, "ended", round(t.Context(), c, 20, 5*time.Second), map[Reason]int{ReasonAuth: 20})
	}
	expect(t, "requests", requests.Load(), maxRefusals)
}

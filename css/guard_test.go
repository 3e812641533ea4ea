// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gate is an API without a network, on the clock of a bubble. It notes when requests came and how many were there at
// once.
type gate struct {
	answer func(r *http.Request, n int) (status int, after time.Duration)
	began  time.Time

	mu     sync.Mutex
	at     []time.Duration
	inside int
	most   int
}

// newGate makes a gate; after a negative time it answers when the request is given up.
func newGate(answer func(r *http.Request, n int) (status int, after time.Duration)) *gate {
	return &gate{answer: answer, began: time.Now()}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
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

// round reads n clusters in parallel, each within the deadline, and counts how it ended.
func round(ctx context.Context, c *Client, n int, deadline time.Duration) map[Reason]int {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	ended := make(map[Reason]int)
	for i := range n {
		group.Go(func() {
			_, err := c.Connections(ctx, fmt.Sprint("cluster-", i), nil, nil)
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

// TestGuardOneTrial: until the credentials are accepted, one call is made at a time; then all at once.
func TestGuardOneTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, 100*time.Millisecond))
		c := gateClient(t, g)
		expect(t, "ended", round(t.Context(), c, 16, 10*time.Second), map[Reason]int{"ok": 16})
		expect(t, "took", time.Since(g.began), 200*time.Millisecond)
		expect(t, "second request", g.at[1], 100*time.Millisecond)
		expect(t, "at once", g.most, 15)
	})
}

// TestGuardRests: one refusal after the other makes the rest longer, up to a quarter of an hour.
func TestGuardRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(401, time.Millisecond))
		c := gateClient(t, g)
		requests := 0
		for i, minutes := range []time.Duration{1, 2, 4, 8, 15, 15, 15} {
			expect(t, "tried", one(t, c), ReasonAuth)
			requests++
			expect(t, "requests", g.requests(), requests)
			err := c.Resting(t.Context())
			e := failure(t, err)
			expect(t, "code while it rests", e.Code+" "+e.RequestID, fmt.Sprint("APIGW.0301 r-", i+1))
			expect(t, "status while it rests", e.Status, 0)

			time.Sleep(minutes*time.Minute - time.Second)
			expect(t, "still rests", one(t, c), ReasonAuth)
			expect(t, "requests while it rests", g.requests(), requests)
			time.Sleep(2 * time.Second)
			if err := c.Resting(t.Context()); err != nil {
				t.Errorf("rests after %d minutes: %v", minutes, err)
			}
		}
	})
}

// TestGuardSuccessResets: what was accepted once begins anew.
func TestGuardSuccessResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 401
		g := newGate(func(*http.Request, int) (int, time.Duration) { return status, time.Millisecond })
		c := gateClient(t, g)
		one(t, c)
		time.Sleep(61 * time.Second)
		one(t, c) // rests for two minutes now
		time.Sleep(121 * time.Second)
		status = 200
		expect(t, "accepted", one(t, c), "ok")
		status = 401
		expect(t, "refused", one(t, c), ReasonAuth)
		time.Sleep(61 * time.Second)
		status = 200
		expect(t, "after a minute", one(t, c), "ok")
		status = 401
		expect(t, "refused again", one(t, c), ReasonAuth)
		time.Sleep(61 * time.Second)
		status = 200
		expect(t, "after a minute again", one(t, c), "ok")
		expect(t, "requests", g.requests(), 7)
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

func (c *changing) set(to Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

// TestGuardChange: other credentials are tried at once, whichever part of them is another; the old ones still rest.
func TestGuardChange(t *testing.T) {
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
				expect(t, "the first", one(t, c), ReasonAuth)
				source.set(good)
				if err := c.Resting(t.Context()); err != nil {
					t.Errorf("rests: %v", err)
				}
				expect(t, "the new", one(t, c), "ok")
				source.set(bad)
				expect(t, "the old again", one(t, c), ReasonAuth)
				expect(t, "requests", g.requests(), 2)
			})
		})
	}
}

// TestGuardSecondOpinion: one refusal among many calls may be about one cluster alone.
func TestGuardSecondOpinion(t *testing.T) {
	t.Run("accepted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
				if n == 1 {
					return 401, time.Millisecond
				}
				return 200, time.Millisecond
			})
			expect(t, "ended", round(t.Context(), gateClient(t, g), 10, time.Minute), map[Reason]int{"ok": 9, ReasonAuth: 1})
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(always(401, time.Millisecond))
			expect(t, "ended", round(t.Context(), gateClient(t, g), 10, time.Minute), map[Reason]int{ReasonAuth: 10})
			expect(t, "requests", g.requests(), 2)
		})
	})
	t.Run("one cluster that is always refused does not stop the others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var slow time.Duration
			g := newGate(func(r *http.Request, n int) (int, time.Duration) {
				if r.URL.Path == "/v1.0/"+testProject+"/clusters/cluster-3/vpcepservice/connections" {
					return 401, slow
				}
				return 200, time.Duration(n%7) * 5 * time.Millisecond
			})
			c := gateClient(t, g)
			for i := range 5 {
				if slow = 10 * time.Millisecond; i > 2 {
					slow = time.Second // the last to be answered
				}
				expect(t, "ended", round(t.Context(), c, 10, time.Minute), map[Reason]int{"ok": 9, ReasonAuth: 1})
				time.Sleep(15 * time.Second)
			}
		})
	})
}

// TestGuardPatience: a trial without an answer makes room for another after a second, and for four in all at most.
func TestGuardPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, -1))
		ended := round(t.Context(), gateClient(t, g), 10, 20*time.Second)
		expect(t, "ended", ended, map[Reason]int{ReasonTimeout: 10})
		if n := len(g.at); n < 2 || n > 4 {
			t.Errorf("requests at %v, want two to four", g.at)
		}
		for i, at := range g.at {
			expect(t, "request", at, time.Duration(i)*time.Second)
		}
		expect(t, "took", time.Since(g.began), 20*time.Second)
	})
	// A few that hang at the start must not take all others with them, scrape after scrape.
	for _, hanging := range []int{2, 3} {
		t.Run(fmt.Sprint(hanging, " hanging clusters cost as many seconds"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
					if n <= hanging {
						return 200, -1
					}
					return 200, 10 * time.Millisecond
				})
				ended := round(t.Context(), gateClient(t, g), 10, 9500*time.Millisecond)
				expect(t, "ended", ended, map[Reason]int{"ok": 10 - hanging, ReasonTimeout: hanging})
			})
		})
	}
	t.Run("one hanging cluster costs a second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(func(_ *http.Request, n int) (int, time.Duration) {
				if n == 1 {
					return 200, -1
				}
				return 200, 10 * time.Millisecond
			})
			c := gateClient(t, g)
			ended := round(t.Context(), c, 10, 5*time.Second)
			expect(t, "ended", ended, map[Reason]int{"ok": 9, ReasonTimeout: 1})
			expect(t, "last request", g.at[len(g.at)-1], 1010*time.Millisecond)
		})
	})
	// The cluster that hangs is the oldest each time, and so the first: it must not hold up the others for ever.
	t.Run("one hanging cluster after a rest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(always(401, time.Millisecond))
			c := gateClient(t, g)
			one(t, c)
			time.Sleep(2 * time.Minute)
			g.answer = func(_ *http.Request, n int) (int, time.Duration) {
				if n == 2 {
					return 200, -1
				}
				return 200, 10 * time.Millisecond
			}
			ended := round(t.Context(), c, 10, 9500*time.Millisecond)
			expect(t, "ended", ended, map[Reason]int{"ok": 9, ReasonTimeout: 1})
		})
	})
	t.Run("a broken trial makes room at once", func(t *testing.T) {
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
	})
}

// TestGuardWrongKey: the cloud locks a key after more than five refusals in a row, so a wrong one makes few of them,
// however slow the refusals are and whatever the interval between the scrapes.
func TestGuardWrongKey(t *testing.T) {
	for _, slow := range []time.Duration{0, 300 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second} {
		for _, interval := range []time.Duration{0, 15 * time.Second, time.Minute} {
			t.Run(fmt.Sprintf("refused in %s, every %s", slow, interval), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(always(401, slow))
					c := gateClient(t, g)
					for range 5 {
						next := time.Now().Add(interval)
						ended := round(t.Context(), c, 20, 9500*time.Millisecond)
						expect(t, "ended", ended, map[Reason]int{ReasonAuth: 20})
						time.Sleep(time.Until(next))
					}
					most := 4
					if slow == 5*time.Second && interval == time.Minute {
						most = 6 // so slow a refusal looks like a cluster that hangs: two after a rest
					}
					if n := g.requests(); n > most {
						t.Errorf("%d requests at %v, want at most %d", n, g.at, most)
					}
				})
			})
		}
	}
}

// TestGuardRevoked: a key that was good and is taken away while calls are under way is tried no more either.
func TestGuardRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		g := newGate(func(*http.Request, int) (int, time.Duration) { return status, 10 * time.Millisecond })
		c := gateClient(t, g)
		one(t, c)
		status = 401
		for range 5 {
			round(t.Context(), c, 5, time.Minute)
		}
		if n := g.requests() - 1; n > 5 { // the five that were made before the first refusal
			t.Errorf("%d requests with a key that was taken away, want at most 5", n)
		}
		expect(t, "now", one(t, c), ReasonAuth)
	})
}

// TestGuardRevokedRests: the rests of a key that was good once grow like those of any other.
func TestGuardRevokedRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		g := newGate(func(*http.Request, int) (int, time.Duration) { return status, time.Millisecond })
		c := gateClient(t, g)
		one(t, c)
		status = 401
		for i, minutes := range []time.Duration{1, 2, 4, 8, 15} {
			expect(t, "tried", one(t, c), ReasonAuth)
			time.Sleep(minutes*time.Minute - time.Second)
			one(t, c)
			expect(t, fmt.Sprintf("requests until the end of rest %d, of %d minutes", i+1, minutes), g.requests(), i+2)
			time.Sleep(2 * time.Second)
		}
	})
}

// TestGuardScopes: a refusal within one project stops that project, and not another that shares the key.
func TestGuardScopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := NewGuard()
		refuseA := false
		g := newGate(func(r *http.Request, _ int) (int, time.Duration) {
			if refuseA && r.Header.Get("X-Project-Id") == "project-a" {
				return 401, 10 * time.Millisecond
			}
			return 200, 10 * time.Millisecond
		})
		project := func(id string) func(*Options) {
			return func(o *Options) { o.ProjectID, o.Guard = id, guard }
		}
		a, b := gateClient(t, g, project("project-a")), gateClient(t, g, project("project-b"))
		expect(t, "a", one(t, a), "ok")
		expect(t, "b", one(t, b), "ok")
		refuseA = true
		before := g.requests()
		round(t.Context(), a, 20, time.Minute)
		first := g.requests() - before
		if first > 20 {
			t.Errorf("%d requests for 20 clusters", first)
		}
		before = g.requests()
		for range 5 {
			expect(t, "a", round(t.Context(), a, 20, time.Minute), map[Reason]int{ReasonAuth: 20})
			expect(t, "b", round(t.Context(), b, 20, time.Minute), map[Reason]int{"ok": 20})
			if err := b.Resting(t.Context()); err != nil {
				t.Errorf("b rests: %v", err)
			}
		}
		expect(t, "requests while a rests", g.requests()-before, 100)
		time.Sleep(61 * time.Second)
		refuseA = false
		expect(t, "a after a rest", round(t.Context(), a, 20, time.Minute), map[Reason]int{"ok": 20})
	})
}

// TestGuardScopeUnproven: a key that no project has accepted rests for all of them.
func TestGuardScopeUnproven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := NewGuard()
		g := newGate(always(401, time.Millisecond))
		for i := range 10 {
			c := gateClient(t, g, func(o *Options) { o.ProjectID, o.Guard = fmt.Sprint("project-", i), guard })
			expect(t, "ended", one(t, c), ReasonAuth)
		}
		expect(t, "requests", g.requests(), 1)
	})
}

// TestGuardWaitEnds: who waits for another's trial waits no longer than its own deadline.
func TestGuardWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always(200, 900*time.Millisecond))
		c := gateClient(t, g)
		go func() { _, _ = c.Connections(t.Context(), "slow", nil, nil) }()
		synctest.Wait()
		expect(t, "who waited", round(t.Context(), c, 5, 300*time.Millisecond), map[Reason]int{ReasonTimeout: 5})
		expect(t, "after", time.Since(g.began), 300*time.Millisecond)
		expect(t, "requests", g.requests(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		expect(t, "who gave up", round(ctx, c, 1, time.Minute), map[Reason]int{ReasonTimeout: 1})
		time.Sleep(time.Second)
		expect(t, "afterwards", one(t, c), "ok")
	})
}

// TestGuardForgets: credentials that change by the hour do not pile up.
func TestGuardForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &changing{}
		guard := NewGuard()
		c := gateClient(t, newGate(always(200, time.Millisecond)), withCredentials(source), func(o *Options) { o.Guard = guard })
		for i := range 200 {
			source.set(Credentials{AccessKey: testAK, SecretKey: fmt.Sprint(i)})
			expect(t, "ended", one(t, c), "ok")
			time.Sleep(time.Hour)
		}
		if n := len(guard.accounts); n > 4 {
			t.Errorf("%d credentials are remembered", n)
		}
	})
}

// TestGuardEndToEnd: 20 clusters with a wrong key, five rounds in parallel, over a network.
func TestGuardEndToEnd(t *testing.T) {
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
	if n := requests.Load(); n > 4 {
		t.Errorf("%d requests reached the server, want at most 4", n)
	}
}

// TestGuardChangeWhileWaiting: a call that waits with credentials which then rest goes on with those that took their place.
func TestGuardChangeWhileWaiting(t *testing.T) {
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
		expect(t, "requests", g.requests(), 12) // two with the first
	})
}

// TestRestingChange: others that take the place of those that rest are seen at once.
func TestRestingChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := Credentials{AuthToken: "first"}, Credentials{AuthToken: "second"}
		source := &changing{}
		source.set(first)
		c := gateClient(t, newGate(always(401, 0)), withCredentials(source))
		expect(t, "the first", one(t, c), ReasonAuth)
		c.options.Credentials = inTurn{first, second}.source()
		if err := c.Resting(t.Context()); err != nil {
			t.Error(err)
		}
		c.options.Credentials = inTurn{first, first}.source()
		if err := c.Resting(t.Context()); ReasonOf(err) != ReasonAuth || err == nil {
			t.Error(err)
		}
	})
}

// inTurn are credentials that a source gives one after the other.
type inTurn []Credentials

func (i inTurn) source() CredentialSource {
	return sourceFunc(func() Credentials {
		c := i[0]
		i = i[1:]
		return c
	})
}

type sourceFunc func() Credentials

func (f sourceFunc) Credentials(context.Context) (Credentials, error) { return f(), nil }

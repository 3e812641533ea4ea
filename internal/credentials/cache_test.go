// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
)

var errIssuer = errors.New("the issuer fails")

// fakeIssuer issues tokens that are named after the number of the attempt: token-1, token-2 and so on.
type fakeIssuer struct {
	mu        sync.Mutex
	attempts  int
	start     time.Time
	life      time.Duration // of a token; 0 means unknown
	latency   time.Duration // of an attempt
	err       error         // of an attempt
	unchanged bool          // returns the last token again while it is valid
	last      issued
	password  string        // the input
	slowInput time.Duration // latency of the next call of input
	wait      time.Duration // after a failure
	doubling  bool          // doubles wait after each further failure
}

// newFake returns a fakeIssuer whose tokens are valid for an hour, and a cache of them.
func newFake(changes ...func(*fakeIssuer)) (*fakeIssuer, *cache) {
	f := &fakeIssuer{start: time.Now(), life: time.Hour}
	for _, change := range changes {
		change(f)
	}
	return f, newCache(f)
}

func (f *fakeIssuer) issue(ctx context.Context) (issued, error) {
	f.mu.Lock()
	f.attempts++
	n, latency, life, err := f.attempts, f.latency, f.life, f.err
	f.mu.Unlock()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return issued{}, ctx.Err()
	}
	if err != nil {
		return issued{}, err
	}
	if f.unchanged && f.last.expires.After(time.Now()) {
		return f.last, nil
	}
	f.last = issued{Credentials: token(n)}
	if life != 0 {
		f.last.expires = time.Now().Add(life)
	}
	return f.last, nil
}

func token(n int) cloud.Credentials { return cloud.Credentials{AuthToken: fmt.Sprint("token-", n)} }

func (f *fakeIssuer) input(context.Context) (string, error) {
	f.mu.Lock()
	password, latency := f.password, f.slowInput
	f.slowInput = 0
	f.mu.Unlock()
	time.Sleep(latency)
	return password, nil
}

func (*fakeIssuer) from() string { return "a test" }

func (f *fakeIssuer) backOff(_ error, failures int) time.Duration {
	if f.doubling {
		return f.wait << (failures - 1)
	}
	return f.wait
}

func (f *fakeIssuer) change(change func(*fakeIssuer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func fails(f *fakeIssuer)    { f.err = errIssuer }
func succeeds(f *fakeIssuer) { f.err, f.latency = nil, 0 }
func hangs(f *fakeIssuer)    { f.err, f.latency = nil, time.Hour }

// want checks which token the cache returns, "" for an error, and the number of attempts by then.
func (f *fakeIssuer) want(t *testing.T, c *cache, want string, attempts int) {
	t.Helper()
	got, err := c.Credentials(t.Context())
	if got.AuthToken != want || (err == nil) != (want != "") {
		t.Errorf("after %s: got %q, %v; want %q", time.Since(f.start), got.AuthToken, err, want)
	}
	f.wantAttempts(t, attempts)
}

func (f *fakeIssuer) wantAttempts(t *testing.T, want int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts != want {
		t.Errorf("after %s: got %d attempts, want %d", time.Since(f.start), f.attempts, want)
	}
}

func TestCacheRenewsAfterFourFifthsOfTheLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake()
		f.want(t, c, "token-1", 1)
		time.Sleep(48*time.Minute - time.Second)
		f.want(t, c, "token-1", 1)
		time.Sleep(time.Second)
		f.want(t, c, "token-2", 2)
		time.Sleep(2 * time.Hour) // without a request
		f.want(t, c, "token-3", 3)
	})
}

func TestCacheKeepsValidCredentialsWhileRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.wait = time.Minute })
		f.want(t, c, "token-1", 1)
		f.change(fails)
		time.Sleep(50 * time.Minute)
		f.want(t, c, "token-1", 2)
		f.want(t, c, "token-1", 2) // not at every request
		time.Sleep(31 * time.Second)
		f.want(t, c, "token-1", 3)
		f.change(hangs)
		time.Sleep(31 * time.Second)
		start := time.Now()
		f.want(t, c, "token-1", 4)
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("renewal that hangs: got a wait of %s, want 2s", waited)
		}
		f.change(succeeds)
		f.change(fails)
		time.Sleep(10 * time.Minute) // token-1 has expired
		f.want(t, c, "", 5)
		f.want(t, c, "", 5)
		time.Sleep(time.Minute)
		f.change(succeeds)
		f.want(t, c, "token-6", 6)
	})
}

func TestCacheRenewsWhenTheInputChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.password, f.wait = "one", time.Hour })
		f.want(t, c, "token-1", 1)
		f.change(func(f *fakeIssuer) { f.password, f.err = "two", errIssuer })
		f.want(t, c, "token-1", 2)
		f.want(t, c, "token-1", 2)
		f.change(func(f *fakeIssuer) { f.password, f.err = "three", nil })
		f.want(t, c, "token-3", 3)
		f.want(t, c, "token-3", 3)
	})
}

func TestCacheBacksOffFromOneInputOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.password, f.wait = "one", time.Hour })
		f.want(t, c, "token-1", 1)
		f.change(func(f *fakeIssuer) { f.password, f.err = "two", errIssuer })
		c.Invalidate(token(1), false)
		f.want(t, c, "", 2)
		f.want(t, c, "", 2)
		f.change(func(f *fakeIssuer) { f.password, f.err = "three", nil })
		f.want(t, c, "token-3", 3)
	})
}

func TestCacheInvalidatesOnlyWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake()
		f.want(t, c, "token-1", 1)
		c.Invalidate(cloud.Credentials{AuthToken: "another"}, false)
		f.want(t, c, "token-1", 1)
		c.Invalidate(token(1), false)
		f.want(t, c, "token-2", 2)
		c.Invalidate(token(1), false) // by a request that was slow
		f.want(t, c, "token-2", 2)
	})
}

// TestCacheSeldomRenewsUnchangedCredentials: a metadata service rotates keys on its own schedule.
func TestCacheSeldomRenewsUnchangedCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.unchanged = true })
		attempts := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.attempts }
		for time.Since(f.start) < time.Hour {
			before := attempts()
			if got, err := c.Credentials(t.Context()); err != nil || got != token(1) {
				t.Fatalf("got %q, %v; want token-1", got.AuthToken, err)
			}
			if n := attempts() - before; n > 1 {
				t.Fatalf("got %d attempts of one request, want at most 1", n)
			}
			time.Sleep(time.Second)
		}
		// From the 48th minute on: after a fifth of the remaining life, but at least 10 s.
		n := attempts()
		if n < 8 || n > 25 {
			t.Errorf("got %d attempts in an hour, want 8 to 25", n)
		}
		f.want(t, c, fmt.Sprint("token-", n+1), n+1)
	})
}

func TestCacheKeepsCredentialsWithoutExpiryFor10Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.life = 0 })
		f.want(t, c, "token-1", 1)
		time.Sleep(10 * time.Minute)
		f.want(t, c, "token-2", 2)
	})
}

func TestCacheRejectsExpiredCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.life = -time.Second })
		f.want(t, c, "", 1)
	})
}

// requestAll requests credentials 50 times in parallel. It counts the returned tokens, "" for an error, and the
// requests that took any time.
func requestAll(t *testing.T, c *cache) (tokens map[string]int, waited int) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	tokens = make(map[string]int)
	for range 50 {
		group.Go(func() {
			start := time.Now()
			got, _ := c.Credentials(t.Context())
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			tokens[got.AuthToken]++
			if took > 0 {
				waited++
			}
		})
	}
	group.Wait()
	return tokens, waited
}

func TestCacheIssuesOnceForParallelRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.latency = time.Second })
		if tokens, _ := requestAll(t, c); tokens["token-1"] != 50 {
			t.Errorf("got %v, want token-1 50 times", tokens)
		}
		f.wantAttempts(t, 1)
	})
}

func TestCacheEarlyRenewalDelaysOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.latency = time.Second })
		f.want(t, c, "token-1", 1)
		time.Sleep(50 * time.Minute)
		if tokens, waited := requestAll(t, c); tokens[""] > 0 || waited != 1 {
			t.Errorf("got %v, %d requests waited; want no error, and 1 that waited", tokens, waited)
		}
		f.wantAttempts(t, 2)
	})
}

func TestCacheSharesAFailureWithWaitingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(fails, func(f *fakeIssuer) { f.latency = time.Second })
		if tokens, _ := requestAll(t, c); tokens[""] != 50 {
			t.Errorf("got %v, want 50 errors", tokens)
		}
		f.wantAttempts(t, 1)
	})
}

func TestCacheRequestThatGivesUpAffectsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := newFake(func(f *fakeIssuer) { f.latency, f.wait = 10*time.Second, time.Hour })
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		giveUp := func() {
			if _, err := c.Credentials(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("short deadline: got %v, want %v", err, context.DeadlineExceeded)
			}
		}
		group.Go(giveUp)
		synctest.Wait()
		group.Go(func() {
			if got, err := c.Credentials(t.Context()); err != nil || got != token(2) {
				t.Errorf("no deadline: got %q, %v; want token-2", got.AuthToken, err)
			}
		})
		group.Go(giveUp)
		group.Wait()
	})
}

func TestCacheRetriesSoonBeforeAShortLifeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.life, f.wait = 50*time.Second, time.Minute })
		f.want(t, c, "token-1", 1)
		time.Sleep(40 * time.Second)
		f.change(fails)
		f.want(t, c, "token-1", 2)
		f.change(succeeds)
		time.Sleep(2 * time.Second)
		f.want(t, c, "token-1", 2)
		time.Sleep(time.Second)
		f.want(t, c, "token-3", 3)
	})
}

func TestCacheEarlyRenewalTakesAQuarterOfTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake()
		f.want(t, c, "token-1", 1)
		f.change(hangs)
		time.Sleep(50 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		got, err := c.Credentials(ctx)
		if waited := time.Since(start); got != token(1) || err != nil || waited != 250*time.Millisecond {
			t.Errorf("got %q after %s, %v; want token-1 after 250ms", got.AuthToken, waited, err)
		}
		f.wantAttempts(t, 2)
	})
}

func TestCacheCredentialsExpireDuringAnEarlyRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.life = 10 * time.Second })
		f.want(t, c, "token-1", 1)
		f.change(func(f *fakeIssuer) { f.latency = 3 * time.Second }) // an early renewal may take 2 s
		time.Sleep(9 * time.Second)
		f.want(t, c, "token-3", 3)
	})
}

func TestCacheCredentialsAreInvalidatedDuringAnEarlyRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.life = 10 * time.Second })
		f.want(t, c, "token-1", 1)
		f.change(func(f *fakeIssuer) { f.latency, f.err = time.Second, errIssuer })
		time.Sleep(8 * time.Second)
		var group sync.WaitGroup
		group.Go(func() {
			time.Sleep(500 * time.Millisecond)
			c.Invalidate(token(1), false)
		})
		f.want(t, c, "", 2)
		group.Wait()
	})
}

// TestCacheIgnoresOutdatedInput: a request that read the old password does not log in after one with the new password.
func TestCacheIgnoresOutdatedInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.password = "one" })
		f.want(t, c, "token-1", 1)
		f.change(func(f *fakeIssuer) { f.slowInput = time.Second })
		var group sync.WaitGroup
		group.Go(func() {
			if got, err := c.Credentials(t.Context()); err != nil || got != token(2) {
				t.Errorf("outdated input: got %q, %v; want token-2", got.AuthToken, err)
			}
		})
		synctest.Wait()
		f.change(func(f *fakeIssuer) { f.password = "two" })
		f.want(t, c, "token-2", 2)
		group.Wait()
		f.want(t, c, "token-2", 2)
	})
}

func TestCacheLimitsUncertainInvalidations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(func(f *fakeIssuer) { f.life = 24 * time.Hour })
		n := 1
		f.want(t, c, "token-1", 1)
		invalidate := func(certain, want bool) {
			t.Helper()
			if got := c.Invalidate(token(n), certain); got != want {
				t.Errorf("after %s: got %t of Invalidate, want %t", time.Since(f.start), got, want)
			}
			if want {
				n++
			}
			f.want(t, c, fmt.Sprint("token-", n), n)
		}
		invalidate(false, true)
		invalidate(false, false)
		for _, wait := range []time.Duration{1, 2, 4, 8, 15, 15} {
			time.Sleep(wait*time.Minute - time.Second)
			invalidate(false, false)
			time.Sleep(time.Second)
			invalidate(false, true)
		}
		time.Sleep(time.Hour) // without a rejection: the wait is a minute again
		invalidate(false, true)
		time.Sleep(time.Minute)
		invalidate(false, true)
		invalidate(true, true)
	})
}

func TestCacheBacksOffLongerAfterEachFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(fails, func(f *fakeIssuer) { f.wait, f.doubling = time.Minute, true })
		for i, wait := range []time.Duration{1, 2, 4} {
			f.want(t, c, "", i+1)
			time.Sleep(wait*time.Minute - time.Second)
			f.want(t, c, "", i+1)
			time.Sleep(time.Second)
		}
		f.change(succeeds)
		f.want(t, c, "token-4", 4)
	})
}

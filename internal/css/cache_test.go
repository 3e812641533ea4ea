// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// till is an issuer whose credentials are numbered and last for life.
type till struct {
	mu     sync.Mutex
	asked  int
	at     time.Duration // when it was asked last, since start
	start  time.Time
	life   time.Duration
	takes  time.Duration // to answer
	err    error
	same   bool // gives the first ones for as long as they last
	first  issued
	secret string        // the input
	late   time.Duration // how long it takes to say the input, once
	forget time.Duration
	double time.Duration // the first back-off of a failure that doubles, in the place of forget
}

func (i *till) issue(ctx context.Context) (issued, error) {
	i.mu.Lock()
	i.asked++
	i.at = time.Since(i.start)
	n, takes, life, err := i.asked, i.takes, i.life, i.err
	i.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return issued{}, ctx.Err()
	}
	if err != nil {
		return issued{}, err
	}
	if i.same && i.first.expires.After(time.Now()) {
		return i.first, nil
	}
	l := issued{Credentials: Credentials{AuthToken: fmt.Sprint("token-", n)}}
	if life != 0 {
		l.expires = time.Now().Add(life)
	}
	i.first = l
	return l, nil
}

func (i *till) input(context.Context) (string, error) {
	i.mu.Lock()
	secret, late := i.secret, i.late
	i.late = 0
	i.mu.Unlock()
	time.Sleep(late)
	return secret, nil
}
func (i *till) backOff(_ error, failures int) time.Duration {
	if i.double > 0 {
		return i.double << (failures - 1)
	}
	return i.forget
}

func (i *till) change(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// wants checks what the source gives now, and how often the issuer has been asked by then.
func (i *till) wants(t *testing.T, source *cache, token string, asked int) {
	t.Helper()
	c, err := source.Credentials(t.Context())
	if got := c.AuthToken; got != token || (err == nil) != (token != "") {
		t.Errorf("after %s: %q, %v; want %q", time.Since(i.start), got, err, token)
	}
	if i.asked != asked {
		t.Errorf("after %s: issued %d times, want %d", time.Since(i.start), i.asked, asked)
	}
}

func TestCacheIsRenewedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		time.Sleep(47 * time.Minute)
		i.wants(t, source, "token-1", 1)
		time.Sleep(time.Minute) // four fifths of an hour
		i.wants(t, source, "token-2", 2)
		time.Sleep(2 * time.Hour) // nobody asked for it meanwhile
		i.wants(t, source, "token-3", 3)
	})
}

func TestCacheOutlastsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour, forget: time.Minute}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		i.change(func() { i.err = errors.New("out of order") })
		time.Sleep(50 * time.Minute)
		i.wants(t, source, "token-1", 2)
		i.wants(t, source, "token-1", 2) // not at every call
		time.Sleep(31 * time.Second)
		i.wants(t, source, "token-1", 3)
		i.change(func() { i.err, i.takes = nil, time.Hour }) // now it hangs
		time.Sleep(31 * time.Second)
		began := time.Now()
		i.wants(t, source, "token-1", 4)
		if waited := time.Since(began); waited != earlyPatience {
			t.Errorf("waited %s for the next, want %s", waited, earlyPatience)
		}
		i.change(func() { i.err, i.takes = errors.New("out of order"), 0 })
		time.Sleep(10 * time.Minute) // the old one has ended
		i.wants(t, source, "", 5)
		i.wants(t, source, "", 5)
		time.Sleep(time.Minute)
		i.change(func() { i.err = nil })
		i.wants(t, source, "token-6", 6)
	})
}

func TestCacheFollowsItsInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour, secret: "one", forget: time.Hour}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		i.change(func() { i.secret, i.err = "two", errors.New("no such password") })
		i.wants(t, source, "token-1", 2)
		i.wants(t, source, "token-1", 2)
		i.change(func() { i.secret, i.err = "three", nil })
		i.wants(t, source, "token-3", 3)
		i.wants(t, source, "token-3", 3)

		i.change(func() { i.secret, i.err = "four", errors.New("no such password") })
		source.Invalidate(Credentials{AuthToken: "token-3"}, false)
		i.wants(t, source, "", 4)
		i.wants(t, source, "", 4) // rests
		i.change(func() { i.secret, i.err = "five", nil })
		i.wants(t, source, "token-5", 5) // a changed one does not
	})
}

func TestCacheInvalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		source.Invalidate(Credentials{AuthToken: "another"}, false)
		i.wants(t, source, "token-1", 1)
		source.Invalidate(Credentials{AuthToken: "token-1"}, false)
		i.wants(t, source, "token-2", 2)
		source.Invalidate(Credentials{AuthToken: "token-1"}, false) // by a call that was slow
		i.wants(t, source, "token-2", 2)
	})
}

// TestCacheSameAgain: a metadata service rotates when it likes.
func TestCacheSameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour, same: true}
		source := newCache(i)
		for time.Since(i.start) < time.Hour {
			i.mu.Lock()
			before := i.asked
			i.mu.Unlock()
			if c, err := source.Credentials(t.Context()); err != nil || c.AuthToken != "token-1" {
				t.Fatal(c.AuthToken, err)
			}
			if i.asked > before+1 {
				t.Fatal("asked twice at once")
			}
			time.Sleep(time.Second)
		}
		// From the 48th minute on, each time a fifth of what is left has passed, but not more often than every ten seconds.
		if i.asked < 8 || i.asked > 25 {
			t.Errorf("asked %d times in an hour", i.asked)
		}
		asked := i.asked
		i.wants(t, source, fmt.Sprint("token-", asked+1), asked+1)
	})
}

func TestCacheUnknownEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now()}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		time.Sleep(unknownLife)
		i.wants(t, source, "token-2", 2)
	})
}

func TestCacheEndedAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newCache(&till{start: time.Now(), life: -time.Second})
		if _, err := source.Credentials(t.Context()); err == nil {
			t.Error("credentials that have ended were given")
		}
	})
}

// TestCacheTogether: of many that need credentials one gets them, and all get the same.
func TestCacheTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour, takes: time.Second}
		source := newCache(i)
		all := func(want string) {
			t.Helper()
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() {
					if c, err := source.Credentials(t.Context()); err != nil || c.AuthToken != want {
						t.Errorf("%q, %v, want %q", c.AuthToken, err, want)
					}
				})
			}
			group.Wait()
		}
		all("token-1")
		if i.asked != 1 {
			t.Errorf("issued %d times", i.asked)
		}
		// While the old ones last one caller gets the next, and nobody else waits.
		time.Sleep(50 * time.Minute)
		quick := make(chan time.Duration, 50)
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				began := time.Now()
				_, err := source.Credentials(t.Context())
				if err != nil {
					t.Error(err)
				}
				quick <- time.Since(began)
			})
		}
		group.Wait()
		close(quick)
		slow := 0
		for took := range quick {
			if took > 0 {
				slow++
			}
		}
		if slow != 1 || i.asked != 2 {
			t.Errorf("%d waited, issued %d times", slow, i.asked)
		}
	})
}

// TestCacheCallerGoes: one who gives up spoils nothing for those who wait.
func TestCacheCallerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour, takes: 10 * time.Second, forget: time.Hour}
		source := newCache(i)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := source.Credentials(impatient); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient one: %v", err)
			}
		})
		synctest.Wait()
		group.Go(func() {
			if c, err := source.Credentials(t.Context()); err != nil || c.AuthToken != "token-2" {
				t.Errorf("the patient one: %v", err)
			}
		})
		group.Go(func() {
			if _, err := source.Credentials(impatient); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("another impatient one: %v", err)
			}
		})
		group.Wait()
	})
}

// TestCacheSharedFailure: those who waited for a try that failed do not try one after the other.
func TestCacheSharedFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), takes: time.Second, err: errors.New("out of order")}
		source := newCache(i)
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if _, err := source.Credentials(t.Context()); err == nil {
					t.Error("no error")
				}
			})
		}
		group.Wait()
		if i.asked != 1 {
			t.Errorf("issued %d times", i.asked)
		}
	})
}

// TestCacheShortLife: what lives for seconds is not left alone for half a minute after one failure.
func TestCacheShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: 50 * time.Second, forget: time.Minute}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		time.Sleep(40 * time.Second)
		i.change(func() { i.err = errors.New("out of order") })
		i.wants(t, source, "token-1", 2)
		i.change(func() { i.err = nil })
		time.Sleep(2 * time.Second)
		i.wants(t, source, "token-1", 2)
		time.Sleep(time.Second)
		i.wants(t, source, "token-3", 3)
	})
}

// TestCacheLeavesTime: an early renewal that hangs leaves most of its time to a caller with little.
func TestCacheLeavesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		i.change(func() { i.takes = time.Hour })
		time.Sleep(50 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		c, err := source.Credentials(ctx)
		if waited := time.Since(began); c.AuthToken != "token-1" || err != nil || waited != 250*time.Millisecond || i.asked != 2 {
			t.Errorf("%q after %s, issued %d times: %v", c.AuthToken, waited, i.asked, err)
		}
	})
}

// TestCacheEndsMeanwhile: what ended, or was refused, while an early renewal failed is not given out.
func TestCacheEndsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: 10 * time.Second}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		i.change(func() { i.takes = earlyPatience + time.Second })
		time.Sleep(9 * time.Second)
		i.wants(t, source, "token-3", 3)

		i.change(func() { i.takes, i.err = time.Second, errors.New("out of order") })
		time.Sleep(8 * time.Second)
		var group sync.WaitGroup
		group.Go(func() {
			time.Sleep(500 * time.Millisecond)
			source.Invalidate(Credentials{AuthToken: "token-3"}, false)
		})
		i.wants(t, source, "", 4)
		group.Wait()
	})
}

// TestCacheLateInput: who saw the old password late does not log in again after who saw the new one.
func TestCacheLateInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: time.Hour, secret: "one"}
		source := newCache(i)
		i.wants(t, source, "token-1", 1)
		i.change(func() { i.late = time.Second })
		var group sync.WaitGroup
		group.Go(func() {
			if c, err := source.Credentials(t.Context()); err != nil || c.AuthToken != "token-2" {
				t.Errorf("%q, %v", c.AuthToken, err)
			}
		})
		synctest.Wait()
		i.change(func() { i.secret = "two" })
		i.wants(t, source, "token-2", 2)
		group.Wait()
		i.wants(t, source, "token-2", 2)
	})
}

// TestCacheReplacesRarely: credentials that replaced rejected ones are not replaced at every rejection.
func TestCacheReplacesRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), life: 24 * time.Hour}
		source := newCache(i)
		n := 1
		i.wants(t, source, "token-1", 1)
		reject := func(want bool) {
			t.Helper()
			if got := source.Invalidate(Credentials{AuthToken: fmt.Sprint("token-", n)}, false); got != want {
				t.Errorf("after %s: Invalidate returned %t", time.Since(i.start), got)
			}
			if want {
				n++
			}
			i.wants(t, source, fmt.Sprint("token-", n), n)
		}
		reject(true)
		reject(false)
		for _, wait := range []time.Duration{1, 2, 4, 8, 15, 15} {
			time.Sleep(wait*time.Minute - time.Second)
			reject(false)
			time.Sleep(time.Second)
			reject(true)
		}
		time.Sleep(time.Hour)
		reject(true)
		time.Sleep(time.Minute) // they were accepted for long: the wait is short again
		reject(true)
		if !source.Invalidate(Credentials{AuthToken: fmt.Sprint("token-", n)}, true) {
			t.Error("credentials that are certainly invalid are kept")
		}
		i.wants(t, source, fmt.Sprint("token-", n+1), n+1)
	})
}

// TestCacheBacksOff: a login that is rejected again and again is repeated less and less often.
func TestCacheBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &till{start: time.Now(), err: errors.New("wrong password"), double: time.Minute}
		source := newCache(i)
		for n, wait := range []time.Duration{1, 2, 4} {
			i.wants(t, source, "", n+1)
			time.Sleep(wait*time.Minute - time.Second)
			i.wants(t, source, "", n+1)
			time.Sleep(time.Second)
		}
		i.change(func() { i.err, i.life = nil, time.Hour })
		i.wants(t, source, "token-4", 4)
	})
}

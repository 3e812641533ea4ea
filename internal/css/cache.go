// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// earlyPatience bounds the wait for new credentials while the old ones are valid; so does a quarter of a request's time.
	earlyPatience = 2 * time.Second
	// A failed early renewal is retried after a quarter of the remaining life, within these bounds.
	earlyRetryFrom = time.Second
	earlyRetryTo   = 30 * time.Second
	// sameAgain is the shortest wait after the same credentials were issued again: a metadata service rotates them by itself.
	sameAgain = 10 * time.Second
	// unknownLife is how long credentials are kept that came without an expiry.
	unknownLife = 10 * time.Minute
)

// issued is temporary credentials. A zero expiry is an unknown one.
type issued struct {
	Credentials
	expires time.Time
}

// issuer issues temporary credentials. It is called by one goroutine at a time.
type issuer interface {
	// issue gets new credentials. Its errors hold no secret.
	issue(ctx context.Context) (issued, error)
	// input identifies what the credentials are issued for, such as a password; a changed one calls for new credentials.
	input(ctx context.Context) (string, error)
	// backOff is how long an error is returned again without another attempt, after so many failures in a row.
	backOff(err error, failures int) time.Duration
}

// cache is a source of temporary credentials. They are renewed when four fifths of their life have passed, so that they do
// not run out if that fails for a while. There is no background goroutine: a request renews them, under its own context, and
// while they are valid no other request waits for it.
type cache struct {
	issuer  issuer
	renewal chan struct{} // held while credentials are issued

	mu       sync.Mutex
	held     atomic.Pointer[issued] // nil if there are none, or the API rejected them
	heldFor  string                 // the input that they were issued for
	renewAt  time.Time
	err      error // of the last attempt; nil if it succeeded
	errAt    time.Time
	errFor   string // the input of that
	failures int    // attempts in a row

	keepUntil time.Time // until then, rejected credentials are not replaced again
	keepFor   time.Duration
}

func newCache(from issuer) *cache { return &cache{issuer: from, renewal: make(chan struct{}, 1)} }

// Credentials implements CredentialSource.
func (c *cache) Credentials(ctx context.Context) (Credentials, error) {
	asked := time.Now()
	input, err := c.issuer.input(ctx)
	if err != nil {
		return Credentials{}, err
	}
	held, valid, due := c.look(input)
	if valid && due {
		c.renewEarly(ctx, asked)
		held, valid, _ = c.look(input) // they may have expired, or been rejected, meanwhile
	}
	if valid {
		return held, nil
	}
	select {
	case c.renewal <- struct{}{}:
		defer func() { <-c.renewal }()
	case <-ctx.Done():
		return Credentials{}, ctx.Err()
	}
	return c.renew(ctx, asked)
}

// look returns what is held, whether it is valid, and whether it should be renewed.
func (c *cache) look(input string) (held Credentials, valid, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, current := time.Now(), c.held.Load()
	if current == nil || !now.Before(current.expires) {
		return Credentials{}, false, true
	}
	due = !now.Before(c.renewAt) || (input != c.heldFor && input != c.errFor)
	return current.Credentials, true, due
}

// renewEarly renews valid credentials, unless another request does. It does not wait for long, and ignores failures.
func (c *cache) renewEarly(ctx context.Context, asked time.Time) {
	select {
	case c.renewal <- struct{}{}:
		defer func() { <-c.renewal }()
	default:
		return
	}
	patience := earlyPatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/4)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = c.renew(ctx, asked)
}

// renew gets new credentials, unless another request did or has just failed to. The caller holds c.renewal.
func (c *cache) renew(ctx context.Context, asked time.Time) (Credentials, error) {
	input, err := c.issuer.input(ctx) // again: the wait may have been long
	if err != nil {
		return Credentials{}, err
	}
	held, valid, due := c.look(input)
	switch {
	case valid && !due:
		return held, nil
	case !valid:
		if err := c.recentFailure(input, asked); err != nil {
			return Credentials{}, err
		}
	}
	next, err := c.issuer.issue(ctx)
	now := time.Now()
	switch {
	case err != nil:
	case next.expires.IsZero():
		next.expires = now.Add(unknownLife)
	case !now.Before(next.expires):
		err = fmt.Errorf("no credentials: new ones expired at %s; check the clock of this machine",
			next.expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		c.recordFailure(ctx, input, err)
		return Credentials{}, err
	}
	c.record(input, next, now)
	return next.Credentials, nil
}

// recentFailure returns the error of the last attempt if it is too fresh for another one, or was under way when asked.
func (c *cache) recentFailure(input string, asked time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || c.errFor != input {
		return nil
	}
	if c.errAt.After(asked) || time.Since(c.errAt) < c.issuer.backOff(c.err, c.failures) {
		return c.err
	}
	return nil
}

func (c *cache) recordFailure(ctx context.Context, input string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if held := c.held.Load(); held != nil && now.Before(held.expires) { // an early renewal
		left := held.expires.Sub(now)
		c.renewAt, c.errFor = now.Add(min(max(left/4, earlyRetryFrom), earlyRetryTo)), input
	}
	if callerGaveUp(ctx, err) {
		return
	}
	if c.errFor != input || c.err == nil {
		c.failures = 0
	}
	c.failures++
	c.err, c.errAt, c.errFor = err, now, input
}

func (c *cache) record(input string, next issued, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := next.expires.Sub(now)
	c.renewAt = now.Add(left - left/5)
	if held := c.held.Swap(&next); held != nil && held.Credentials == next.Credentials {
		c.renewAt = now.Add(max(left/5, sameAgain))
	}
	c.heldFor, c.err, c.errFor, c.failures = input, nil, input, 0
}

// Invalidate implements CredentialSource. A rejection that may concern one cluster alone replaces the credentials once a
// minute, doubling up to 15.
func (c *cache) Invalidate(rejected Credentials, certain bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, held := time.Now(), c.held.Load()
	switch {
	case held == nil || held.Credentials != rejected:
		return true // others have taken their place, or are about to
	case certain:
	case now.Before(c.keepUntil):
		return false
	default:
		if now.Sub(c.keepUntil) > longestPause {
			c.keepFor = 0
		}
		c.keepFor = min(max(2*c.keepFor, firstPause), longestPause)
		c.keepUntil = now.Add(c.keepFor)
	}
	c.held.Store(nil)
	return true
}

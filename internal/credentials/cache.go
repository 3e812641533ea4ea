// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/cloud"
)

const (
	// earlyPatience, or a quarter of the caller's time, bounds an early renewal.
	earlyPatience = 2 * time.Second
	// Bounds of the wait after a failed early renewal, a quarter of the remaining life.
	minEarlyRetry = time.Second
	maxEarlyRetry = 30 * time.Second
	// unchangedRetry is the minimum wait after a renewal without a change: a metadata service has its schedule.
	unchangedRetry = 10 * time.Second
	unknownLife    = 10 * time.Minute
)

// issued is temporary credentials, perhaps without an expiry.
type issued struct {
	cloud.Credentials
	expires time.Time
	assumed bool // expires is a guess
	lasting bool // valid even if the input has changed
}

// issuer issues temporary credentials. Calls of issue do not overlap.
type issuer interface {
	issue(ctx context.Context) (issued, error)
	// input identifies what credentials are issued for.
	input(ctx context.Context) (string, error)
	backOff(err error, failures int) time.Duration
	from() string // says where they come from
}

// cache renews temporary credentials after four fifths of their life, which leaves time to retry. A request renews them
// under its own context. While they are valid, no other waits for it.
type cache struct {
	issuer  issuer
	renewal chan struct{}

	mu       sync.Mutex
	held     atomic.Pointer[issued]
	heldFor  string // input
	renewAt  time.Time
	err      error
	errAt    time.Time
	errFor   string // input
	failures int

	keepUntil time.Time // of rejected credentials that may be valid
	keepFor   time.Duration
}

func newCache(from issuer) *cache { return &cache{issuer: from, renewal: make(chan struct{}, 1)} }

func (c *cache) Credentials(ctx context.Context) (cloud.Credentials, error) {
	start := time.Now()
	input, err := c.issuer.input(ctx)
	if err != nil {
		return cloud.Credentials{}, err
	}
	held, valid, due := c.look(input)
	if valid && due {
		c.renewEarly(ctx, start)
		held, valid, _ = c.look(input)
	}
	if valid {
		return held, nil
	}
	select {
	case c.renewal <- struct{}{}:
		defer func() { <-c.renewal }()
	case <-ctx.Done():
		return cloud.Credentials{}, ctx.Err()
	}
	return c.renew(ctx, start)
}

func (c *cache) look(input string) (held cloud.Credentials, valid, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, current := time.Now(), c.held.Load()
	if current == nil || !now.Before(current.expires) {
		return cloud.Credentials{}, false, true
	}
	due = !now.Before(c.renewAt) || (input != c.heldFor && input != c.errFor && (c.err != nil || !current.lasting))
	return current.Credentials, true, due
}

// renewEarly renews valid credentials, unless another request does. It ignores failures.
func (c *cache) renewEarly(ctx context.Context, start time.Time) {
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
	_, _ = c.renew(ctx, start)
}

// renew issues credentials, unless another request has done so, or failed to, since start. The caller holds c.renewal.
func (c *cache) renew(ctx context.Context, start time.Time) (cloud.Credentials, error) {
	input, err := c.issuer.input(ctx)
	if err != nil {
		return cloud.Credentials{}, err
	}
	held, valid, due := c.look(input)
	switch {
	case valid && !due:
		return held, nil
	case !valid:
		if err := c.recentFailure(input, start); err != nil {
			return cloud.Credentials{}, err
		}
	}
	next, err := c.issuer.issue(ctx)
	now := time.Now()
	switch {
	case err != nil:
	case next.expires.IsZero():
		next.expires, next.assumed = now.Add(unknownLife), true
	case !now.Before(next.expires):
		err = fmt.Errorf("no credentials: new ones expired at %s; check the clock of this machine",
			next.expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		c.recordFailure(ctx, input, err)
		return cloud.Credentials{}, err
	}
	c.record(input, next, now)
	return next.Credentials, nil
}

// recentFailure returns the last error if it is younger than start or than the back-off.
func (c *cache) recentFailure(input string, start time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || c.errFor != input {
		return nil
	}
	if c.errAt.After(start) || time.Since(c.errAt) < c.issuer.backOff(c.err, c.failures) {
		return c.err
	}
	return nil
}

func (c *cache) recordFailure(ctx context.Context, input string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, gaveUp := time.Now(), cloud.CallerGaveUp(ctx, err)
	if c.errFor != input || c.err == nil {
		c.failures = 0
	}
	if !gaveUp {
		c.failures++
	}
	if held := c.held.Load(); held != nil && now.Before(held.expires) { // an early renewal
		left := held.expires.Sub(now)
		wait := min(max(left/4, minEarlyRetry), maxEarlyRetry)
		if cloud.ReasonOf(err) == cloud.ReasonDenied {
			wait = max(wait, c.issuer.backOff(err, c.failures))
		}
		c.renewAt, c.errFor = now.Add(wait), input
	}
	if !gaveUp {
		c.err, c.errAt, c.errFor = err, now, input
	}
}

func (c *cache) record(input string, next issued, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := next.expires.Sub(now)
	c.renewAt = now.Add(left - left/5)
	if held := c.held.Swap(&next); held != nil && held.Credentials == next.Credentials {
		c.renewAt = now.Add(max(left/5, unchangedRetry))
	}
	c.heldFor, c.err, c.errFor, c.failures = input, nil, input, 0
}

// Invalidate replaces credentials at most once a minute, doubling up to 15, unless the rejection is certain.
func (c *cache) Invalidate(rejected cloud.Credentials, certain bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, held := time.Now(), c.held.Load()
	switch {
	case held == nil || held.Credentials != rejected:
		return true // they are being replaced
	case certain:
	case now.Before(c.keepUntil):
		return false
	default:
		if now.Sub(c.keepUntil) > cloud.LongestPause {
			c.keepFor = 0
		}
		c.keepFor = min(max(2*c.keepFor, cloud.FirstPause), cloud.LongestPause)
		c.keepUntil = now.Add(c.keepFor)
	}
	c.held.Store(nil)
	return true
}

// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"sync"
	"time"

	"css_vpcep_exporter/internal/css"
)

// inflight is one read of a cluster, shared by the scrapes that wait for it. It is cancelled when the last one leaves.
type inflight struct {
	target Target
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	waiters  int
	deadline time.Time // the latest of the waiters'; zero if one has none
	started  time.Time // when it got its slot

	// Set before done is closed.
	list  *css.ConnectionList
	err   error
	ended time.Time
}

// inflightContext has the latest deadline of the waiters, so that no retry outlasts them all. Only cancel ends the
// read: a later waiter may extend the deadline, and context.WithTimeout would have copied the earlier one.
type inflightContext struct {
	context.Context //nolint:containedctx // it is a context itself
	inflight        *inflight
}

// Deadline implements context.Context.
func (c inflightContext) Deadline() (time.Time, bool) {
	c.inflight.mu.Lock()
	defer c.inflight.mu.Unlock()
	return c.inflight.deadline, !c.inflight.deadline.IsZero()
}

// newInflight returns an inflight without waiters, and its context, which is not cancelled with ctx.
func newInflight(ctx context.Context, target Target) (*inflight, context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &inflight{target: target, cancel: cancel, done: make(chan struct{})}
	return r, inflightContext{Context: ctx, inflight: r}
}

// addWaiter adds the scrape of ctx to the waiters.
func (r *inflight) addWaiter(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	deadline, ok := ctx.Deadline()
	switch {
	case !ok:
		r.deadline = time.Time{}
	case r.waiters == 0, !r.deadline.IsZero() && deadline.After(r.deadline):
		r.deadline = deadline
	}
	r.waiters++
}

// removeWaiter removes a waiter and reports whether it was the last one, which cancels the read.
func (r *inflight) removeWaiter() (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters--
	if r.waiters > 0 {
		return false
	}
	r.cancel()
	return true
}

func (r *inflight) markStarted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = time.Now()
}

// spent returns the time from start until end, without the wait for a slot.
func (r *inflight) spent(start, end time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started.After(start) {
		start = r.started
	}
	return max(end.Sub(start), 0)
}

func (r *inflight) waitsFor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started.IsZero() {
		return "other clusters (requests_per_second, scrape.concurrency)"
	}
	return "the answer"
}

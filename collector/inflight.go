// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"sync"
	"time"

	"css_vpcep_exporter/css"
)

// inflight is one read of a cluster, which any number of scrapes wait for. It is cancelled when none does any more.
type inflight struct {
	target Target
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	waiters  int
	deadline time.Time // of the scrape that waits longest; zero if one waits without a deadline
	started  time.Time // when it got its slot; zero until then

	// Written before done is closed, read after.
	list  *css.ConnectionList
	err   error
	ended time.Time
}

// inflightContext is the context of an inflight. Its deadline is that of the scrape that waits longest, so that no time is
// spent on a retry whose outcome nobody would see. The deadline moves with the waiters: code that copies it, such as
// context.WithTimeout, sees that of the moment, which is why cancel ends the read.
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

// newInflight returns an inflight without waiters. Its context has ctx's values, not its end.
func newInflight(ctx context.Context, target Target) (*inflight, context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &inflight{target: target, cancel: cancel, done: make(chan struct{})}
	return r, inflightContext{Context: ctx, inflight: r}
}

// addWaiter is called once by each scrape that waits.
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

// removeWaiter is called once by each scrape that waited. The last one cancels the read; removeWaiter reports whether it
// was that one.
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

// spent returns the time from start, or from when the read got its slot if that was later, until end.
func (r *inflight) spent(start, end time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started.After(start) {
		start = r.started
	}
	return max(end.Sub(start), 0)
}

// waitsFor says what a read that is not done waits for.
func (r *inflight) waitsFor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started.IsZero() {
		return "other clusters (requests_per_second, scrape.concurrency)"
	}
	return "the answer"
}

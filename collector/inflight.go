// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"sync"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
)

// endPatience is spent once in a scrape, out of scrape.timeout-offset.
const endPatience = 100 * time.Millisecond

// inflight is a read that scrapes share. It is cancelled when the last one stops waiting.
type inflight struct {
	target Target
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	waiters  int
	deadline time.Time // the waiters' latest; zero if one has none
	started  time.Time

	list  *css.ConnectionList
	err   error
	ended time.Time
}

// inflightContext does not end at its deadline, because another waiter may extend it.
type inflightContext struct {
	context.Context //nolint:containedctx // it is a context
	inflight        *inflight
}

func (c inflightContext) Deadline() (time.Time, bool) {
	c.inflight.mu.Lock()
	defer c.inflight.mu.Unlock()
	return c.inflight.deadline, !c.inflight.deadline.IsZero()
}

func newInflight(ctx context.Context, target Target) (*inflight, context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &inflight{target: target, cancel: cancel, done: make(chan struct{})}
	return r, inflightContext{Context: ctx, inflight: r}
}

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

func (r *inflight) removeWaiter() (cancelled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters--
	if r.waiters > 0 {
		return false
	}
	r.cancel()
	return true
}

// awaitTimeout waits until a cancelled read has ended, and returns its error if that tells what it was waiting for. A
// read that waits for a slot may end only after others.
func (r *inflight) awaitTimeout(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok || !errors.Is(ctx.Err(), context.DeadlineExceeded) || !r.hasStarted() {
		return nil
	}
	select {
	case <-r.done:
		if cloud.ReasonOf(r.err) == cloud.ReasonTimeout {
			return r.err
		}
	case <-time.After(time.Until(deadline.Add(endPatience))):
	}
	return nil
}

func (r *inflight) markStarted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = time.Now()
}

// spent excludes the wait for a slot.
func (r *inflight) spent(start, end time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started.After(start) {
		start = r.started
	}
	return max(end.Sub(start), 0)
}

func (r *inflight) hasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.started.IsZero()
}

func (r *inflight) waitingFor() string {
	if !r.hasStarted() {
		return "other clusters (requests_per_second, scrape.concurrency)"
	}
	return "the answer"
}

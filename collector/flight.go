// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"sync"
	"time"

	"css_vpcep_exporter/css"
)

// flight is one reading of a cluster, for which any number of scrapes wait. It goes on for as long as one does.
type flight struct {
	target Target
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	waiting  int
	deadline time.Time // of who waits longest; zero if somebody waits without one
	began    time.Time // when its turn came; zero until then
	asked    bool      // whether the cloud was

	// Written before done is closed, read after.
	list  *css.ConnectionList
	err   error
	ended time.Time
}

// flightContext is the context of a flight: it ends when nobody waits any more, and its deadline moves with who waits
// longest, so that no time is spent on a retry that nobody would see.
type flightContext struct {
	context.Context //nolint:containedctx // it is a context itself
	flight          *flight
}

func (c flightContext) Deadline() (time.Time, bool) {
	c.flight.mu.Lock()
	defer c.flight.mu.Unlock()
	return c.flight.deadline, !c.flight.deadline.IsZero()
}

// newFlight makes a flight that nobody waits for yet. It keeps ctx's values, not its end.
func newFlight(ctx context.Context, target Target) (*flight, context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{target: target, cancel: cancel, done: make(chan struct{})}
	return f, flightContext{Context: ctx, flight: f}
}

// join is called once by each scrape that waits.
func (f *flight) join(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	deadline, ok := ctx.Deadline()
	switch {
	case !ok:
		f.deadline = time.Time{}
	case f.waiting == 0, !f.deadline.IsZero() && deadline.After(f.deadline):
		f.deadline = deadline
	}
	f.waiting++
}

// leave is called once by each scrape that waited; the last one cancels the flight. It says whether it did.
func (f *flight) leave() (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return false
	}
	f.cancel()
	return true
}

func (f *flight) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began = time.Now()
}

// ask notes that a request is made now; until then the flight may have waited for the credentials to be tried by another.
// It fails if the answer would be too late for everybody.
func (f *flight) ask() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.deadline.IsZero() && !time.Now().Before(f.deadline) {
		return context.DeadlineExceeded
	}
	f.asked = true
	return nil
}

func (f *flight) hasAsked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// spent is the time from start, or from when the flight's turn came if that was later, until end.
func (f *flight) spent(start, end time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began.After(start) {
		start = f.began
	}
	return max(end.Sub(start), 0)
}

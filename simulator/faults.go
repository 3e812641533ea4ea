// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"net/http"
	"time"
)

// Fault is what goes wrong with the requests of a target. Its fields combine;
// the zero value is no fault. A fault comes after the signature check, so that
// it hides no wrong signature.
type Fault struct {
	// When it strikes. After lets that many requests pass first; For strikes
	// the next so many and then no more, 0 means for ever. Of those requests
	// it strikes a share of Probability, 0 means all. Active, if set, must
	// say yes to the simulator's time as well.
	After, For  int
	Probability float64
	Active      func(now time.Time) bool

	// Before the answer: wait so long, wait until the client goes away, or
	// close the connection without an answer.
	Latency time.Duration
	Hang    bool
	Drop    bool

	// Another answer than the right one, if Status or Body is set. A Body
	// without a Status goes with 200. Header is added to any answer.
	Status int
	Body   string
	Header http.Header

	// A page that is not as asked for: at most PageCap items; always the
	// first page; its first item sent once more at its end.
	PageCap      int
	IgnoreOffset bool
	RepeatIDs    bool

	// CutAfter closes the connection after so many bytes of the body, though
	// Content-Length promised more.
	CutAfter int
}

// armedFault is a fault and how many requests it has seen.
type armedFault struct {
	Fault
	seen int
}

// SetFault sets the faults of a target, in place of those that it had; with
// none it clears them. The first fault that strikes a request is the one that
// it meets. The faults of a single cluster or project come before those of an
// empty ID, which are for all.
func (s *Simulator) SetFault(t Target, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, t)
	for _, f := range faults {
		f.Header = f.Header.Clone()
		s.faults[t] = append(s.faults[t], &armedFault{Fault: f})
	}
}

// strike returns the fault that a request meets, or the zero one. Every fault
// of the target counts the request, struck or not.
func (s *Simulator) strike(t Target) Fault {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit *armedFault
	for _, key := range []Target{t, {Endpoint: t.Endpoint}} {
		for _, f := range s.faults[key] {
			if s.strikes(f, now) && hit == nil {
				hit = f
			}
		}
		if t.ID == "" {
			break
		}
	}
	if hit == nil {
		return Fault{}
	}
	return hit.Fault
}

func (s *Simulator) strikes(f *armedFault, now time.Time) bool {
	f.seen++
	if f.seen <= f.After || (f.For > 0 && f.seen > f.After+f.For) {
		return false
	}
	if f.Active != nil && !f.Active(now) {
		return false
	}
	return f.Probability == 0 || s.chance.Float64() < f.Probability
}

// delay does what a fault wants before the answer. It is false if there shall
// be no answer.
func (f Fault) delay(ctx context.Context) bool {
	if f.Latency > 0 {
		timer := time.NewTimer(f.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	if f.Hang {
		<-ctx.Done()
		return false
	}
	return !f.Drop
}

// change turns the right answer into the fault's.
func (f Fault) change(a answer) answer {
	if f.Status != 0 || f.Body != "" {
		a = answer{status: f.Status, header: http.Header{}, body: []byte(f.Body)}
		if a.status == 0 {
			a.status = http.StatusOK
		}
		if f.Body != "" {
			a.header.Set("Content-Type", "application/json")
		}
	}
	for name, values := range f.Header {
		a.header[http.CanonicalHeaderKey(name)] = values
	}
	return a
}

// page cuts the page that was asked for (skip items, then at most limit) out
// of total, as the fault has it.
func (f Fault) page(total, skip, limit, pageCap int) (from, to int) {
	if f.IgnoreOffset {
		skip = 0
	}
	for _, c := range []int{pageCap, f.PageCap} {
		if c > 0 {
			limit = min(limit, c)
		}
	}
	from = min(skip, total)
	return from, min(from+limit, total)
}

// repeat sends the first item of a page twice, if the fault says so.
func repeat[T any](f Fault, items []T) []T {
	if !f.RepeatIDs || len(items) == 0 {
		return items
	}
	return append(items, items[0])
}

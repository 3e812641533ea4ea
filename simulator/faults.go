// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Fault is what goes wrong with the requests of a target. Its fields combine;
// the zero value is no fault. A fault comes after the check of the signature or
// the token, so that it hides no wrong one. For the same reason a fault of
// Tokens comes after the look at the password (a locked user stays locked out),
// one of SecurityKey after that at the metadata token, one of PodCredentials
// after that at the pod's token and body, and one of MetadataToken after that
// at the life that is asked for. What was issued behind another answer is good,
// but nobody gets to know it.
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

	// Another answer than the right one, if Status, Body or Redirect is set. A
	// Body without a Status goes with 200, a Redirect to that address with
	// 302. Header is added to any answer, and so are HeaderBytes bytes of
	// header that nobody needs.
	Status      int
	Body        string
	Redirect    string
	Header      http.Header
	HeaderBytes int

	// Garbage goes over the connection instead of HTTP, which then closes;
	// with Endless it is said again and again.
	Garbage string

	// A page that is not as asked for: at most PageCap items; always the
	// first page; its first item sent once more at its end.
	PageCap      int
	IgnoreOffset bool
	RepeatIDs    bool

	// The body: so many blanks after it, which leave it right; blanks without
	// end; all of it compressed, asked for or not. Gzip with a large Padding
	// is a bomb: of each megabyte a kilobyte goes over the wire.
	Padding int
	Endless bool
	Gzip    bool

	// The pace: a wait before each byte of the header (or the garbage), and of
	// the body.
	SlowHeader time.Duration
	Trickle    time.Duration

	// CutAfter closes the connection after so many bytes of the body as it
	// goes over the wire, though Content-Length promised more.
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
	if f.Status != 0 || f.Body != "" || f.Redirect != "" {
		a = answer{status: f.Status, header: http.Header{}, body: []byte(f.Body)}
		switch {
		case a.status != 0:
		case f.Redirect != "":
			a.status = http.StatusFound
		default:
			a.status = http.StatusOK
		}
		if f.Body != "" {
			a.header.Set("Content-Type", "application/json")
		}
		if f.Redirect != "" {
			a.header.Set("Location", f.Redirect)
		}
	}
	if f.Gzip {
		a.header.Set("Content-Encoding", "gzip")
	}
	const line = 1 << 10
	for n := 0; n < f.HeaderBytes; n += line {
		name := fmt.Sprintf("X-Padding-%d", n/line)
		a.header.Set(name, strings.Repeat("x", max(min(line, f.HeaderBytes-n)-len(name+": \r\n"), 0)))
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

// block is how many blanks are written at once.
const block = 1 << 20

// content is a body as it goes over the wire: head once, then tail so many
// times, or for ever if times is negative.
type content struct {
	head, tail []byte
	times      int
}

// content is the body with the fault's blanks, compressed if it says so. The
// compressed parts are gzip members of their own, which readers put together,
// so that a bomb costs the simulator little.
func (f Fault) content(body []byte) content {
	c := content{head: body, times: f.Padding / block}
	if rest := f.Padding % block; rest > 0 {
		c.head = append(bytes.Clone(body), blanks(rest)...)
	}
	if f.Endless {
		c.times = -1
	}
	if c.times != 0 {
		c.tail = blanks(block)
	}
	if f.Gzip {
		c.head, c.tail = compress(c.head), compress(c.tail)
	}
	return c
}

// length is what Content-Length says; it is false if the body has no end.
func (c content) length() (int, bool) {
	return len(c.head) + max(c.times, 0)*len(c.tail), c.times >= 0
}

// writeTo writes until the end, or until w fails.
func (c content) writeTo(w io.Writer) error {
	if len(c.head) > 0 { // some answers may not even try to have a body
		if _, err := w.Write(c.head); err != nil {
			return err
		}
	}
	for n := 0; n != c.times; n++ {
		if _, err := w.Write(c.tail); err != nil {
			return err
		}
	}
	return nil
}

func blanks(n int) []byte { return bytes.Repeat([]byte(" "), n) }

// compress makes one gzip member; nothing stays nothing.
func compress(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(p) // a bytes.Buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// errCut ends an answer that shall stay without its end.
var errCut = errors.New("simulator: the fault cuts the answer")

// flusher is an http.ResponseController, or a bufio.Writer.
type flusher interface{ Flush() error }

// pacer writes as fast as the fault wants, and as much.
type pacer struct {
	ctx   context.Context //nolint:containedctx // it is an io.Writer
	to    io.Writer
	flush flusher
	pause time.Duration // before each byte
	cut   int           // bytes that may still be written; negative: all
}

func (p *pacer) Write(b []byte) (int, error) {
	if p.cut >= 0 && len(b) > p.cut {
		n, err := p.write(b[:p.cut])
		if err != nil {
			return n, err
		}
		p.cut = 0
		_ = p.flush.Flush()
		return n, errCut
	}
	n, err := p.write(b)
	if p.cut >= 0 {
		p.cut -= n
	}
	return n, err
}

func (p *pacer) write(b []byte) (int, error) {
	if p.pause <= 0 {
		if err := p.ctx.Err(); err != nil {
			return 0, err
		}
		return p.to.Write(b)
	}
	timer := time.NewTimer(p.pause)
	defer timer.Stop()
	for i := range b {
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			return i, p.ctx.Err()
		}
		timer.Reset(p.pause)
		if _, err := p.to.Write(b[i : i+1]); err != nil {
			return i, err
		}
		if err := p.flush.Flush(); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

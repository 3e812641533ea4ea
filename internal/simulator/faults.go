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

// Fault makes requests with valid credentials fail. Its fields combine.
type Fault struct {
	After, For  int                      // skip After requests, then apply to For (0: all)
	Probability float64                  // 0 means always
	Active      func(now time.Time) bool // default: always

	Latency time.Duration // before the response
	Hang    bool          // until the client disconnects
	Drop    bool          // close the connection without a response

	// Status, Body and Redirect replace the response.
	Status      int // default: 200, or 302 with Redirect
	Body        string
	Redirect    string
	Header      http.Header // added to any response
	HeaderBytes int         // length of padding headers

	Handler http.Handler // writes the whole response instead

	Garbage string // sent instead of HTTP, repeatedly if Endless

	PageCap      int  // maximum length of a page
	IgnoreOffset bool // always send the first page
	RepeatIDs    bool // append the first item of each page again

	Padding int  // number of blanks after the body
	Endless bool // endless padding
	Gzip    bool // even if not requested

	SlowHeader time.Duration // before each byte of the header or of Garbage
	Trickle    time.Duration // before each byte of the body

	CutAfter int // length in bytes at which the encoded body is cut
}

type armedFault struct {
	Fault
	seen int // requests
}

// SetFault replaces the faults of a target. The first that matches a request applies. Targets with an ID take
// precedence.
func (s *Simulator) SetFault(t Target, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, t)
	for _, f := range faults {
		f.Header = f.Header.Clone()
		s.faults[t] = append(s.faults[t], &armedFault{Fault: f})
	}
}

// nextFault counts the request for each fault and returns the first that applies.
func (s *Simulator) nextFault(t Target) Fault {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var match *armedFault
	for _, key := range []Target{t, {Endpoint: t.Endpoint}} {
		for _, f := range s.faults[key] {
			if s.applies(f, now) && match == nil {
				match = f
			}
		}
		if t.ID == "" {
			break
		}
	}
	if match == nil {
		return Fault{}
	}
	return match.Fault
}

func (s *Simulator) applies(f *armedFault, now time.Time) bool {
	f.seen++
	if f.seen <= f.After || (f.For > 0 && f.seen > f.After+f.For) {
		return false
	}
	if f.Active != nil && !f.Active(now) {
		return false
	}
	return f.Probability == 0 || s.faultRand.Float64() < f.Probability
}

// wait reports whether to send a response.
func (f Fault) wait(ctx context.Context) bool {
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

func (f Fault) apply(r response) response {
	if f.Status != 0 || f.Body != "" || f.Redirect != "" {
		r = response{status: f.Status, header: http.Header{}, body: []byte(f.Body)}
		switch {
		case r.status != 0:
		case f.Redirect != "":
			r.status = http.StatusFound
		default:
			r.status = http.StatusOK
		}
		if f.Body != "" {
			r.header.Set("Content-Type", "application/json")
		}
		if f.Redirect != "" {
			r.header.Set("Location", f.Redirect)
		}
	}
	if f.Gzip {
		r.header.Set("Content-Encoding", "gzip")
	}
	const line = 1 << 10
	for n := 0; n < f.HeaderBytes; n += line {
		name := fmt.Sprintf("X-Padding-%d", n/line)
		r.header.Set(name, strings.Repeat("x", max(min(line, f.HeaderBytes-n)-len(name+": \r\n"), 0)))
	}
	for name, values := range f.Header {
		r.header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

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

func repeatFirst[T any](f Fault, items []T) []T {
	if !f.RepeatIDs || len(items) == 0 {
		return items
	}
	return append(items, items[0])
}

const blockSize = 1 << 20

// encodedBody is head followed by tail, repeated endlessly if times is negative.
type encodedBody struct {
	head, tail []byte
	times      int
}

// encode compresses each part as a separate gzip member, so that a bomb costs little.
func (f Fault) encode(body []byte) encodedBody {
	e := encodedBody{head: body, times: f.Padding / blockSize}
	if n := f.Padding % blockSize; n > 0 {
		e.head = append(bytes.Clone(body), blanks(n)...)
	}
	if f.Endless {
		e.times = -1
	}
	if e.times != 0 {
		e.tail = blanks(blockSize)
	}
	if f.Gzip {
		e.head, e.tail = compress(e.head), compress(e.tail)
	}
	return e
}

// length returns false if the body is endless.
func (e encodedBody) length() (n int, ok bool) {
	return len(e.head) + max(e.times, 0)*len(e.tail), e.times >= 0
}

func (e encodedBody) writeTo(w io.Writer) error {
	if len(e.head) > 0 { // some statuses forbid even an empty write
		if _, err := w.Write(e.head); err != nil {
			return err
		}
	}
	for n := 0; n != e.times; n++ {
		if _, err := w.Write(e.tail); err != nil {
			return err
		}
	}
	return nil
}

func blanks(n int) []byte { return bytes.Repeat([]byte(" "), n) }

func compress(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(p) // never fails
	_ = z.Close()
	return b.Bytes()
}

// errCut ends a response at CutAfter.
var errCut = errors.New("simulator: response cut by a fault")

type flusher interface{ Flush() error }

// pacedWriter delays each byte, and fails with errCut after remaining bytes.
type pacedWriter struct {
	ctx       context.Context //nolint:containedctx // it is an io.Writer
	w         io.Writer
	flusher   flusher
	delay     time.Duration
	remaining int // negative means no limit
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	if p.remaining >= 0 && len(b) > p.remaining {
		n, err := p.write(b[:p.remaining])
		if err != nil {
			return n, err
		}
		p.remaining = 0
		_ = p.flusher.Flush()
		return n, errCut
	}
	n, err := p.write(b)
	if p.remaining >= 0 {
		p.remaining -= n
	}
	return n, err
}

func (p *pacedWriter) write(b []byte) (int, error) {
	if p.delay <= 0 {
		if err := p.ctx.Err(); err != nil {
			return 0, err
		}
		return p.w.Write(b)
	}
	timer := time.NewTimer(p.delay)
	defer timer.Stop()
	for i := range b {
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			return i, p.ctx.Err()
		}
		timer.Reset(p.delay)
		if _, err := p.w.Write(b[i : i+1]); err != nil {
			return i, err
		}
		if err := p.flusher.Flush(); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

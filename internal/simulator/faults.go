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

// Fault makes requests of a target fail. Its fields combine. It applies after the checks of credentials, so that it
// never hides a client's mistake. Credentials issued behind a replaced answer are valid.
type Fault struct {
	// Which requests fail: the next For (0: all) after the first After, a share of Probability (0: all), while Active
	// (if set) returns true.
	After, For  int
	Probability float64
	Active      func(now time.Time) bool

	// Before the answer: wait, hang until the client disconnects, or close the connection.
	Latency time.Duration
	Hang    bool
	Drop    bool

	// The replacement answer, if Status, Body or Redirect is set. Status defaults to 200, or 302 with Redirect. Header
	// and HeaderBytes of padding are added to any answer.
	Status      int
	Body        string
	Redirect    string
	Header      http.Header
	HeaderBytes int

	// Garbage replaces HTTP, repeatedly with Endless. Then the connection is closed.
	Garbage string

	// Wrong pages: too short, always the first, or with the first item repeated.
	PageCap      int
	IgnoreOffset bool
	RepeatIDs    bool

	// Trailing blanks (still valid JSON), endless ones, or gzip, requested or not. Gzip with a large Padding is a bomb,
	// compressed 1000:1.
	Padding int
	Endless bool
	Gzip    bool

	// Delays before each byte of the header (or Garbage) and of the body.
	SlowHeader time.Duration
	Trickle    time.Duration

	// CutAfter closes the connection after that many bytes of the encoded body.
	CutAfter int
}

type armedFault struct {
	Fault
	seen int // requests
}

// SetFault replaces the faults of a target. The first that matches a request applies. Those of a single cluster or
// project precede those of an empty ID.
func (s *Simulator) SetFault(t Target, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, t)
	for _, f := range faults {
		f.Header = f.Header.Clone()
		s.faults[t] = append(s.faults[t], &armedFault{Fault: f})
	}
}

// nextFault counts a request and returns its fault, or the zero Fault.
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

// delay waits before the answer and reports whether to send one.
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

const blockSize = 1 << 20 // bytes per write

// encodedBody is an encoded body: head, then tail repeated, endlessly if times is negative.
type encodedBody struct {
	head, tail []byte
	times      int
}

// encode pads and compresses body. Each part is a gzip member of its own, so that a bomb costs the simulator little.
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

// length is not ok for an endless body.
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
	_, _ = z.Write(p) // a bytes.Buffer never fails
	_ = z.Close()
	return b.Bytes()
}

// errCut aborts an answer at CutAfter.
var errCut = errors.New("simulator: answer cut by a fault")

type flusher interface{ Flush() error }

// pacedWriter is a writer with the fault's delays and cut.
type pacedWriter struct {
	ctx       context.Context //nolint:containedctx // it is an io.Writer
	w         io.Writer
	flusher   flusher
	delay     time.Duration // before each byte
	remaining int           // bytes; negative means no limit
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

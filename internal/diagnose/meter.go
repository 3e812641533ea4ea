// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"sync"

	"css_vpcep_exporter/internal/diagnose/apifacts"
)

// Meter is an http.RoundTripper that counts the requests where they are sent, and sends at most MaxRequests.
type Meter struct {
	next http.RoundTripper

	mu      sync.Mutex
	sent    int
	refused bool        // a request
	headers http.Header // of all responses of the API; the last value of each
}

// NewMeter returns a Meter that sends by next.
func NewMeter(next http.RoundTripper) *Meter { return &Meter{next: next, headers: make(http.Header)} }

// take counts a request that is about to be sent.
func (m *Meter) take() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sent >= MaxRequests {
		m.refused = true
		return false
	}
	m.sent++
	return true
}

// exceeded reports whether a request was not sent.
func (m *Meter) exceeded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

func (m *Meter) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return MaxRequests - m.sent
}

// RoundTrip implements http.RoundTripper. A request that net/http sends again, after a kept connection has broken, counts
// again.
func (m *Meter) RoundTrip(req *http.Request) (*http.Response, error) {
	if !m.take() {
		return nil, apifacts.ErrLimit
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	first := true // connections follow each other
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !first && !m.take() {
			cancel(apifacts.ErrLimit)
			_ = info.Conn.Close() // net/http would write the request before it sees the cancellation
		}
		first = false
	}})
	resp, err := m.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	m.mu.Lock()
	maps.Copy(m.headers, resp.Header)
	m.mu.Unlock()
	resp.Body = &cancellingBody{resp.Body, cancel}
	return resp, nil
}

type cancellingBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *cancellingBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// CloseIdleConnections closes connections without a request.
func (m *Meter) CloseIdleConnections() {
	if t, closes := m.next.(interface{ CloseIdleConnections() }); closes {
		t.CloseIdleConnections()
	}
}

// seen returns the headers of all responses of the API.
func (m *Meter) seen() http.Header {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.headers.Clone()
}

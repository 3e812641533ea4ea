// SPDX-License-Identifier: Apache-2.0

// Package endpoint finds out how far a request gets on its way to an endpoint: DNS, TCP, the proxy, TLS, HTTP and the
// clock. It touches the network.
package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"css_vpcep_exporter/internal/diagnose/report"
	"css_vpcep_exporter/internal/network"
)

// Trail is what one request without a signature met on its way to an endpoint.
type Trail struct {
	endpoint *url.URL
	proxy    *url.URL // nil means none

	mu        sync.Mutex // a connection may still be in the making when the request has failed
	host      string
	addresses []net.IPAddr
	resolving bool
	resolved  time.Duration
	dialed    string
	connected time.Duration
	shakes    []handshake
	connectAt time.Time
	gotConn   bool

	status  int
	proto   string
	date    string
	latency time.Duration
	at      time.Time // of the response
	err     error
}

// handshake is one of TLS; with a proxy that has https, the first one is with the proxy.
type handshake struct {
	state tls.ConnectionState
	err   error
	done  bool
}

// Means are those of a project.
type Means struct {
	Proxy     func(*url.URL) (*url.URL, error)
	Transport *http.Transport // used for nothing else
	Agent     string          // User-Agent
	Timeout   time.Duration
	Admit     func(context.Context) error // waits until the request may be sent
}

// Probe sends GET / to an endpoint.
func Probe(ctx context.Context, endpoint string, by Means) *Trail {
	t := &Trail{}
	var err error
	if t.endpoint, err = url.Parse(endpoint); err != nil {
		t.endpoint, t.err = &url.URL{}, errors.New("invalid URL")
		return t
	}
	if t.proxy, t.err = by.Proxy(t.endpoint); t.err != nil {
		return t
	}
	if t.err = by.Admit(ctx); t.err != nil {
		return t
	}
	ctx, cancel := context.WithTimeout(ctx, by.Timeout)
	defer cancel()
	t.send(ctx, by.Transport, by.Agent)
	return t
}

// Err returns why there was no response.
func (t *Trail) Err() error { return t.err }

func (t *Trail) send(ctx context.Context, transport *http.Transport, agent string) {
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx = httptrace.WithClientTrace(ctx, t.trace(cancel))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.endpoint.String()+"/", nil)
	if err != nil {
		t.err = err
		return
	}
	req.Header.Set("User-Agent", agent)
	start := time.Now()
	resp, err := transport.RoundTrip(req)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errAgain) {
		err = cause
	}
	if err != nil {
		t.err = err
		return
	}
	defer resp.Body.Close()
	t.at = time.Now()
	t.status, t.proto, t.date = resp.StatusCode, resp.Proto, resp.Header.Get("Date")
	t.mu.Lock()
	t.latency = t.at.Sub(start)
	if !t.connectAt.IsZero() {
		t.latency = t.at.Sub(t.connectAt)
	}
	t.mu.Unlock()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
}

// errAgain is the error of a probe that net/http would send again and again.
var errAgain = errors.New("the server refused the request, and wants it to be sent again (HTTP/2)")

// HintAgain is the hint for a server that wants requests to be sent again and again.
const HintAgain = "check endpoint or iam_endpoint, and what is in between on the network, such as a gateway that restarts"

func (t *Trail) trace(cancel context.CancelCauseFunc) *httptrace.ClientTrace {
	var resolveAt, dialAt time.Time
	locked := func(change func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		change()
	}
	return &httptrace.ClientTrace{
		DNSStart: func(i httptrace.DNSStartInfo) {
			locked(func() { t.host, t.resolving, resolveAt = i.Host, true, time.Now() })
		},
		DNSDone: func(i httptrace.DNSDoneInfo) {
			locked(func() { t.addresses, t.resolving, t.resolved = i.Addrs, i.Err != nil, time.Since(resolveAt) })
		},
		ConnectStart: func(string, string) {
			locked(func() {
				if dialAt.IsZero() {
					dialAt = time.Now()
				}
			})
		},
		ConnectDone: func(_, address string, err error) {
			locked(func() {
				if err == nil && t.dialed == "" {
					t.dialed, t.connected = address, time.Since(dialAt)
				}
			})
		},
		TLSHandshakeStart: func() { locked(func() { t.shakes = append(t.shakes, handshake{}) }) },
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			locked(func() {
				if n := len(t.shakes); n > 0 {
					t.shakes[n-1] = handshake{state, err, true}
				}
			})
		},
		GotConn: func(httptrace.GotConnInfo) {
			locked(func() {
				if t.gotConn {
					cancel(errAgain)
				}
				t.gotConn, t.connectAt = true, time.Now()
			})
		},
	}
}

// handshake returns the one with the endpoint, if it has begun.
func (t *Trail) handshake() (h handshake, begun bool) {
	n := 1
	if t.proxy != nil && t.proxy.Scheme == "https" {
		n = 2
	}
	if len(t.shakes) < n {
		return handshake{}, false
	}
	return t.shakes[n-1], true
}

func (t *Trail) stage() network.Stage {
	_, begun := t.handshake()
	switch {
	case t.gotConn:
		return network.Connected
	case begun:
		return network.Handshaking
	}
	return network.Connecting
}

// failure explains why the request has failed.
func (t *Trail) failure() report.Finding {
	stage := t.stage()
	if errors.Is(t.err, context.DeadlineExceeded) {
		what, hint := network.ExplainTimeout(stage)
		if hint == "" {
			hint = "the endpoint accepts connections but does not answer: check region and endpoint, and what is in between " +
				"on the network"
		}
		return report.Failure("timed out waiting for "+what, hint)
	}
	text := t.err.Error()
	switch {
	case errors.Is(t.err, errAgain):
		return report.Failure(text, HintAgain)
	case network.IsMalformed(t.err):
		text = "malformed HTTP response" // which must not be quoted
	case text == io.EOF.Error():
		text = "the connection was closed without a response"
	}
	return report.Failure(text, network.Explain(t.err, stage).Hint)
}

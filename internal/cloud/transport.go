// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/tls"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/network"
)

const (
	dialTimeout = 5 * time.Second
	// Pings replace an HTTP/2 connection that died silently within one scrape.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	idleTimeout = 3 * time.Minute
	// maxFailures in a row replace the connections, at most every closeInterval, so that the endpoint's address is
	// looked up again.
	maxFailures   = 2
	closeInterval = 10 * time.Second
)

// NewTransport returns a transport that keeps connections between scrapes. A nil proxy means none.
func NewTransport(tlsConfig *tls.Config, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	return &http.Transport{
		Proxy:                  proxy,
		OnProxyConnectResponse: network.CheckConnect,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        tlsConfig.Clone(),
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    math.MaxInt32, // scrape.concurrency bounds them
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

func (c *Client) closeIdle() {
	if t, ok := c.options.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

func (c *Client) renew() {
	if t, ok := c.options.Transport.(interface{ Renew() }); ok {
		t.Renew()
		return
	}
	c.closeIdle()
}

// watchConnections replaces connections whose server may be gone: after maxFailures in a row. It closes idle ones after a
// timeout while no other request was answered.
func (c *Client) watchConnections(start time.Time, status int, timedOut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !timedOut && status != 0 && status < http.StatusInternalServerError {
		c.failures, c.answeredAt = 0, now
		return
	}
	if timedOut {
		if now.Sub(start) >= tryPatience && c.answeredAt.Before(start) {
			c.closeIdle()
		}
		return
	}
	c.failures++
	if c.failures >= maxFailures && now.Sub(c.closedAt) >= closeInterval {
		c.failures, c.closedAt = 0, now
		c.renew()
	}
}

type progress struct{ handshaking, connected atomic.Bool }

func (p *progress) stage() network.Stage {
	switch {
	case p.connected.Load():
		return network.Connected
	case p.handshaking.Load():
		return network.Handshaking
	}
	return network.Connecting
}

// traceProgress returns a request that calls connected once it has a connection.
func traceProgress(req *http.Request, connected func()) (*http.Request, *progress) {
	p := new(progress)
	trace := &httptrace.ClientTrace{
		TLSHandshakeStart: func() { p.handshaking.Store(true) },
		GotConn: func(httptrace.GotConnInfo) {
			p.connected.Store(true)
			connected()
		},
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace)), p
}

// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/tls"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// Pings replace an HTTP/2 connection that died silently within one scrape.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	idleTimeout = 3 * time.Minute // longer than usual scrape intervals
	// maxFailures in a row close the idle connections, at most every closeInterval, so that the endpoint's address is
	// looked up again.
	maxFailures   = 3
	closeInterval = 10 * time.Second
)

// NewTransport returns a transport that keeps connections between scrapes. A nil proxy means that of the environment.
func NewTransport(tlsConfig *tls.Config, proxy *url.URL) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true, // a TLS configuration turns it off otherwise
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    math.MaxInt32, // scrape.concurrency bounds them
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 256 << 10,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

func (c *Client) closeIdle() {
	if t, ok := c.options.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// watchConnections closes idle connections whose server may be gone: after maxFailures in a row, and after a timeout
// while no other request was answered.
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
		c.closeIdle()
	}
}

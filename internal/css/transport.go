// SPDX-License-Identifier: Apache-2.0

package css

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// An HTTP/2 connection that received nothing for pingAfter is pinged, and replaced if the ping is not answered within
	// pingTimeout: a connection that died silently costs no more than one scrape.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	idleTimeout = 3 * time.Minute // outlasts the usual intervals between scrapes
	// maxFailures in a row close the idle connections, so that the endpoint's address is looked up again, but not more often
	// than every closeInterval.
	maxFailures   = 3
	closeInterval = 10 * time.Second
)

// NewTransport returns a transport that keeps connections warm between scrapes. A nil proxy means the proxy of the
// environment.
func NewTransport(tlsConfig *tls.Config, proxy *url.URL) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true, // a TLS configuration turns it off otherwise
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    1024, // the highest concurrency that the configuration allows
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 256 << 10,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

// closeIdle closes the connections that are not in use.
func (c *Client) closeIdle() {
	if t, ok := c.options.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// watchConnections closes idle connections that may lead to a server that is gone: after some failures in a row, and after a
// request that timed out while nothing else was answered either.
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

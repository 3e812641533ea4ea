// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/tls"
	"io"
	"net/http"
	"sync"
)

// Renewable is an http.RoundTripper whose connections can be replaced. Closing those that are idle is not enough: one
// of HTTP/2 that always has a request under way is never idle.
type Renewable struct {
	config func() *tls.Config
	create func(*tls.Config) *http.Transport

	mu      sync.Mutex
	held    *tls.Config
	current *http.Transport // others close their connections when these become idle
}

// NewRenewable returns a Renewable. It calls config before each request, and create for each new configuration.
func NewRenewable(config func() *tls.Config, create func(*tls.Config) *http.Transport) *Renewable {
	held := config()
	return &Renewable{config: config, create: create, held: held, current: create(held)}
}

// RoundTrip implements http.RoundTripper.
func (r *Renewable) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	if now := r.config(); now != r.held {
		r.held = now
		r.replace()
	}
	t := r.current
	r.mu.Unlock()
	resp, err := t.RoundTrip(req)
	if err != nil {
		r.done(t)
		return nil, err
	}
	resp.Body = &notifyingBody{resp.Body, func() { r.done(t) }}
	return resp, nil
}

// Renew lets later requests use new connections. Requests under way complete.
func (r *Renewable) Renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace()
}

func (r *Renewable) replace() {
	old := r.current
	r.current = r.create(r.held)
	old.CloseIdleConnections()
}

// CloseIdleConnections closes connections without a request.
func (r *Renewable) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.CloseIdleConnections()
}

func (r *Renewable) done(t *http.Transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t != r.current {
		t.CloseIdleConnections()
	}
}

type notifyingBody struct {
	io.ReadCloser
	closed func()
}

func (b *notifyingBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

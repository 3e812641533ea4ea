// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Relay forwards TCP connections to a server, and can make them die silently.
type Relay struct {
	Addr string // host:port

	target   string
	listener net.Listener
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu       sync.Mutex
	conns    map[*relayedConn]struct{}
	accepted int
	closed   bool
}

type relayedConn struct {
	client, server net.Conn // server is nil until connected
	silent         atomic.Bool
}

// StartRelay forwards from a free port of 127.0.0.1 to target until Close, even if ctx ends earlier.
func StartRelay(ctx context.Context, target string) (*Relay, error) {
	listener, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &Relay{
		Addr: listener.Addr().String(), target: target, listener: listener, cancel: cancel,
		conns: make(map[*relayedConn]struct{}),
	}
	r.running.Go(func() { r.serve(base) })
	return r, nil
}

// Accepted returns the number of accepted connections.
func (r *Relay) Accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// Silence makes open connections discard all data, and hides from each side that the other has closed.
func (r *Relay) Silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.silent.Store(true)
	}
}

// Close closes all connections and waits for all goroutines.
func (r *Relay) Close() error {
	r.cancel()
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.conns {
		c.close()
	}
	r.mu.Unlock()
	r.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (r *Relay) serve(ctx context.Context) {
	for {
		client, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client may have reset the connection
		}
		c := &relayedConn{client: client}
		r.mu.Lock()
		r.accepted++
		r.conns[c] = struct{}{}
		r.mu.Unlock()
		r.running.Go(func() { r.forward(ctx, c) })
	}
}

// forward keeps a silent connection open until the Relay is closed.
func (r *Relay) forward(ctx context.Context, c *relayedConn) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", r.target)
	r.mu.Lock()
	if err == nil {
		c.server = server
	}
	if err != nil || r.closed {
		c.close()
	}
	r.mu.Unlock()
	if err == nil {
		var both sync.WaitGroup
		both.Go(func() { c.copy(server, c.client) })
		both.Go(func() { c.copy(c.client, server) })
		both.Wait()
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if c.silent.Load() && !r.closed {
		return
	}
	c.close()
	delete(r.conns, c)
}

// copy closes the write side of dst at the end of src.
func (c *relayedConn) copy(dst, src net.Conn) {
	buffer := make([]byte, 32<<10)
	var broken error
	for broken == nil {
		n, err := src.Read(buffer)
		if c.silent.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			_, broken = dst.Write(buffer[:n])
		}
		if errors.Is(err, io.EOF) {
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			return
		}
		broken = errors.Join(broken, err)
	}
	c.close() // ends the other direction too
}

func (c *relayedConn) close() {
	_ = c.client.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}

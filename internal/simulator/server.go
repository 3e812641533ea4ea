// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves a Simulator on a loopback port.
type Server struct {
	// URL is the endpoint of all services, such as http://127.0.0.1:41234.
	URL string

	http      *http.Server
	cancel    context.CancelCauseFunc
	serveDone chan struct{}
	active    sync.WaitGroup // connections and handlers
	accepted  atomic.Int64
	err       error // from Serve, valid once serveDone is closed
}

// Start listens on a free port of 127.0.0.1 and serves until Close. The context only bounds listening.
func (s *Simulator) Start(ctx context.Context) (*Server, error) {
	listener, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	srv := &Server{
		URL:       "http://" + listener.Addr().String(),
		cancel:    cancel,
		serveDone: make(chan struct{}),
	}
	srv.http = &http.Server{
		Handler:           srv.trackHandlers(s),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnState:         srv.trackConnection,
	}
	go func() {
		defer close(srv.serveDone)
		srv.err = srv.http.Serve(listener)
	}()
	return srv, nil
}

func listen(ctx context.Context) (net.Listener, error) {
	if err := ctx.Err(); err != nil { // Listen does not always check
		return nil, fmt.Errorf("simulator: listening: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("simulator: listening: %w", err)
	}
	return listener, nil
}

// trackHandlers tracks handlers, because those that hijack their connection outlive it.
func (srv *Server) trackHandlers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		srv.active.Add(1)
		defer srv.active.Done()
		h.ServeHTTP(w, r)
	})
}

func (srv *Server) trackConnection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		srv.accepted.Add(1)
		srv.active.Add(1)
	case http.StateClosed, http.StateHijacked:
		srv.active.Done()
	}
}

// Accepted returns the number of connections accepted so far.
func (srv *Server) Accepted() int { return int(srv.accepted.Load()) }

// Close cuts off requests in flight, and returns when all goroutines have ended or ctx is done.
func (srv *Server) Close(ctx context.Context) error {
	srv.cancel(errClosing)
	closeErr := srv.http.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-srv.serveDone
		srv.active.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("simulator: closing server: %w", ctx.Err())
	}
	if !errors.Is(srv.err, http.ErrServerClosed) {
		return errors.Join(closeErr, srv.err)
	}
	return closeErr
}

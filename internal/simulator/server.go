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

// Server serves a Simulator on loopback.
type Server struct {
	URL string // of all services

	http      *http.Server
	cancel    context.CancelCauseFunc
	serveDone chan struct{}
	active    sync.WaitGroup // connections and handlers
	accepted  atomic.Int64
	err       error // set before serveDone is closed
}

// Start serves on a free port of 127.0.0.1 until Close, even if ctx ends earlier.
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
	if err := ctx.Err(); err != nil { // Listen may ignore it
		return nil, fmt.Errorf("simulator: listening: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("simulator: listening: %w", err)
	}
	return listener, nil
}

// trackHandlers counts handlers, because ConnState does not report the end of hijacked connections.
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

// Accepted returns the number of accepted connections.
func (srv *Server) Accepted() int { return int(srv.accepted.Load()) }

// Close aborts requests in flight and waits for all goroutines, until ctx is done.
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

// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// RoundTripper calls a handler without a network, for tests in virtual time (testing/synctest). The request is
// cancelled with the client's. A panic with http.ErrAbortHandler breaks the connection.
type RoundTripper struct {
	Handler      http.Handler
	Connect      time.Duration // delay
	ConnectError error         // instead of a connection
}

// ErrReset is the error of a connection that broke before the response.
var ErrReset = errors.New("connection reset")

// RoundTrip calls the handler.
func (rt *RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if !wait(r, rt.Connect) {
		return nil, r.Context().Err()
	}
	if rt.ConnectError != nil {
		return nil, rt.ConnectError
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	received := r.Clone(r.Context())
	received.RequestURI, received.Host = r.URL.RequestURI(), r.URL.Host
	if received.Body == nil {
		received.Body = http.NoBody
	}
	body, to := io.Pipe()
	w := &responseWriter{header: make(http.Header), body: to, started: make(chan struct{})}
	ended := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() { _ = to.CloseWithError(r.Context().Err()) })
	go func() {
		defer close(ended)
		defer stop()
		w.serve(rt.Handler, received)
	}()
	select {
	case <-w.started:
	case <-ended: // without a response, unless both are ready
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	select {
	case <-w.started:
	default:
		return nil, ErrReset
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: r,
	}, nil
}

func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

// responseWriter writes the body into a pipe.
type responseWriter struct {
	header  http.Header
	body    *io.PipeWriter
	start   sync.Once
	started chan struct{} // closed once status and sent are set
	status  int
	sent    http.Header
}

func (w *responseWriter) serve(h http.Handler, r *http.Request) {
	defer func() {
		switch reason := recover(); reason {
		case nil:
			w.WriteHeader(http.StatusOK)                 // if the handler did not
			_ = w.body.CloseWithError(r.Context().Err()) // nil means io.EOF
		case http.ErrAbortHandler:
			_ = w.body.CloseWithError(io.ErrUnexpectedEOF)
		default:
			panic(reason)
		}
	}()
	h.ServeHTTP(w, r)
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	w.start.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *responseWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() { w.WriteHeader(http.StatusOK) }

// SPDX-License-Identifier: Apache-2.0

// Package handshakes keeps failed TLS handshakes of little interest out of the log.
package handshakes

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Log lowers the level of failed TLS handshakes to debug if the client sent nothing, as load balancers and the
// kubelet do every few seconds, and if there are too many, as from a port scanner.
type Log struct {
	slog.Handler
	warnings *rate.Limiter
	pending  sync.Map // *tls.Conn by remote address, until the handshake ends
}

// New returns a Log that passes records on to h.
func New(h slog.Handler) *Log {
	return &Log{Handler: h, warnings: rate.NewLimiter(rate.Every(time.Minute), 10)}
}

// Track is a http.Server's ConnState.
func (l *Log) Track(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*tls.Conn)
	switch {
	case !ok:
	case state == http.StateNew:
		l.pending.Store(c.RemoteAddr().String(), c)
	default:
		l.pending.CompareAndDelete(c.RemoteAddr().String(), c)
	}
}

// Handle implements slog.Handler.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	failure, ok := strings.CutPrefix(r.Message, "http: TLS handshake error from ")
	noHTTP2 := strings.HasPrefix(r.Message, "http2: server: error reading preface from client ")
	if ok && l.isProbe(failure) || (ok || noHTTP2) && !l.warnings.Allow() {
		r.Level = slog.LevelDebug
	}
	if !l.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// isProbe reports whether a failure, an address and a reason, is that of a client that disconnected before its hello.
func (l *Log) isProbe(failure string) bool {
	address, reason, _ := strings.Cut(failure, ": ")
	if reason != "EOF" && !strings.HasSuffix(reason, ": connection reset by peer") &&
		!strings.HasSuffix(reason, "forcibly closed by the remote host.") { // on Windows
		return false
	}
	conn, ok := l.pending.Load(address)
	if !ok {
		return false
	}
	c, ok := conn.(*tls.Conn)
	return ok && c.ConnectionState().Version == 0 // the hello determines the version
}

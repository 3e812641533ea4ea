// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"css_vpcep_exporter/internal/handshakes"

	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
)

// shutdownGrace is how long running scrapes may continue after SIGTERM. Docker kills a container after 10 s.
const shutdownGrace = 8 * time.Second

// serve serves HTTP until ctx ends, reloads on hangup, and returns the exit code.
func (e *exporter) serve(ctx context.Context, hangup <-chan os.Signal) int {
	signal.Ignore(syscall.SIGPIPE) // the reader of the log may end before the exporter
	handler, err := e.server.Handler()
	if err != nil {
		e.logger.Error("Creating the landing page failed", "err", err)
		return 1
	}
	e.logger.Info("Starting "+name, "version", version.Info(), "build_context", version.BuildContext())
	if e.flags.Demo {
		e.flags.ListenOnLoopback()
		e.announceDemo()
	}

	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	srv := e.newHTTPServer(requests, handler)
	refreshing, stopRefreshing := context.WithCancel(ctx)
	refreshed, served := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(refreshed)
		e.fleet.Run(refreshing)
	}()
	go func() { served <- web.ListenAndServe(srv, e.flags.Web, e.logger) }()

	if err = e.wait(ctx, hangup, served); err != nil {
		e.logger.Error("HTTP server failed", "err", err)
	} else {
		err = e.shutDown(ctx, srv)
	}
	_ = srv.Close() // before cancelling, which would make scrapes respond that clusters are down
	cancelRequests()
	stopRefreshing()
	<-refreshed
	if err != nil {
		return 1
	}
	return 0
}

func (e *exporter) newHTTPServer(ctx context.Context, handler http.Handler) *http.Server {
	failures := handshakes.New(e.logger.Handler())
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(failures, slog.LevelWarn),
		ConnState:         failures.Track,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
}

func (e *exporter) shutDown(ctx context.Context, srv *http.Server) error {
	e.logger.Info("Shutting down", "grace", shutdownGrace)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		e.logger.Warn("Shutdown timed out; cancelling running scrapes")
		return nil
	}
	return err
}

// wait reloads on hangup, and when the configuration file has changed, until ctx ends or the HTTP server fails. It
// returns the server's error.
func (e *exporter) wait(ctx context.Context, hangup <-chan os.Signal, served <-chan error) error {
	var check <-chan time.Time
	if e.flags.WatchesFile() {
		check = time.After(e.flags.AutoReload)
	}
	for {
		select {
		case <-hangup:
			_ = e.reload() // logged, and exposed as a metric
		case <-check:
			check = time.After(e.checkFile())
		case err := <-served:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

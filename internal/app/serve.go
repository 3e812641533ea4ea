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

	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
)

// shutdownGrace is the time that running scrapes get to finish after SIGTERM.
const shutdownGrace = 10 * time.Second

// serve serves HTTP until ctx ends, then shuts down gracefully. It returns the exit code.
func (e *exporter) serve(ctx context.Context) int {
	handler, err := e.server.Handler()
	if err != nil {
		e.logger.Error("Creating the landing page failed", "err", err)
		return 1
	}
	e.logger.Info("Starting "+name, "version", version.Info(), "build_context", version.BuildContext())
	if e.flags.demo {
		e.announceDemo()
	}

	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	background, stopRefreshing := context.WithCancel(ctx)
	refreshed, served := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(refreshed)
		e.fleet.Run(background)
	}()
	go func() { served <- web.ListenAndServe(srv, e.flags.web, e.logger) }()

	if err = e.wait(ctx, served); err != nil {
		e.logger.Error("HTTP server failed", "err", err)
	} else {
		e.logger.Info("Shutting down", "grace", shutdownGrace)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		err = srv.Shutdown(grace)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			e.logger.Warn("Shutdown timed out; cancelling running scrapes")
			err = nil
		}
	}
	cancelRequests()
	_ = srv.Close()
	stopRefreshing()
	<-refreshed
	if err != nil {
		return 1
	}
	return 0
}

// wait reloads the configuration on SIGHUP until ctx ends. If the HTTP server fails before, wait returns its error.
func (e *exporter) wait(ctx context.Context, served <-chan error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			_ = e.reload() // logged, and exposed as a metric
		case err := <-served:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package app parses the flags, connects the other packages and runs the program.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log" //nolint:depguard // to silence it
	"os"
	"os/signal"
	"syscall"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/commandline"
	_ "css_vpcep_exporter/internal/hangup" // SIGHUP never ends the process; run reloads

	"github.com/alecthomas/kingpin/v2"
)

const name = commandline.Name

// Main runs the program with the arguments of the process and returns its exit code.
func Main() int {
	ctx := untilSignal()
	// net/http logs unexpected responses, which may echo signed headers, to the standard logger.
	stdlog.SetOutput(io.Discard)
	kingpin.ManPageTemplate = commandline.ManPage
	return run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. The second one exits at once, with the exit
// code that shells give to a process that a signal ended.
func untilSignal() context.Context {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		code := 1
		if s, ok := (<-signals).(syscall.Signal); ok {
			code = 128 + int(s)
		}
		os.Exit(code)
	}()
	return ctx
}

func run(ctx context.Context, args []string, env config.Environment, stdout, stderr io.Writer) int {
	hangup := make(chan os.Signal, 1) // one that arrives before the server listens waits here
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var f commandline.Flags
	app := commandline.New(&f)
	exit := -1
	app.UsageWriter(stdout).ErrorWriter(stderr).Terminate(func(code int) {
		if exit < 0 { // kingpin continues to parse after --help and --version
			exit = code
		}
	})
	_, err := app.Parse(args)
	switch {
	case exit >= 0:
		return exit
	case err == nil:
		err = f.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s, try --help\n", name, err)
		return 1
	}
	logger := newLogger(stderr, f.LogLevel, f.LogFormat)

	file := newSource(ctx, &f, env)
	if f.ConfigCheck {
		return check(&f, file, stdout)
	}
	if f.Demo {
		cloud, err := startDemo(ctx)
		if err != nil {
			logger.Error("Starting the simulated cloud failed", "err", err)
			return 1
		}
		defer cloud.stop()
		file = cloud.source()
	}

	e := newExporter(&f, file, env, logger)
	defer e.close()
	if f.Diagnose {
		return e.diagnose(ctx, stdout)
	}
	if err := e.reload(); err != nil { // logged by reload
		if errors.Is(err, errInterrupted) && !f.Once {
			return 0
		}
		return 1
	}
	if f.Once {
		return e.once(ctx, stdout)
	}
	return e.serve(ctx, hangup)
}

// check implements --config.check and returns the exit code.
func check(f *commandline.Flags, file source, stdout io.Writer) int {
	cfg, err := file.parse(file.read())
	if err != nil {
		fmt.Fprintln(stdout, err)
		return 1
	}
	noun, limits := "projects", ""
	if len(cfg.Projects) == 1 {
		noun = "project"
	}
	if f.SyntaxOnly {
		limits = "; the content of other files was not checked"
	}
	fmt.Fprintf(stdout, "%s: configuration OK: %d %s%s\n", f.ConfigFile, len(cfg.Projects), noun, limits)
	return 0
}

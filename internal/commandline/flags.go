// SPDX-License-Identifier: Apache-2.0

// Package commandline has the flags of the program, their help and the man page.
package commandline

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/server"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	webflag "github.com/prometheus/exporter-toolkit/web/kingpinflag"
)

// Name is that of the program.
const Name = "css_vpcep_exporter"

const (
	listenAddress = ":10247"
	minAutoReload = 10 * time.Millisecond
)

// Flags are the values of the flags.
type Flags struct {
	ConfigFile  string
	ConfigCheck bool
	SyntaxOnly  bool
	AutoReload  time.Duration
	Once        bool
	Diagnose    bool
	Demo        bool
	Connections bool
	Permissions bool
	LogLevel    string
	LogFormat   string
	Web         *web.FlagConfig
	listenSet   bool
	Lifecycle   bool
	Server      server.Options
}

// New returns a parser that stores the values in f.
func New(f *Flags) *kingpin.Application {
	app := kingpin.New(Name, "Prometheus exporter for the VPC endpoint connections of Huawei Cloud CSS clusters.")
	app.Version(version.Print(Name))
	app.UsageFuncs(manFuncs())
	app.DefaultEnvars()
	app.HelpFlag.Short('h').NoEnvar()
	app.VersionFlag.NoEnvar() // such a variable is likely to contain a version number
	app.Flag("config.file", "Path to the configuration file.").
		Default("css_vpcep.yml").StringVar(&f.ConfigFile)
	app.Flag("config.check", "Validate the configuration file and exit: 0 if it is valid, 1 if not. Sends no request.").
		BoolVar(&f.ConfigCheck)
	app.Flag("config.check-syntax-only",
		"With --config.check: do not check the content of other files (secrets, certificates), which may be absent.").
		BoolVar(&f.SyntaxOnly)
	app.Flag("config.auto-reload-interval", "Reload the configuration file when its content has changed, checked at this "+
		"interval. Changed content is loaded once it has been the same for one second, so that no half-written file is "+
		"used. 0s turns this off.").
		Default("0s").DurationVar(&f.AutoReload)
	app.Flag("once",
		"Scrape once, write the metrics css_vpcep_* to standard output and exit: 0 if everything was read, 1 if not.").
		BoolVar(&f.Once)
	app.Flag("diagnose",
		"Check each project step by step, write what fails, what to do, and facts about the API that are safe to share, "+
			"and exit: 0 if nothing failed, 1 if not.").
		BoolVar(&f.Diagnose)
	app.Flag("demo",
		"Run against a simulated cloud on a free loopback port. Needs no configuration file and no credentials.").
		BoolVar(&f.Demo)
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default("/metrics").StringVar(&f.Server.TelemetryPath)
	app.Flag("web.enable-lifecycle", "Reload the configuration file on POST /-/reload, as on SIGHUP.").
		BoolVar(&f.Lifecycle)
	app.Flag("scrape.timeout",
		"Timeout for requests without an X-Prometheus-Scrape-Timeout-Seconds header, and for --once.").
		Default("10s").DurationVar(&f.Server.Timeout)
	app.Flag("scrape.timeout-offset",
		"Offset to subtract from the timeout of a request, so that the answer arrives in time.").
		Default("500ms").DurationVar(&f.Server.TimeoutOffset)
	app.Flag("collector.connections", "Expose per-connection metrics.").
		Default("true").BoolVar(&f.Connections)
	app.Flag("collector.permissions", "Expose metrics of each permission, the entries of the allowlist.").
		Default("true").BoolVar(&f.Permissions)
	app.Flag("log.level", "Only log messages with the given severity or above. One of: [debug, info, warn, error]").
		Default("info").EnumVar(&f.LogLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages. One of: [logfmt, json]").
		Default("logfmt").EnumVar(&f.LogFormat, "logfmt", "json")
	f.Web = webflag.AddFlags(app, listenAddress)
	app.GetFlag("web.listen-address").IsSetByUser(&f.listenSet)
	for _, flag := range app.Model().Flags {
		value, _ := flag.Value.(kingpin.Getter)
		if value == nil {
			continue
		}
		checked := strings.HasPrefix(flag.Name, "log.") // enums; for other texts, --help would lose the quotes
		switch value.Get().(type) {
		case bool, time.Duration:
			checked = true
		}
		if checked {
			app.GetFlag(flag.Name).SetValue(namedValue{value, flag.Name})
		}
	}
	return app
}

// namedValue adds the flag's name to errors.
type namedValue struct {
	kingpin.Getter
	flag string
}

// Set stores a value.
func (v namedValue) Set(s string) error {
	if err := v.Getter.Set(s); err != nil {
		return fmt.Errorf("--%s=%s: %w", v.flag, s, err)
	}
	return nil
}

// IsBoolFlag reports whether the flag may be given without a value.
func (v namedValue) IsBoolFlag() bool {
	_, ok := v.Get().(bool)
	return ok
}

// WatchesFile reports whether the program reloads a changed configuration file by itself.
func (f *Flags) WatchesFile() bool { return f.AutoReload > 0 && !f.ConfigCheck && !f.Once && !f.Demo }

// ListenOnLoopback restricts the demo to loopback unless a listen address is set.
func (f *Flags) ListenOnLoopback() {
	if !f.listenSet && os.Getenv("CSS_VPCEP_EXPORTER_WEB_LISTEN_ADDRESS") == "" {
		*f.Web.WebListenAddresses = []string{"127.0.0.1" + listenAddress}
	}
}

// Validate returns an error that names a flag with an invalid value.
func (f *Flags) Validate() error {
	o := &f.Server
	switch {
	case f.ConfigFile == "":
		return errors.New("--config.file: it must not be empty")
	case f.SyntaxOnly && !f.ConfigCheck:
		return errors.New("--config.check-syntax-only: it needs --config.check")
	case f.AutoReload < 0:
		return fmt.Errorf("--config.auto-reload-interval=%s: it must not be negative; 0s turns it off", f.AutoReload)
	case f.AutoReload > 0 && f.AutoReload < minAutoReload:
		return fmt.Errorf("--config.auto-reload-interval=%s: it must be at least %s; 0s turns it off",
			f.AutoReload, minAutoReload)
	case f.Diagnose && f.Once:
		return errors.New("--diagnose: it cannot be combined with --once; run one after the other")
	case f.Diagnose && f.ConfigCheck:
		return errors.New("--diagnose: it cannot be combined with --config.check, which it includes")
	case o.Timeout <= 0:
		return fmt.Errorf("--scrape.timeout=%s: it must be more than 0s", o.Timeout)
	case o.TimeoutOffset < 0:
		return fmt.Errorf("--scrape.timeout-offset=%s: it must not be negative", o.TimeoutOffset)
	case len(o.TelemetryPath) < 2 || o.TelemetryPath[0] != '/' || strings.ContainsAny(o.TelemetryPath, "{} ?#%"):
		return fmt.Errorf("--web.telemetry-path=%q: it must be a path below /, such as /metrics", o.TelemetryPath)
	case path.Clean(o.TelemetryPath) != strings.TrimSuffix(o.TelemetryPath, "/"):
		return fmt.Errorf("--web.telemetry-path=%q: it must not contain //, /./ or /../", o.TelemetryPath)
	case slices.Contains(server.Paths(), o.TelemetryPath):
		return fmt.Errorf("--web.telemetry-path=%q: this path is in use; choose another, such as /metrics", o.TelemetryPath)
	}
	return nil
}

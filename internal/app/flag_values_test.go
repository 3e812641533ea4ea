// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/server"
)

// validFlags returns valid values of the flags that are validated.
func validFlags() *flags {
	return &flags{configFile: "css_vpcep.yml", server: server.Options{TelemetryPath: "/metrics", Timeout: time.Second}}
}

func TestValidTelemetryPaths(t *testing.T) {
	for _, path := range []string{"/metrics", "/a/b", "/metrics/", "/status/metrics"} {
		f := validFlags()
		f.server.TelemetryPath = path
		if err := f.validate(); err != nil {
			t.Errorf("%s: got error %v, want none", path, err)
		}
	}
}

func TestInvalidTelemetryPaths(t *testing.T) {
	const below, clean = "it must be a path below /, such as /metrics", "it must not contain //, /./ or /../"
	const taken = "this path is in use; choose another, such as /metrics"
	for path, want := range map[string]string{
		"metrics": below, "/": below, "/{x": below, "//m": clean, "/a/../m": clean,
		"/metrics?collect[]=clusters": below, "/a#b": below, "/a%20b": below,
		"/probe": taken, "/sd": taken, "/status": taken, "/-/ready": taken,
	} {
		f := validFlags()
		f.server.TelemetryPath = path
		want = fmt.Sprintf("--web.telemetry-path=%q: %s", path, want)
		if err := f.validate(); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

func TestInvalidDurations(t *testing.T) {
	const interval = "--config.auto-reload-interval="
	for want, change := range map[string]func(*flags){
		interval + "-1s: it must not be negative; 0s turns it off":  func(f *flags) { f.autoReload = -time.Second },
		interval + "9ms: it must be at least 10ms; 0s turns it off": func(f *flags) { f.autoReload = 9 * time.Millisecond },
		"--scrape.timeout=0s: it must be more than 0s":              func(f *flags) { f.server.Timeout = 0 },
		"--scrape.timeout-offset=-1s: it must not be negative":      func(f *flags) { f.server.TimeoutOffset = -time.Second },
	} {
		f := validFlags()
		change(f)
		if err := f.validate(); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

func TestEmptyConfigFile(t *testing.T) {
	f := validFlags()
	f.configFile = ""
	if err := f.validate(); err == nil || err.Error() != "--config.file: it must not be empty" {
		t.Errorf("got error %v", err)
	}
}

func TestFileIsWatchedOnlyWhileServing(t *testing.T) {
	for name, test := range map[string]struct {
		flags flags
		want  bool
	}{
		"off":            {flags{}, false},
		"on":             {flags{autoReload: time.Second}, true},
		"--once":         {flags{autoReload: time.Second, once: true}, false},
		"--demo":         {flags{autoReload: time.Second, demo: true}, false},
		"--config.check": {flags{autoReload: time.Second, configCheck: true}, false},
	} {
		if got := test.flags.watchesFile(); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

// TestInvalidValuesNameTheFlag matters most for environment variables, of which the command line shows nothing.
func TestInvalidValuesNameTheFlag(t *testing.T) {
	for variable, want := range map[string]string{
		"CONFIG_AUTO_RELOAD_INTERVAL=30": `--config.auto-reload-interval=30: time: missing unit in duration "30"`,
		"SCRAPE_TIMEOUT=soon":            `--scrape.timeout=soon: time: invalid duration "soon"`,
		"ONCE=perhaps":                   `--once=perhaps: strconv.ParseBool: parsing "perhaps": invalid syntax`,
		"LOG_LEVEL=trace":                `--log.level=trace: enum value must be one of debug,info,warn,error, got 'trace'`,
		"LOG_FORMAT=text":                `--log.format=text: enum value must be one of logfmt,json, got 'text'`,
	} {
		t.Run(variable, func(t *testing.T) {
			key, value, _ := strings.Cut(variable, "=")
			t.Setenv("CSS_VPCEP_EXPORTER_"+key, value)
			code, _, stderr := execute(t, "--config.file=/nonexistent")
			if want = "css_vpcep_exporter: " + want + ", try --help\n"; code != 1 || stderr != want {
				t.Errorf("got exit code %d and %q, want 1 and %q", code, stderr, want)
			}
		})
	}
}

func TestAutoReloadIntervalFromTheEnvironment(t *testing.T) {
	t.Setenv("CSS_VPCEP_EXPORTER_CONFIG_AUTO_RELOAD_INTERVAL", "30s")
	var f flags
	if _, err := newCommandLine(&f).Parse(nil); err != nil {
		t.Fatal(err)
	}
	if f.autoReload != 30*time.Second {
		t.Errorf("got an interval of %s, want 30s", f.autoReload)
	}
}

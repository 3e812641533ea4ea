// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"css_vpcep_exporter/internal/server"
)

// validFlags returns valid values of the flags that are validated.
func validFlags() *Flags {
	return &Flags{ConfigFile: "css_vpcep.yml", Server: server.Options{TelemetryPath: "/metrics", Timeout: time.Second}}
}

func TestValidTelemetryPaths(t *testing.T) {
	for _, path := range []string{"/metrics", "/a/b", "/metrics/", "/status/metrics"} {
		f := validFlags()
		f.Server.TelemetryPath = path
		if err := f.Validate(); err != nil {
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
		f.Server.TelemetryPath = path
		want = fmt.Sprintf("--web.telemetry-path=%q: %s", path, want)
		if err := f.Validate(); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

func TestInvalidDurations(t *testing.T) {
	const interval = "--config.auto-reload-interval="
	for want, change := range map[string]func(*Flags){
		interval + "-1s: it must not be negative; 0s turns it off":  func(f *Flags) { f.AutoReload = -time.Second },
		interval + "9ms: it must be at least 10ms; 0s turns it off": func(f *Flags) { f.AutoReload = 9 * time.Millisecond },
		"--scrape.timeout=0s: it must be more than 0s":              func(f *Flags) { f.Server.Timeout = 0 },
		"--scrape.timeout-offset=-1s: it must not be negative":      func(f *Flags) { f.Server.TimeoutOffset = -time.Second },
	} {
		f := validFlags()
		change(f)
		if err := f.Validate(); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

func TestEmptyConfigFile(t *testing.T) {
	f := validFlags()
	f.ConfigFile = ""
	if err := f.Validate(); err == nil || err.Error() != "--config.file: it must not be empty" {
		t.Errorf("got error %v", err)
	}
}

func TestFileIsWatchedOnlyWhileServing(t *testing.T) {
	for name, test := range map[string]struct {
		flags Flags
		want  bool
	}{
		"off":            {Flags{}, false},
		"on":             {Flags{AutoReload: time.Second}, true},
		"--once":         {Flags{AutoReload: time.Second, Once: true}, false},
		"--demo":         {Flags{AutoReload: time.Second, Demo: true}, false},
		"--config.check": {Flags{AutoReload: time.Second, ConfigCheck: true}, false},
	} {
		if got := test.flags.WatchesFile(); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

func TestAutoReloadIntervalFromTheEnvironment(t *testing.T) {
	t.Setenv("CSS_VPCEP_EXPORTER_CONFIG_AUTO_RELOAD_INTERVAL", "30s")
	var f Flags
	if _, err := New(&f).Parse(nil); err != nil {
		t.Fatal(err)
	}
	if f.AutoReload != 30*time.Second {
		t.Errorf("got an interval of %s, want 30s", f.AutoReload)
	}
}

func TestDemoListensOnLoopbackUnlessAnAddressIsSet(t *testing.T) {
	for name, test := range map[string]struct {
		variable string
		args     []string
		want     []string
	}{
		"not set":                      {want: []string{"127.0.0.1:10247"}},
		"flag with the usual default":  {args: []string{"--web.listen-address=:10247"}, want: []string{":10247"}},
		"variable with this default":   {variable: ":10247", want: []string{":10247"}},
		"variable with two addresses":  {variable: "[::1]:1\n[::1]:2", want: []string{"[::1]:1", "[::1]:2"}},
		"flag and variable: flag wins": {":1", []string{"--web.listen-address=:2"}, []string{":2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CSS_VPCEP_EXPORTER_WEB_LISTEN_ADDRESS", test.variable)
			var f Flags
			if _, err := New(&f).Parse(test.args); err != nil {
				t.Fatal(err)
			}
			f.ListenOnLoopback()
			if got := *f.Web.WebListenAddresses; !slices.Equal(got, test.want) {
				t.Errorf("got addresses %q, want %q", got, test.want)
			}
		})
	}
}

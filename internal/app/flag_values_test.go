// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"testing"
	"time"

	"css_vpcep_exporter/internal/server"
)

// validFlags returns valid values of the flags that are validated.
func validFlags() *flags {
	return &flags{server: server.Options{TelemetryPath: "/metrics", Timeout: time.Second}}
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

func TestInvalidTimeouts(t *testing.T) {
	for want, change := range map[string]func(*flags){
		"--scrape.timeout=0s: it must be more than 0s":         func(f *flags) { f.server.Timeout = 0 },
		"--scrape.timeout-offset=-1s: it must not be negative": func(f *flags) { f.server.TimeoutOffset = -time.Second },
	} {
		f := validFlags()
		change(f)
		if err := f.validate(); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

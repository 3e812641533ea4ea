// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prometheusDirs is the environment variable that lists, separated as in PATH, directories with further versions of
// prometheus and promtool.
const prometheusDirs = "CSS_VPCEP_PROMETHEUS_DIRS"

// edition is an installed version of Prometheus.
type edition struct {
	version              string // 2.42.0
	prometheus, promtool string
}

// editions returns the version in PATH and those of prometheusDirs.
func editions(t *testing.T) []edition {
	t.Helper()
	var all []edition
	for _, dir := range append([]string{filepath.Dir(tool(t, "prometheus"))}, filepath.SplitList(os.Getenv(prometheusDirs))...) {
		e := edition{prometheus: filepath.Join(dir, "prometheus"), promtool: filepath.Join(dir, "promtool")}
		if _, err := os.Stat(e.promtool); err != nil {
			t.Fatal(err)
		}
		e.version = versionOf(t, e.prometheus)
		all = append(all, e)
	}
	return all
}

// versionOf returns the version that Prometheus prints or, in a build with go install, the version of its module, where
// v0.316.0 is 3.16.0.
func versionOf(t *testing.T, path string) string {
	t.Helper()
	printed := run(t, nil, path, "--version")
	if found := regexp.MustCompile(`^prometheus, version (\d+\.\d+\.\d+)`).FindStringSubmatch(printed); found != nil {
		return found[1]
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`^v0\.(\d)(\d\d)\.(\d+)$`).FindStringSubmatch(info.Main.Version)
	if found == nil {
		t.Fatalf("%s: no version in its output %q or its module version %q", path, printed, info.Main.Version)
	}
	minor, err := strconv.Atoi(found[2])
	if err != nil {
		t.Fatal(err)
	}
	return found[1] + "." + strconv.Itoa(minor) + "." + found[3]
}

// isV3 reports whether it is a Prometheus 3, where jobs configure the formats to request.
func (e edition) isV3() bool { return !strings.HasPrefix(e.version, "2.") }

// run runs a program, which must exit with 0, and returns its output.
func run(t *testing.T, input []byte, path string, args ...string) string {
	t.Helper()
	out, err := try(t, input, path, args...)
	if err != nil {
		t.Fatalf("%s %s: %s\n%s", path, strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a program and returns its output.
func try(t *testing.T, input []byte, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the test names the program
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Stdin = bytes.NewReader(input)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

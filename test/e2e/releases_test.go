// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const envPrometheusDirs = "CSS_VPCEP_PROMETHEUS_DIRS"

// release is an installed version of Prometheus.
type release struct {
	version              string // such as 2.42.0
	prometheus, promtool string
}

func releases(t *testing.T) []release {
	t.Helper()
	dirs := []string{filepath.Dir(lookPath(t, "prometheus"))}
	dirs = append(dirs, filepath.SplitList(os.Getenv(envPrometheusDirs))...)
	var all []release
	for _, dir := range dirs {
		r := release{prometheus: filepath.Join(dir, "prometheus"), promtool: filepath.Join(dir, "promtool")}
		if _, err := os.Stat(r.promtool); err != nil {
			t.Fatal(err)
		}
		r.version = versionOf(t, r.prometheus)
		all = append(all, r)
	}
	return all
}

// versionOf uses the module version of builds by go install, which print none: v0.316.0 is 3.16.0.
func versionOf(t *testing.T, path string) string {
	t.Helper()
	out, err := runProgram(t, "", path, "--version")
	if err != nil {
		t.Fatalf("%s --version: %s\n%s", path, err, out)
	}
	if found := regexp.MustCompile(`^prometheus, version (\d+\.\d+\.\d+)`).FindStringSubmatch(out); found != nil {
		return found[1]
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`^v0\.(\d)(\d\d)\.(\d+)$`).FindStringSubmatch(info.Main.Version)
	if found == nil {
		t.Fatalf("%s: no version in the output %q or the module version %q", path, out, info.Main.Version)
	}
	minor, err := strconv.Atoi(found[2])
	if err != nil {
		t.Fatal(err)
	}
	return found[1] + "." + strconv.Itoa(minor) + "." + found[3]
}

// isV3 reports whether jobs can select formats.
func (r release) isV3() bool { return !strings.HasPrefix(r.version, "2.") }

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// TestExit checks the exit code and the output of invocations that do not serve.
func TestExit(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "valid", Status: "200"})
	cloud.AddCluster("p1", simulator.Cluster{ID: "failing", Status: "200"})
	cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: "failing"}, simulator.Fault{Status: 500})
	broken := filepath.Join(t.TempDir(), "broken.yml")
	content := "projects:\n  - region: cn-north-4\n    projekt_id: p1\n    credentials: {access_key: AK-of-the-test}\n"
	if err := os.WriteFile(broken, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string // expected substrings
	}{
		"help":                {[]string{"--help"}, 0, "--config.file=\"css_vpcep.yml\"", ""},
		"version":             {[]string{"--version"}, 0, "css_vpcep_exporter, version", ""},
		"unknown flag":        {[]string{"--colector.connections"}, 1, "", "css_vpcep_exporter: unknown long flag '--colector.connections', try --help\n"},
		"invalid flag value":  {[]string{"--scrape.timeout=0s"}, 1, "", "--scrape.timeout=0s: it must be more than 0s"},
		"once":                {[]string{"--once", "--config.file=" + file("[{id: valid}]")}, 0, `css_vpcep_up{cluster_id="valid",cluster_name="",project_id="p1",region="cn-north-4"} 1`, ""},
		"once, one fails":     {[]string{"--once", "--config.file=" + file("[{id: valid}, {id: failing}]")}, 1, `css_vpcep_up{cluster_id="failing",cluster_name="",project_id="p1",region="cn-north-4"} 0`, "reason=server"},
		"once, in JSON":       {[]string{"--once", "--log.format=json", "--config.file=" + file("[{id: failing}]")}, 1, "css_vpcep_up", `"reason":"server"`},
		"check":               {[]string{"--config.check", "--config.file=" + file("[{id: valid}]")}, 0, "css_vpcep.yml: configuration OK: 1 project\n", ""},
		"check, invalid file": {[]string{"--config.check", "--config.file=" + broken}, 1, broken + ":3: projects[0].projekt_id: ", ""},
		"check, no file":      {[]string{"--config.check", "--config.file=/nonexistent.yml"}, 1, "/nonexistent.yml: cannot read the file", ""},
		"invalid file":        {[]string{"--config.file=" + broken}, 1, "", "projects[0].credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append(tc.args, "--log.level=debug"), noEnv, &stdout, &stderr)
			if code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			if !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("standard output:\n%s\nstandard error:\n%s", &stdout, &stderr)
			}
			if out := stdout.String() + stderr.String(); strings.Contains(out, "SK-of-the-test") || strings.Contains(out, "AK-of-the-test") {
				t.Errorf("the output contains a secret:\n%s", out)
			}
		})
	}
	if requests := cloud.Requests(); slices.ContainsFunc(requests, func(r simulator.Request) bool { return r.Status == http.StatusUnauthorized }) {
		t.Error("a request was rejected")
	}
}

// TestFlags checks that the README documents exactly the flags of the program.
func TestFlags(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var written, known []string
	for _, match := range regexp.MustCompile("(?m)^\\| `--(?:\\[no-\\])?([a-z.-]+)").FindAllStringSubmatch(string(readme), -1) {
		written = append(written, match[1])
	}
	for _, flag := range newCommandLine(&flags{}).Model().Flags {
		if !flag.Hidden {
			known = append(known, flag.Name)
		}
	}
	slices.Sort(written)
	slices.Sort(known)
	if diff := cmp.Diff(known, written); diff != "" {
		t.Errorf("command line (-) and README.md (+) differ:\n%s", diff)
	}
}

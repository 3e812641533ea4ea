// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/commandline"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// execute runs the program without serving and returns its exit code and output.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, environment(nil), &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodeAndOutput(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"healthy", "failing"}})
	c.FailReads("failing", simulator.Fault{Status: 500})
	healthy := "--config.file=" + c.file(t, project{clusters: []string{"healthy"}})
	failing := "--config.file=" + c.file(t, project{clusters: []string{"failing"}})
	both := "--config.file=" + c.file(t, project{clusters: []string{"healthy", "failing"}})
	broken := filepath.Join(t.TempDir(), "broken.yml")
	writeFile(t, broken, "projects:\n  - region: cn-north-4\n    projekt_id: p1\n"+
		"    credentials: {access_key: AK-of-the-test-p1}\n")
	absent := filepath.Join(t.TempDir(), "absent.yml")
	writeFile(t, absent, "projects:\n  - region: cn-north-4\n    credentials: {token_file: /nonexistent/token}\n"+
		"    tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}\n")
	for name, test := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string // substrings
	}{
		"help":    {args: []string{"--help"}, stdout: "--config.file=\"css_vpcep.yml\""},
		"version": {args: []string{"--version"}, stdout: "css_vpcep_exporter, version"},
		"unknown flag": {
			args: []string{"--colector.connections"}, code: 1,
			stderr: "css_vpcep_exporter: unknown long flag '--colector.connections', try --help\n",
		},
		"invalid flag value": {
			args: []string{"--scrape.timeout=0s"}, code: 1,
			stderr: "--scrape.timeout=0s: it must be more than 0s",
		},
		"once": {
			args:   []string{"--once", healthy, "--config.auto-reload-interval=30s"},
			stdout: `css_vpcep_up{cluster_id="healthy",cluster_name="",project_id="p1",region="cn-north-4"} 1`,
		},
		"once, one cluster fails": {
			args: []string{"--once", both}, code: 1,
			stdout: `css_vpcep_up{cluster_id="failing",cluster_name="",project_id="p1",region="cn-north-4"} 0`,
			stderr: "reason=server",
		},
		"once, log in JSON": {
			args: []string{"--once", "--log.format=json", failing}, code: 1,
			stdout: "css_vpcep_up", stderr: `"reason":"server"`,
		},
		"check": {
			args:   []string{"--config.check", healthy},
			stdout: "css_vpcep.yml: configuration OK: 1 project\n",
		},
		"check, invalid file": {
			args: []string{"--config.check", "--config.file=" + broken}, code: 1,
			stdout: broken + ":3: projects[0].projekt_id: ",
		},
		"check of the syntax, other files are absent": {
			args:   []string{"--config.check", "--config.check-syntax-only", "--config.file=" + absent},
			stdout: absent + ": configuration OK: 1 project; the content of other files was not checked\n",
		},
		"check of the files that are absent": {
			args: []string{"--config.check", "--config.file=" + absent}, code: 1,
			stdout: absent + ":3: projects[0].credentials.token_file: cannot read the file",
		},
		"check of the syntax, invalid file": {
			args: []string{"--config.check", "--config.check-syntax-only", "--config.file=" + broken}, code: 1,
			stdout: broken + ":3: projects[0].projekt_id: ",
		},
		"syntax only without a check": {
			args: []string{"--config.check-syntax-only", "--config.file=" + absent}, code: 1,
			stderr: "css_vpcep_exporter: --config.check-syntax-only: it needs --config.check",
		},
		"check, no file": {
			args: []string{"--config.check", "--config.file=/nonexistent.yml"}, code: 1,
			stdout: "/nonexistent.yml: cannot read the file",
		},
		"check with --demo, no file": {
			args: []string{"--demo", "--config.check", "--config.file=/nonexistent.yml"}, code: 1,
			stdout: "/nonexistent.yml: cannot read the file",
		},
		"serve, watching what is no file": {
			args: []string{"--config.auto-reload-interval=30s", "--config.file=" + os.DevNull}, code: 1,
			stderr: os.DevNull + ": cannot watch the file: it is not a regular file",
		},
		"serve, invalid file": {
			args: []string{"--config.file=" + broken}, code: 1,
			stderr: "projects[0].credentials",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := execute(t, append(test.args, "--log.level=debug")...)
			if code != test.code {
				t.Errorf("got exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout, test.stdout) {
				t.Errorf("standard output: got %q, want %q in it", stdout, test.stdout)
			}
			if !strings.Contains(stderr, test.stderr) {
				t.Errorf("standard error: got %q, want %q in it", stderr, test.stderr)
			}
			c.checkSecrets(t, "the output", stdout+stderr)
		})
	}
	rejected := func(r simulator.Request) bool { return r.Status == http.StatusUnauthorized }
	if slices.ContainsFunc(c.Requests(), rejected) {
		t.Error("a request was rejected")
	}
}

func TestConnectionSeriesCanBeTurnedOff(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	c.UpdateCluster("c1", func(c *simulator.Cluster) {
		c.Connections = []simulator.Connection{{ID: "x", Status: "accepted", DomainID: "a"}}
	})
	file := "--config.file=" + c.file(t, c.projects...)
	for _, test := range []struct {
		args []string
		want bool
	}{
		{[]string{"--once", file}, true},
		{[]string{"--once", file, "--no-collector.connections"}, false},
	} {
		code, stdout, stderr := execute(t, test.args...)
		if code != 0 {
			t.Fatalf("%v: got exit code %d, want 0: %s", test.args, code, stderr)
		}
		if got := strings.Contains(stdout, "css_vpcep_connection_info{"); got != test.want {
			t.Errorf("%v: per-connection series: got %t, want %t", test.args, got, test.want)
		}
		if !strings.Contains(stdout, `status="accepted"} 1`) {
			t.Errorf("%v: connections are not counted:\n%s", test.args, stdout)
		}
	}
}

func TestTheDocumentListsEveryFlag(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	got := findSorted("(?m)^\\| `--(?:\\[no-\\])?([a-z.-]+)", string(page))
	var want []string
	for _, flag := range commandline.New(&commandline.Flags{}).Model().Flags {
		if !flag.Hidden {
			want = append(want, flag.Name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags of the program (-) and of docs/configuration.md (+):\n%s", diff)
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

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/yamlfile"

	"github.com/google/go-cmp/cmp"
)

// marker is the value of the secrets in the test files.
const marker = "S3CRET"

// vars holds environment variables.
type vars map[string]string

func (v vars) lookup(key string) (string, bool) {
	s, ok := v[key]
	return s, ok
}

// TestInvalidFiles loads each testdata/bad/x.yml and compares its mistakes with x.err. Comments "# env: NAME=value" at
// the top of a file set the environment.
func TestInvalidFiles(t *testing.T) {
	dir := filepath.Join("testdata", "bad")
	files, err := filepath.Glob(filepath.Join(dir, "*.yml"))
	if err != nil || len(files) < 100 {
		t.Fatalf("got %d files and error %v, want at least 100 files", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yml")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file) //nolint:gosec // in testdata
			if err != nil {
				t.Fatal(err)
			}
			c, err := load(file, environment(t, string(content)).lookup)
			if c != nil {
				t.Errorf("got %+v beside the error, want no configuration", c)
			}
			got := strings.ReplaceAll("\n"+messages(t, err), "\n"+dir+string(filepath.Separator), "\n")[1:] + "\n"
			expected := filepath.Join(dir, name+".err")
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(expected, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected) //nolint:gosec // in testdata
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if !slices.Contains(files, file) && !slices.Contains(files, strings.TrimSuffix(file, ".err")+".yml") {
			t.Errorf("%s has no .yml file", file)
		}
	}
}

// environment returns the variables in the comments at the top of a file.
func environment(t *testing.T, content string) vars {
	t.Helper()
	env := vars{}
	for line := range strings.Lines(content) {
		setting, ok := strings.CutPrefix(line, "# env: ")
		if !ok {
			break
		}
		name, value, ok := strings.Cut(strings.TrimSuffix(setting, "\n"), "=")
		if !ok {
			t.Fatalf("got %q, want NAME=value", setting)
		}
		if strings.HasPrefix(value, `"`) {
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			value = unquoted
		}
		env[name] = value
	}
	return env
}

// messages returns the text of an error of Load or Parse. It must be an Errors and show no secret.
func messages(t *testing.T, err error) string {
	t.Helper()
	errs, ok := errors.AsType[yamlfile.Errors](err)
	if !ok || len(errs) == 0 {
		t.Fatalf("got error %T (%v), want Errors", err, err)
	}
	if strings.Contains(errs.Error(), marker) {
		t.Errorf("a mistake shows a secret: %s", errs)
	}
	return errs.Error()
}

// SPDX-License-Identifier: Apache-2.0

package readme

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name) //nolint:gosec // the test's path
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func loadAlerts(t *testing.T, rules string) []alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal([]byte(rules), &file); err != nil {
		t.Fatal(err)
	}
	var alerts []alert
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			}
		}
	}
	if len(alerts) == 0 {
		t.Fatal("alerts.yml has no alerts")
	}
	return alerts
}

func TestEachAlertHasARunbook(t *testing.T) {
	want := make(map[string][]string) // severities
	for _, a := range loadAlerts(t, readFile(t, "../../deploy/prometheus/alerts.yml")) {
		want[a.Alert] = append(want[a.Alert], a.Labels["severity"])
		if description := a.Annotations["description"]; !strings.Contains(description, "First: ") {
			t.Errorf("%s: the description has no first step: %s", a.Alert, description)
		}
	}
	got := make(map[string][]string)
	row := regexp.MustCompile(`(?m)^\| \[(\w+)\]\((\w+)\.md\) \| ([a-z ]+) \| .+ \|$`)
	for _, found := range row.FindAllStringSubmatch(readFile(t, "../../docs/runbooks/README.md"), -1) {
		if found[1] != found[2] {
			t.Errorf("docs/runbooks/README.md: %s leads to %s", found[1], found[2])
		}
		got[found[1]] = strings.Split(found[3], " or ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("severities in docs/runbooks/README.md (-alerts.yml +README.md):\n%s", diff)
	}
	for _, page := range []string{"../../README.md", "../../README.zh-CN.md"} {
		for name := range want {
			if !strings.Contains(readFile(t, page), "`"+name+"`") {
				t.Errorf("%s does not list %s", page, name)
			}
		}
	}
	pages, err := filepath.Glob("../../docs/runbooks/CSSVPCEP*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if want[name] == nil {
			t.Errorf("%s is about no alert", page)
		}
		delete(want, name)
		checkSections(t, page)
	}
	if len(want) > 0 {
		t.Errorf("alerts without a runbook: %v", want)
	}
}

func checkSections(t *testing.T, page string) {
	t.Helper()
	content := readFile(t, page)
	var sections []string
	for _, found := range regexp.MustCompile(`(?m)^## (.+)\n\n[^#\n]`).FindAllStringSubmatch(content, -1) {
		sections = append(sections, found[1])
	}
	want := []string{"Meaning", "Impact", "Diagnosis", "Fix", "Verify", "Escalate"}
	if !slices.Equal(sections, want) {
		t.Errorf("%s: got sections %v, want %v", page, sections, want)
	}
	documented := readFile(t, "../../docs/metrics.md")
	for _, metric := range regexp.MustCompile(`css_vpcep_[a-z0-9_]+`).FindAllString(content, -1) {
		if metric != "css_vpcep_exporter" && !strings.Contains(documented, "\n| `"+metric+"` |") {
			t.Errorf("%s: docs/metrics.md does not list %s", page, metric)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]+\.(?:md|yml))[^)]*\)`).FindAllStringSubmatch(content, -1) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
			t.Errorf("%s: %s", page, err)
		}
	}
}

// TestRunbookURLs runs the command that adds the links, which three files show.
func TestRunbookURLs(t *testing.T) {
	const rules = "../../deploy/prometheus/alerts.yml"
	command := regexp.MustCompile(`sed -E '(/- alert.+)' (?:deploy/prometheus/)?alerts\.yml`)
	var script string
	for _, file := range []string{rules, "../../README.md", "../../README.zh-CN.md", "../../docs/runbooks/README.md"} {
		found := command.FindStringSubmatch(readFile(t, file))
		if len(found) != 2 || script != "" && found[1] != script {
			t.Fatalf("%s: got the command %q, want %q", file, found, script)
		}
		script = found[1]
	}
	out, err := exec.CommandContext(t.Context(), "sed", "-E", script, rules).CombinedOutput() //nolint:gosec // ours
	if err != nil {
		t.Skipf("sed: %s\n%s", err, out)
	}
	alerts := loadAlerts(t, string(out))
	for _, a := range alerts {
		url := a.Annotations["runbook_url"]
		want := fmt.Sprintf("https://git.example.com/css_vpcep_exporter/blob/master/docs/runbooks/%s.md", a.Alert)
		if url != want {
			t.Errorf("%s: got runbook_url %q, want %q", a.Alert, url, want)
		}
		if _, err := os.Stat("../../docs/runbooks/" + path.Base(url)); err != nil {
			t.Error(err)
		}
		delete(a.Annotations, "runbook_url")
	}
	if diff := cmp.Diff(loadAlerts(t, readFile(t, rules)), alerts); diff != "" {
		t.Errorf("the command changes more (-before +after):\n%s", diff)
	}
}

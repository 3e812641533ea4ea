// SPDX-License-Identifier: Apache-2.0

package app

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/commandline"

	"github.com/google/go-cmp/cmp"
)

// findSorted returns the distinct first groups of the matches.
func findSorted(pattern, text string) (groups []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		groups = append(groups, match[1])
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// demoWithSessions returns the metrics of the demo once its projects have read their sessions, after the first scrape.
func demoWithSessions(t *testing.T) exposition {
	t.Helper()
	p := start(t, "--demo")
	p.get(t, "/metrics")
	p.eventually(t, "two projects have read their sessions", func() bool {
		return strings.Count(p.log.String(), "Reading sessions succeeded") == 2
	})
	return p.scrape(t, 10*time.Second)
}

func TestDemoExposesExactlyTheDocumentedMetrics(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := demoWithSessions(t).text
	documented := findSorted("(?m)^\\| `(css_vpcep_\\w+)`", string(page))
	documented = slices.DeleteFunc(documented, func(name string) bool {
		// The demo's discovery does not fail, and it has no entry with regions.
		return name == "css_vpcep_discovery_failure_info" || strings.HasPrefix(name, "css_vpcep_account_discovery_")
	})
	exposed := findSorted(`(?m)^# TYPE (css_vpcep_\w+) `, metrics)
	if diff := cmp.Diff(documented, exposed); diff != "" {
		t.Errorf("metrics of docs/metrics.md (-) and of the demo (+):\n%s", diff)
	}
}

func TestDemoShowsAConnectionNearItsLimit(t *testing.T) {
	e := demoWithSessions(t)
	near, below, unknown := 0, 0, 0
	for _, values := range e.clusters {
		for name, limit := range values {
			id, ok := strings.CutPrefix(name, "connection_max_sessions ")
			if !ok {
				continue
			}
			sessions, known := values["connection_sessions "+id]
			active, activeKnown := values["connection_active_sessions "+id]
			switch {
			case known != activeKnown || active > sessions || sessions > limit:
				t.Errorf("connection %s: got %g sessions, %g active, at most %g", id, sessions, active, limit)
			case !known:
				unknown++
			case sessions > 0.8*limit:
				near++
			default:
				below++
			}
		}
	}
	if near != 1 || below < 5 || unknown < 5 {
		t.Errorf("got %d connections above 80 %% of their limits, %d below and %d without sessions; want 1, some and some",
			near, below, unknown)
	}
	if n := len(e.families["css_vpcep_sessions_up"].GetMetric()); n != 2 {
		t.Errorf("got sessions_up of %d projects, want 2 of 3", n)
	}
}

func TestDemoShowsEveryKindOfProblem(t *testing.T) {
	p := start(t, "--demo")
	_, metrics := p.get(t, "/metrics")
	for _, line := range []string{
		`css_vpcep_up\{.*\} 0`,
		`css_vpcep_enabled\{.*\} 0`,
		`css_vpcep_connections\{.*status="rejected"\} [1-9]`,
		`css_vpcep_connections\{.*status="pendingAcceptance"\} [1-9]`,
		`css_vpcep_connections\{.*status="unknown"\} [1-9]`,
		`css_vpcep_connection_status\{.*status="rejected"\} 1`,
		`css_vpcep_connections_truncated\{.*\} 1`,
		`css_vpcep_connections_limited\{.*\} 1`,
		`css_vpcep_permissions_wildcard\{.*\} 1`,
		`css_vpcep_unlisted_connections\{.*\} [1-9]`,
		`css_vpcep_connection_unlisted\{.*\} 1`,
		`css_vpcep_failure_info\{.*reason="denied".*\} 1`,
		`css_vpcep_permission_info\{.*domain_id="\*".*\} 1`,
		`css_vpcep_exporter_demo 1`,
		`css_vpcep_update_switch\{.*\} 1`,
		`css_vpcep_update_switch\{.*\} 0`,
		`css_vpcep_exporter_unparsable_values_total\{field="maxSession"\} [1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(metrics) {
			t.Errorf("no line matches %s", line)
		}
	}
	log := p.log.String()
	for _, secret := range []string{"opens-nothing", "SIMULATED-ACCESS-KEY"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log contains the secret %q:\n%s", secret, log)
		}
	}
}

func TestDemoOnASystemdSocketNamesNoAddress(t *testing.T) {
	var log buffer
	f := &commandline.Flags{}
	if _, err := commandline.New(f).Parse([]string{"--demo", "--web.systemd-socket"}); err != nil {
		t.Fatal(err)
	}
	e := &exporter{flags: f, logger: newLogger(&log, "info", "logfmt")}
	e.announceDemo()
	if strings.Contains(log.String(), "10247") || !strings.Contains(log.String(), "Serving a simulated cloud") {
		t.Errorf("got %q, want no address", log.String())
	}
}

func TestStatusOfTheDemoSaysSo(t *testing.T) {
	p := start(t, "--demo")
	p.get(t, "/metrics")
	_, page := p.get(t, "/status")
	_, text := p.get(t, "/status?format=json")
	for _, want := range []string{"Nothing on this page is real.", "<dt>Version</dt><dd>devel</dd>", "<dt>Go</dt><dd>go1."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if !regexp.MustCompile(`^\{"version":"devel",("revision":"[^"]+",)?"go_version":"go1[^"]*","demo":true,`).MatchString(text) {
		t.Errorf("got JSON %.200s, want it to start with the version and demo", text)
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

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

func TestDemoExposesExactlyTheDocumentedMetrics(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "--demo")
	status, metrics := p.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("got status %d, want 200: %s", status, metrics)
	}
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
	f := &flags{}
	if _, err := newCommandLine(f).Parse([]string{"--demo", "--web.systemd-socket"}); err != nil {
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
			var f flags
			if _, err := newCommandLine(&f).Parse(test.args); err != nil {
				t.Fatal(err)
			}
			f.listenOnLoopback()
			if got := *f.web.WebListenAddresses; !slices.Equal(got, test.want) {
				t.Errorf("got addresses %q, want %q", got, test.want)
			}
		})
	}
}

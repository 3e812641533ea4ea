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

// families returns the names of the css_vpcep metrics in a text exposition.
func families(exposition string) []string {
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (css_vpcep_\w+) `).FindAllStringSubmatch(exposition, -1) {
		names = append(names, match[1])
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// documented returns the metrics of the README's table.
func documented(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(css_vpcep_\\w+)`").FindAllStringSubmatch(string(readme), -1) {
		names = append(names, match[1])
	}
	return slices.Sorted(slices.Values(names))
}

// TestDemo checks that the demo exposes exactly the metrics that the README documents.
func TestDemo(t *testing.T) {
	p := start(t, "--demo")
	status, metrics := p.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, metrics)
	}
	if diff := cmp.Diff(documented(t), families(metrics)); diff != "" {
		t.Errorf("README.md (-) and the demo's metrics (+) differ:\n%s", diff)
	}
	for _, want := range []string{
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
		`css_vpcep_update_switch\{.*\} 1`,
		`css_vpcep_update_switch\{.*\} 0`,
		`css_vpcep_exporter_unparsable_values_total\{field="maxSession"\} [1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(metrics) {
			t.Errorf("no line matches %s", want)
		}
	}
	if log := p.log.String(); strings.Contains(log, "opens-nothing") || strings.Contains(log, "SIMULATED-ACCESS-KEY") {
		t.Errorf("the log contains credentials:\n%s", log)
	}
}

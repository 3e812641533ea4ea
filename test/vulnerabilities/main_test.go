// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	config = `{"config": {"go_version": "go1.26.8", "scan_level": "symbol"}}`
	osvs   = `{"osv": {"id": "GO-1", "summary": "One"}} {"osv": {"id": "GO-2", "summary": "Two"}}`

	required = `{"finding": {"osv": "GO-1", "fixed_version": "v1.26.9", "trace": [
		{"module": "stdlib", "version": "v1.26.8"}]}}`
	imported = `{"finding": {"osv": "GO-1", "fixed_version": "v1.26.9", "trace": [
		{"module": "stdlib", "version": "v1.26.8", "package": "net/http"}]}}`
	calledFixed = `{"finding": {"osv": "GO-1", "fixed_version": "v1.26.9", "trace": [
		{"module": "stdlib", "version": "v1.26.8", "package": "net/http", "function": "Get"},
		{"module": "css_vpcep_exporter", "package": "css_vpcep_exporter", "function": "main"}]}}`
	calledUnfixed = `{"finding": {"osv": "GO-2", "trace": [
		{"module": "example.com/m", "version": "v0.1.0", "package": "example.com/m", "function": "F"}]}}`
)

func TestRun(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, in, want, wantErr string
	}{
		{name: "none", in: config + osvs, want: "go1.26.8: vulnerabilities: 0, called and fixed in a newer version: 0\n"},
		{
			name: "imported",
			in:   config + osvs + imported + required,
			want: "GO-1: stdlib v1.26.8, imported, fixed in v1.26.9: One\n" +
				"go1.26.8: vulnerabilities: 1, called and fixed in a newer version: 0\n",
		},
		{
			name: "called without a fix",
			in:   config + osvs + required + calledUnfixed,
			want: "GO-2: example.com/m v0.1.0, called, no fix: Two\n" +
				"GO-1: stdlib v1.26.8, required, fixed in v1.26.9: One\n" +
				"go1.26.8: vulnerabilities: 2, called and fixed in a newer version: 0\n",
		},
		{
			name: "called and fixed",
			in:   config + osvs + required + calledFixed + imported,
			want: "GO-1: stdlib v1.26.8, called, fixed in v1.26.9: One\n" +
				"go1.26.8: vulnerabilities: 1, called and fixed in a newer version: 1\n",
			wantErr: "update the modules, or the toolchain in go.mod if the module is stdlib",
		},
		{name: "empty", wantErr: "govulncheck printed no configuration"},
		{name: "truncated", in: config + `{"osv": {`, wantErr: "invalid output of govulncheck: unexpected EOF"},
		{
			name:    "modules only",
			in:      `{"config": {"go_version": "go1.26.8", "scan_level": "module"}}`,
			wantErr: `govulncheck's scan level is "module", want symbol`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			gotErr := ""
			if err := run(strings.NewReader(test.in), &out); err != nil {
				gotErr = err.Error()
			}
			if gotErr != test.wantErr {
				t.Errorf("error %q, want %q", gotErr, test.wantErr)
			}
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

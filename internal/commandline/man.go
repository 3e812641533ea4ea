// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	_ "embed"
	"strings"
	"text/template"

	"github.com/prometheus/common/version"
)

// ManPage is the template of the man page, which --help-man prints.
//
//go:embed css_vpcep_exporter.1.tmpl
var ManPage string

// manFuncs returns the functions that the template uses besides those of kingpin.
func manFuncs() template.FuncMap {
	return template.FuncMap{
		"roff":    roff,
		"version": func() string { return version.Version },
		"date": func() string { // the date of the commit, so that builds are reproducible
			date, _, _ := strings.Cut(version.BuildDate, "T")
			return date
		},
	}
}

// roff escapes a text for a man page: a plain dash would become a hyphen, which cannot be copied to a shell, and a dot or
// quote at the start of a line would be a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return strings.ReplaceAll(s, "\n.", "\n"+`\&.`)
}

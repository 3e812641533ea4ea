// SPDX-License-Identifier: Apache-2.0

// Command vulnerabilities reads the output of govulncheck -format json from standard input and lists the
// vulnerabilities. It exits with 1 if the code calls one that has a fix. govulncheck itself also fails if there is
// none, and then nobody could do anything about it.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// message is one of govulncheck's JSON values, which has one of these fields.
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
		ScanLevel string `json:"scan_level"`
	} `json:"config"`
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *finding `json:"finding"`
}

type finding struct {
	OSV          string `json:"osv"`
	FixedVersion string `json:"fixed_version"`
	// Trace starts with the vulnerable function, or with its package or module if no call of it was found.
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Package  string `json:"package"`
		Function string `json:"function"`
	} `json:"trace"`
}

// vulnerability is the most specific finding of an ID.
type vulnerability struct {
	id, module, version, fixed string
	use                        int // an index of uses
}

func uses() []string { return []string{"required", "imported", "called"} }

const called = 2

func (f finding) vulnerability() vulnerability {
	v := vulnerability{id: f.OSV, module: f.Trace[0].Module, version: f.Trace[0].Version, fixed: f.FixedVersion}
	switch {
	case f.Trace[0].Function != "":
		v.use = called
	case f.Trace[0].Package != "":
		v.use = 1
	}
	return v
}

// run lists the vulnerabilities and returns an error if one that is called has a fix.
func run(in io.Reader, out io.Writer) error {
	summaries := make(map[string]string)
	found := make(map[string]vulnerability)
	goVersion := ""
	decoder := json.NewDecoder(in)
	for {
		var m message
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("invalid output of govulncheck: %w", err)
		}
		switch {
		case m.Config != nil:
			if m.Config.ScanLevel != "symbol" {
				return fmt.Errorf("govulncheck's scan level is %q, want symbol", m.Config.ScanLevel)
			}
			goVersion = m.Config.GoVersion
		case m.OSV != nil:
			summaries[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0:
			v := m.Finding.vulnerability()
			key := v.id + " " + v.module
			if known, ok := found[key]; !ok || v.use > known.use {
				found[key] = v
			}
		}
	}
	if goVersion == "" {
		return errors.New("govulncheck printed no configuration")
	}

	vulnerabilities := slices.SortedFunc(maps.Values(found), func(a, b vulnerability) int {
		return cmp.Or(b.use-a.use, cmp.Compare(a.id, b.id), cmp.Compare(a.module, b.module))
	})
	fixable := 0
	for _, v := range vulnerabilities {
		fix := "no fix"
		if v.fixed != "" {
			fix = "fixed in " + v.fixed
		}
		if v.use == called && v.fixed != "" {
			fixable++
		}
		fmt.Fprintf(out, "%s: %s %s, %s, %s: %s\n", v.id, v.module, v.version, uses()[v.use], fix, summaries[v.id])
	}
	fmt.Fprintf(out, "%s: vulnerabilities: %d, called and fixed in a newer version: %d\n",
		goVersion, len(vulnerabilities), fixable)
	if fixable > 0 {
		return errors.New("update the modules, or the toolchain in go.mod if the module is stdlib")
	}
	return nil
}

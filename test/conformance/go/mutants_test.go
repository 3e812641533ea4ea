// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

// mutant is a change of one byte in a file of the simulator.
type mutant struct {
	name, file    string
	before, after string // a text of the file, and its replacement
}

// mutants returns changes to signatures and then to pages.
func mutants() []mutant {
	const wrongSignature = `"Incorrect IAM authentication information: verify aksk`
	return []mutant{
		{"another algorithm", "sign.go", `= "SDK-HMAC-SHA256"`, `= "SDK-HMAC-SHA257"`},
		{"another format of the date", "sign.go", `"20060102T150405Z"`, `"20060102T150405z"`},
		{"the path does not end in a slash", "sign.go",
			"out.Len() > 1 {\n\t\tout.WriteByte('/')", "out.Len() > 1 {\n\t\tout.WriteByte('?')"},
		{"no colon between a header and its value", "sign.go",
			`name + ":" + strings.TrimSpace`, `name + ";" + strings.TrimSpace`},
		{"no equals sign between a key and its value", "sign.go",
			`escape(p.key) + "=" + escape`, `escape(p.key) + ":" + escape`},
		{"the Host header is not found", "sign.go", `name == "host"`, `name == "hosT"`},
		{"a tilde is escaped", "sign.go", `"-_.~"`, `"-_.!"`},
		{"a hexadecimal digit in lower case", "sign.go", `"0123456789ABCDEF"`, `"0123456789AbCDEF"`},
		{"wrong signatures are accepted, and valid ones rejected", "sign.go",
			`if !ok || !hmac.Equal(`, `if !ok ||  hmac.Equal(`},
		{"another code for a wrong signature", "sign.go",
			`"APIGW.0301", ` + wrongSignature, `"APIGW.0302", ` + wrongSignature},
		{"the security token need not be signed", "sign.go",
			`!auth.signs("x-security-token")`, ` auth.signs("x-security-token")`},
		{"another header for the security token", "sign.go",
			`r.Header.Get("X-Security-Token")`, `r.Header.Get("X-Security-Tokem")`},
		{"connections start at the second", "paging.go", `"offset", 0, 0, 1000)`, `"offset", 1, 0, 1000)`},
		{"connections start at the second, paged by start", "paging.go",
			`"start", 1, 1, 1000)`, `"start", 2, 1, 1000)`},
		{"a default page of eleven connections", "paging.go", `"limit", 10, 1, 1000)`, `"limit", 11, 1, 1000)`},
		{"clusters are counted from 0", "handler.go", `len(all), start-1, limit`, `len(all), start-0, limit`},
		{"a page ends too early", "faults.go", `min(from+limit, total)`, `min(from|limit, total)`},
		{"total_count excludes unlisted connections", "simulator.go",
			`len(c.Connections) + c.Unlisted`, `len(c.Connections) - c.Unlisted`},
		{"another name for total_count", "paging.go", `json:"total_count,omitempty"`, `json:"total_coumt,omitempty"`},
		{"another name for maxSession", "simulator.go", `json:"maxSession,omitempty"`, `json:"maxsession,omitempty"`},
	}
}

// TestClientsDetectEachMutant changes one byte of the simulator at a time and counts the calls with a wrong result.
func TestClientsDetectEachMutant(t *testing.T) {
	clients := newClients(t)
	results := &table{head: []string{"Changed byte"}}
	for _, c := range clients {
		results.head = append(results.head, c.name)
	}
	results.head = append(results.head, "Calls")
	expected := fleet.New(simulator.Options{})
	for _, m := range append([]mutant{{name: "none"}}, mutants()...) {
		t.Run(m.name, func(t *testing.T) {
			at := startCloud(t, m)
			cells := []string{m.name}
			total := 0
			for _, c := range clients {
				wrong := 0
				for _, b := range behaviours() {
					if diffAnswers(b.want(c, expected), c.call(t, b.request(c, at))) != "" {
						wrong++
					}
				}
				cells = append(cells, strconv.Itoa(wrong))
				total += wrong
			}
			if detected := total > 0; detected != (m.file != "") {
				t.Errorf("got %d wrong results", total)
			}
			results.add(append(cells, strconv.Itoa(len(behaviours())))...)
		})
	}
	checkPage(t, "mutants", results.String())
}

// startCloud builds and starts the program cloud with a mutant of the simulator.
func startCloud(t *testing.T, m mutant) endpoints {
	t.Helper()
	var args []string
	if m.file != "" {
		args = append(args, "-overlay="+m.writeOverlay(t))
	}
	_, out := startProgram(t, []string{buildProgram(t, "cloud", args...)})
	var at endpoints
	if _, err := fmt.Fscanln(out, &at.byOffset, &at.byStart); err != nil {
		t.Fatal(err)
	}
	return at
}

// writeOverlay writes the changed file and an overlay for the go command that replaces the original with it.
func (m mutant) writeOverlay(t *testing.T) string {
	t.Helper()
	original, err := filepath.Abs("../../../internal/simulator/" + m.file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(original) //nolint:gosec // a file of the repository
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), m.before); n != 1 {
		t.Fatalf("%s contains %q %d times, want once", m.file, m.before, n)
	}
	if n := changedBytes(m.before, m.after); n != 1 {
		t.Fatalf("%q differs from %q in %d bytes, want 1", m.after, m.before, n)
	}
	changed := filepath.Join(t.TempDir(), m.file)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	for path, content := range map[string]string{
		changed: strings.Replace(string(content), m.before, m.after, 1), overlay: string(replace),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}

// changedBytes returns in how many bytes two texts differ, or -1 if their lengths differ.
func changedBytes(a, b string) (n int) {
	if len(a) != len(b) {
		return -1
	}
	for i := range len(a) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

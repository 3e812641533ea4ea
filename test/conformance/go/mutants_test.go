// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

// mutant is a change of one byte in the simulator.
type mutant struct {
	name, file    string
	before, after string
}

// mutants returns mutants of the signature and then of the pages.
func mutants() []mutant {
	const refusedSignature = `"Incorrect IAM authentication information: verify aksk`
	const connectionsLimit = `"limit", 10, 1, 1000)` + "\n\tif !ok1 || !ok2 {\n\t\t" +
		`return cssError(http.StatusBadRequest, "CSS.0001", "Incorrect parameters.")` + "\n\t}\n\n\ts.mu.Lock()\n\tvar cluster"
	return []mutant{
		{"another algorithm", "sign.go", `= "SDK-HMAC-SHA256"`, `= "SDK-HMAC-SHA257"`},
		{"another form of the date", "sign.go", `"20060102T150405Z"`, `"20060102T150405z"`},
		{"the path does not end in a slash", "sign.go", "out.Len() > 1 {\n\t\tout.WriteByte('/')", "out.Len() > 1 {\n\t\tout.WriteByte('?')"},
		{"a header and its value are not parted by a colon", "sign.go", `name + ":" + strings.TrimSpace`, `name + ";" + strings.TrimSpace`},
		{"a key and its value are not parted by an equals sign", "sign.go", `escape(p.key) + "=" + escape`, `escape(p.key) + ":" + escape`},
		{"the host is no header", "sign.go", `name == "host"`, `name == "hosT"`},
		{"a tilde is escaped", "sign.go", `"-_.~"`, `"-_.!"`},
		{"a hexadecimal digit in lower case", "sign.go", `"0123456789ABCDEF"`, `"0123456789AbCDEF"`},
		{"signatures are taken if they are wrong", "sign.go", `if !ok || !hmac.Equal(`, `if !ok ||  hmac.Equal(`},
		{"the code of a wrong signature", "sign.go", `"APIGW.0301", ` + refusedSignature, `"APIGW.0302", ` + refusedSignature},
		{"the security token need not be signed", "sign.go", `!auth.signs("x-security-token")`, ` auth.signs("x-security-token")`},
		{"the security token's header", "sign.go", `r.Header.Get("X-Security-Token")`, `r.Header.Get("X-Security-Tokem")`},
		{"connections begin at the second", "handler.go", `"offset", 0, 0, 1000)`, `"offset", 1, 0, 1000)`},
		{"connections begin at the second, by start", "handler.go", `"start", 1, 1, 1000)`, `"start", 2, 1, 1000)`},
		{"eleven connections by default", "handler.go", connectionsLimit, strings.Replace(connectionsLimit, "10", "11", 1)},
		{"clusters count from 0", "handler.go", `len(all), start-1, limit`, `len(all), start-0, limit`},
		{"a page ends too early", "faults.go", `min(from+limit, total)`, `min(from|limit, total)`},
		{"total_count leaves out what is not listed", "simulator.go", `len(c.Connections) + c.Unlisted`, `len(c.Connections) - c.Unlisted`},
		{"the name of total_count", "handler.go", `json:"total_count"`, `json:"total_coumt"`},
		{"the name of maxSession", "simulator.go", `json:"maxSession,omitempty"`, `json:"maxsession,omitempty"`},
	}
}

// TestMutants changes one byte of the simulator at a time and counts the wrong results. A mutant without any is not covered
// by the behaviours.
func TestMutants(t *testing.T) {
	clients := newClients(t)
	result := &table{head: []string{"The byte"}}
	for _, c := range clients {
		result.head = append(result.head, c.name)
	}
	result.head = append(result.head, "Answers")
	for _, m := range append([]mutant{{name: "none"}}, mutants()...) {
		t.Run(m.name, func(t *testing.T) {
			at := startCloud(t, m)
			cells := []string{m.name}
			noticed := 0
			for _, c := range clients {
				n := 0
				for _, b := range behaviours() {
					if differs(b.want(c, fleet.New(simulator.Options{})), c.ask(t, b.request(c, at))) != "" {
						n++
					}
				}
				cells = append(cells, fmt.Sprint(n))
				noticed += n
			}
			if (noticed > 0) != (m.file != "") {
				t.Errorf("%d wrong results", noticed)
			}
			result.add(append(cells, fmt.Sprint(len(behaviours())))...)
		})
	}
	checkPage(t, "mutants", result.String())
}

// startCloud starts a cloud with a mutant of the simulator.
func startCloud(t *testing.T, m mutant) cloud {
	t.Helper()
	var args []string
	if m.file != "" {
		args = append(args, "-overlay="+m.overlay(t))
	}
	_, out := start(t, []string{build(t, "cloud", args...)})
	var at cloud
	if _, err := fmt.Fscanln(out, &at.byOffset, &at.byStart); err != nil {
		t.Fatal(err)
	}
	return at
}

// overlay writes an overlay for the go command in which the mutant replaces the file.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	original, err := filepath.Abs("../../../internal/simulator/" + m.file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(original) //nolint:gosec // a file of the repository
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), m.before) != 1 || bytesApart(m.before, m.after) != 1 {
		t.Fatalf("%q is not exactly once in %s, or %q differs in more than one byte", m.before, m.file, m.after)
	}
	changed := filepath.Join(t.TempDir(), m.file)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "overlay.json")
	for path, content := range map[string]string{changed: strings.Replace(string(content), m.before, m.after, 1), list: string(replace)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// bytesApart returns the number of bytes in which two strings of equal length differ.
func bytesApart(a, b string) (n int) {
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

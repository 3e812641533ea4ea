// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs is the page with the results.
const docs = "../../../docs/conformance.md"

// writeVariable is the environment variable that makes the tests write the page.
const writeVariable = "CSS_VPCEP_CONFORMANCE_WRITE"

// table is a table of the page.
type table struct {
	head []string
	rows [][]string
}

func (x *table) add(cells ...string) { x.rows = append(x.rows, cells) }

func (x *table) String() string {
	var b strings.Builder
	line := func(cells []string) {
		escaped := make([]string, len(cells))
		for i, cell := range cells {
			escaped[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(escaped, " | "))
	}
	line(x.head)
	b.WriteString("|" + strings.Repeat("---|", len(x.head)) + "\n")
	for _, row := range x.rows {
		line(row)
	}
	return b.String()
}

// checkPage compares a part of the page with the results of this run.
func checkPage(t *testing.T, part, given string) {
	t.Helper()
	content, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin: "+part+" -->\n", "<!-- end: "+part+" -->\n"
	before, rest, ok1 := strings.Cut(string(content), begin)
	stands, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no part %s", docs, part)
	}
	diff := cmp.Diff(stands, given)
	if diff == "" {
		return
	}
	if os.Getenv(writeVariable) == "" {
		t.Errorf("%s, part %s, differs from this run; update it with `make conformance-page` (-page +run):\n%s", docs, part, diff)
		return
	}
	if err := os.WriteFile(docs, []byte(before+begin+given+end+after), 0o600); err != nil { //nolint:gosec // the path is a constant
		t.Fatal(err)
	}
}

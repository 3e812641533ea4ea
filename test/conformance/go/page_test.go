// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pagePath is the page with the results.
const pagePath = "../../../docs/conformance.md"

// writeVariable names the environment variable that makes the tests write the page.
const writeVariable = "CSS_VPCEP_CONFORMANCE_WRITE"

type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String returns the table in Markdown.
func (t *table) String() string {
	var b strings.Builder
	writeRow := func(cells []string) {
		escaped := make([]string, len(cells))
		for i, cell := range cells {
			escaped[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(escaped, " | "))
	}
	writeRow(t.head)
	b.WriteString("|" + strings.Repeat("---|", len(t.head)) + "\n")
	for _, row := range t.rows {
		writeRow(row)
	}
	return b.String()
}

// checkPage compares a part of the page with the result of this run, or writes it.
func checkPage(t *testing.T, part, result string) {
	t.Helper()
	content, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin: "+part+" -->\n", "<!-- end: "+part+" -->\n"
	before, rest, ok1 := strings.Cut(string(content), begin)
	documented, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no part %q", pagePath, part)
	}
	diff := cmp.Diff(documented, result)
	if diff == "" {
		return
	}
	if os.Getenv(writeVariable) == "" {
		t.Errorf("%s, part %q, differs from this run; update it with `make conformance-page` (-page +run):\n%s",
			pagePath, part, diff)
		return
	}
	page := before + begin + result + end + after
	if err := os.WriteFile(pagePath, []byte(page), 0o600); err != nil { //nolint:gosec // the path is a constant
		t.Fatal(err)
	}
}

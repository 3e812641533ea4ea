// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxEcho is how many bytes of a value a mistake shows.
const maxEcho = 60

// Mistake is one thing that is wrong in a file.
type Mistake struct {
	File    string // as it was given
	Line    int    // from 1; 0: the file as a whole
	Key     string // such as projects[0].region; empty: the file as a whole
	Message string // what is wrong and what to do; never a secret
}

// Error gives the mistake as one line.
func (m Mistake) Error() string {
	at := m.File
	if m.Line > 0 {
		at += ":" + strconv.Itoa(m.Line)
	}
	if m.Key != "" {
		at += ": " + m.Key
	}
	return at + ": " + m.Message
}

// Errors are all mistakes of a file, sorted by line. It is the error of Load
// and Parse, and is never empty there.
type Errors []Mistake

// Error gives one mistake per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders by line and keeps the order within a line.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	return e
}

const notShown = "a value that is not shown"

// quote makes any text safe to show on one line.
func quote(s string) string {
	if looksSecret(s) {
		return notShown
	}
	if len(s) <= maxEcho {
		return strconv.Quote(s)
	}
	cut := maxEcho
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", s[:cut])
}

// looksSecret tells access keys, secret keys and tokens that stand in a wrong
// place: 20 or more characters of base64 in a row, capitals and digits among
// them. Ids of projects and clusters have no capitals.
func looksSecret(s string) bool {
	const capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	runs := strings.FieldsFunc(s, func(r rune) bool { return !strings.ContainsRune(letters+digits+"+/=", r) })
	return slices.ContainsFunc(runs, func(run string) bool {
		return len(run) >= 20 && strings.ContainsAny(run, capitals) && strings.ContainsAny(run, digits)
	})
}

// near gives the candidates closest to s with an edit distance of at most
// limit, the closest first.
func near(s string, limit int, candidates []string) []string {
	type scored struct {
		name     string
		distance int
	}
	var found []scored
	for _, c := range candidates {
		if len(c) > len(s)+limit || len(s) > len(c)+limit {
			continue
		}
		if n := distance(s, c); n <= limit && n < len(c) {
			found = append(found, scored{c, n})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int { return cmp.Compare(a.distance, b.distance) })
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.name
	}
	return names
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// cut shortens a library's text that repeats a value.
func cut(s string) string {
	const most = 2 * maxEcho
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

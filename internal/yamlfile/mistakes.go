// SPDX-License-Identifier: Apache-2.0

package yamlfile

import (
	"slices"
	"strconv"
	"strings"
)

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	capitals  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits    = "0123456789"
	letters   = lowerCase + capitals
)

// Mistake is one mistake in a file.
type Mistake struct {
	File    string
	Line    int    // 0: the whole file
	Key     string // such as projects[0].region; empty: the whole file
	Message string // the problem and its remedy
}

// Error returns one line.
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

// Errors holds all mistakes of a file, sorted by line.
type Errors []Mistake

// Error returns one mistake per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

func consistsOf(s, characters string) bool { return strings.Trim(s, characters) == "" }

// Quote returns text in quotes, shortened, and hidden if it may be a secret.
func Quote(s string) string {
	const longest = 60
	if looksSecret(s) {
		return "(not shown)"
	}
	if runes := []rune(s); len(runes) > longest {
		return strconv.Quote(string(runes[:longest])) + "…"
	}
	return strconv.Quote(s)
}

// looksSecret recognizes misplaced keys and tokens: 20 or more characters of base64 with capitals and digits.
// Hexadecimal IDs have no capitals.
func looksSecret(s string) bool {
	runs := strings.FieldsFunc(s, func(r rune) bool { return !strings.ContainsRune(letters+digits+"+/=", r) })
	return slices.ContainsFunc(runs, func(run string) bool {
		return len(run) >= 20 && strings.ContainsAny(run, capitals) && strings.ContainsAny(run, digits)
	})
}

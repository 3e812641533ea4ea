// SPDX-License-Identifier: Apache-2.0

package css

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s as valid UTF-8 of at most limit bytes, with control characters other than line ends and tabs replaced, so
// that it can be a label value, or part of a log line or a page.
func Clean(s string, limit int) string {
	if len(s) <= limit && printable(s) {
		return s
	}
	if len(s) > limit {
		end := limit
		for end > limit-utf8.UTFMax && end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = strings.Clone(s[:end])
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if isControl(r) {
			return utf8.RuneError
		}
		return r
	}, s)
	return Clean(s, limit) // the replacement is longer than what it replaces
}

// printable reports whether s is printable ASCII, as nearly all texts are.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// validHeaderValue reports whether a secret can be the value of a header.
func validHeaderValue(s string) bool { return printable(s) }

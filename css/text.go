// SPDX-License-Identifier: Apache-2.0

package css

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes s fit for a label of Prometheus, a log line and a page: valid UTF-8 of at most limit bytes, without
// control characters other than line ends and tabs. What is not fit is replaced. A text that is fit is returned as it
// is.
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

// printable says whether s is of printable ASCII, as nearly all texts are.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isControl leaves out what the exposition format escapes or takes as it is.
func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// validHeaderValue reports whether a secret can be the value of a header.
func validHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

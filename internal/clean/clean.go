// SPDX-License-Identifier: Apache-2.0

// Package clean makes text fit for labels, headers, logs and pages.
package clean

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength is the maximum length of label values and messages in bytes.
const MaxLength = 1024

// Text returns s as valid UTF-8 of at most limit bytes. It replaces control characters other than line feeds and tabs.
func Text(s string, limit int) string {
	if len(s) <= limit && IsPrintable(s) {
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
	return Text(s, limit) // replacements are longer
}

// Line returns s as one line of at most about limit bytes for a terminal, with Escape.
func Line(s string, limit int) string {
	return Escape(Text(strings.Join(strings.Fields(s), " "), limit))
}

// Quote truncates and quotes s for messages.
func Quote(s string) string { return strconv.Quote(Text(s, 200)) }

// Escape replaces characters that are invisible, or that change how others are shown, by their code points: <U+202E>.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "<%U>", r)
		}
	}
	return b.String()
}

// IsPrintable reports whether s is printable ASCII, as the value of a header must be.
func IsPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

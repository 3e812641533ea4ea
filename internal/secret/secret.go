// SPDX-License-Identifier: Apache-2.0

// Package secret checks keys, tokens and passwords from files, variables and the configuration, and hides them.
package secret

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/internal/smallfile"
)

const byteOrderMark = "\uFEFF"

// Text is text that is printed and encoded as "<secret>", or as "" if it is empty. Only string(t) returns it.
type Text string

const redacted = "<secret>"

// Format hides the value from every verb.
func (t Text) Format(f fmt.State, _ rune) {
	if t != "" {
		_, _ = io.WriteString(f, redacted)
	}
}

// MarshalText hides the value from JSON, YAML and log/slog.
func (t Text) MarshalText() ([]byte, error) {
	if t == "" {
		return nil, nil
	}
	return []byte(redacted), nil
}

// ReadFile returns the secret in a file, without a byte order mark at the file's start and white space around it. check
// is KeyFault or PasswordFault. The error shows neither the content nor the path, which may be a misplaced secret.
func ReadFile(path string, check func(string) string) (string, error) {
	content, err := smallfile.Read(path)
	value := Trim(string(content))
	switch fault := check(value); {
	case err != nil:
		return "", fmt.Errorf("cannot read the file: %w", smallfile.WithoutPath(err))
	case value == "":
		return "", errors.New("the file is empty; write the secret into it")
	case fault != "":
		return "", fmt.Errorf("the file holds an %s", Invalid(fault))
	}
	return value, nil
}

// Invalid returns the message for a fault.
func Invalid(fault string) string {
	return "invalid value (not shown): " + fault + "; write only the value, on one line"
}

// Trim removes white space around s, but no no-break spaces.
func Trim(s string) string { return strings.Trim(s, " \t\r\n\v\f") }

// KeyFault returns why s cannot be a key or a token, or "".
func KeyFault(s string) string {
	const quotes = "\"'`"
	fault := PasswordFault(s)
	switch {
	case fault != "":
		return fault
	case strings.Trim(s, quotes) != s:
		return "quote at the start or the end of the value"
	case Trim(s) != s:
		return "white space around the value"
	}
	return ""
}

// PasswordFault returns why s cannot be a password, or "".
func PasswordFault(s string) string {
	nonASCII := func(r rune) bool { return r > unicode.MaxASCII }
	fault := TextFault(s)
	if fault == "" && strings.ContainsFunc(s, nonASCII) {
		return "non-ASCII character"
	}
	return fault
}

// TextFault returns why s cannot be a name, which may have letters of any language, or "".
func TextFault(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "not in UTF-8"
	case s != "" && strings.TrimSpace(s) == "":
		return "only white space"
	case strings.ContainsAny(s, "\r\n"):
		return "more than one line"
	case quoted(s):
		return "quotes around the value"
	}
	return InvisibleFault(s)
}

// InvisibleFault returns which invisible character s contains, or "".
func InvisibleFault(s string) string {
	for _, r := range s {
		switch {
		case unicode.IsControl(r):
			return "control character"
		case string(r) == byteOrderMark:
			return "byte order mark (U+FEFF)"
		case !unicode.IsPrint(r), strings.ContainsRune("\u2800\U0001D159", r), // blank symbols
			unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return fmt.Sprintf("invisible character %U", r)
		}
	}
	return ""
}

// quoted reports whether s is in quotes. Typographic ones may be of any two kinds.
func quoted(s string) bool {
	first, size := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	typographic := func(r rune) bool {
		return strings.ContainsRune("‘’‚‛“”„‟‹›«»「」『』\uFF02\uFF07", r)
	}
	plain := first == last && (first == '"' || first == '\'')
	return len(s) > size && (plain || (typographic(first) && typographic(last)))
}

// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFaults(t *testing.T) {
	const quotes, quote = "quotes around the value", "quote at the start or the end of the value"
	for s, want := range map[string]struct{ text, key string }{
		"":               {},
		"AKIA+/=":        {},
		"a b'c\"d":       {},
		"é":              {"", "non-ASCII character"},
		"密码":             {"", "non-ASCII character"},
		" a":             {"", "white space around the value"},
		"\"":             {"", quote},
		"'a\"":           {"", quote},
		"“":              {"", "non-ASCII character"},
		"“a":             {"", "non-ASCII character"},
		"`a`":            {"", quote},
		"''":             {quotes, quotes},
		"\"a\"":          {quotes, quotes},
		"“a”":            {quotes, quotes},
		"„a“":            {quotes, quotes},
		"「a」":            {quotes, quotes},
		" \t":            {"only white space", "only white space"},
		"\u3000":         {"only white space", "only white space"},
		"a\nb":           {"more than one line", "more than one line"},
		"a\tb":           {"control character", "control character"},
		"a\x7F":          {"control character", "control character"},
		"\xFFa":          {"not in UTF-8", "not in UTF-8"},
		"a\uFEFF":        {"byte order mark (U+FEFF)", "byte order mark (U+FEFF)"},
		"a\u200B":        {"invisible character U+200B", "invisible character U+200B"},
		"\u00A0a":        {"invisible character U+00A0", "invisible character U+00A0"},
		"a\u034Fb":       {"invisible character U+034F", "invisible character U+034F"},
		"a\U000E0041b":   {"invisible character U+E0041", "invisible character U+E0041"},
		"\u2068a\u2069":  {"invisible character U+2068", "invisible character U+2068"},
		"a\uE000":        {"invisible character U+E000", "invisible character U+E000"},
		"密\u3000码":       {"invisible character U+3000", "invisible character U+3000"},
		"a\u115Fb\uFFA0": {"invisible character U+115F", "invisible character U+115F"},
		"a\u2800":        {"invisible character U+2800", "invisible character U+2800"},
		"a\U0001D159":    {"invisible character U+1D159", "invisible character U+1D159"},
	} {
		if got := TextFault(s); got != want.text {
			t.Errorf("TextFault(%+q): got %q, want %q", s, got, want.text)
		}
		if got := KeyFault(s); got != want.key {
			t.Errorf("KeyFault(%+q): got %q, want %q", s, got, want.key)
		}
	}
}

func TestReadFile(t *testing.T) {
	const invalid = "the file holds an invalid value (not shown): "
	const empty = "the file is empty; write the secret into it"
	for content, want := range map[string]struct{ value, fault string }{
		"":                       {"", empty},
		"\uFEFF \n":              {"", empty},
		"a":                      {"a", ""},
		"\uFEFF a b\r\n\n":       {"a b", ""},
		" \uFEFFa":               {"", invalid + "byte order mark (U+FEFF)"}, // not at the start of the file
		"\uFEFF\uFEFFa":          {"", invalid + "byte order mark (U+FEFF)"},
		"a\u00A0\n":              {"", invalid + "invisible character U+00A0"},
		"\t\v\f a\u3000":         {"", invalid + "invisible character U+3000"},
		"\uFEFF\u200Ba\u200B \n": {"", invalid + "invisible character U+200B"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(path, KeyFault)
		text := fmt.Sprint(err)
		if got != want.value || (err == nil) != (want.fault == "") || (err != nil && !strings.HasPrefix(text, want.fault)) {
			t.Errorf("%+q: got %+q, %v, want %+q, %s", content, got, err, want.value, want.fault)
		}
	}
	_, err := ReadFile(filepath.Join(t.TempDir(), "missing"), TextFault)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "cannot read the file: no such file or directory" {
		t.Errorf("missing file: got %v", err)
	}
}

// FuzzKeyFault shows that what passes can be sent in a header as it is.
func FuzzKeyFault(f *testing.F) {
	for _, seed := range []string{"", "a", "a b", "\uFEFFa", "'a'", "a\u200B", "\xFF", "密"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fault := KeyFault(s)
		unprintable := func(r rune) bool { return r < ' ' || r > '~' }
		sendable := strings.Trim(s, "'\"` ") == s && !strings.ContainsFunc(s, unprintable)
		if sendable != (fault == "") {
			t.Errorf("%+q: got %q, sendable: %t", s, fault, sendable)
		}
	})
}

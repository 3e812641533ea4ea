// SPDX-License-Identifier: Apache-2.0

package clean_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"css_vpcep_exporter/internal/clean"
)

func TestText(t *testing.T) {
	for _, test := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 10, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"abc", 0, ""},
		{"aé", 2, "a"},
		{"aé", 3, "aé"},
		{"😀😀", 7, "😀"},
		{"a\nb\tc", 10, "a\nb\tc"},
		{"a\rb\x00c\x1bd\u0085e", 20, "a\ufffdb\ufffdc\ufffdd\ufffde"},
		{"\x00\x00\x00", 5, "\ufffd"},
		{"\x00\x00\x00", 2, ""},
		{"a\xff", 10, "a\ufffd"},
		{"\xe2\x82", 10, "\ufffd\ufffd"}, // each byte on its own, as the language does
		{"\ufffd", 10, "\ufffd"},
		{"a\u2028b\u200bc", 20, "a\u2028b\u200bc"},
		{strings.Repeat("\x80", 12), 6, "\ufffd\ufffd"},
	} {
		if got := clean.Text(test.in, test.limit); got != test.want {
			t.Errorf("Text(%q, %d) = %q, want %q", test.in, test.limit, got, test.want)
		}
	}
	for _, s := range []string{strings.Repeat("\xff", 5000), strings.Repeat("é\x00", 3000), strings.Repeat("\xf0\x9f", 3000)} {
		got := clean.Text(s, clean.MaxLength)
		if len(got) > clean.MaxLength || !utf8.ValidString(got) || clean.Text(got, clean.MaxLength) != got {
			t.Errorf("Text(%.12q…) has %d bytes, valid %v", s, len(got), utf8.ValidString(got))
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "søk 搜索 \u05d0": "søk 搜索 \u05d0", "a\u202eb\u200b\n\x1b": "a<U+202E>b<U+200B><U+000A><U+001B>", "\xff": "\ufffd",
	} {
		if got := clean.Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for s, want := range map[string]string{
		"plain text, 搜索": "plain text, 搜索", " a\r\n\tb  c ": "a b c", "\x1b[31mred\x07": "\uFFFD[31mred\uFFFD",
		"a\u202eb\u200bc\u2028d": "a<U+202E>b<U+200B>c d", "\xff": "\uFFFD", "": "",
	} {
		if got := clean.Line(s, clean.MaxLength); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

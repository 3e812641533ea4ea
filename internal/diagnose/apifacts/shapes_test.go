// SPDX-License-Identifier: Apache-2.0

package apifacts

import "testing"

func TestFormats(t *testing.T) {
	s := NewShapes()
	for body, want := range map[string]string{
		`null`: "null", `true`: "boolean", `3000`: "number, whole numbers", `1.0`: "number, with fraction or exponent",
		`1e3`: "number, with fraction or exponent", `-1`: "number, negative", `"3000"`: "string, whole numbers", `"-1"`: "string, text", `""`: "string, empty",
		`" x"`: "string, with white space around it", `"TRUE"`: "string, true or false", `[]`: "array, empty", `[1]`: "array",
		`{}`: "object", `"2024-06-11T09:36:24Z"`: "RFC 3339, UTC", `"2024-06-11T09:36:24"`: "RFC 3339 without zone",
		`"2018-01-30T07:42:01.174"`: "RFC 3339 without zone, with fraction", `"2024-06-11T09:36:24.5+08:00"`: "RFC 3339 with an offset, with fraction",
		`"2024-06-11 09:36:24"`: "date and time with a blank, without zone", `"192.168.0.1"`: "string, IPv4 address",
		`"2001:db8::1"`: "string, IPv6 address", `"5c77b71c-5b35-4f50-8984-76387e42451a"`: "string, UUID",
		`"0123456789abcdef0123456789abcdef"`: "string, 32 hexadecimal digits", `"1718098584000"`: "string, 13 digits",
	} {
		if got := s.shapeOf(decode([]byte(body))); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

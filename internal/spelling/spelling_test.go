// SPDX-License-Identifier: Apache-2.0

package spelling

import "testing"

func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		s, want string
		known   []string
	}{
		{"concurency", "concurrency", []string{"min_interval", "concurrency"}},
		{"cn-nort-4", "cn-north-4", []string{"cn-north-1", "cn-north-4", "cn-south-4"}},
		{"cn-north-44", "cn-north-4", []string{"cn-north-11", "cn-north-4"}},
		{"tema", "team", []string{"team"}},
		{"equal", "equal", []string{"equally", "equal"}},
		{"abc", "", []string{"xyz", "abcdef", ""}}, // three changes
		{"id", "", []string{"to", "a"}},            // nothing of it is left
		{"", "", nil},
	} {
		if got := Nearest(tt.s, tt.known); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.s, got, tt.want)
		}
	}
}

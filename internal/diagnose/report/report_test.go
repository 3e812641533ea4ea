// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReportFitsIntoATerminal(t *testing.T) {
	var out strings.Builder
	r := NewWriter(&out)
	long := strings.Repeat("0123456789", 25)
	r.Finding("CSS DNS", Failure("a"+strings.Repeat(" word", 40)+" "+long+" 搜索"+strings.Repeat("长", 60)+
		" \x1b[31m\u202egnp\nnext\ttab", "check "+long))
	got := out.String()
	joined := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(got, "\n", ""), " ", ""), "-", "")
	if !strings.Contains(joined, long) || !strings.Contains(got, "What to do: ") || strings.ContainsAny(got, "\x1b\u202e\t") {
		t.Errorf("got:\n%s", got)
	}
	for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if n := columns(line); n > width || strings.HasSuffix(line, " ") || line == "" {
			t.Errorf("line %d has %d columns: %q", i+1, n, line)
		}
		if i > 0 && !strings.HasPrefix(line, "         ") {
			t.Errorf("line %d is not indented: %q", i+1, line)
		}
	}
	if !strings.HasPrefix(got, "failed   CSS DNS          a word word") {
		t.Errorf("got:\n%s", got)
	}
}

func TestDurations(t *testing.T) {
	var got []string
	for _, d := range []time.Duration{
		0, 99 * time.Microsecond, 1234 * time.Microsecond, 123456 * time.Microsecond, 12345 * time.Millisecond,
	} {
		got = append(got, Took(d))
	}
	if want := []string{"less than 100µs", "less than 100µs", "1.2ms", "123ms", "12.3s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

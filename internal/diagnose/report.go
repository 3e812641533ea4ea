// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
)

type state string

const (
	ok      state = "ok"
	failed  state = "failed"
	skipped state = "skipped"
)

// finding is the result of a step.
type finding struct {
	state  state
	text   string
	advice string // one sentence without a full stop
}

func okf(format string, args ...any) finding {
	return finding{state: ok, text: fmt.Sprintf(format, args...)}
}

func skippedf(format string, args ...any) finding {
	return finding{state: skipped, text: fmt.Sprintf(format, args...)}
}

// failure returns the finding for an error of a client.
func failure(err error) finding {
	f := finding{state: failed, text: err.Error()}
	if e, isError := errors.AsType[*cloud.Error](err); isError {
		f.advice = e.Hint()
		if e.RequestID != "" {
			f.text += " (request ID " + e.RequestID + ")"
		}
	}
	return f
}

const (
	width     = 80 // columns
	stateSize = 9
	nameSize  = 16
	maxText   = 2000
	maxName   = 120
)

// report writes lines. Nothing in them can control a terminal.
type report struct {
	to  io.Writer
	err error // the first one; it does not end the diagnosis
}

func (r *report) line(s string) { r.put(clean.Line(s, maxText)) }

func (r *report) heading(s string) { r.text(s) }

func (r *report) text(s string) { r.wrap("", "", s) }

func (r *report) finding(name string, f finding) {
	first := fmt.Sprintf("%-*s%-*s ", stateSize, f.state, nameSize, name)
	r.wrap(first, strings.Repeat(" ", stateSize+nameSize+1), f.text)
	if f.advice != "" && f.state == failed {
		first, size := utf8.DecodeRuneInString(f.advice)
		indent := strings.Repeat(" ", stateSize)
		r.wrap(indent+"What to do: ", indent, string(unicode.ToUpper(first))+f.advice[size:]+".")
	}
}

// wrap writes s after first, and continues it after indent where a line would be too long.
func (r *report) wrap(first, indent, s string) {
	line, empty := first, true
	for word := range strings.FieldsSeq(clean.Line(s, maxText)) {
		for _, part := range split(word, width-columns(indent)) {
			switch {
			case empty:
			case columns(line)+1+columns(part) > width:
				r.put(line)
				line = indent
			default:
				line += " "
			}
			line, empty = line+part, false
		}
	}
	r.put(line)
}

// put writes a line with its indentation.
func (r *report) put(s string) {
	_, err := io.WriteString(r.to, strings.TrimRight(s, " ")+"\n")
	r.err = cmp.Or(r.err, err)
}

// split cuts a word that is longer than a line.
func split(word string, size int) []string {
	var parts []string
	for columns(word) > size {
		end, used := 0, 0
		for i, c := range word {
			if used += columns(string(c)); used > size {
				end = i
				break
			}
		}
		parts, word = append(parts, word[:end]), word[end:]
	}
	return append(parts, word)
}

// columns counts wide characters, such as Chinese ones, twice.
func columns(s string) int {
	n := 0
	for _, c := range s {
		n++
		if c >= 0x1100 {
			n++
		}
	}
	return n
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// label returns a name of the cloud or the configuration for a line.
func label(s string) string { return clean.Line(s, maxName) }

func took(d time.Duration) string {
	switch {
	case d < 100*time.Microsecond:
		return "less than 100µs"
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

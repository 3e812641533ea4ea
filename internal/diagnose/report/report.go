// SPDX-License-Identifier: Apache-2.0

// Package report writes the findings of a diagnosis for a terminal.
package report

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

// State says how a step went.
type State string

// The states.
const (
	OK      State = "ok"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Finding is the result of a step.
type Finding struct {
	State  State
	Text   string
	Advice string // one sentence without a full stop
}

// Failure returns the finding of a step that has failed.
func Failure(text, advice string) Finding { return Finding{State: Failed, Text: text, Advice: advice} }

// OKf returns the finding of a step without a problem.
func OKf(format string, args ...any) Finding {
	return Finding{State: OK, Text: fmt.Sprintf(format, args...)}
}

// Skippedf returns the finding of a step that was not taken.
func Skippedf(format string, args ...any) Finding {
	return Finding{State: Skipped, Text: fmt.Sprintf(format, args...)}
}

// Error returns the finding for an error of a client.
func Error(err error) Finding {
	f := Failure(err.Error(), "")
	if e, isError := errors.AsType[*cloud.Error](err); isError {
		f.Advice = e.Hint()
		if e.RequestID != "" {
			f.Text += " (request ID " + e.RequestID + ")"
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

// Writer writes lines. Nothing in them can control a terminal.
type Writer struct {
	to  io.Writer
	err error
}

// NewWriter returns a Writer.
func NewWriter(to io.Writer) *Writer { return &Writer{to: to} }

// Err returns the first error. It does not keep the Writer from writing.
func (r *Writer) Err() error { return r.err }

// Line writes a line as it is.
func (r *Writer) Line(s string) { r.put(clean.Line(s, maxText)) }

// Heading writes the heading of a section.
func (r *Writer) Heading(s string) { r.Text(s) }

// Text writes a paragraph.
func (r *Writer) Text(s string) { r.Wrap("", "", s) }

// Finding writes what a step has found.
func (r *Writer) Finding(name string, f Finding) {
	first := fmt.Sprintf("%-*s%-*s ", stateSize, f.State, nameSize, name)
	r.Wrap(first, strings.Repeat(" ", stateSize+nameSize+1), f.Text)
	if f.Advice != "" && f.State == Failed {
		first, size := utf8.DecodeRuneInString(f.Advice)
		indent := strings.Repeat(" ", stateSize)
		r.Wrap(indent+"What to do: ", indent, string(unicode.ToUpper(first))+f.Advice[size:]+".")
	}
}

// Wrap writes s after first, and continues it after indent where a line would be too long.
func (r *Writer) Wrap(first, indent, s string) {
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
func (r *Writer) put(s string) {
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

// Count writes a number with a noun.
func Count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// Label returns a name of the cloud or the configuration for a line.
func Label(s string) string { return clean.Line(s, maxName) }

// Took writes a duration.
func Took(d time.Duration) string {
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

// UTC writes a time.
func UTC(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

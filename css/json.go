// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxText is the length in bytes at which texts of the API end: what is longer is no name or address.
const maxText = 1024

// maxElements is how many elements a list of the API may have.
const maxElements = 100_000

// Optional is a value that the API may not have sent. Absent and zero are two different answers.
type Optional[T any] struct {
	Value T
	Set   bool
}

func some[T any](value T) Optional[T] { return Optional[T]{Value: value, Set: true} }

// reader walks a JSON text and takes what it knows, whatever stands beside it. A value that is null is as good as
// absent; one of another type than documented is absent too, and counted.
type reader struct {
	json       *jsontext.Decoder
	scratch    []byte
	texts      map[string]string // the last text of each field: most elements of a list repeat some of them
	unparsable map[string]int    // by field
}

func newReader(body []byte) *reader {
	return &reader{
		json: jsontext.NewDecoder(bytes.NewBuffer(body),
			jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)),
		texts: make(map[string]string),
	}
}

// document reads the one object that a body is to be, and that nothing follows it.
func (r *reader) document(field func(name []byte) error) error {
	if r.json.PeekKind() != jsontext.KindBeginObject {
		if _, err := r.json.ReadToken(); err != nil && !errors.Is(err, io.EOF) {
			return errors.New("the body is no JSON")
		}
		return errors.New("the body is no JSON object")
	}
	if err := r.object(field); err != nil {
		return err
	}
	if _, err := r.json.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// object calls field for each member, which must read or skip the member's value. The name is valid until then.
func (r *reader) object(field func(name []byte) error) error {
	if _, err := r.json.ReadToken(); err != nil {
		return r.syntax(err)
	}
	for r.json.PeekKind() != jsontext.KindEndObject {
		raw, err := r.json.ReadValue()
		if err != nil {
			return r.syntax(err)
		}
		if err := field(r.unquote(raw)); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return r.syntax(err)
}

// array calls element for each element, which must read or skip it. A body that is full of tiny elements would take
// many times its size in memory, so there may be no more than maxElements.
func (r *reader) array(element func() error) error {
	if _, err := r.json.ReadToken(); err != nil {
		return r.syntax(err)
	}
	for n := 0; r.json.PeekKind() != jsontext.KindEndArray; n++ {
		if n == maxElements {
			return errors.New("a list has more than 100,000 elements")
		}
		if err := element(); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return r.syntax(err)
}

// objectOr reads an object; any other value is skipped and, unless null, counted for the named field.
func (r *reader) objectOr(name string, field func(name []byte) error) error {
	if r.json.PeekKind() == jsontext.KindBeginObject {
		return r.object(field)
	}
	return r.odd(name)
}

// odd skips a value that is not of the documented type.
func (r *reader) odd(name string) error {
	kind := r.json.PeekKind()
	if err := r.skip(); err != nil {
		return err
	}
	if kind != jsontext.KindNull {
		r.count(name)
	}
	return nil
}

func (r *reader) count(name string) {
	if r.unparsable == nil {
		r.unparsable = make(map[string]int)
	}
	r.unparsable[name]++
}

func (r *reader) skip() error { return r.syntax(r.json.SkipValue()) }

// scalar reads the content of a string, or a number as it stands: ids and sizes have been both. It is valid until the
// next call. Of any other value there is none.
func (r *reader) scalar(name string) ([]byte, error) {
	switch r.json.PeekKind() {
	case jsontext.KindString, jsontext.KindNumber:
		raw, err := r.json.ReadValue()
		if err != nil {
			return nil, r.syntax(err)
		}
		return r.unquote(raw), nil
	}
	return nil, r.odd(name)
}

// text reads a string or a number.
func (r *reader) text(name string, to *string) error {
	content, err := r.scalar(name)
	if err != nil || content == nil {
		return err
	}
	if last := r.texts[name]; last == string(content) {
		*to = last
		return nil
	}
	*to = Clean(string(content), maxText)
	r.texts[name] = *to
	return nil
}

// number reads a number, or a string that holds one. An empty string is no value.
func (r *reader) number(name string, to *Optional[float64]) error {
	content, err := r.scalar(name)
	content = bytes.TrimSpace(content)
	if err != nil || len(content) == 0 {
		return err
	}
	value, err := strconv.ParseFloat(string(content), 64)
	if err != nil || !decimal(content) || math.IsInf(value, 0) || math.IsNaN(value) {
		r.count(name)
		return nil
	}
	*to = some(value)
	return nil
}

// decimal says whether a number is written as JSON has it; strconv takes more.
func decimal(content []byte) bool {
	for _, c := range content {
		if (c < '0' || c > '9') && strings.IndexByte("+-.eE", c) < 0 {
			return false
		}
	}
	return true
}

// boolean reads true and false; an older example has them as strings.
func (r *reader) boolean(name string, to *Optional[bool]) error {
	switch r.json.PeekKind() {
	case jsontext.KindTrue, jsontext.KindFalse:
		token, err := r.json.ReadToken()
		if err != nil {
			return r.syntax(err)
		}
		*to = some(token.Bool())
		return nil
	case jsontext.KindString:
		content, err := r.scalar(name)
		if err != nil {
			return err
		}
		switch strings.ToLower(strings.TrimSpace(string(content))) {
		case "true":
			*to = some(true)
		case "false":
			*to = some(false)
		case "":
		default:
			r.count(name)
		}
		return nil
	}
	return r.odd(name)
}

// secret reads a string that goes into a header; one that cannot is ignored.
func (r *reader) secret(to *string) error {
	if r.json.PeekKind() != jsontext.KindString {
		return r.skip()
	}
	raw, err := r.json.ReadValue()
	if err != nil {
		return r.syntax(err)
	}
	if text := string(r.unquote(raw)); validHeaderValue(text) {
		*to = text
	}
	return nil
}

// timestamp reads a time.
func (r *reader) timestamp(name string, to *Optional[time.Time]) error {
	if r.json.PeekKind() != jsontext.KindString {
		return r.odd(name)
	}
	content, err := r.scalar(name)
	content = bytes.TrimSpace(content)
	if err != nil || len(content) == 0 {
		return err
	}
	value, ok := parseTime(string(content))
	if !ok {
		r.count(name)
		return nil
	}
	*to = some(value)
	return nil
}

// parseTime reads the forms of ISO 8601 that the API and its sister services have shown: with a zone or without (then
// it is UTC), with fractions of a second or without.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// unquote gives the content of a JSON string, or a number as it stands. It is valid until the next call.
func (r *reader) unquote(raw jsontext.Value) []byte {
	if raw.Kind() != jsontext.KindString {
		return raw
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	// Bytes that are no UTF-8 come out replaced, with an error that says so: the text is good all the same.
	r.scratch, _ = jsontext.AppendUnquote(r.scratch[:0], raw)
	return r.scratch
}

// syntax makes a plain sentence of the decoder's error, which would quote the body.
func (r *reader) syntax(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early")
	}
	return errors.New("the JSON is broken near byte " + strconv.FormatInt(r.json.InputOffset(), 10))
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxText     = 1024    // bytes of a text; longer ones are truncated
	maxElements = 100_000 // of a list: tiny elements take many times their size in memory
)

// Optional is a value that the API may not have sent: absent is not zero.
type Optional[T any] struct {
	Value T
	Set   bool
}

func some[T any](value T) Optional[T] { return Optional[T]{Value: value, Set: true} }

// decode decodes a body, which must be one JSON object. A value that is null or missing leaves its variable as it is. So
// does one of another type than documented, which is counted by the API's name of the field. The error does not quote
// the body.
func decode(body []byte, to object) (unparsable map[string]int, err error) {
	d := &decoder{unparsable: make(map[string]int), Decoder: jsontext.NewDecoder(bytes.NewBuffer(body),
		jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))}
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return nil, errors.New("the body is no JSON object")
	}
	if err = to.decode(d); err == nil {
		if _, err = d.ReadToken(); err == nil {
			return nil, errors.New("something follows the JSON object")
		} else if errors.Is(err, io.EOF) {
			return d.unparsable, nil
		}
	}
	switch syntax, broken := errors.AsType[*jsontext.SyntacticError](err); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the JSON ends too early")
	case broken:
		return nil, fmt.Errorf("the JSON is broken near byte %d", syntax.ByteOffset)
	}
	return nil, err
}

type decoder struct {
	*jsontext.Decoder
	unparsable map[string]int
}

// value decodes the next value into a variable.
type value func(*decoder) error

// object decodes the members of a JSON object by their names, and skips the others.
type object map[string]value

func (o object) decode(d *decoder) error {
	if d.PeekKind() != jsontext.KindBeginObject {
		return mistyped(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.ReadValue()
		if err != nil {
			return err
		}
		member, known := o[string(unquote(name))]
		if !known {
			member = (*decoder).SkipValue
		}
		if err := member(d); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// list decodes each element of a list.
func list(element value) value {
	return func(d *decoder) error {
		if d.PeekKind() != jsontext.KindBeginArray {
			return mistyped(d)
		}
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		for n := 0; d.PeekKind() != jsontext.KindEndArray; n++ {
			if n == maxElements {
				return errors.New("a list has more than 100,000 elements")
			}
			if err := element(d); err != nil {
				return err
			}
		}
		_, err := d.ReadToken()
		return err
	}
}

// scalar decodes a value of one of these kinds, by default of any, that parse takes.
func scalar(parse func(content []byte) bool, kinds ...jsontext.Kind) value {
	return func(d *decoder) error {
		raw, err := d.ReadValue()
		if err != nil || raw.Kind() == jsontext.KindNull {
			return err
		}
		if (kinds == nil || slices.Contains(kinds, raw.Kind())) && parse(unquote(raw)) {
			return nil
		}
		field := d.StackPointer()
		if in, _ := d.StackIndex(d.StackDepth()); in == jsontext.KindBeginArray {
			field = field.Parent() // an element counts for its list
		}
		d.unparsable[field.LastToken()]++
		return nil
	}
}

// mistyped skips a value and, unless it is null, counts it.
func mistyped(d *decoder) error { return scalar(func([]byte) bool { return false })(d) }

// text decodes a string of at most maxText bytes, or a number: IDs and versions have been both.
func text(to *string) value {
	var last string // most elements of a list repeat some texts
	return scalar(func(content []byte) bool {
		if last != string(content) {
			last = Clean(string(content), maxText)
		}
		*to = last
		return true
	}, jsontext.KindString, jsontext.KindNumber)
}

// secret decodes a string of any length that can be the value of a header.
func secret(to *string) value {
	return scalar(func(content []byte) bool {
		valid := validHeaderValue(string(content))
		if valid {
			*to = string(content)
		}
		return valid
	}, jsontext.KindString)
}

// optional decodes a value that parse understands. An empty string is absent.
func optional[T any](to *Optional[T], parse func(content []byte) (T, bool)) value {
	return scalar(func(content []byte) bool {
		content = bytes.TrimSpace(content)
		parsed, valid := parse(content)
		if valid {
			*to = some(parsed)
		}
		return valid || len(content) == 0
	})
}

// unquote returns the content of a string, and any other value as it was sent. The result may alias raw.
func unquote(raw jsontext.Value) []byte {
	if raw.Kind() != jsontext.KindString {
		return raw
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	content, _ := jsontext.AppendUnquote(nil, raw) // the error is about invalid UTF-8, which is replaced
	return content
}

// parseNumber parses a decimal number: strconv takes 1_000, 0x1F, Inf and NaN as well.
func parseNumber(content []byte) (float64, bool) {
	value, err := strconv.ParseFloat(string(content), 64)
	if err != nil || bytes.ContainsAny(content, "_xXnN") {
		return 0, false
	}
	return value, true
}

// parseCount parses a number that can say how many there are of something.
func parseCount(content []byte) (float64, bool) {
	value, ok := parseNumber(content)
	return value, ok && value >= 0 && value == math.Trunc(value)
}

// parseBool parses true and false; an older example has them as strings.
func parseBool(content []byte) (value, ok bool) {
	text := string(bytes.ToLower(content))
	return text == "true", text == "true" || text == "false"
}

// parseTime parses the forms of ISO 8601 that the API and its sister services have shown: with a zone or without (then
// it is UTC), with fractions of a second or without.
func parseTime(content []byte) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.Parse(layout, string(content)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// SPDX-License-Identifier: Apache-2.0

// Package lenient decodes JSON whose fields may be missing, null or of another type than documented. Other types are
// counted, and leave their variables unchanged.
package lenient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"css_vpcep_exporter/internal/clean"

	"github.com/go-json-experiment/json/jsontext"
)

const maxElements = 100_000 // tiny ones take many times their size in memory

// Optional is a value that may be missing.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns an Optional that is set.
func Some[T any](value T) Optional[T] { return Optional[T]{Value: value, Set: true} }

// Decode decodes a JSON object. It returns the number of values of another type, by field. The error does not quote
// the body.
func Decode(body []byte, to Object) (unparsable map[string]int, err error) {
	d := &Decoder{unparsable: make(map[string]int), Decoder: jsontext.NewDecoder(bytes.NewBuffer(body),
		jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))}
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return nil, errors.New("the body is not a JSON object")
	}
	if err = to.Decode(d); err == nil {
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

// Decoder decodes one body.
type Decoder struct {
	*jsontext.Decoder
	unparsable map[string]int
}

// Value decodes the next value.
type Value func(*Decoder) error

// Object decodes the named members of an object.
type Object map[string]Value

// Decode is a Value.
func (o Object) Decode(d *Decoder) error {
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
			member = (*Decoder).SkipValue
		}
		if err := member(d); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// List decodes each element of a list.
func List(element Value) Value {
	return func(d *Decoder) error {
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

// Scalar decodes a value of these kinds, by default of any.
func Scalar(parse func(content []byte) (valid bool), kinds ...jsontext.Kind) Value {
	return func(d *Decoder) error {
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

func mistyped(d *Decoder) error { return Scalar(func([]byte) bool { return false })(d) }

// Text decodes a string, truncated to clean.MaxLength bytes, or a number: IDs and versions have been both.
func Text(to *string) Value {
	var last string
	return Scalar(func(content []byte) bool {
		if last != string(content) {
			last = clean.Text(string(content), clean.MaxLength)
		}
		*to = last
		return true
	}, jsontext.KindString, jsontext.KindNumber)
}

// Secret decodes a string of any length that a header can hold.
func Secret(to *string) Value {
	return Scalar(func(content []byte) bool {
		valid := clean.IsPrintable(string(content))
		if valid {
			*to = string(content)
		}
		return valid
	}, jsontext.KindString)
}

// Optionally decodes a value by parse. An empty string counts as missing.
func Optionally[T any](to *Optional[T], parse func(content []byte) (T, bool)) Value {
	return Scalar(func(content []byte) bool {
		content = bytes.TrimSpace(content)
		parsed, valid := parse(content)
		if valid {
			*to = Some(parsed)
		}
		return valid || len(content) == 0
	})
}

// unquote returns the content of a string, and other values unchanged. The result may alias raw.
func unquote(raw jsontext.Value) []byte {
	if raw.Kind() != jsontext.KindString {
		return raw
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	content, _ := jsontext.AppendUnquote(nil, raw) // replaces invalid UTF-8
	return content
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxText is the maximum length of a string field in bytes; longer values are truncated.
	maxText = 1024
	// maxElements is the maximum length of a list, because tiny elements take many times their size in memory.
	maxElements = 100_000
)

var errLongList = errors.New("a list has more than 100,000 elements")

// Optional is a value that the API may not have sent: absent is not zero.
type Optional[T any] struct {
	Value T
	Set   bool
}

func some[T any](value T) Optional[T] { return Optional[T]{Value: value, Set: true} }

// decode decodes a body, which must be one JSON object, into a struct of fields, objects and lists. They take what they
// understand, so that one odd value does not lose the answer. The error does not quote the body.
func decode(body []byte, to any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return errors.New("the body is no JSON object")
	}
	err := json.Unmarshal(body, to, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	switch syntax, broken := errors.AsType[*jsontext.SyntacticError](err); {
	case errors.Is(err, errLongList):
		return errLongList
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early")
	case broken:
		return fmt.Errorf("the JSON is broken near byte %d", syntax.ByteOffset)
	}
	return err
}

// field is a text of at most maxText bytes, a secret, a Status, a number, a boolean or a timestamp. A value that is
// null is absent. So is one of another type or form than documented, which is mistyped.
type field[T any] struct {
	Optional[T]
	mistyped bool
}

// secret is a text that can be the value of a header, of any length.
type secret string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (f *field[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	last := f.Value
	*f = field[T]{} // the last of duplicate names counts
	raw, err := dec.ReadValue()
	if err != nil || raw.Kind() == jsontext.KindNull {
		return err
	}
	content := unquote(raw)
	trimmed := bytes.TrimSpace(content)
	isString := raw.Kind() == jsontext.KindString
	isText := isString || raw.Kind() == jsontext.KindNumber // IDs and versions have been both
	switch to := any(&f.Value).(type) {
	case *string:
		if f.Set = isText; isText {
			if *to, _ = any(last).(string); *to != string(content) { // elements of a list repeat some texts
				*to = Clean(string(content), maxText)
			}
		}
	case *secret:
		if f.Set = isString && validHeaderValue(string(content)); f.Set {
			*to = secret(content)
		}
	case *Status:
		if f.Set = isText && len(content) > 0; f.Set {
			*to = parseStatus(string(content))
		}
	case *float64:
		*to, f.Set = parseNumber(trimmed)
	case *bool:
		*to, f.Set = parseBool(trimmed)
	case *time.Time:
		*to, f.Set = parseTime(trimmed)
	}
	f.mistyped = !f.Set && len(trimmed) > 0
	return nil
}

// take returns the value and counts a mistyped one under the API's name of the field. It clears the field, so that the
// next element of a list can be decoded into it.
func (f *field[T]) take(name string, unparsable map[string]int) (value Optional[T]) {
	if f.Set {
		value = f.Optional
	}
	if f.mistyped {
		unparsable[name]++
	}
	f.Set, f.mistyped = false, false
	return value
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

// isCount reports whether a number can say how many there are of something.
func isCount(value float64) bool { return value >= 0 && value == math.Trunc(value) }

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

// object is a JSON object. Any other value is skipped.
type object[T any] struct{ value T }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (o *object[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*o = object[T]{}
	if dec.PeekKind() != jsontext.KindBeginObject {
		return dec.SkipValue()
	}
	return json.UnmarshalDecode(dec, &o.value)
}

// list is a JSON array. Any other value is skipped.
type list[T any] struct {
	items  []T
	kind   jsontext.Kind                     // of the value that was sent; 0 if there was none
	decode func(*jsontext.Decoder, *T) error // decodes an element; nil if T does so itself
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *list[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	l.items = l.items[:0] // the last of duplicate names counts
	if l.kind = dec.PeekKind(); l.kind != jsontext.KindBeginArray {
		return dec.SkipValue()
	}
	decode := l.decode
	if decode == nil {
		decode = func(dec *jsontext.Decoder, item *T) error { return json.UnmarshalDecode(dec, item) }
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		n := len(l.items)
		if n == maxElements {
			return errLongList
		}
		l.items = append(l.items, *new(T))
		if err := decode(dec, &l.items[n]); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// mistyped reports whether a value of another kind than documented was sent.
func mistyped(sent, documented jsontext.Kind) bool {
	return sent != documented && sent != jsontext.KindNull && sent != 0
}

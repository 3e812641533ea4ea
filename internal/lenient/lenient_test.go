// SPDX-License-Identifier: Apache-2.0

package lenient_test

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/lenient"
)

// fields are the variables of a decoded object.
type fields struct {
	text   string
	secret string
	number lenient.Optional[float64]
	inner  string
	list   []string
}

func (f *fields) object() lenient.Object {
	var element string
	return lenient.Object{
		"text":   lenient.Text(&f.text),
		"secret": lenient.Secret(&f.secret),
		"number": lenient.Optionally(&f.number, lenient.ParseNumber),
		"object": lenient.Object{"inner": lenient.Text(&f.inner)}.Decode,
		"list": lenient.List(func(d *lenient.Decoder) error {
			element = ""
			err := lenient.Text(&element)(d)
			f.list = append(f.list, element)
			return err
		}),
	}
}

func TestDecode(t *testing.T) {
	var f fields
	unparsable, err := lenient.Decode([]byte(`{"text":"t","secret":"s","number":" 1.5 ","object":{"inner":7,"other":[{}]},`+
		`"list":["a",2,null],"unknown":{"text":"no"}}`), f.object())
	if err != nil || len(unparsable) != 0 {
		t.Fatalf("got %v, %v", unparsable, err)
	}
	if f.text != "t" || f.secret != "s" || f.number != lenient.Some(1.5) || f.inner != "7" || strings.Join(f.list, " ") != "a 2 " {
		t.Errorf("got %+v", f)
	}
}

func TestOtherTypesAreCounted(t *testing.T) {
	f := fields{text: "kept", secret: "kept", number: lenient.Some(1.0)}
	unparsable, err := lenient.Decode([]byte(`{"text":[1],"secret":"two\nlines","number":"many","object":"x","list":[{},"a",true]}`),
		f.object())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"text": 1, "secret": 1, "number": 1, "object": 1, "list": 2}
	if !maps.Equal(unparsable, want) {
		t.Errorf("got %v, want %v", unparsable, want)
	}
	if f.text != "kept" || f.secret != "kept" || f.number != lenient.Some(1.0) {
		t.Errorf("got %+v, want unchanged variables", f)
	}
}

func TestNullAndMissingAreNotCounted(t *testing.T) {
	var f fields
	unparsable, err := lenient.Decode([]byte(`{"text":null,"number":"","list":null,"object":null}`), f.object())
	if err != nil || len(unparsable) != 0 || f.text != "" || f.number.Set || f.list != nil {
		t.Errorf("got %+v, %v, %v", f, unparsable, err)
	}
}

func TestInvalidJSON(t *testing.T) {
	for body, want := range map[string]string{
		"":                      "the body is not a JSON object",
		"[]":                    "the body is not a JSON object",
		`{"text":"a"`:           "the JSON ends too early",
		`{"text":"a"} {}`:       "something follows the JSON object",
		`{"text":nonsense-text`: "the JSON is broken near byte",
		`{"list":[` + strings.Repeat("1,", 100_000) + `1]}`: "a list has more than 100,000 elements",
	} {
		_, err := lenient.Decode([]byte(body), new(fields).object())
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%.30q: got %v, want %s", body, err, want)
		}
	}
}

func TestParseNumbers(t *testing.T) {
	for text, want := range map[string]struct{ number, count, exact bool }{
		"3":      {true, true, true},
		"3.0":    {true, true, true},
		"+3":     {true, true, true},
		"-0":     {true, true, true},
		"3e3":    {true, true, true},
		"1.5":    {true, false, false},
		"-1":     {true, false, false},
		"1e300":  {true, true, false},
		"1e-400": {true, true, false}, // a float64 has 0
		"0x1F":   {},
		"1_000":  {},
		"1p3":    {},
		"NaN":    {},
		"Inf":    {},
		"1e999":  {},
		"":       {},

		"9007199254740992":      {true, true, true}, // 2^53
		"9007199254740992.0":    {true, true, true},
		"9007199254740993":      {true, true, false},
		"9007199254740992.5":    {true, true, false},
		"18446744073709551616":  {true, true, false},
		"3000.0000000000000001": {true, true, false},
	} {
		if _, ok := lenient.ParseNumber([]byte(text)); ok != want.number {
			t.Errorf("ParseNumber(%q): got %t, want %t", text, ok, want.number)
		}
		if n, ok := lenient.ParseCount([]byte(text)); ok != want.count || ok && math.Signbit(n) {
			t.Errorf("ParseCount(%q): got %v, %t, want %t", text, n, ok, want.count)
		}
		if n, ok := lenient.ParseExactCount([]byte(text)); ok != want.exact || ok && math.Signbit(n) {
			t.Errorf("ParseExactCount(%q): got %v, %t, want %t", text, n, ok, want.exact)
		}
	}
}

// TestLongNumber shows that a number as long as a response does not take minutes.
func TestLongNumber(t *testing.T) {
	start := time.Now()
	if n, ok := lenient.ParseExactCount([]byte("3000." + strings.Repeat("0", 2<<20))); ok {
		t.Errorf("got %v, want none", n)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
}

func TestParseBool(t *testing.T) {
	for text, want := range map[string][2]bool{
		"true": {true, true}, "FALSE": {false, true}, "False": {false, true}, "1": {}, "": {}, "yes": {},
	} {
		if value, ok := lenient.ParseBool([]byte(text)); value != want[0] || ok != want[1] {
			t.Errorf("ParseBool(%q): got %t, %t, want %v", text, value, ok, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2024, 6, 11, 9, 36, 24, 0, time.UTC)
	for _, text := range []string{
		"2024-06-11T09:36:24Z", "2024-06-11T09:36:24", "2024-06-11 09:36:24", "2024-06-11T17:36:24+08:00", "2024-06-11T17:36:24+0800",
		"2024-06-11T09:36:24.000Z",
	} {
		if got, ok := lenient.ParseTime([]byte(text)); !ok || !got.Equal(want) {
			t.Errorf("ParseTime(%q): got %s, %t, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "yesterday", "2024-06-11", "1718098584", "2024-02-30T09:36:24Z"} {
		if got, ok := lenient.ParseTime([]byte(text)); ok {
			t.Errorf("ParseTime(%q): got %s, want none", text, got)
		}
	}
}

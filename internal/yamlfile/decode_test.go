// SPDX-License-Identifier: Apache-2.0

package yamlfile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type fileKeys struct {
	Name   Field[Text]                   `yaml:"name"`
	Count  Field[Number]                 `yaml:"count"`
	Every  Field[Duration]               `yaml:"every"`
	On     Field[Boolean]                `yaml:"on"`
	Match  Field[Pattern]                `yaml:"match"`
	Any    Field[AnyPattern]             `yaml:"any"`
	Items  Field[List[itemKeys]]         `yaml:"items"`
	Labels Field[map[string]Field[Text]] `yaml:"labels"`
	Login  Field[itemKeys]               `yaml:"login"`
}

type itemKeys struct {
	ID Field[Text] `yaml:"id"`
}

func decode(content string) (*fileKeys, *Decoder) {
	d := &Decoder{File: "f", Secrets: "login", Empty: map[string]string{"": "empty file", ".id": "empty ID"}}
	var f Field[fileKeys]
	d.Decode([]byte(content), &f)
	return &f.Value, d
}

func TestDecode(t *testing.T) {
	f, d := decode(`
name: 0123
count: 1.5
every: 1m
on: true
match: a|b
any: ''
items: [{id: x}, {id: 'true'}]
labels: {a: b}
`)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	if f.Name.Value != "0123" || f.Count.Value != 1.5 || time.Duration(f.Every.Value) != time.Minute || !bool(f.On.Value) {
		t.Errorf("got %+v", f)
	}
	if f.Match.Value.MatchString("ab") || !f.Match.Value.MatchString("b") || !f.Any.Value.MatchString("") {
		t.Errorf("got expressions %s and %s, want both anchored", f.Match.Value, f.Any.Value)
	}
	if len(f.Items.Value) != 2 || f.Items.Value[1].Value.ID.Value != "true" || f.Labels.Value["a"].Value != "b" {
		t.Errorf("got items %+v and labels %+v", f.Items.Value, f.Labels.Value)
	}
	if !f.Name.IsSet() || f.Name.IsMapping() || !f.Labels.IsMapping() || f.Login.IsSet() || f.Login.OK {
		t.Errorf("got %+v", f)
	}
}

func TestMistakes(t *testing.T) {
	const misplaced = "AbCdEfGhIjKlMnOpQrStUvWx0123456789"
	for content, want := range map[string]string{ //nolint:gosec // made up
		"":                      "f: empty file",
		"name: a\n---\nname: b": "f:2: a second YAML document begins here; keep only one",
		"count: a\nname: []": `f:1: count: invalid number "a"; write plain digits without quotes, such as 16` +
			"\nf:2: name: expected text, not a list or a mapping",
		"items: [{id: a}, {ident: b}]": "f:1: items[1].ident: unknown key; the valid keys are id",
		"items:\n- id:\n- id: ''":      "f:2: items[0].id: empty ID\nf:3: items[1].id: empty; set a value, or remove the key",
		"nam: a":                       `f:1: nam: unknown key; did you mean "name"?`,
		"name: a\nname: b":             "f:2: name: duplicate key, first set on line 1; remove one",
		"on: yes":                      "f:1: on: expected true or false, without quotes",
		"items: a":                     "f:1: items: expected a list (a dash before each item)",
		"login: {Password: a}":         "f:1: login.(not shown): unknown key; the valid keys are id",
		"labels: {Password: ''}":       "f:1: labels.Password: empty; set a value, or remove the key",
		"every: " + misplaced:          "f:1: every: invalid duration (not shown) (examples: 30s, 5m, 1h30m)",
		"match: (":                     `f:1: match: invalid regular expression "(": missing closing )`,
		"name: \"a":                    "f:1: invalid YAML here or just above: unclosed quote; add the closing one",
	} {
		_, d := decode(content)
		if diff := cmp.Diff(want, d.Err().Error()); diff != "" {
			t.Errorf("%q: mistakes (-want +got):\n%s", content, diff)
		}
	}
}

func TestReport(t *testing.T) {
	f, d := decode("name: a\nitems:\n- id: b\ncount: 0.5")
	if got := d.Integer(&f.Count, 7, 1, 9); got != 7 {
		t.Errorf("got %d for an invalid number, want the default", got)
	}
	if got := d.Integer(&Field[Number]{}, 7, 1, 9); got != 7 {
		t.Errorf("got %d for no number, want the default", got)
	}
	item := f.Items.Value[0].Node
	d.Reportf(d.PlaceIn(item, "name"), "missing")
	d.Reportf(d.Place(item), "of %s", Quote(strings.Repeat("x", 61)))
	d.Reportf(Place{}, "unreadable")
	want := "f: unreadable\nf:3: items[0].name: missing\nf:3: items[0]: of \"" + strings.Repeat("x", 60) + "\"…\n" +
		"f:4: count: must be a whole number from 1 to 9, not \"0.5\""
	if diff := cmp.Diff(want, d.Err().Error()); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

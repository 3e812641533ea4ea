// SPDX-License-Identifier: Apache-2.0

// Package yamlfile decodes YAML strictly, and reports every mistake at once with its place and without secrets.
package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/internal/spelling"

	"go.yaml.in/yaml/v4"
)

// Decoder decodes a file and collects its mistakes.
type Decoder struct {
	File     string            // its name
	Empty    map[string]string // messages for an empty file ("") and for empty values (".key")
	Secrets  string            // the key of a mapping whose unknown keys may be secrets
	Mistakes Errors            // in the order in which they were found

	places map[*yaml.Node]Place
}

// Place locates a mistake. A value has the line of its key.
type Place struct {
	line int
	key  string
}

// Reportf records a mistake. The zero Place is the whole file.
func (d *Decoder) Reportf(at Place, format string, args ...any) {
	d.Mistakes = append(d.Mistakes, Mistake{d.File, at.line, at.key, fmt.Sprintf(format, args...)})
}

// Err returns the mistakes as Errors, sorted by line, or nil.
func (d *Decoder) Err() error {
	if len(d.Mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(d.Mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	return d.Mistakes
}

// Place returns the place of a node.
func (d *Decoder) Place(n *yaml.Node) Place { return d.places[n] }

// PlaceIn returns the place where a mapping lacks a key.
func (d *Decoder) PlaceIn(mapping *yaml.Node, key string) Place {
	at := d.places[mapping]
	return Place{at.line, d.joinKey(at.key, key)}
}

type problem struct {
	node *yaml.Node
	text string
}

func (p *problem) Error() string { return p.text }

// Problemf returns an error for an UnmarshalYAML method. Decode reports it at the place of n.
func Problemf(n *yaml.Node, format string, args ...any) error {
	return &problem{n, fmt.Sprintf(format, args...)}
}

func (d *Decoder) parse(content []byte) (root *yaml.Node, line int, mistake string) {
	if line, mistake = invalidLine(content); mistake != "" {
		return nil, line, mistake
	}
	var documents []yaml.Node
	err := yaml.Load(bytes.TrimPrefix(content, []byte("\uFEFF")), &documents, yaml.WithAllDocuments())
	switch {
	case err != nil:
		line, mistake = syntaxError(err)
		return nil, line, "invalid YAML here or just above: " + mistake
	case len(documents) == 0 || isNull(documents[0].Content[0]):
		return nil, 0, d.Empty[""]
	case len(documents) > 1:
		return nil, documents[1].Line, "a second YAML document begins here; keep only one"
	}
	return documents[0].Content[0], 0, ""
}

// invalidLine finds invalid characters, because the library does not report their line.
func invalidLine(content []byte) (line int, mistake string) {
	invalid := func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) }
	for b := range bytes.Lines(content) {
		line++
		switch {
		case !utf8.Valid(b):
			return line, "the file is not in UTF-8; save it as UTF-8"
		case bytes.ContainsAny(b, "\u0085\u2028\u2029"): // only some versions of YAML begin a line there
			return line, "invisible line separator (U+0085, U+2028 or U+2029); remove it"
		case bytes.ContainsFunc(b, invalid):
			return line, `control character; remove it, or write it as \x and two digits in double quotes`
		}
	}
	return 0, ""
}

const (
	empty     = "empty; set a value, or remove the key"
	noAnchors = "anchors (&), aliases (*) and merge keys (<<) are not supported; repeat the value, " +
		"and put text that begins with one of these in quotes"
	unsupportedTag = "unsupported tag; put text that begins with ! in quotes"
)

// syntaxError replaces the library's text, which may quote a secret.
func syntaxError(err error) (line int, text string) {
	const unclosed = "unclosed quote; add the closing one"
	text = "align the keys of a mapping and the dashes of a list, close brackets, and put special characters in quotes"
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return 1, text
	}
	for _, known := range []struct{ part, text string }{
		{"unknown anchor", noAnchors},
		{"YAML tag", unsupportedTag},
		{"undefined tag handle", unsupportedTag},
		{"tab character", "tab in the indentation; indent with spaces"},
		{"cannot start any token", "indent with spaces only, and put text that begins with @, % or ` in quotes"},
		{"unknown escape character", `unknown escape after \ in double quotes; use single quotes`},
		{"unexpected end of stream", unclosed},
		{"expected ':'", "key without a colon; write key: value"},
		{"mapping values are not", "unexpected colon; put text with a colon in quotes, and align the keys of a mapping"},
		{"exceeded max depth", "nested too deeply; close brackets, and check the indentation"},
	} {
		if strings.Contains(e.Message, known.part) {
			text = known.text
		}
	}
	if text == unclosed {
		return max(e.ContextMark.Line, 1), text // the line of the opening quote
	}
	return max(e.Mark.Line, 1), text
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// Decode decodes the content into a *Field, and reports all mistakes. It returns false if there is nothing to decode.
func (d *Decoder) Decode(content []byte, to interface{ UnmarshalYAML(n *yaml.Node) error }) bool {
	root, line, mistake := d.parse(content)
	if root == nil {
		d.Reportf(Place{line: line}, "%s", mistake)
		return false
	}
	d.places = map[*yaml.Node]Place{}
	d.inspect(root, Place{line: root.Line})
	if errs, ok := errors.AsType[*yaml.LoadErrors](to.UnmarshalYAML(root)); ok {
		for _, e := range errs.Errors {
			if p, ok := errors.AsType[*problem](e); ok {
				d.Reportf(d.places[p.node], "%s", p.text)
			}
		}
	}
	return true
}

// reported is the kind of nodes whose mistake is already reported. They are not decoded.
const reported yaml.Kind = 1 << 31

// inspect records the places of n and its descendants, and removes what the library would accept or stop at.
func (d *Decoder) inspect(n *yaml.Node, at Place) {
	d.places[n] = at
	switch {
	case usesAnchors(n):
		d.Reportf(at, noAnchors)
	case isNull(n):
		last := at.key[max(strings.LastIndexByte(at.key, '.'), 0):]
		d.Reportf(at, "%s", cmp.Or(d.Empty[last], empty))
	}
	if isNull(n) || n.Kind == yaml.AliasNode || n.ShortTag() == "!!merge" {
		*n = yaml.Node{Kind: reported, Line: n.Line}
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			d.inspect(item, Place{item.Line, fmt.Sprintf("%s[%d]", at.key, i)})
		}
	case yaml.MappingNode:
		n.Content = d.inspectKeys(n.Content, at)
	}
}

func (d *Decoder) inspectKeys(content []*yaml.Node, at Place) []*yaml.Node {
	kept := content[:0]
	lines := map[string]int{}
	for i := 0; i+1 < len(content); i += 2 {
		key, value := content[i], content[i+1]
		here := Place{key.Line, d.joinKey(at.key, key.Value)}
		_, err := Scalar(key)
		switch line, twice := lines[key.Value]; {
		case usesAnchors(key):
			d.Reportf(Place{key.Line, at.key}, noAnchors)
		case err != nil && key.ShortTag() != "!!bool":
			d.Reportf(Place{key.Line, at.key}, "expected text as the key; write key: value, and put text with braces in quotes")
		case twice:
			d.Reportf(here, "duplicate key, first set on line %d; remove one", line)
		default:
			lines[key.Value] = key.Line
			d.places[key] = here
			d.inspect(value, here)
			kept = append(kept, key, value)
		}
	}
	return kept
}

func usesAnchors(n *yaml.Node) bool {
	return n.Anchor != "" || n.Kind == yaml.AliasNode || (n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge")
}

// joinKey appends a key to a path, unless it may be a misplaced secret.
func (d *Decoder) joinKey(path, key string) string {
	misspelled := len(key) <= 32 && consistsOf(key, lowerCase+"_") // not a secret
	switch {
	case looksSecret(key), d.Secrets != "" && strings.Contains(path, d.Secrets) && !misspelled:
		key = "(not shown)"
	case key == "" || len(key) > 60 || !consistsOf(key, letters+digits+"_-"):
		key = Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Field is the value of a key.
type Field[T any] struct {
	Value T
	Node  *yaml.Node // nil: the key is not set
	OK    bool       // set and valid
}

// IsSet reports whether the file has the key.
func (f *Field[T]) IsSet() bool { return f.Node != nil }

// IsMapping reports whether the value is a mapping, with or without mistakes in it.
func (f *Field[T]) IsMapping() bool { return f.IsSet() && f.Node.Kind == yaml.MappingNode }

// ValueOr returns the value if it is set and valid, or else the default.
func (f *Field[T]) ValueOr(defaultValue T) T {
	if f.OK {
		return f.Value
	}
	return defaultValue
}

// UnmarshalYAML returns a *yaml.LoadErrors with a problem for each mistake.
func (f *Field[T]) UnmarshalYAML(n *yaml.Node) error {
	f.Node = n
	if n.Kind == reported {
		return nil
	}
	err := n.Load(&f.Value, yaml.WithKnownFields(), yaml.WithUniqueKeys(false))
	if f.OK = err == nil; f.OK {
		return nil
	}
	errs, ok := errors.AsType[*yaml.LoadErrors](err)
	if !ok { // for example, a key has an invalid tag
		p := Problemf(n, "invalid value (not shown); remove tags (!), and put text in quotes")
		failure := yaml.NewLoadError(yaml.ConstructorStage, "", yaml.Mark{}, p)
		errs = &yaml.LoadErrors{Errors: []*yaml.LoadError{failure}}
	}
	keys := n.Content
	for i, e := range errs.Errors {
		if _, ok := errors.AsType[*problem](e); ok {
			continue
		}
		// Only mappings have other errors: a wrong type, or an unknown key. The text may show a secret.
		p := Problemf(n, "expected a mapping (key: value)")
		if n.Kind == yaml.MappingNode && len(keys) > 0 {
			for len(keys) > 2 && (keys[0].Line != e.Mark.Line || keys[0].Column != e.Mark.Column) {
				keys = keys[2:] // the errors are in the order of the keys
			}
			p = Problemf(keys[0], "%s", unknownKey(keys[0].Value, reflect.TypeFor[T]()))
		}
		errs.Errors[i] = yaml.NewLoadError(e.Stage, "", e.Mark, p)
	}
	return errs
}

func unknownKey(key string, mapping reflect.Type) string {
	var known []string
	for f := range mapping.Fields() {
		known = append(known, f.Tag.Get("yaml"))
	}
	if near := spelling.Nearest(key, known); near != "" {
		return "unknown key; did you mean " + Quote(near) + "?"
	}
	return "unknown key; the valid keys are " + strings.Join(known, ", ")
}

// List is a slice that keeps invalid items, so that further mistakes are found in them.
type List[T any] []Field[T]

// UnmarshalYAML returns the mistakes of all items.
func (l *List[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return Problemf(n, "expected a list (a dash before each item)")
	}
	*l = make(List[T], len(n.Content))
	var all yaml.LoadErrors
	for i, item := range n.Content {
		if errs, ok := errors.AsType[*yaml.LoadErrors]((*l)[i].UnmarshalYAML(item)); ok {
			all.Errors = append(all.Errors, errs.Errors...)
		}
	}
	if len(all.Errors) > 0 {
		return &all
	}
	return nil
}

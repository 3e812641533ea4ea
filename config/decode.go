// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"
)

// maxAliased bounds how many values are read through aliases, so that a few
// lines of nested aliases cannot fill the memory.
const maxAliased = 100_000

// decoder collects the mistakes of one file.
type decoder struct {
	file, dir string
	env       Environment
	mistakes  Errors
	aliased   int
	stopped   bool                // nothing is read any more; only bomb is reported
	bomb      Mistake             // why it stopped
	merging   map[*yaml.Node]bool // mappings whose merge keys are being read
}

// errors gives all mistakes, or nil.
func (d *decoder) errors() Errors {
	if d.stopped {
		return Errors{d.bomb}
	}
	return d.mistakes.sorted()
}

func (d *decoder) mistake(line int, key, format string, args ...any) {
	d.mistakes = append(d.mistakes, Mistake{File: d.file, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
}

// parse gives the root of the file's only document.
func (d *decoder) parse(content []byte) (value, bool) {
	if len(content) > maxFileSize {
		d.mistake(0, "", "the file is larger than 10 MiB: split it and run one exporter for each part")
		return value{}, false
	}
	if at, fault := unreadable(content); fault != "" {
		d.mistake(1+bytes.Count(content[:at], []byte("\n")), "", "%s", fault)
		return value{}, false
	}
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))

	var doc, second yaml.Node
	reader := yaml.NewDecoder(bytes.NewReader(content))
	if err := reader.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err, content)
		return value{}, false
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		d.mistake(0, "", "the file is empty: it must have projects")
		return value{}, false
	}
	if err := reader.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			d.syntax(err, content)
			return value{}, false
		}
		d.mistake(second.Line, "", "a second YAML document begins here: put everything into one document")
		return value{}, false
	}
	root := doc.Content[0]
	return value{d: d, node: root, line: root.Line}, true
}

// syntax reports an error of the YAML library. Its text repeats the file only
// where a word begins with * or !, and that may be a password without quotes.
func (d *decoder) syntax(err error, content []byte) {
	line, text := 1, err.Error()
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		line, text = max(e.Mark.Line, 1), e.Message
		if strings.Contains(text, "unexpected end of stream") { // it matters where the text begins
			line = max(e.ContextMark.Line, 1)
		}
	}
	d.mistake(line, "", "the file is not valid YAML here or just above: %s", plainSyntax(text, tabbed(content, line)))
}

// tabbed reports whether a line of the file, counted from 1, is indented with
// a tab.
func tabbed(content []byte, line int) bool {
	for range line - 1 {
		_, content, _ = bytes.Cut(content, []byte("\n"))
	}
	text, _, _ := bytes.Cut(content, []byte("\n"))
	return bytes.IndexByte(text[:len(text)-len(bytes.TrimLeft(text, " \t"))], '\t') >= 0
}

// plainSyntax says for people what the YAML library says.
func plainSyntax(text string, tab bool) string {
	if tab && strings.Contains(text, "cannot start any token") {
		return "a tab is in the indentation: use spaces"
	}
	for _, known := range []struct{ part, plain string }{
		{"unknown anchor", "an alias has no anchor; text that begins with * must be in quotes"},
		{"found character '", "a tag has a character that it must not have; text that begins with ! must be in quotes"},
		{"found undefined tag handle", "a tag is not known; text that begins with ! must be in quotes"},
		{"found a tab character", "a tab is in the indentation: use spaces"},
		{"found character that cannot start any token", "text begins with a character that YAML keeps for itself, such as @ or %: put it in quotes"},
		{"found unknown escape character", "a \\ in double quotes begins what YAML does not know: use single quotes"},
		{"found unexpected end of stream", "text in quotes does not end: close the quotes"},
		{"could not find expected ':'", "a key has no colon: write key: value"},
		{"mapping values are not allowed", "a colon is where none can be: put text with a colon in quotes, and indent the keys of a mapping alike"},
		{"did not find expected key", "a key is not where it must be: indent the keys of a mapping alike"},
		{"did not find expected '-'", "a dash or a key is not where it must be: indent the keys of a mapping, and the dashes of a list, alike"},
		{"did not find expected ',' or", "a comma or a closing bracket is missing: close what is open, and put text with brackets in quotes"},
		{"did not find expected node content", "a value is missing: close what is open, and put text with brackets in quotes"},
		{"exceeded max depth", "brackets or mappings are nested too deep: remove some"},
	} {
		if strings.Contains(text, known.part) {
			return known.plain
		}
	}
	return text
}

// unreadable finds the first byte that YAML does not allow, and says why. The
// library would say it without the line.
func unreadable(b []byte) (at int, fault string) {
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at, "the file is not in UTF-8: save it in this encoding"
		case unicode.IsControl(r) && !strings.ContainsRune("\t\r\n\u0085", r):
			return at, "the file has a control character here: remove it, or write it as \\x and two digits in double quotes"
		}
		at += size
	}
	return 0, ""
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// value is a node of the file and where it is. Aliases are followed.
type value struct {
	d       *decoder
	node    *yaml.Node
	line    int
	path    string
	secret  bool // its text never shows in a mistake
	aliased bool // it is, or is in, what an alias stands for
}

func (v value) mistake(format string, args ...any) {
	if v.path == "" {
		format = "the file " + format
	}
	v.d.mistake(v.line, v.path, format, args...)
}

// echo is a scalar's text for a mistake.
func (v value) echo() string {
	if v.secret {
		return notShown
	}
	return quote(v.node.Value)
}

// wrong reports a scalar of the wrong type.
func (v value) wrong(want string) {
	if kind := v.kind(); kind != "a number" {
		v.mistake("must be %s, not %s: %s", want, kind, v.echo())
		return
	}
	v.mistake("must be %s, in plain digits, not %s", want, v.echo())
}

// child gives a value inside this one, and false once too many aliases were
// followed.
func (v value) child(node *yaml.Node, line int, path string) (value, bool) {
	c := v
	c.node, c.line, c.path = node, line, path
	if node.Kind == yaml.AliasNode {
		c.node, c.aliased = node.Alias, true
	}
	if c.aliased {
		v.d.aliased++
	}
	if v.d.aliased > maxAliased && !v.d.stopped {
		v.d.stopped = true
		v.d.bomb = Mistake{v.d.file, line, path, "the file's aliases stand for more than 100,000 values: write them out"}
	}
	return c, !v.d.stopped
}

// kind says what the value is, for people.
func (v value) kind() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch v.node.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!str":
		return "text"
	case "!!timestamp":
		return "a date"
	}
	return "of a type that is not known here"
}

// is reports whether the value is of the kind, and a mistake if not.
func (v value) is(kind yaml.Kind, want string) bool {
	switch {
	case v.node.Kind == kind && !isNull(v.node):
		return true
	case isNull(v.node):
		v.mistake("has no value: give it %s, or remove the key", want)
	default:
		v.mistake("is %s, but must be %s", v.kind(), want)
	}
	return false
}

// entry is a key of a mapping with its value.
type entry struct {
	key string
	value
}

// entries gives the keys of a mapping in the file's order. Merge keys (<<) are
// resolved: the mapping's own keys win, then the earlier of the merged ones.
func (v value) entries() []entry {
	var list []entry
	var merged []value
	seen := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		keyNode := v.node.Content[i]
		line := keyNode.Line
		if keyNode.Kind == yaml.AliasNode {
			keyNode = keyNode.Alias
		}
		if keyNode.Kind != yaml.ScalarNode {
			at := v
			at.line = line
			at.mistake("has a key that is no text: write key: value, and text with braces in quotes")
			continue
		}
		isMerge := keyNode.ShortTag() == "!!merge"
		path := v.path
		if !isMerge {
			path = v.join(keyNode.Value)
		}
		c, ok := v.child(v.node.Content[i+1], line, path)
		switch first, twice := seen[keyNode.Value]; {
		case !ok:
			return nil
		case isMerge:
			merged = append(merged, c)
		case twice:
			c.mistake("is here twice, first on line %d: remove one", first)
		default:
			seen[keyNode.Value] = line
			list = append(list, entry{keyNode.Value, c})
		}
	}
	for _, m := range merged {
		for _, e := range m.mergedEntries() {
			if _, ok := seen[e.key]; !ok {
				seen[e.key] = e.line
				list = append(list, e)
			}
		}
	}
	return list
}

// mergedEntries gives the entries that a merge key brings in: those of a
// mapping, or of each mapping of a list.
func (v value) mergedEntries() []entry {
	switch v.node.Kind {
	case yaml.MappingNode:
		if v.d.merging[v.node] {
			v.mistake("merges (<<) a mapping into itself: remove the merge key")
			return nil
		}
		if v.d.merging == nil {
			v.d.merging = map[*yaml.Node]bool{}
		}
		v.d.merging[v.node] = true
		defer delete(v.d.merging, v.node)
		return v.entries()
	case yaml.SequenceNode:
		var list []entry
		for _, n := range v.node.Content {
			c, ok := v.child(n, n.Line, v.path)
			if !ok {
				return nil
			}
			if c.node.Kind != yaml.MappingNode {
				c.mistake("merges (<<) what is no mapping: name the anchor of a mapping")
				continue
			}
			list = append(list, c.mergedEntries()...)
		}
		return list
	}
	v.mistake("merges (<<) what is no mapping: name the anchor of a mapping")
	return nil
}

// join is the path of a key in this mapping.
func (v value) join(key string) string {
	if (v.secret && !isKeyLike(key)) || looksSecret(key) {
		key = "(not shown)"
	} else if !isPlain(key) {
		key = quote(key)
	}
	if v.path == "" {
		return key
	}
	return v.path + "." + key
}

func isPlain(key string) bool {
	return key != "" && len(key) <= maxEcho && strings.Trim(key, letters+digits+"_-") == ""
}

// isKeyLike tells a key that was misspelled from a secret in a key's place.
func isKeyLike(key string) bool {
	return key != "" && len(key) <= 32 && strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// fields are the known keys of a mapping.
type fields struct {
	value
	known map[string]value
}

// fields reads a mapping that has no other keys than the known ones. The
// result is empty, and false, for anything else than a mapping.
func (v value) fields(known ...string) (fields, bool) {
	f := fields{v, map[string]value{}}
	if !v.is(yaml.MappingNode, "a mapping of key: value") {
		return f, false
	}
	for _, e := range v.entries() {
		if slices.Contains(known, e.key) {
			f.known[e.key] = e.value
			continue
		}
		e.unknown(known)
	}
	return f, true
}

// unknown reports a key that is not one of the known ones.
func (e entry) unknown(known []string) {
	if place := home(e.key); place != "" {
		e.mistake("is no key here: it belongs under %s", place)
		return
	}
	if found := near(e.key, 2, known); len(found) > 0 {
		e.mistake("is no key here: did you mean %s?", found[0])
		return
	}
	e.mistake("is no key here: the keys are %s", strings.Join(known, ", "))
}

func (f fields) has(key string) bool {
	_, ok := f.known[key]
	return ok
}

// missing reports a key that must be there.
func (f fields) missing(key, what string) {
	f.d.mistake(f.line, f.join(key), "is missing: %s", what)
}

// text gives the key's text, or "" where there is none or a mistake.
func (f fields) text(key string) string {
	v, ok := f.known[key]
	if !ok {
		return ""
	}
	s, ok := v.text()
	if ok && s == "" {
		v.mistake("is empty: give it a value, or remove the key")
	}
	return s
}

// number gives the key's whole number, or the default.
func (f fields) number(key string, byDefault, least, most int) int {
	v, ok := f.known[key]
	if !ok || !v.is(yaml.ScalarNode, "a whole number") {
		return byDefault
	}
	n, err := strconv.Atoi(v.node.Value)
	switch {
	case !v.wholeNumber(err) || octal(v.node.Value):
		v.wrong(fmt.Sprintf("a whole number such as %d", max(byDefault, least)))
	case err != nil || n < least || n > most:
		v.mistake("is %s, but must be from %d to %d", v.echo(), least, most)
	default:
		return n
	}
	return byDefault
}

// wholeNumber reports whether the value is written as one. The error is that
// of reading it: YAML takes what is too large for a float.
func (v value) wholeNumber(err error) bool {
	tooLarge := errors.Is(err, strconv.ErrRange)
	switch v.node.ShortTag() {
	case "!!int":
		return err == nil || tooLarge
	case "!!float":
		return tooLarge
	}
	return false
}

// rate gives the key's positive number, or the default.
func (f fields) rate(key string, byDefault, most float64) float64 {
	v, ok := f.known[key]
	if !ok || !v.is(yaml.ScalarNode, "a number") {
		return byDefault
	}
	n, err := strconv.ParseFloat(strings.Replace(v.node.Value, ".inf", "inf", 1), 64)
	tag := v.node.ShortTag()
	switch {
	case tag == "!!float" && strings.EqualFold(v.node.Value, ".nan"):
		n = math.NaN()
	case (tag != "!!int" && tag != "!!float") || (err != nil && !errors.Is(err, strconv.ErrRange)) || octal(v.node.Value):
		v.wrong(fmt.Sprintf("a number such as %g", byDefault))
		return byDefault
	}
	if !(n > 0 && n <= most) { // not a number fails both
		v.mistake("is %s, but must be above 0 and at most %g", v.echo(), most)
		return byDefault
	}
	return n
}

// octal reports a number that YAML 1.1 reads with the base 8 and people with 10.
func octal(s string) bool { return len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' }

// duration gives the key's time in Prometheus' syntax, or the default.
func (f fields) duration(key string, byDefault, least time.Duration) time.Duration {
	v, ok := f.known[key]
	if !ok || !v.is(yaml.ScalarNode, "a duration such as 30s, 5m or 1h") {
		return byDefault
	}
	parsed, err := model.ParseDuration(v.node.Value)
	switch {
	case strings.HasPrefix(v.node.Value, "-"):
		v.mistake("is %s, but must not be negative", v.echo())
	case err != nil:
		v.mistake("is no duration: %s; write one such as 30s, 5m or 1h30m", v.echo())
	case time.Duration(parsed) < least:
		v.mistake("is %s, but must be at least %s", v.echo(), least)
	default:
		return time.Duration(parsed)
	}
	return byDefault
}

// flag gives the key's true or false, or false.
func (f fields) flag(key string) bool {
	v, ok := f.known[key]
	if !ok || !v.is(yaml.ScalarNode, "true or false") {
		return false
	}
	if v.node.ShortTag() == "!!bool" {
		switch v.node.Value {
		case "true", "True", "TRUE":
			return true
		case "false", "False", "FALSE":
			return false
		}
	}
	v.wrong("true or false")
	return false
}

// items gives the elements of a list, and false for anything else.
func (v value) items() ([]value, bool) {
	if !v.is(yaml.SequenceNode, "a list, with a dash before each element") {
		return nil, false
	}
	var list []value
	for i, n := range v.node.Content {
		c, ok := v.child(n, n.Line, fmt.Sprintf("%s[%d]", v.path, i))
		if !ok {
			return nil, false
		}
		list = append(list, c)
	}
	return list, true
}

// text gives a scalar as it is written: 0123 stays 0123.
func (v value) text() (string, bool) {
	if !v.is(yaml.ScalarNode, "text") {
		return "", false
	}
	switch v.node.ShortTag() {
	case "!!str", "!!int", "!!float", "!!timestamp":
		return v.node.Value, true
	case "!!bool":
		v.mistake("is true or false, but must be text: put it in quotes")
	default:
		v.mistake("is of a type that is not known here: put text that begins with ! or << in quotes")
	}
	return "", false
}

// texts gives a mapping from text to text; nil for anything else, or if empty.
func (v value) texts(check func(entry, string)) map[string]string {
	if !v.is(yaml.MappingNode, "a mapping of key: value") {
		return nil
	}
	var m map[string]string
	for _, e := range v.entries() {
		s, ok := e.text()
		if !ok {
			continue
		}
		check(e, s)
		if m == nil {
			m = map[string]string{}
		}
		m[e.key] = s
	}
	return m
}

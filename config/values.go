// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"
)

// The types of single values. An invalid value is zero.
type (
	text       string                   // not empty
	pattern    struct{ *regexp.Regexp } // anchored
	tagPattern struct{ *regexp.Regexp } // anchored; may be empty
	number     float64
	duration   time.Duration
	boolean    bool
)

func (t *text) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, t, noFault) }

func noFault(string) string { return "" }

func decodeText[T ~string](n *yaml.Node, out *T, fault func(string) string) error {
	s, err := scalar(n)
	switch {
	case err != nil:
		return err
	case s == "":
		return problemf(n, empty)
	case fault(s) != "":
		return problemf(n, "%s", fault(s))
	}
	*out = T(s)
	return nil
}

// scalar returns text as it is in the file: 0123 stays 0123.
func scalar(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", problemf(n, "expected text, not a list or a mapping")
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!timestamp":
		return n.Value, nil
	case "!!bool":
		return "", problemf(n, "expected text; put true and false in quotes")
	}
	return "", problemf(n, unsupportedTag)
}

func (p *pattern) UnmarshalYAML(n *yaml.Node) error {
	if err := new(text).UnmarshalYAML(n); err != nil {
		return err
	}
	return (*tagPattern)(p).UnmarshalYAML(n)
}

func (p *tagPattern) UnmarshalYAML(n *yaml.Node) error {
	s, err := scalar(n)
	if err != nil {
		return err
	}
	if _, err = regexp.Compile(s); err == nil { // "a)(b" is valid only between the anchors
		p.Regexp, err = regexp.Compile("^(?:" + s + ")$")
	}
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return problemf(n, "invalid regular expression %s: %s", quote(s), e.Code)
	}
	return err
}

// With a leading zero, some versions of YAML read an octal number.
func (f *number) UnmarshalYAML(n *yaml.Node) error {
	unsigned := strings.TrimLeft(n.Value, "+-")
	octal := len(unsigned) > 1 && unsigned[0] == '0' && consistsOf(unsigned[1:2], digits)
	v, err := strconv.ParseFloat(n.Value, 64)
	if tag := n.ShortTag(); (tag != "!!int" && tag != "!!float") || octal || errors.Is(err, strconv.ErrSyntax) {
		return problemf(n, "invalid number %s; write plain digits without quotes, such as 16", quote(n.Value))
	}
	*f = number(v)
	return nil
}

func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := model.ParseDuration(n.Value)
	if err != nil {
		return problemf(n, "invalid duration %s (examples: 30s, 5m, 1h30m)", quote(n.Value))
	}
	*d = duration(v)
	return nil
}

// Words such as yes and off are booleans in some versions of YAML only.
func (b *boolean) UnmarshalYAML(n *yaml.Node) error {
	v, err := strconv.ParseBool(n.Value)
	if n.ShortTag() != "!!bool" || err != nil {
		return problemf(n, "expected true or false, without quotes")
	}
	*b = boolean(v)
	return nil
}

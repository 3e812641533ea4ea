// SPDX-License-Identifier: Apache-2.0

package yamlfile

import (
	"errors"
	"math"
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
	// Text is not empty.
	Text string
	// Pattern is an anchored expression that is not empty.
	Pattern struct{ *regexp.Regexp }
	// AnyPattern is an anchored expression that may be empty.
	AnyPattern struct{ *regexp.Regexp }
	// Number is an integer or a fraction.
	Number float64
	// Duration is written like those of Prometheus.
	Duration time.Duration
	// Boolean is true or false.
	Boolean bool
)

// UnmarshalYAML decodes text.
func (t *Text) UnmarshalYAML(n *yaml.Node) error {
	return DecodeText(n, t, func(string) string { return "" })
}

// DecodeText decodes text that is not empty. fault returns what else is wrong with it, or "".
func DecodeText[T ~string](n *yaml.Node, out *T, fault func(string) string) error {
	s, err := Scalar(n)
	switch {
	case err != nil:
		return err
	case s == "":
		return Problemf(n, empty)
	case fault(s) != "":
		return Problemf(n, "%s", fault(s))
	}
	*out = T(s)
	return nil
}

// Scalar returns text as it is in the file: 0123 stays 0123.
func Scalar(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", Problemf(n, "expected text, not a list or a mapping")
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!timestamp":
		return n.Value, nil
	case "!!bool":
		return "", Problemf(n, "expected text; put true and false in quotes")
	}
	return "", Problemf(n, unsupportedTag)
}

// UnmarshalYAML decodes a regular expression.
func (p *Pattern) UnmarshalYAML(n *yaml.Node) error {
	if err := new(Text).UnmarshalYAML(n); err != nil {
		return err
	}
	return (*AnyPattern)(p).UnmarshalYAML(n)
}

// UnmarshalYAML decodes a regular expression.
func (p *AnyPattern) UnmarshalYAML(n *yaml.Node) error {
	s, err := Scalar(n)
	if err != nil {
		return err
	}
	if _, err = regexp.Compile(s); err == nil { // "a)(b" is valid only between the anchors
		p.Regexp, err = regexp.Compile("^(?:" + s + ")$")
	}
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return Problemf(n, "invalid regular expression %s: %s", Quote(s), e.Code)
	}
	return err
}

// UnmarshalYAML decodes a number without a leading zero: with one, some versions of YAML read an octal number.
func (f *Number) UnmarshalYAML(n *yaml.Node) error {
	unsigned := strings.TrimLeft(n.Value, "+-")
	octal := len(unsigned) > 1 && unsigned[0] == '0' && consistsOf(unsigned[1:2], digits)
	v, err := strconv.ParseFloat(n.Value, 64)
	if tag := n.ShortTag(); (tag != "!!int" && tag != "!!float") || octal || errors.Is(err, strconv.ErrSyntax) {
		return Problemf(n, "invalid number %s; write plain digits without quotes, such as 16", Quote(n.Value))
	}
	*f = Number(v)
	return nil
}

// Integer returns a whole number from minimum to maximum, or else the default, and reports any other.
func (d *Decoder) Integer(f *Field[Number], defaultValue, minimum, maximum int) int {
	n := float64(f.ValueOr(Number(defaultValue)))
	if n != math.Trunc(n) || n < float64(minimum) || n > float64(maximum) {
		d.Reportf(d.places[f.Node], "must be a whole number from %d to %d, not %s", minimum, maximum, Quote(f.Node.Value))
		return defaultValue
	}
	return int(n)
}

// UnmarshalYAML decodes a duration as Prometheus writes it.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := model.ParseDuration(n.Value)
	if err != nil {
		return Problemf(n, "invalid duration %s (examples: 30s, 5m, 1h30m)", Quote(n.Value))
	}
	*d = Duration(v)
	return nil
}

// UnmarshalYAML decodes true or false. Words such as yes and off are booleans in some versions of YAML only.
func (b *Boolean) UnmarshalYAML(n *yaml.Node) error {
	v, err := strconv.ParseBool(n.Value)
	if n.ShortTag() != "!!bool" || err != nil {
		return Problemf(n, "expected true or false, without quotes")
	}
	*b = Boolean(v)
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package dashboards

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// queryNames has the metrics and labels in a query.
type queryNames struct {
	selectors []selector
	labels    []string // of by, on and so on
	newLabels []string // strings passed to label_replace and label_join, among them the new label
}

// selector is a metric with its matchers and, for a range, its function.
type selector struct {
	metrics  []string // several for __name__=~"a|b"
	matchers []string // such as label=~"value"
	window   string   // the range in brackets
	function string   // applied to the range
}

// parseNames returns the metrics and labels in a query: a word is a metric unless it is a keyword or a function. It does
// not validate PromQL; in package e2e Prometheus does.
func parseNames(expr string) (queryNames, error) {
	p := parser{tokens: tokenize(expr)}
	for p.next < len(p.tokens) {
		if err := p.step(); err != nil {
			return p.names, fmt.Errorf("%w: %s", err, expr)
		}
	}
	if len(p.calls) > 0 {
		return p.names, fmt.Errorf("%w: %s", errUnbalanced, expr)
	}
	return p.names, nil
}

var (
	errUnbalanced = errors.New("unbalanced")
	errNoMetric   = errors.New("selector without a metric")
)

type parser struct {
	tokens []string
	next   int      // index of the next token
	calls  []string // the function of each open parenthesis, or ""
	names  queryNames
}

// step consumes the next token and what belongs to it.
func (p *parser) step() error {
	token := p.take()
	switch {
	case token == "(":
		p.calls = append(p.calls, "")
	case token == "[": // a subquery
		p.takeUntil("]")
	case token == ")":
		if len(p.calls) == 0 {
			return errUnbalanced
		}
		p.calls = p.calls[:len(p.calls)-1]
	case isGrouping(token) && p.peek() == "(":
		p.take()
		for _, label := range p.takeUntil(")") {
			if label != "," {
				p.names.labels = append(p.names.labels, label)
			}
		}
	case isQuoted(token):
		if strings.HasPrefix(p.function(), "label_") {
			p.names.newLabels = append(p.names.newLabels, token[1:len(token)-1])
		}
	case token == "{":
		return p.selector("")
	case !isWord(token), isKeyword(token):
	case p.peek() == "(": // a function, or an aggregation whose labels follow
		p.take()
		p.calls = append(p.calls, token)
	case isGrouping(p.peek()): // an aggregation whose labels come first
	default:
		return p.selector(token)
	}
	return nil
}

// selector consumes the rest of a selector. If metric is empty, the opening brace has been consumed.
func (p *parser) selector(metric string) error {
	var s selector
	if metric != "" {
		s.metrics = []string{metric}
	}
	if metric == "" || p.peek() == "{" {
		if metric != "" {
			p.take()
		}
		s.addMatchers(p.takeUntil("}"))
	}
	if len(s.metrics) == 0 {
		return errNoMetric
	}
	if p.peek() == "[" {
		p.take()
		s.window = strings.Join(p.takeUntil("]"), "")
		s.function = p.function()
	}
	p.names.selectors = append(p.names.selectors, s)
	return nil
}

// peek returns the next token, or "" at the end.
func (p *parser) peek() string {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return ""
}

// take consumes the next token.
func (p *parser) take() string {
	token := p.peek()
	p.next++
	return token
}

// takeUntil returns the tokens before a closing bracket and consumes the bracket too.
func (p *parser) takeUntil(bracket string) []string {
	rest := p.tokens[min(p.next, len(p.tokens)):]
	length := slices.Index(rest, bracket)
	if length < 0 {
		length = len(rest)
	}
	p.next += length + 1
	return rest[:length]
}

// function returns the function of the innermost open parenthesis, or "".
func (p *parser) function() string {
	if len(p.calls) == 0 {
		return ""
	}
	return p.calls[len(p.calls)-1]
}

// addMatchers adds the matchers in braces, and the metrics of __name__=~"…".
func (s *selector) addMatchers(tokens []string) {
	for part := range strings.SplitSeq(strings.Join(tokens, "\x00"), "\x00,\x00") {
		matcher := strings.ReplaceAll(part, "\x00", "")
		if matcher == "" {
			continue
		}
		s.matchers = append(s.matchers, matcher)
		if names, ok := strings.CutPrefix(matcher, "__name__=~"); ok {
			s.metrics = strings.Split(strings.Trim(names, `"`), "|")
		}
	}
}

func tokenize(expr string) []string {
	token := regexp.MustCompile(`#[^\n]*|[a-zA-Z_:][a-zA-Z0-9_:]*|\$\w+|[0-9][0-9a-zA-Z_.]*|` +
		`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[=!<>]=|[=!]~|\S`)
	return slices.DeleteFunc(token.FindAllString(expr, -1), func(s string) bool { return strings.HasPrefix(s, "#") })
}

func isWord(token string) bool { return regexp.MustCompile(`^[a-zA-Z_:]`).MatchString(token) }

func isQuoted(token string) bool {
	return strings.HasPrefix(token, `"`) || strings.HasPrefix(token, `'`)
}

func isGrouping(token string) bool {
	return slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, token)
}

func isKeyword(token string) bool {
	keywords := []string{"and", "or", "unless", "bool", "offset", "inf", "nan"}
	return isGrouping(token) || slices.Contains(keywords, strings.ToLower(token))
}

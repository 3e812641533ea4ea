// SPDX-License-Identifier: Apache-2.0

package dashboards

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// expression has the names in a query.
type expression struct {
	selectors []selector
	labels    []string // of by, without, on, ignoring, group_left and group_right
	made      []string // strings passed to label_replace and label_join, one of which is the new label
}

// selector is a metric with its matchers and, for a range, its function.
type selector struct {
	metrics  []string // several for a name matched as name|name
	matchers []string // as label=~"value"
	window   string   // range in brackets
	function string   // whose argument it is, if any
}

// parse returns the names in a query. It does not validate PromQL, which Prometheus does in e2e. A word is a metric unless
// it is a keyword or a function.
func parse(expr string) (expression, error) {
	var e expression
	tokens := tokenize(expr)
	at := func(i int) string {
		if i < len(tokens) {
			return tokens[i]
		}
		return ""
	}
	// until returns the index of the closing bracket.
	until := func(i int, end string) int {
		for i < len(tokens) && tokens[i] != end {
			i++
		}
		return i
	}
	var open []string // functions of the open parentheses
	for i := 0; i < len(tokens); i++ {
		token := tokens[i]
		switch {
		case token == "(":
			open = append(open, "")
		case token == "[": // a subquery
			i = until(i, "]")
		case token == ")":
			if len(open) == 0 {
				return e, fmt.Errorf("unbalanced: %s", expr)
			}
			open = open[:len(open)-1]
		case grouping(token) && at(i+1) == "(":
			end := until(i, ")")
			e.labels = append(e.labels, slices.DeleteFunc(slices.Clone(tokens[i+2:end]), func(s string) bool { return s == "," })...)
			i = end
		case !word(token) && token != "{" || keyword(token):
			if quoted(token) && len(open) > 0 && strings.HasPrefix(open[len(open)-1], "label_") {
				e.made = append(e.made, token[1:len(token)-1])
			}
		case at(i+1) == "(": // a function, or an aggregation without labels first
			open = append(open, token)
			i++
		case token != "{" && grouping(at(i+1)): // an aggregation
		default:
			s := selector{}
			if token != "{" {
				s.metrics = []string{token}
			}
			if token == "{" || at(i+1) == "{" {
				begin := until(i, "{")
				end := until(begin, "}")
				s.match(tokens[begin+1 : min(end, len(tokens))])
				i = end
			}
			if len(s.metrics) == 0 {
				return e, fmt.Errorf("selector without a metric: %s", expr)
			}
			if at(i+1) == "[" {
				end := until(i, "]")
				s.window = strings.Join(tokens[i+2:min(end, len(tokens))], "")
				i = end
				if len(open) > 0 {
					s.function = open[len(open)-1]
				}
			}
			e.selectors = append(e.selectors, s)
		}
	}
	if len(open) > 0 {
		return e, fmt.Errorf("unbalanced: %s", expr)
	}
	return e, nil
}

// match parses the matchers in braces.
func (s *selector) match(tokens []string) {
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

// tokenize splits a query into words, strings, numbers, operators and brackets.
func tokenize(expr string) []string {
	token := regexp.MustCompile(`#[^\n]*|[a-zA-Z_:][a-zA-Z0-9_:]*|\$\w+|[0-9][0-9a-zA-Z_.]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[=!<>]=|[=!]~|\S`)
	return slices.DeleteFunc(token.FindAllString(expr, -1), func(s string) bool { return strings.HasPrefix(s, "#") })
}

func word(token string) bool { return regexp.MustCompile(`^[a-zA-Z_:]`).MatchString(token) }

func quoted(token string) bool { return strings.HasPrefix(token, `"`) || strings.HasPrefix(token, `'`) }

func grouping(token string) bool {
	return slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, token)
}

func keyword(token string) bool {
	return grouping(token) || slices.Contains([]string{"and", "or", "unless", "bool", "offset", "inf", "nan"}, strings.ToLower(token))
}

// SPDX-License-Identifier: Apache-2.0

package readme

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// anything stands for a part of a message that is not constant.
const anything = "\x00"

// messages returns an expression for each line of text in the program that has at least ten constant letters.
func messages(t *testing.T) (all []*regexp.Regexp) {
	t.Helper()
	root := os.DirFS("../..")
	packages := make(map[string][]*ast.File)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || name == "test" || name == "internal/simulator") {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path.Join("../..", name), nil, parser.SkipObjectResolution)
		packages[path.Dir(name)] = append(packages[path.Dir(name)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	verb := regexp.MustCompile(`%[-+#]*[\d.]*[a-zA-Z]`)
	letters := regexp.MustCompile(`\pL`)
	for _, files := range packages {
		constants := constantsOf(files)
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				for line := range strings.Lines(verb.ReplaceAllString(textOf(e, constants), anything)) {
					if len(letters.FindAllString(line, -1)) >= 10 {
						pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), anything, ".+")
						all = append(all, regexp.MustCompile("^"+pattern+"$"))
					}
				}
				_, sum := e.(*ast.BinaryExpr)
				return !sum
			})
		}
	}
	return all
}

func constantsOf(files []*ast.File) map[string]ast.Expr {
	constants := make(map[string]ast.Expr)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
				for i, name := range spec.Names {
					constants[name.Name] = spec.Values[i]
				}
			}
			return true
		})
	}
	return constants
}

// textOf returns the text of an expression, with anything for what it does not know.
func textOf(e ast.Expr, constants map[string]ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return textOf(e.X, constants) + textOf(e.Y, constants)
		}
	case *ast.Ident:
		if value, ok := constants[e.Name].(*ast.BasicLit); ok {
			return textOf(value, constants)
		}
	}
	return anything
}

// TestQuotedMessagesExist tests the examples of kind messages, and the first column of the tables of
// docs/troubleshooting.md.
func TestQuotedMessagesExist(t *testing.T) {
	all := messages(t)
	pages, err := fs.Glob(os.DirFS("../../docs"), "*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- check: messages -->\n```text\n(.*?)```")
	quote := regexp.MustCompile("(?m)^\\| `([^`|]+)` \\|")
	tested := 0
	for _, page := range pages {
		content := readFile(t, "../../docs/"+page)
		var quoted []string
		for _, found := range block.FindAllStringSubmatch(content, -1) {
			quoted = append(quoted, strings.Split(strings.TrimSpace(found[1]), "\n")...)
		}
		if page == "troubleshooting.md" {
			for _, found := range quote.FindAllStringSubmatch(content, -1) {
				quoted = append(quoted, found[1])
			}
		}
		for _, text := range quoted {
			if !matchesAny(text, all) {
				t.Errorf("docs/%s: the program does not contain: %s", page, text)
			}
			tested++
		}
	}
	if tested < 40 {
		t.Errorf("the documents quote only %d messages", tested)
	}
}

func matchesAny(text string, all []*regexp.Regexp) bool {
	for _, message := range all {
		if message.MatchString(text) {
			return true
		}
	}
	return false
}

// SPDX-License-Identifier: Apache-2.0

// Package readme tests that the documents agree with their translations, with each other and with the code. It contains
// only tests.
package readme

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// block is a heading (#, ##, …), paragraph, item, head, rule or row of a table, comment, or code block.
type block struct{ kind, text string }

func (b block) isHeading() bool { return strings.HasPrefix(b.kind, "#") }

// kindOf returns the kind of block that a line begins, or "" for a blank line. A "paragraph" line may also continue a
// block.
func kindOf(line string) string {
	switch {
	case line == "":
		return ""
	case strings.HasPrefix(line, "```"):
		return "code"
	case regexp.MustCompile(`^#{1,6} `).MatchString(line):
		return strings.Fields(line)[0]
	case regexp.MustCompile(`^([-*]|\d+\.) `).MatchString(line):
		return "item"
	case strings.Trim(line, "|-: ") == "" && strings.Contains(line, "-"):
		return "rule"
	case strings.HasPrefix(line, "|"):
		return "row"
	case strings.HasPrefix(line, "<!--"):
		return "comment"
	}
	return "paragraph"
}

// splitBlocks supports only the Markdown that the READMEs use.
func splitBlocks(page string) (blocks []block) {
	closingFence := "" // of the current code block
	previous := ""     // kind of the previous line
	appendLine := func(line string) { blocks[len(blocks)-1].text += line }
	for line := range strings.Lines(page) {
		text := strings.TrimSpace(line)
		if closingFence != "" {
			appendLine(line)
			if text == closingFence {
				closingFence = ""
			}
			continue
		}
		kind := kindOf(text)
		if kind == "paragraph" && (previous == "paragraph" || previous == "item") {
			appendLine(line)
			continue
		}
		if kind == "code" {
			closingFence = text[:len(text)-len(strings.TrimLeft(text, "`"))]
		}
		if kind == "row" && previous != "row" && previous != "head" && previous != "rule" {
			kind = "head"
		}
		if kind != "" {
			blocks = append(blocks, block{kind, line})
		}
		previous = kind
	}
	return blocks
}

// headingAnchors returns the number of each heading by the anchor that GitHub gives it.
func headingAnchors(blocks []block) map[string]int {
	removed := regexp.MustCompile(`[^\p{L}\p{M}\p{Nd}\p{Pc}\- ]`)
	anchors := map[string]int{}
	number := 0
	for _, b := range blocks {
		if !b.isHeading() {
			continue
		}
		number++
		text := strings.ToLower(strings.TrimSpace(strings.TrimLeft(b.text, "#")))
		anchor := strings.ReplaceAll(removed.ReplaceAllString(text, ""), " ", "-")
		unique := anchor
		for i := 1; anchors[unique] != 0; i++ {
			unique = fmt.Sprintf("%s-%d", anchor, i)
		}
		anchors[unique] = number
	}
	return anchors
}

// withoutComments replaces the text of the comments of a YAML or shell block, which may be translated, except for its
// code and numbers. A comment begins with "# ", outside quotes.
func withoutComments(block string) string {
	if !regexp.MustCompile("^`+(yaml|sh)\n").MatchString(block) {
		return block
	}
	var kept strings.Builder
	for line := range strings.Lines(block) {
		for _, start := range regexp.MustCompile(`(?:^|\s)# `).FindAllStringIndex(line, -1) {
			before := line[:start[1]]
			if strings.Count(before, `"`)%2 == 0 && strings.Count(before, "'")%2 == 0 {
				line = before + strings.Join(sortedTokens(line[start[1]:]), " ") + "\n"
				break
			}
		}
		kept.WriteString(line)
	}
	return kept.String()
}

// skeleton returns what a page must have in common with its translation: for each block its links, code and numbers. A
// link to a heading becomes the number of the heading; deadAnchors have no heading. The parameter translation is the
// path of the other page.
func skeleton(page, translation string) (lines, deadAnchors []string) {
	blocks := splitBlocks(page)
	anchors := headingAnchors(blocks)
	linkOrImage := regexp.MustCompile(`(!\[[^\]]*)?\]\(([^()\s]+)\)|<(https?://[^>\s]+)>`)
	inlineCode := regexp.MustCompile("`[^`]+`")
	for _, b := range blocks {
		if b.kind == "code" || b.kind == "comment" || b.kind == "rule" {
			lines = append(lines, b.kind+": "+withoutComments(b.text))
			continue
		}
		line := b.kind + ":"
		prose := inlineCode.ReplaceAllString(b.text, "")
		for _, match := range linkOrImage.FindAllStringSubmatch(prose, -1) {
			kind, target := " link ", match[2]+match[3]
			if match[1] != "" {
				kind = " image "
			}
			if target == translation {
				target = "the translation"
			}
			if translation == "README.md" { // the Chinese page may link to other Chinese pages
				target = strings.Replace(target, ".zh-CN.md", ".md", 1)
			}
			if anchor, ok := strings.CutPrefix(target, "#"); ok {
				target = fmt.Sprintf("heading %d", anchors[anchor])
				if anchors[anchor] == 0 {
					deadAnchors = append(deadAnchors, "#"+anchor)
				}
			}
			line += kind + target
		}
		lines = append(lines, line+codeAndNumbers(b))
	}
	return lines, deadAnchors
}

// codeAndNumbers ignores the order, which a translation may change, except in the first column of a table.
func codeAndNumbers(b block) string {
	if b.kind != "head" && b.kind != "row" {
		return " " + strings.Join(sortedTokens(b.text), " ")
	}
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.text), "|"), "|"), " |")
	for i, cell := range cells {
		cellTokens := sortedTokens
		if i == 0 {
			cellTokens = tokens
		}
		cells[i] = strings.Join(cellTokens(cell), " ")
	}
	return " " + strings.Join(cells, " | ")
}

// tokens returns the inline code and the numbers that are not in links.
func tokens(text string) []string {
	text = regexp.MustCompile(`\]\([^()\s]+\)|<https?://[^>\s]+>`).ReplaceAllString(text, " ")
	return regexp.MustCompile("`[^`]+`|\\d[\\d.,]*\\d|\\d").FindAllString(text, -1)
}

// sortedTokens returns each token once, because a translation may repeat some.
func sortedTokens(text string) []string {
	return slices.Compact(slices.Sorted(slices.Values(tokens(text))))
}

// compareReadmes returns the differences and the dead anchors, or "".
func compareReadmes(english, chinese string) string {
	englishLines, englishDead := skeleton(english, "README.zh-CN.md")
	chineseLines, chineseDead := skeleton(chinese, "README.md")
	diff := cmp.Diff(englishLines, chineseLines)
	for _, anchor := range englishDead {
		diff += "README.md has no heading for " + anchor + "\n"
	}
	for _, anchor := range chineseDead {
		diff += "README.zh-CN.md has no heading for " + anchor + "\n"
	}
	return diff
}

func TestReadmesHaveTheSameStructureCodeLinksAndNumbers(t *testing.T) {
	read := func(path string) string {
		content, err := fs.ReadFile(os.DirFS("../.."), path)
		if err != nil {
			t.Fatal(err)
		}
		page := string(content)
		if !strings.Contains(page, "\n```") || len(headingAnchors(splitBlocks(page))) < 2 {
			t.Errorf("%s has no code or no headings", path)
		}
		return page
	}
	if diff := compareReadmes(read("README.md"), read("README.zh-CN.md")); diff != "" {
		t.Errorf("README.md (-) and README.zh-CN.md (+) differ:\n%s", diff)
	}
}

const (
	exampleCode = "<!-- check: config -->\n```yaml\n# it's a comment\na: 1\n" +
		"b: 'c # d' # takes 10 seconds\n```\n\n```text\n# no comment\n```\n"

	exampleCodeInChinese = "<!-- check: config -->\n```yaml\n# 注释\na: 1\n" +
		"b: 'c # d' # 需要 10 秒\n```\n\n```text\n# no comment\n```\n"

	exampleEnglish = "# Title\n\n[中文](README.zh-CN.md)\n\n" +
		"See [below](#the-file), `--flag`, 20\nseconds, <http://127.0.0.1:1/a>.\n\n" + exampleCode +
		"\n## The file\n\n" +
		"| Flag | Meaning |\n|---|---|\n| `--a`, `--b` | Takes `x`, then `y` |\n| `--c` | 10 [more](docs/c.md#d) |\n\n" +
		"[Pages](docs/e.md)\n\n" +
		"- One\n- Two `2`\n\n![A picture](a.png)\n\n" +
		"### What's new, now?\n\n[Up](#title), [here](#whats-new-now)\n"

	exampleChinese = "# 标题\n\n[English](README.md)\n\n" +
		"见[下文](#配置-文件)，20 秒，`--flag`，<http://127.0.0.1:1/a>。\n\n" + exampleCodeInChinese +
		"\n## 配置 文件\n\n" +
		"| 参数 | 含义 |\n|---|---|\n| `--a`、`--b` | 先 `y` 后 `x` |\n| `--c` | [更多](docs/c.md#d) 10 |\n\n" +
		"[页面](docs/e.zh-CN.md)\n\n" +
		"- 一\n- 二 `2`\n\n![图](a.png)\n\n" +
		"### 有什么新内容？\n\n[上](#标题)，[此处](#有什么新内容)\n"
)

func TestCompareReadmesAcceptsATranslation(t *testing.T) {
	if diff := compareReadmes(exampleEnglish, exampleChinese); diff != "" {
		t.Errorf("got a difference, want none:\n%s", diff)
	}
}

func TestCompareReadmesReportsEachDifference(t *testing.T) {
	for _, test := range []struct{ name, before, after string }{
		{"level of a heading", "## 配置 文件", "### 配置 文件"},
		{"heading omitted", "### 有什么新内容？\n\n", ""},
		{"heading renamed without its anchor", "## 配置 文件", "## 文件"},
		{"anchor of another heading", "[下文](#配置-文件)", "[下文](#标题)"},
		{"anchor of the English page", "#有什么新内容", "#whats-new-now"},
		{"link to the other page omitted", "[English](README.md)\n\n", ""},
		{"link to itself", "(README.md)", "(README.zh-CN.md)"},
		{"target of a link", "docs/c.md#d", "docs/c.md"},
		{"Chinese page of another page", "docs/e.zh-CN.md", "docs/f.zh-CN.md"},
		{"address", "<http://127.0.0.1:1/a>", "<http://127.0.0.1:1/b>"},
		{"link instead of image", "![图](a.png)", "[图](a.png)"},
		{"image", "a.png", "b.png"},
		{"comment of a block that is neither YAML nor shell", "# no comment", "# 不是注释"},
		{"comment omitted", "# 注释\n", ""},
		{"comment omitted after code", " # 需要 10 秒", ""},
		{"comment added", "a: 1", "a: 1 # 注释"},
		{"number in a comment", "10 秒\n```", "11 秒\n```"},
		{"code turned into a comment", "a: 1", "# a: 1"},
		{"comment turned into code", "# 注释", "注释"},
		{"quoted text like a comment", "c # d", "c # e"},
		{"blank in code", "a: 1", "a:  1"},
		{"blank before a comment", " # 需要", "  # 需要"},
		{"info string", "```yaml", "```yml"},
		{"kind of a check", "check: config", "check: json"},
		{"check omitted", "<!-- check: config -->\n", ""},
		{"code omitted", exampleCodeInChinese, ""},
		{"code twice", exampleCodeInChinese, exampleCodeInChinese + "\n" + exampleCodeInChinese},
		{"row omitted", "| `--c` | [更多](docs/c.md#d) 10 |\n", ""},
		{"row twice", "| `--c`", "| `--c` | 10 |\n| `--c`"},
		{"order in the first column", "`--a`、`--b`", "`--b`、`--a`"},
		{"name in the first column", "`--c`", "`--d`"},
		{"name in another column", "后 `x`", "后 `z`"},
		{"name in the wrong column", "| `--a`、`--b` | 先", "| `--a` | `--b`，先"},
		{"column omitted", " | 先 `y` 后 `x` |", " |"},
		{"number in a table", " 10 |", " 11 |"},
		{"number in a paragraph", "20 秒", "30 秒"},
		{"name in a paragraph", "`--flag`", "`--flags`"},
		{"item omitted", "- 一\n", ""},
		{"additional paragraph", "![图]", "又及。\n\n![图]"},
		{"separate row", "| `--c`", "\n| `--c`"},
		{"two tables instead of one", "| `--c`", "\n| 又 | 及 |\n|---|---|\n| `--c`"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(exampleChinese, test.before) {
				t.Fatalf("%q is not in the page", test.before)
			}
			if compareReadmes(exampleEnglish, strings.ReplaceAll(exampleChinese, test.before, test.after)) == "" {
				t.Error("the difference is not reported")
			}
		})
	}
}

func TestHeadingAnchorsAreThoseOfGitHub(t *testing.T) {
	page := "# css_vpcep_exporter\n## What's `new`, now?\n## TLS 与基本认证\n```sh\n# no heading\n```\n" +
		"## A - B\n## Again\n## Again\n## 如何（不）做：一\n"
	want := map[string]int{
		"css_vpcep_exporter": 1, "whats-new-now": 2, "tls-与基本认证": 3, "a---b": 4,
		"again": 5, "again-1": 6, "如何不做一": 7,
	}
	if diff := cmp.Diff(want, headingAnchors(splitBlocks(page))); diff != "" {
		t.Errorf("anchors (-want +got):\n%s", diff)
	}
}

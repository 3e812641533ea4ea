// SPDX-License-Identifier: Apache-2.0

package readme

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// block is a heading, paragraph, list item, table head, table rule, table row, comment or fenced code block.
type block struct{ kind, text string }

// kindOf returns the kind of block that a line begins, or "" if it is blank. A "paragraph" line may also continue a
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

// blocks splits a page into blocks. It supports only the Markdown that the READMEs use.
func blocks(page string) (all []block) {
	fence := "" // the end of the current code block
	last := ""  // kind of the previous line
	for line := range strings.Lines(page) {
		text := strings.TrimSpace(line)
		if fence != "" {
			all[len(all)-1].text += line
			if text == fence {
				fence = ""
			}
			continue
		}
		kind := kindOf(text)
		before := last
		last = kind
		if kind == "paragraph" && (before == "paragraph" || before == "item") {
			all[len(all)-1].text += line
			last = before
			continue
		}
		if kind == "code" {
			fence = text[:len(text)-len(strings.TrimLeft(text, "`"))]
		}
		if kind == "row" && before != "row" && before != "head" && before != "rule" {
			kind, last = "head", "head"
		}
		if kind != "" {
			all = append(all, block{kind, line})
		}
	}
	return all
}

// slugs returns the anchors that GitHub gives to the headings of a page, with the number of each heading.
func slugs(all []block) map[string]int {
	left := regexp.MustCompile(`[^\p{L}\p{M}\p{Nd}\p{Pc}\- ]`)
	found := map[string]int{}
	n := 0
	for _, b := range all {
		if !strings.HasPrefix(b.kind, "#") {
			continue
		}
		n++
		text := strings.ToLower(strings.TrimSpace(strings.TrimLeft(b.text, "#")))
		slug := strings.ReplaceAll(left.ReplaceAllString(text, ""), " ", "-")
		unique := slug
		for i := 1; found[unique] != 0; i++ {
			unique = fmt.Sprintf("%s-%d", slug, i)
		}
		found[unique] = n
	}
	return found
}

// skeleton returns what a page has in common with its translations: a line per block with its links in order, its code
// and its numbers. Anchors become the number of their heading; dead are those without a heading. other is the path of
// the translation.
func skeleton(page, other string) (lines, dead []string) {
	all := blocks(page)
	headings := slugs(all)
	target := regexp.MustCompile(`(!\[[^\]]*)?\]\(([^()\s]+)\)|<(https?://[^>\s]+)>`)
	code := regexp.MustCompile("`[^`]+`")
	for _, b := range all {
		if b.kind == "code" || b.kind == "comment" || b.kind == "rule" {
			lines = append(lines, b.kind+": "+b.text)
			continue
		}
		line := b.kind + ":"
		prose := code.ReplaceAllString(b.text, "")
		for _, match := range target.FindAllStringSubmatch(prose, -1) {
			kind, to := " link ", match[2]+match[3]
			if match[1] != "" {
				kind = " image "
			}
			if to == other {
				to = "the other language"
			}
			if anchor, ok := strings.CutPrefix(to, "#"); ok {
				to = fmt.Sprintf("heading %d", headings[anchor])
				if headings[anchor] == 0 {
					dead = append(dead, "#"+anchor)
				}
			}
			line += kind + to
		}
		lines = append(lines, line+codeAndNumbers(b))
	}
	return lines, dead
}

// codeAndNumbers returns the code and the numbers of a block: per column of a table, and in order in the first one.
func codeAndNumbers(b block) string {
	if b.kind != "head" && b.kind != "row" {
		return " " + strings.Join(tokens(b.text, true), " ")
	}
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.text), "|"), "|"), " |")
	for i, cell := range cells {
		cells[i] = strings.Join(tokens(cell, i > 0), " ")
	}
	return " " + strings.Join(cells, " | ")
}

// tokens returns the inline code and the numbers in a text, without those in links.
func tokens(text string, sorted bool) []string {
	text = regexp.MustCompile(`\]\([^()\s]+\)|<https?://[^>\s]+>`).ReplaceAllString(text, " ")
	all := regexp.MustCompile("`[^`]+`|\\d[\\d.,]*\\d|\\d").FindAllString(text, -1)
	if sorted {
		slices.Sort(all)
		all = slices.Compact(all) // translations may differ in repetitions
	}
	return all
}

// compareReadmes returns the differences of the skeletons, and the dead anchors.
func compareReadmes(english, chinese string) string {
	en, deadEnglish := skeleton(english, "README.zh-CN.md")
	zh, deadChinese := skeleton(chinese, "README.md")
	diff := cmp.Diff(en, zh)
	for _, anchor := range deadEnglish {
		diff += "no heading of README.md for " + anchor + "\n"
	}
	for _, anchor := range deadChinese {
		diff += "no heading of README.zh-CN.md for " + anchor + "\n"
	}
	return diff
}

// TestReadmes checks that both READMEs have the same headings, tables, code, links and numbers in the same places.
func TestReadmes(t *testing.T) {
	english, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	chinese, err := os.ReadFile("../../README.zh-CN.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, page := range map[string]string{"README.md": string(english), "README.zh-CN.md": string(chinese)} {
		if !strings.Contains(page, "\n```") || len(slugs(blocks(page))) < 2 {
			t.Errorf("%s has no code or no headings", path)
		}
	}
	if diff := compareReadmes(string(english), string(chinese)); diff != "" {
		t.Errorf("README.md (-) and README.zh-CN.md (+) differ:\n%s", diff)
	}
}

// TestCompareReadmes checks that each single change of a translation is noticed.
func TestCompareReadmes(t *testing.T) {
	const fence = "<!-- check: config -->\n```yaml\n# comment\na: 1\n```\n"
	const english = "# Title\n\n[中文](README.zh-CN.md)\n\nSee [below](#the-file), `--flag`, 20\nseconds, <http://127.0.0.1:1/a>.\n\n" + fence +
		"\n## The file\n\n| Flag | Meaning |\n|---|---|\n| `--a`, `--b` | Takes `x`, then `y` |\n| `--c` | 10 [more](docs/c.md#d) |\n\n" +
		"- One\n- Two `2`\n\n![A picture](a.png)\n\n### What's new, now?\n\n[Up](#title), [here](#whats-new-now)\n"
	const chinese = "# 标题\n\n[English](README.md)\n\n见[下文](#配置-文件)，20 秒，`--flag`，<http://127.0.0.1:1/a>。\n\n" + fence +
		"\n## 配置 文件\n\n| 参数 | 含义 |\n|---|---|\n| `--a`、`--b` | 先 `y` 后 `x` |\n| `--c` | [更多](docs/c.md#d) 10 |\n\n" +
		"- 一\n- 二 `2`\n\n![图](a.png)\n\n### 有什么新内容？\n\n[上](#标题)，[此处](#有什么新内容)\n"
	if diff := compareReadmes(english, chinese); diff != "" {
		t.Fatalf("the pages do not differ, but:\n%s", diff)
	}
	for _, test := range []struct{ name, before, after string }{
		{"level of a heading", "## 配置 文件", "### 配置 文件"},
		{"heading omitted", "### 有什么新内容？\n\n", ""},
		{"heading renamed without its anchor", "## 配置 文件", "## 文件"},
		{"anchor of another heading", "[下文](#配置-文件)", "[下文](#标题)"},
		{"anchor of the English page", "#有什么新内容", "#whats-new-now"},
		{"link to the other page omitted", "[English](README.md)\n\n", ""},
		{"link to itself", "(README.md)", "(README.zh-CN.md)"},
		{"target of a link", "docs/c.md#d", "docs/c.md"},
		{"address", "<http://127.0.0.1:1/a>", "<http://127.0.0.1:1/b>"},
		{"link instead of image", "![图](a.png)", "[图](a.png)"},
		{"image", "a.png", "b.png"},
		{"comment in code", "# comment", "# 注释"},
		{"blank in code", "a: 1", "a:  1"},
		{"info string", "```yaml", "```yml"},
		{"kind of a check", "check: config", "check: json"},
		{"check omitted", "<!-- check: config -->\n", ""},
		{"code omitted", fence, ""},
		{"code twice", fence, fence + "\n" + fence},
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
			if strings.Count(chinese, test.before) == 0 {
				t.Fatalf("%q is not in the page", test.before)
			}
			if compareReadmes(english, strings.ReplaceAll(chinese, test.before, test.after)) == "" {
				t.Error("not noticed")
			}
		})
	}
}

// TestSlugs checks the anchors of headings against those of GitHub.
func TestSlugs(t *testing.T) {
	page := "# css_vpcep_exporter\n## What's `new`, now?\n## TLS 与基本认证\n```sh\n# no heading\n```\n## A - B\n## Again\n## Again\n## 如何（不）做：一\n"
	want := map[string]int{
		"css_vpcep_exporter": 1, "whats-new-now": 2, "tls-与基本认证": 3, "a---b": 4, "again": 5, "again-1": 6, "如何不做一": 7,
	}
	if diff := cmp.Diff(want, slugs(blocks(page))); diff != "" {
		t.Error(diff)
	}
}

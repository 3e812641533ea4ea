// SPDX-License-Identifier: Apache-2.0

package readme

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// documents returns the paths of all Markdown pages, without those of hidden directories and of built files.
func documents(t *testing.T, root fs.FS) (pages []string) {
	t.Helper()
	skipped := regexp.MustCompile(`^(\.[^/]+|dist|deploy/packages/generated)$`)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped.MatchString(name):
			return fs.SkipDir
		case path.Ext(name) == ".md":
			pages = append(pages, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// deadLinks returns the relative links and images of a page that lead to no file, or to no heading of a page.
func deadLinks(root fs.FS, page string) (dead []string, err error) {
	content, err := fs.ReadFile(root, page)
	if err != nil {
		return nil, err
	}
	for _, b := range splitBlocks(string(content)) {
		if b.kind == "code" {
			continue
		}
		prose := regexp.MustCompile("`[^`]+`").ReplaceAllString(b.text, "")
		for _, link := range regexp.MustCompile(`\]\(([^()\s]+)\)`).FindAllStringSubmatch(prose, -1) {
			file, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := path.Join(path.Dir(page), file)
			if file == "" {
				target = page
			}
			if !leads(root, target, anchor) {
				dead = append(dead, link[1])
			}
		}
	}
	return dead, nil
}

// leads reports whether a file or directory exists, and has the heading of the anchor, if there is one.
func leads(root fs.FS, target, anchor string) bool {
	if anchor == "" {
		_, err := fs.Stat(root, target)
		return err == nil
	}
	content, err := fs.ReadFile(root, target)
	return err == nil && path.Ext(target) == ".md" && headingAnchors(splitBlocks(string(content)))[anchor] != 0
}

func TestLinksOfAllDocumentsExist(t *testing.T) {
	root := os.DirFS("../..")
	pages := documents(t, root)
	if len(pages) < 30 {
		t.Fatalf("got only the pages %v", pages)
	}
	for _, page := range pages {
		dead, err := deadLinks(root, page)
		if err != nil {
			t.Error(err)
		}
		for _, link := range dead {
			t.Errorf("%s: %s does not exist", page, link)
		}
	}
}

func TestDeadLinks(t *testing.T) {
	root := fstest.MapFS{
		"docs/a.md": {Data: []byte("# A\n\n[ok](b.md), [ok](../README.md#first), [ok](#a), [ok](https://example.com/x#y)\n" +
			"`[code](x.md)`\n\n```text\n[code](y.md)\n```\n\n" +
			"[gone](c.md), [lost](b.md#c), ![lost](../d.png), [lost](#z), [a file has no headings](../e.yml#a)\n\n" +
			"| [row](gone/) |\n\n- [item](../docs/)\n- [above](../../x.md)\n")},
		"docs/b.md": {Data: []byte("# B\n")},
		"README.md": {Data: []byte("# Readme\n\n## First\n")},
		"e.yml":     {Data: []byte("a: 1\n")},
	}
	dead, err := deadLinks(root, "docs/a.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"c.md", "b.md#c", "../d.png", "#z", "../e.yml#a", "gone/", "../../x.md"}
	if diff := cmp.Diff(want, dead); diff != "" {
		t.Errorf("dead links (-want +got):\n%s", diff)
	}
}

func TestCompatibilityListsTheKnownRegions(t *testing.T) {
	regions := func(text string) []string {
		found := regexp.MustCompile("[\"`]([a-z]+(?:-[a-z0-9]+)+)[\"`]").FindAllStringSubmatch(text, -1)
		var names []string
		for _, match := range found {
			names = append(names, match[1])
		}
		return names
	}
	between := func(text, start, end string) string {
		_, rest, _ := strings.Cut(text, start)
		text, _, _ = strings.Cut(rest, end)
		return text
	}
	want := regions(between(readFile(t, "../../internal/regions/regions.go"), "return []string{", "}"))
	got := regions(between(readFile(t, "../../docs/compatibility.md"), "Regions that are built in: ", "\n\n"))
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 30 {
		t.Errorf("regions in docs/compatibility.md (-config +compatibility.md):\n%s", diff)
	}
}

// TestRunbookIndexesListTheSameAlerts compares the Chinese index with the English one.
func TestRunbookIndexesListTheSameAlerts(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| \[(\w+)\]\((\w+)\.md\) \| ([^|]+) \|(.*)$`)
	index := func(name string, columns int) (alerts []string) {
		for _, found := range row.FindAllStringSubmatch(readFile(t, "../../docs/runbooks/"+name), -1) {
			if got := strings.Count(found[4], "|"); got != columns || strings.Contains(found[4], "|  |") {
				t.Errorf("%s: %s has %d more columns, want %d with text", name, found[1], got, columns)
			}
			severities := regexp.MustCompile(`critical|warning|info`).FindAllString(found[3], -1)
			alerts = append(alerts, fmt.Sprint(found[1], found[2], severities))
		}
		return alerts
	}
	english := index("README.md", 1)
	if len(english) == 0 {
		t.Fatal("docs/runbooks/README.md lists no alerts")
	}
	if diff := cmp.Diff(english, index("README.zh-CN.md", 2)); diff != "" {
		t.Errorf("alerts of the indexes (-README.md +README.zh-CN.md):\n%s", diff)
	}
	for page, translation := range map[string]string{"README.md": "README.zh-CN.md", "README.zh-CN.md": "README.md"} {
		if !strings.Contains(readFile(t, "../../docs/runbooks/"+page), "]("+translation+")") {
			t.Errorf("docs/runbooks/%s does not link to %s", page, translation)
		}
	}
}

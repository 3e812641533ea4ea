// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	scrapeFile  = "../../deploy/prometheus/scrape.yml"
	scalingPage = "../../docs/scaling.md"
)

// scrapeSections returns the sections of scrape.yml by number, uncommented.
func scrapeSections(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(scrapeFile)
	if err != nil {
		t.Fatal(err)
	}
	sections, section := make(map[string]string), ""
	title, prose := regexp.MustCompile(`^ *# --- (\d)\. `), regexp.MustCompile(`^#( \S|$)`)
	for line := range strings.Lines(string(content)) {
		if found := title.FindStringSubmatch(line); found != nil {
			section = found[1]
			continue
		}
		line = strings.TrimSuffix(line, "\n")
		if section == "" || line == "" || prose.MatchString(line) {
			continue
		}
		sections[section] += strings.TrimPrefix(line, "#") + "\n"
	}
	if len(sections) != 6 {
		t.Fatalf("%s: got %d sections, want 6", scrapeFile, len(sections))
	}
	return sections
}

// replace replaces strings, each of which must occur.
func replace(t *testing.T, text string, oldNew ...string) string {
	t.Helper()
	for pair := range slices.Chunk(oldNew, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("%q is not in:\n%s", pair[0], text)
		}
	}
	return strings.NewReplacer(oldNew...).Replace(text)
}

// withTLS adds section 5 to a job with http_sd_configs.
func withTLS(t *testing.T, job, section5 string) string {
	t.Helper()
	scheme, authentication, ok := strings.Cut(section5, "\n")
	if !ok || !strings.Contains(scheme, "scheme: https") {
		t.Fatalf("the first key is not scheme: https:\n%s", section5)
	}
	indented := strings.ReplaceAll(authentication, "    ", "        ")
	return replace(t, job,
		"    metrics_path: /probe\n", "    metrics_path: /probe\n"+scheme+"\n"+authentication,
		"url: http://", "url: https://",
		"        refresh_interval: ", indented+"        refresh_interval: ",
	)
}

func scrapeConfigs(jobs ...string) string { return "scrape_configs:\n" + strings.Join(jobs, "") }

func TestScrapeSectionsAreValidTogether(t *testing.T) {
	promtool := lookPath(t, "promtool")
	sections := scrapeSections(t)
	for name, config := range map[string]string{
		"1":       scrapeConfigs(sections["1"]),
		"2":       scrapeConfigs(sections["2"]),
		"3":       scrapeConfigs(sections["3"]),
		"2 and 4": scrapeConfigs(sections["2"], sections["4"]),
		"3 and 4": scrapeConfigs(sections["3"], sections["4"]),
		"1 and 5": scrapeConfigs(sections["1"], sections["5"]),
		"2 and 5": scrapeConfigs(withTLS(t, sections["2"], sections["5"])),
		"2 and 6": scrapeConfigs(sections["2"], sections["6"]),
		"3 and 6": scrapeConfigs(sections["3"], sections["6"]),
	} {
		t.Run(name, func(t *testing.T) {
			files := newKeyPair(t).clientFiles()
			files["prometheus.yml"] = config
			path := filepath.Join(writeFiles(t, files), "prometheus.yml")
			if out, err := runProgram(t, "", promtool, "check", "config", path); err != nil {
				t.Errorf("promtool check config: %s\n%s\n%s", err, out, config)
			}
		})
	}
}

func TestScalingPageQuotesScrapeSections(t *testing.T) {
	page, err := os.ReadFile(scalingPage)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, section := range scrapeSections(t) {
		for line := range strings.Lines(section) {
			known[strings.TrimSpace(line)] = true
		}
	}
	blocks := regexp.MustCompile("(?s)<!-- check: scrape.yml -->\n```yaml\n(.*?)```").
		FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Errorf("%s has no block with <!-- check: scrape.yml -->", scalingPage)
	}
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			if line := strings.TrimSpace(line); line != "" && !known[line] {
				t.Errorf("%s: not in %s: %s", scalingPage, scrapeFile, line)
			}
		}
	}
}

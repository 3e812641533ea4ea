// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	examplesFile = "../../deploy/prometheus/scrape.yml"
	scalingPage  = "../../docs/scaling.md"
)

// examples returns the YAML of the sections of deploy/prometheus/scrape.yml, uncommented, by number.
func examples(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(examplesFile)
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
		t.Fatalf("%d sections in %s, want 6", len(sections), examplesFile)
	}
	return sections
}

// replace replaces strings, each of which must occur.
func replace(t *testing.T, text string, oldNew ...string) string {
	t.Helper()
	for pair := range slices.Chunk(oldNew, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("the example does not contain %q:\n%s", pair[0], text)
		}
	}
	return strings.NewReplacer(oldNew...).Replace(text)
}

// secured adds the keys for TLS and basic authentication to a job with one http_sd_config.
func secured(t *testing.T, job, keys string) string {
	t.Helper()
	all, discovery, ok := strings.Cut(keys, "\n")
	if !ok || !strings.Contains(all, "scheme: https") {
		t.Fatalf("the first key is not scheme: https:\n%s", keys)
	}
	return replace(t, job,
		"    metrics_path: /probe\n", "    metrics_path: /probe\n"+all+"\n"+discovery,
		"url: http://", "url: https://",
		"        refresh_interval: ", strings.ReplaceAll(discovery, "    ", "        ")+"        refresh_interval: ",
	)
}

// scrapeConfigs returns a Prometheus configuration with these jobs.
func scrapeConfigs(jobs ...string) string { return "scrape_configs:\n" + strings.Join(jobs, "") }

// TestExamples checks every combination of the sections of scrape.yml with promtool.
func TestExamples(t *testing.T) {
	promtool := tool(t, "promtool")
	example := examples(t)
	for name, config := range map[string]string{
		"1 one exporter":         scrapeConfigs(example["1"]),
		"2 balanced":             scrapeConfigs(example["2"]),
		"3 addresses":            scrapeConfigs(example["3"]),
		"4 balanced, servers":    scrapeConfigs(example["2"], example["4"]),
		"4 addresses, servers":   scrapeConfigs(example["3"], example["4"]),
		"5 one exporter, TLS":    scrapeConfigs(example["1"], example["5"]),
		"5 balanced, TLS":        scrapeConfigs(secured(t, example["2"], example["5"])),
		"6 balanced, exporters":  scrapeConfigs(example["2"], example["6"]),
		"6 addresses, exporters": scrapeConfigs(example["3"], example["6"]),
	} {
		t.Run(name, func(t *testing.T) {
			files := newCertificate(t).clientFiles()
			files["prometheus.yml"] = config
			dir := writeFiles(t, files)
			cmd := exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(dir, "prometheus.yml")) //nolint:gosec // found in PATH
			cmd.WaitDelay = time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s\n%s", err, out, config)
			}
		})
	}
}

// TestScalingPage checks that the configuration in docs/scaling.md is in scrape.yml.
func TestScalingPage(t *testing.T) {
	page, err := os.ReadFile(scalingPage)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, section := range examples(t) {
		for line := range strings.Lines(section) {
			known[strings.TrimSpace(line)] = true
		}
	}
	blocks := regexp.MustCompile("(?s)<!-- check: scrape.yml -->\n```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Error("no block is marked with <!-- check: scrape.yml -->")
	}
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			if line := strings.TrimSpace(line); line != "" && !known[line] {
				t.Errorf("not in scrape.yml: %s", line)
			}
		}
	}
}

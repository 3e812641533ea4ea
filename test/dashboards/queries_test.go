// SPDX-License-Identifier: Apache-2.0

package dashboards

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestVariablesAreUsed finds misspelt and unused variables.
func TestVariablesAreUsed(t *testing.T) {
	name := regexp.MustCompile(`\$\{?(\w+)`)
	for uid, d := range load(t) {
		used := map[string]bool{"datasource": true}
		for at, expr := range d.queries() {
			for _, found := range name.FindAllStringSubmatch(expr, -1) {
				if used[found[1]] = true; !d.variable(found[1]) && found[1] != "__rate_interval" && found[1] != "__range" {
					t.Errorf("%s: %s: unknown variable %s", uid, at, found[1])
				}
			}
		}
		for _, v := range d.Templating.List {
			if !used[v.Name] {
				t.Errorf("%s: unused variable %s", uid, v.Name)
			}
		}
	}
}

// TestQueries checks the matchers of each selector and that each counter is in a rate.
func TestQueries(t *testing.T) {
	ofCluster := []string{`job=~"$job"`, `region=~"$region"`, `project_id=~"$project"`, `cluster_id=~"$cluster"`}
	for uid, d := range load(t) {
		for at, expr := range d.queries() {
			q, err := parse(expr)
			if err != nil {
				t.Errorf("%s: %s: %s", uid, at, err)
				continue
			}
			for _, s := range q.selectors {
				want := []string{`job=~"$job"`}
				switch metric := s.metrics[0]; {
				case strings.HasPrefix(at, "variable "):
					want = nil // each variable limits the next
					if !strings.HasPrefix(at, "variable job") {
						want = []string{`job=~"$job"`}
					}
				case strings.Contains(metric, ":"):
					want = ofCluster[1:] // recorded without a job
				case strings.HasPrefix(metric, "css_vpcep_exporter_"), strings.HasPrefix(metric, "process_"), strings.HasPrefix(metric, "go_"):
					if d.variable("instance") && s.function != "last_over_time" && len(s.metrics) == 1 {
						want = append(want, `instance=~"$instance"`)
					}
				case strings.HasPrefix(metric, "css_vpcep_discovery_"), metric == "css_vpcep_cluster_info": // both have projects too
					want = ofCluster[:3]
				case strings.HasPrefix(metric, "css_vpcep_") && len(s.metrics) == 1:
					want = ofCluster
				}
				for _, w := range want {
					if !slices.Contains(s.matchers, w) {
						t.Errorf("%s: %s: %v has no matcher %s", uid, at, s.metrics, w)
					}
				}
				counter := regexp.MustCompile(`_(total|bucket|count|sum)$`).MatchString(s.metrics[0])
				rated := s.function == "rate" && s.window == "$__rate_interval"
				if s.function == "rate" && !rated || counter && !rated {
					t.Errorf("%s: %s: %s is in %s over [%s]", uid, at, s.metrics[0], s.function, s.window)
				}
			}
		}
	}
}

// TestNames checks that dashboards and rules use only documented metrics and labels.
func TestNames(t *testing.T) {
	known := documented(t)
	rules := recorded(t)
	exprs := make(map[string]string)
	for at, r := range rules {
		exprs[at] = r.Expr
		if r.Record != "" {
			q, err := parse(r.Expr)
			if err != nil {
				t.Fatalf("%s: %s", at, err)
			}
			known[r.Record] = q.labels
			for _, l := range q.selectors {
				known[r.Record] = append(known[r.Record], known[l.metrics[0]]...)
			}
		}
	}
	if len(exprs) == 0 {
		t.Error("deploy/prometheus has no rules")
	}
	for uid, d := range load(t) {
		for at, expr := range d.queries() {
			exprs[uid+": "+at] = expr
		}
	}
	for at, expr := range exprs {
		for _, unknown := range unknownNames(expr, known) {
			t.Errorf("%s: %s\n%s", at, unknown, expr)
		}
	}
}

// unknownNames returns the unknown metrics and labels of an expression.
func unknownNames(expr string, known map[string][]string) []string {
	q, err := parse(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var unknown []string
	all := slices.Clone(q.made)
	for _, s := range q.selectors {
		for _, metric := range s.metrics {
			labels, ok := known[metric]
			if !ok {
				unknown = append(unknown, "no metric "+metric)
			}
			all = append(all, labels...)
			for _, m := range s.matchers {
				if label := m[:strings.IndexAny(m, "=!")]; label != "__name__" && !slices.Contains(labels, label) {
					unknown = append(unknown, fmt.Sprintf("no label %s of %s", label, metric))
				}
			}
		}
	}
	for _, label := range q.labels {
		if !slices.Contains(all, label) {
			unknown = append(unknown, "no label "+label)
		}
	}
	return unknown
}

// TestUnknownNames checks that TestNames can fail.
func TestUnknownNames(t *testing.T) {
	known := documented(t)
	for expr, want := range map[string]string{
		`sum by (status) (css_vpcep_connections{region="a", status!="accepted"})`:            "[]",
		`css_vpcep_connection{region="a"}`:                                                   "[no metric css_vpcep_connection no label region of css_vpcep_connection]",
		`css_vpcep_up{status="a"} == 0`:                                                      "[no label status of css_vpcep_up]",
		`css_vpcep_up{project="a"}`:                                                          "[no label project of css_vpcep_up]",
		`sum by (zone) (css_vpcep_up) or sum without (region) (up)`:                          "[no label zone]",
		`css_vpcep_up * on (cluster_id) group_left (owner) css_vpcep_cluster_info`:           "[no label owner]",
		`rate(css_vpcep_exporter_api_request_duration_seconds_bucket{le="1", code="2"}[5m])`: "[no label code of css_vpcep_exporter_api_request_duration_seconds_bucket]",
		`label_replace(up, "x", "$1", "job", "(.+)") and on (x) {__name__=~"up|down"}`:       "[no metric down]",
		`css_vpcep_up{region=~"a}"} offset 5m and vector(1) # and css_vpcep_down`:            "[]",
		`sum(css_vpcep_up`: "[unbalanced: sum(css_vpcep_up]",
	} {
		if got := fmt.Sprint(unknownNames(expr, known)); got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

// documented returns the labels of the metrics in README.md and of the used metrics from elsewhere.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	cluster := []string{"region", "project_id", "cluster_id", "cluster_name"}
	scraped := []string{"job", "instance"}
	known := map[string][]string{
		// Target labels with /probe: docs/scaling.md.
		"up":                      slices.Concat(scraped, cluster, []string{"project"}),
		"scrape_duration_seconds": scraped,
		// Metrics of the Go client library.
		"process_start_time_seconds":    scraped,
		"process_cpu_seconds_total":     scraped,
		"process_resident_memory_bytes": scraped,
		"process_open_fds":              scraped,
		"go_goroutines":                 scraped,
		// The vendor's cloudeye-exporter: deploy/prometheus/rules.yml.
		"huaweicloud_sys_vpcep_vpcep_connections": append(slices.Clone(scraped), "ep_instance_id"),
	}
	row := regexp.MustCompile("(?m)^\\| `(css_vpcep_[a-z0-9_]+)` \\| ([^|]*)\\| (.*) \\|$")
	label := regexp.MustCompile("`([a-z0-9_]+)`")
	for _, found := range row.FindAllStringSubmatch(string(content), -1) {
		labels := slices.Clone(scraped)
		if strings.HasPrefix(found[2], "C") {
			labels = append(labels, cluster...)
		}
		for _, l := range label.FindAllStringSubmatch(found[2], -1) {
			labels = append(labels, l[1])
		}
		known[found[1]] = labels
		if strings.HasPrefix(found[3], "Histogram") {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				known[found[1]+suffix] = append(slices.Clone(labels), "le")
			}
		}
	}
	if !slices.Contains(known["css_vpcep_connections"], "status") || len(known) < 35 {
		t.Fatalf("invalid table of metrics in README.md: %v", known)
	}
	return known
}

// rule is a rule of deploy/prometheus.
type rule struct{ Alert, Record, Expr string }

// recorded returns all rules of deploy/prometheus by location.
func recorded(t *testing.T) map[string]rule {
	t.Helper()
	folder := os.DirFS("../../deploy/prometheus")
	files, err := fs.Glob(folder, "*.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules := make(map[string]rule)
	for _, file := range files {
		content, err := fs.ReadFile(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(content, &f); err != nil {
			t.Fatalf("%s: %s", file, err)
		}
		for _, g := range f.Groups {
			for i, r := range g.Rules {
				rules[fmt.Sprintf("%s: %s%s %d", file, r.Alert, r.Record, i)] = r
			}
		}
	}
	return rules
}

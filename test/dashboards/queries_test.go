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

func TestVariablesAreUsedAndDefined(t *testing.T) {
	reference := regexp.MustCompile(`\$\{?(\w+)`)
	builtIn := []string{"__rate_interval", "__range"}
	for uid, d := range loadDashboards(t) {
		used := map[string]bool{"datasource": true, "exporter": true} // the latter in links
		for location, expr := range d.queries() {
			for _, found := range reference.FindAllStringSubmatch(expr, -1) {
				name := found[1]
				used[name] = true
				if !d.hasVariable(name) && !slices.Contains(builtIn, name) {
					t.Errorf("%s: %s: unknown variable %s", uid, location, name)
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

// eachSelector calls check for each selector in the queries of all dashboards.
func eachSelector(t *testing.T, check func(d dashboard, location string, s selector)) {
	t.Helper()
	for uid, d := range loadDashboards(t) {
		for location, expr := range d.queries() {
			q, err := parseNames(expr)
			if err != nil {
				t.Errorf("%s: %s: %s", uid, location, err)
				continue
			}
			for _, s := range q.selectors {
				check(d, location, s)
			}
		}
	}
}

func TestSelectorsHaveTheMatchersOfTheVariables(t *testing.T) {
	eachSelector(t, func(d dashboard, location string, s selector) {
		for _, matcher := range wantMatchers(d, location, s) {
			if !slices.Contains(s.matchers, matcher) {
				t.Errorf("%s: %s: %v has no matcher %s", d.UID, location, s.metrics, matcher)
			}
		}
	})
}

func wantMatchers(d dashboard, location string, s selector) []string {
	job := []string{`job=~"$job"`}
	project := []string{`region=~"$region"`, `project_id=~"$project"`}
	cluster := []string{`cluster_id=~"$cluster"`}
	hasAnyPrefix := func(metric string, prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(metric, prefix) })
	}
	switch metric := s.metrics[0]; {
	case strings.HasPrefix(location, "variable job"):
		return nil
	case strings.HasPrefix(location, "variable "): // limited only by the variables before it
		return job
	case strings.HasPrefix(metric, "ALERTS"): // some alerts are not about a cluster
		return []string{`job=~"$job|"`, `region=~"$region|"`, `project_id=~"$project|"`, `cluster_id=~"$cluster|"`}
	case strings.Contains(metric, ":"): // recorded without a job
		return slices.Concat(project, cluster)
	case hasAnyPrefix(metric, "css_vpcep_exporter_", "process_", "go_"):
		if d.hasVariable("instance") && s.function != "last_over_time" && len(s.metrics) == 1 {
			return append(job, `instance=~"$instance"`)
		}
	case hasAnyPrefix(metric, "css_vpcep_discovery_", "css_vpcep_sessions_"), metric == "css_vpcep_cluster_info":
		// These are also used for whole projects.
		return slices.Concat(job, project)
	case strings.HasPrefix(metric, "css_vpcep_") && len(s.metrics) == 1:
		return slices.Concat(job, project, cluster)
	}
	return job
}

func TestCountersAreUsedOnlyInRates(t *testing.T) {
	counterName := regexp.MustCompile(`_(total|bucket|count|sum)$`)
	eachSelector(t, func(d dashboard, location string, s selector) {
		metric := s.metrics[0]
		if s.function == "rate" && s.window == "$__rate_interval" {
			return
		}
		if s.function == "rate" || counterName.MatchString(metric) {
			t.Errorf("%s: %s: %s is in %q over [%s]", d.UID, location, metric, s.function, s.window)
		}
	})
}

func TestDashboardsAndRulesUseDocumentedNames(t *testing.T) {
	rules := loadRules(t)
	if len(rules) == 0 {
		t.Error("deploy/prometheus has no rules")
	}
	labelsOf := documentedLabels(t)
	exprs := make(map[string]string) // by location
	for location, r := range rules {
		exprs[location] = r.Expr
		if r.Record != "" {
			q, err := parseNames(r.Expr)
			if err != nil {
				t.Fatalf("%s: %s", location, err)
			}
			labelsOf[r.Record] = q.labels
			for _, s := range q.selectors {
				labelsOf[r.Record] = append(labelsOf[r.Record], labelsOf[s.metrics[0]]...)
			}
		}
	}
	for uid, d := range loadDashboards(t) {
		for location, expr := range d.queries() {
			exprs[uid+": "+location] = expr
		}
	}
	for location, expr := range exprs {
		for _, problem := range unknownNames(expr, labelsOf) {
			t.Errorf("%s: %s\n%s", location, problem, expr)
		}
	}
}

// unknownNames reports the metrics and labels of an expression that are not in labelsOf.
func unknownNames(expr string, labelsOf map[string][]string) []string {
	q, err := parseNames(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	known := slices.Clone(q.newLabels)
	for _, s := range q.selectors {
		for _, metric := range s.metrics {
			labels, ok := labelsOf[metric]
			if !ok {
				problems = append(problems, "no metric "+metric)
			}
			known = append(known, labels...)
			for _, m := range s.matchers {
				if label := m[:strings.IndexAny(m, "=!")]; label != "__name__" && !slices.Contains(labels, label) {
					problems = append(problems, fmt.Sprintf("no label %s of %s", label, metric))
				}
			}
		}
	}
	for _, label := range q.labels {
		if !slices.Contains(known, label) {
			problems = append(problems, "no label "+label)
		}
	}
	return problems
}

func TestUnknownNames(t *testing.T) {
	labelsOf := documentedLabels(t)
	for _, test := range []struct{ expr, want string }{
		{`sum by (status) (css_vpcep_connections{region="a", status!="accepted"})`, "[]"},
		{`css_vpcep_connection{region="a"}`,
			"[no metric css_vpcep_connection no label region of css_vpcep_connection]"},
		{`css_vpcep_up{status="a"} == 0`, "[no label status of css_vpcep_up]"},
		{`css_vpcep_up{project="a"}`, "[no label project of css_vpcep_up]"},
		{`sum by (zone) (css_vpcep_up) or sum without (region) (up)`, "[no label zone]"},
		{`css_vpcep_up * on (cluster_id) group_left (owner) css_vpcep_cluster_info`, "[no label owner]"},
		{`rate(css_vpcep_exporter_api_request_duration_seconds_bucket{le="1", code="2"}[5m])`,
			"[no label code of css_vpcep_exporter_api_request_duration_seconds_bucket]"},
		{`label_replace(up, "x", "$1", "job", "(.+)") and on (x) {__name__=~"up|down"}`, "[no metric down]"},
		{`css_vpcep_up{region=~"a}"} offset 5m and vector(1) # and css_vpcep_down`, "[]"},
		{`sum(css_vpcep_up`, "[unbalanced: sum(css_vpcep_up]"},
	} {
		if got := fmt.Sprint(unknownNames(test.expr, labelsOf)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.expr, got, test.want)
		}
	}
}

// documentedLabels returns the labels of the metrics in docs/metrics.md and of metrics of other programs.
func documentedLabels(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	cluster := []string{"region", "project_id", "cluster_id", "cluster_name"}
	scraped := []string{"job", "instance"}
	alertLabels := slices.Concat(cluster, []string{"alertname", "severity", "job", "connection_id"})
	labelsOf := map[string][]string{
		// The target labels with /probe: docs/scaling.md.
		"up":                      slices.Concat(scraped, cluster, []string{"project"}),
		"scrape_duration_seconds": scraped,
		// Prometheus, for alerts.
		"ALERTS":           append(slices.Clone(alertLabels), "alertstate"),
		"ALERTS_FOR_STATE": alertLabels,
		// The Go client library.
		"process_start_time_seconds":    scraped,
		"process_cpu_seconds_total":     scraped,
		"process_resident_memory_bytes": scraped,
		"process_open_fds":              scraped,
		"go_goroutines":                 scraped,
	}
	row := regexp.MustCompile("(?m)^\\| `(css_vpcep_[a-z0-9_]+)` \\| ([^|]*)\\| (.*) \\|$")
	label := regexp.MustCompile("`([a-z0-9_]+)`")
	for _, found := range row.FindAllStringSubmatch(string(content), -1) {
		metric, labelCell, descriptionCell := found[1], found[2], found[3]
		labels := slices.Clone(scraped)
		if strings.HasPrefix(labelCell, "C") { // short for the labels of a cluster
			labels = append(labels, cluster...)
		}
		for _, l := range label.FindAllStringSubmatch(labelCell, -1) {
			labels = append(labels, l[1])
		}
		labelsOf[metric] = labels
		if strings.HasPrefix(descriptionCell, "Histogram") {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				labelsOf[metric+suffix] = append(slices.Clone(labels), "le")
			}
		}
	}
	if !slices.Contains(labelsOf["css_vpcep_connections"], "status") || len(labelsOf) < 35 {
		t.Fatalf("the table of metrics in docs/metrics.md cannot be read: %v", labelsOf)
	}
	return labelsOf
}

// rule is an alerting or recording rule.
type rule struct{ Alert, Record, Expr string }

// loadRules returns all rules of deploy/prometheus and of the examples in the documents, by location.
func loadRules(t *testing.T) map[string]rule {
	t.Helper()
	rules := make(map[string]rule)
	add := func(file string, content []byte) {
		var ruleFile struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(content, &ruleFile); err != nil {
			t.Fatalf("%s: %s", file, err)
		}
		for _, group := range ruleFile.Groups {
			for i, r := range group.Rules {
				rules[fmt.Sprintf("%s: %s%s %d", file, r.Alert, r.Record, i)] = r
			}
		}
	}
	example := regexp.MustCompile("(?s)<!-- check: rules -->\n```yaml\n(.*?)```")
	root := os.DirFS("../..")
	for _, pattern := range []string{"deploy/prometheus/*.yml", "README.md", "docs/*.md"} {
		files, err := fs.Glob(root, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := fs.ReadFile(root, file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, ".yml") {
				add(file, content)
				continue
			}
			for _, block := range example.FindAllSubmatch(content, -1) {
				add(file, block[1])
			}
		}
	}
	return rules
}

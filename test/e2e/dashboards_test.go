// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// emptyQueries returns why queries have no result in the demo, by panelQuery.name.
func emptyQueries() map[string]string {
	return map[string]string{
		"css-vpcep-overview/Clusters that cannot be read/B":     "the cluster that always fails has never been read",
		"css-vpcep-overview/Clusters to check/F":                "the demo has no max_staleness",
		"css-vpcep-overview/Discovery of clusters by project/E": "discovery succeeds in the demo",
		"css-vpcep-overview/Invalid configuration/":             "the demo has no configuration file",
		"css-vpcep-cluster/Invalid configuration/":              "the demo has no configuration file",
		"css-vpcep-overview/Newly rejected/":                    "it needs data of a minute, and the demo has just started",
		"css-vpcep-cluster/Newly rejected/":                     "it needs data of a minute, and the demo has just started",
	}
}

// emptyRules returns why rules have no result in the demo. alerts_test.yml tests that each alert can fire.
func emptyRules() map[string]string {
	return map[string]string{
		"connection:css_vpcep_connection_status:rejected1d": "the demo has just started",

		"CSSVPCEPConnectionStillRejected": "the demo has just started",
		"CSSVPCEPSessionsNearLimit":       "the demo reaches the critical limit for a part of the day",
		"CSSVPCEPNoAcceptedConnections":   "no cluster of the demo loses all connections",
		"CSSVPCEPConnectionsLost":         "no cluster of the demo loses most connections",
		"CSSVPCEPServiceDisabled":         "the demo disables no service",
		"CSSVPCEPPermissionAdded":         "the demo's allowlists do not change",
		"CSSVPCEPProjectUnreadable":       "most clusters of the demo can be read",
		"CSSVPCEPDataStale":               "the demo has no max_staleness",
		"CSSVPCEPDiscoveryFailing":        "discovery succeeds in the demo",
		"CSSVPCEPSessionsUnreadable":      "the demo's Cloud Eye can be read",
		"CSSVPCEPClustersVanished":        "discovery finds all clusters of the demo",
		"CSSVPCEPCredentialsRejected":     "the demo accepts its keys",
		"CSSVPCEPThrottled":               "the demo throttles no requests",
		"CSSVPCEPConfigReloadFailed":      "the demo has no configuration file",
		"CSSVPCEPExporterDown":            "the demo is up",
		"CSSVPCEPMetricsAbsent":           "the metrics exist",
	}
}

// stableClusters returns clusters of the demo that do not change and whose reads always or never succeed.
func stableClusters() []string {
	return []string{"search-prod", "metrics-hub", "audit-trail", "sandbox"}
}

type dashboard struct {
	UID         string `json:"uid"`
	Annotations struct {
		List []struct{ Name, Expr string } `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []dashboardVariable `json:"list"`
	} `json:"templating"`
	Panels []dashboardPanel `json:"panels"`
}

type dashboardVariable struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Definition string `json:"definition"`
	Regex      string `json:"regex"`
	IncludeAll bool   `json:"includeAll"`
	AllValue   string `json:"allValue"`
}

type dashboardPanel struct {
	Title   string `json:"title"`
	Type    string `json:"type"`
	Targets []struct {
		RefID   string `json:"refId"`
		Expr    string `json:"expr"`
		Instant bool   `json:"instant"`
	} `json:"targets"`
	Transformations []struct {
		ID      string `json:"id"`
		Options struct {
			Exclude map[string]bool `json:"excludeByName"`
			Index   map[string]int  `json:"indexByName"`
		} `json:"options"`
	} `json:"transformations"`
	Panels []dashboardPanel `json:"panels"` // of a collapsed row
}

type panelQuery struct {
	name, expr string // name: dashboard UID/panel title/refId
	instant    bool
}

func (d dashboard) queries() []panelQuery {
	var queries []panelQuery
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			queries = append(queries, panelQuery{d.UID + "/" + p.Title + "/" + q.RefID, q.Expr, q.Instant})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			queries = append(queries, panelQuery{d.UID + "/" + a.Name + "/", a.Expr, false})
		}
	}
	return queries
}

func readDashboards(t *testing.T) []dashboard {
	t.Helper()
	dir := os.DirFS("../../dashboards")
	files, err := fs.Glob(dir, "*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("dashboards: got %v, %v, want at least 2 files", files, err)
	}
	var dashboards []dashboard
	for _, file := range files {
		content, err := fs.ReadFile(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(content, &d); err != nil {
			t.Fatalf("%s: %s", file, err)
		}
		for _, row := range d.Panels {
			d.Panels = append(d.Panels, row.Panels...)
		}
		dashboards = append(dashboards, d)
	}
	return dashboards
}

// TestDashboards runs all queries of the dashboards and all rules on a server that scrapes both endpoints of the demo.
func TestDashboards(t *testing.T) {
	dashboards := readDashboards(t)
	checkEmptyQueriesExist(t, dashboards)
	demo := startServer(t, "demo", buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	prom := startPrometheus(t, demoConfig(t, demo), rulesWithoutDelays(t))
	clusters := demoClusters(t, prom, demo)
	prom.waitForProbes(t, len(clusters), 3)
	reloadDemo(t, prom, demo)

	t.Run("RulesHaveResults", func(t *testing.T) { testRulesHaveResults(t, prom) })
	for name, jobs := range map[string][]string{
		"Metrics": {"css_vpcep"},
		"Probe":   {"css_vpcep_probe", "css_vpcep_exporter"},
		"Both":    nil, // All
	} {
		for _, d := range dashboards {
			t.Run("QueriesHaveResults/"+name+"/"+d.UID, func(t *testing.T) {
				preset := map[string]string{}
				if jobs != nil {
					preset["job"], preset["instance"] = multiValue(jobs...), multiValue(demo.address)
				}
				testQueriesHaveResults(t, prom, d, preset, clusters)
			})
		}
	}
	for _, d := range dashboards {
		t.Run("NothingIsCountedTwice/"+d.UID, func(t *testing.T) { testNothingIsCountedTwice(t, prom, d, clusters) })
		t.Run("TableColumnsMatchLabels/"+d.UID, func(t *testing.T) { testTableColumnsMatchLabels(t, prom, d) })
	}
}

func checkEmptyQueriesExist(t *testing.T, dashboards []dashboard) {
	t.Helper()
	known := make(map[string]bool)
	for _, d := range dashboards {
		for _, q := range d.queries() {
			known[q.name] = true
		}
	}
	for name := range emptyQueries() {
		if !known[name] {
			t.Errorf("emptyQueries has the unknown query %s", name)
		}
	}
}

// reloadDemo waits first, because the dashboards do not show reloads in the first 5 seconds of a process.
func reloadDemo(t *testing.T, prom *prometheus, demo *process) {
	t.Helper()
	eventually(t, "the demo has run for 6 seconds", func() string {
		if age := prom.number(t, `time() - min(process_start_time_seconds{job="css_vpcep"})`); age < 6 {
			return fmt.Sprintf("%g seconds", age)
		}
		return ""
	})
	if err := demo.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "2 jobs show the reload", func() string {
		const reloaded = `css_vpcep_exporter_config_last_reload_success_timestamp_seconds - process_start_time_seconds > 5`
		if n := len(prom.query(t, reloaded)); n < 2 {
			return fmt.Sprintf("%d jobs", n)
		}
		return ""
	})
}

// rulesWithoutDelays returns the rules of deploy/prometheus by file name. Their alerts fire at once.
func rulesWithoutDelays(t *testing.T) map[string]string {
	t.Helper()
	dir, delay := os.DirFS("../../deploy/prometheus"), regexp.MustCompile(`(?m)^(\s+for: ).*$`)
	files := make(map[string]string)
	for _, name := range []string{"alerts.yml", "rules.yml"} {
		content, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = delay.ReplaceAllString(string(content), "${1}0s")
	}
	return files
}

func demoConfig(t *testing.T, demo *process) string {
	t.Helper()
	sections, scrapeInterval := scrapeSections(t), "scrape_interval: "+interval.String()
	// The history is out of order.
	return "global: {evaluation_interval: 1s}\nrule_files: [alerts.yml, rules.yml]\n" +
		"storage: {tsdb: {out_of_order_time_window: 8d}}\n" + scrapeConfigs(
		replace(t, sections["1"], "localhost:10247", demo.address,
			"scrape_interval: 1m", scrapeInterval, "scrape_timeout: 30s", "scrape_timeout: "+interval.String()),
		balancedJob(t, demo.address),
		replace(t, sections["6"], "scrape_interval: 1m", scrapeInterval,
			`"css-vpcep-exporter-0:10247", "css-vpcep-exporter-1:10247", "css-vpcep-exporter-2:10247"`,
			strconv.Quote(demo.address)),
		fmt.Sprintf("  - job_name: history\n    %s\n    scrape_timeout: 1s\n    honor_labels: true\n"+
			"    static_configs: [{targets: [%q]}]\n", scrapeInterval, serveHistory(t, demo)),
	)
}

// serveHistory serves the present counts of the demo as those of a day and a week ago, for both jobs with clusters.
func serveHistory(t *testing.T, demo *process) (address string) {
	t.Helper()
	_, body := get(t, newClient(t), "http://"+demo.address+"/metrics")
	counts := regexp.MustCompile(`(?m)^css_vpcep_connections{(.+)$`).FindAllStringSubmatch(body, -1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for _, days := range []int{1, 7} {
			at := time.Now().AddDate(0, 0, -days).UnixMilli()
			for _, count := range counts {
				for _, job := range []string{"css_vpcep", "css_vpcep_probe"} {
					_, _ = fmt.Fprintf(w, "css_vpcep_connections{job=%q,%s %d\n", job, count[1], at)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// demoClusters returns cluster IDs by name.
func demoClusters(t *testing.T, prom *prometheus, demo *process) map[string]string {
	t.Helper()
	var targets []struct{ Labels map[string]string }
	status, body := get(t, prom.client, "http://"+demo.address+"/sd")
	if err := json.Unmarshal([]byte(body), &targets); err != nil || status != http.StatusOK || len(targets) == 0 {
		t.Fatalf("/sd: got status %d, %v, want 200 and targets: %s", status, err, body)
	}
	clusters := make(map[string]string)
	for _, target := range targets {
		clusters[target.Labels["__meta_css_cluster_name"]] = target.Labels["__meta_css_cluster_id"]
	}
	return clusters
}

func testRulesHaveResults(t *testing.T, prom *prometheus) {
	type rule struct{ Name, Query, Health, LastError string }
	var rules []rule
	eventually(t, "all rules evaluated", func() string {
		var data struct{ Groups []struct{ Rules []rule } }
		prom.getAPI(t, "rules", &data)
		rules = nil
		for _, g := range data.Groups {
			rules = append(rules, g.Rules...)
		}
		if slices.ContainsFunc(rules, func(r rule) bool { return r.Health == "unknown" }) || len(rules) == 0 {
			return fmt.Sprintf("%+v", rules)
		}
		return ""
	})
	mayBeEmpty, known := emptyRules(), make(map[string]bool)
	for _, r := range rules {
		known[r.Name] = true
		if r.Health != "ok" {
			t.Errorf("%s: got health %s, want ok: %s", r.Name, r.Health, r.LastError)
			continue
		}
		if n := len(prom.query(t, r.Query)); n == 0 && mayBeEmpty[r.Name] == "" {
			t.Errorf("%s has no result in the demo; if that is correct, add the reason to emptyRules:\n%s", r.Name, r.Query)
		}
	}
	for name := range mayBeEmpty {
		if !known[name] {
			t.Errorf("emptyRules has the unknown rule %s", name)
		}
	}
}

// testQueriesHaveResults selects All, if offered, and then each cluster. It keeps the values of preset variables.
func testQueriesHaveResults(t *testing.T, prom *prometheus, d dashboard, preset, clusters map[string]string) {
	all, offersAll := prom.selectAll(t, d, preset)
	selections := prom.selectEach(t, d, preset)
	found := make(map[string]string)
	for _, selection := range selections {
		found[selection["cluster name"]] = selection["cluster"]
	}
	if diff := cmp.Diff(clusters, found); diff != "" {
		t.Errorf("selectable clusters (-want +got):\n%s", diff)
	}
	mayBeEmpty := emptyQueries()
	for _, q := range d.queries() {
		hasResult := func(selection map[string]string) bool {
			result, err := prom.runQuery(t, q, selection)
			if err != nil {
				t.Errorf("%s: %s\n%s", q.name, err, interpolate(q.expr, selection))
			}
			return err != nil || len(result) > 0
		}
		if offersAll && !hasResult(all) && mayBeEmpty[q.name] == "" {
			t.Errorf("%s has no result:\n%s", q.name, interpolate(q.expr, all))
		}
		if !slices.ContainsFunc(selections, hasResult) && mayBeEmpty[q.name] == "" {
			t.Errorf("%s has no result for any cluster, such as:\n%s", q.name, interpolate(q.expr, selections[0]))
		}
	}
}

// testNothingIsCountedTwice compares results from one endpoint with those from both.
func testNothingIsCountedTwice(t *testing.T, prom *prometheus, d dashboard, clusters map[string]string) {
	// Skip values that change with time and those of exporters, as one process serves both endpoints.
	skip := regexp.MustCompile(
		`time\(\)|_duration_|rate\(|over_time\(|topk\(|css_vpcep_exporter_|css_vpcep_discovery_|css_vpcep_sessions_|process_`)
	// The time since when, and sessions in use, differ between the endpoints. Their labels do not.
	changing := regexp.MustCompile(`ALERTS_FOR_STATE|css_vpcep_connection_sessions`)
	compared := 0
	for _, q := range d.queries() {
		if !q.instant || skip.MatchString(q.expr) {
			continue
		}
		for _, name := range stableClusters() {
			one := clusterValues(t, prom, q, "css_vpcep", clusters[name])
			both := clusterValues(t, prom, q, ".+", clusters[name])
			compared += len(one)
			if changing.MatchString(q.expr) {
				setAll(one, 0)
				setAll(both, 0)
			}
			if diff := cmp.Diff(one, both); diff != "" {
				t.Errorf("%s: %s scraped by one endpoint and by both (-one +both):\n%s", q.name, name, diff)
			}
		}
	}
	t.Logf("%d values compared", compared)
	if compared == 0 {
		t.Error("no values to compare")
	}
}

func setAll(values map[string]float64, v float64) {
	for labels := range values {
		values[labels] = v
	}
}

// clusterValues returns values by their labels.
func clusterValues(t *testing.T, prom *prometheus, q panelQuery, job, cluster string) map[string]float64 {
	t.Helper()
	result, err := prom.runQuery(t, q, map[string]string{
		"job": job, "region": ".+", "project": ".*", "cluster": cluster, "instance": ".+",
	})
	if err != nil {
		t.Fatalf("%s: %s", q.name, err)
	}
	values := make(map[string]float64)
	for _, s := range result {
		values[fmt.Sprint(s.Labels)] = s.Value.value
	}
	return values
}

func testTableColumnsMatchLabels(t *testing.T, prom *prometheus, d dashboard) {
	preset := map[string]string{}
	selections := prom.selectEach(t, d, preset)
	if all, ok := prom.selectAll(t, d, preset); ok {
		selections = []map[string]string{all}
	}
	by, mayBeEmpty := regexp.MustCompile(`\bby \(([^)]+)\)`), emptyQueries()
	for _, p := range d.Panels {
		if p.Type != "table" {
			continue
		}
		columns := map[string]bool{"Time": true}
		for _, q := range p.Targets {
			if mayBeEmpty[d.UID+"/"+p.Title+"/"+q.RefID] != "" {
				for label := range strings.SplitSeq(by.FindStringSubmatch(q.Expr)[1], ", ") {
					columns[label] = true
				}
			}
			if len(p.Targets) == 1 {
				columns["Value"] = true
			} else {
				columns["Value #"+q.RefID] = true
			}
			for _, selection := range selections {
				result, err := prom.runQuery(t, panelQuery{p.Title, q.Expr, true}, selection)
				if err != nil {
					t.Fatalf("%s: %s", p.Title, err)
				}
				for _, s := range result {
					for label := range s.Labels {
						columns[label] = true
					}
				}
			}
		}
		placed := make(map[string]bool)
		for _, tr := range p.Transformations {
			for name := range tr.Options.Index {
				placed[name] = true
			}
			for name := range tr.Options.Exclude {
				placed[name] = true
			}
		}
		delete(placed, "version") // a test build has none
		delete(columns, "version")
		if diff := cmp.Diff(columns, placed); diff != "" {
			t.Errorf("%s: %s: columns (-labels +table):\n%s", d.UID, p.Title, diff)
		}
	}
}

// selectAll also reports whether every variable offers All.
func (p *prometheus) selectAll(
	t *testing.T, d dashboard, preset map[string]string,
) (selection map[string]string, ok bool) {
	t.Helper()
	selection, ok = maps.Clone(preset), true
	for _, v := range d.Templating.List {
		if v.Type != "query" || selection[v.Name] != "" {
			continue
		}
		if len(p.options(t, v, selection)) == 0 {
			t.Errorf("%s: no option of %s with %v", d.UID, v.Name, selection)
		}
		selection[v.Name], ok = v.AllValue, ok && v.IncludeAll
	}
	return selection, ok
}

// selectEach returns every combination of options, with All for job and instance, some of which have no clusters.
func (p *prometheus) selectEach(t *testing.T, d dashboard, preset map[string]string) []map[string]string {
	t.Helper()
	selections := []map[string]string{preset}
	for _, v := range d.Templating.List {
		if v.Type != "query" || preset[v.Name] != "" {
			continue
		}
		var next []map[string]string
		for _, selection := range selections {
			if v.Name == "job" || v.Name == "instance" {
				selection = maps.Clone(selection)
				selection[v.Name] = v.AllValue
				next = append(next, selection)
				continue
			}
			for _, o := range p.options(t, v, selection) {
				selection := maps.Clone(selection)
				selection[v.Name], selection[v.Name+" name"] = multiValue(o.value), o.text
				next = append(next, selection)
			}
		}
		selections = next
	}
	return selections
}

type option struct{ text, value string }

// options evaluates the definition of a variable as Grafana does.
func (p *prometheus) options(t *testing.T, v dashboardVariable, selection map[string]string) []option {
	t.Helper()
	call := regexp.MustCompile(`^(label_values|query_result)\((.+)\)$`).
		FindStringSubmatch(interpolate(v.Definition, selection))
	if call == nil {
		t.Fatalf("variable %s: unknown definition %s", v.Name, v.Definition)
	}
	var options []option
	if call[1] == "label_values" {
		comma := strings.LastIndex(call[2], ",")
		selector, label := call[2][:comma], strings.TrimSpace(call[2][comma+1:])
		var values []string
		p.getAPI(t, "label/"+label+"/values?match[]="+url.QueryEscape(selector), &values)
		for _, value := range values {
			options = append(options, option{value, value})
		}
		return options
	}
	// The regex applies to {label="value",…} value time. Its named groups are text and value.
	groups := regexp.MustCompile(strings.TrimSuffix(strings.TrimPrefix(v.Regex, "/"), "/g"))
	for _, s := range p.query(t, call[2]) {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			labels = append(labels, name+`="`+s.Labels[name]+`"`)
		}
		var o option
		for _, found := range groups.FindAllStringSubmatch("{"+strings.Join(labels, ",")+"} 1 1", -1) {
			if text := found[groups.SubexpIndex("text")]; text != "" {
				o.text = text
			}
			if value := found[groups.SubexpIndex("value")]; value != "" {
				o.value = value
			}
		}
		if o.text == "" || o.value == "" {
			t.Errorf("variable %s: got option %+v of %v, want text and value", v.Name, o, s.Labels)
		}
		options = append(options, o)
	}
	return options
}

// multiValue formats selected values as Grafana does.
func multiValue(values ...string) string {
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		quoted = append(quoted, strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`))
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "(" + strings.Join(quoted, "|") + ")"
}

// interpolate replaces variables. It keeps unknown ones, so that Prometheus rejects the query.
func interpolate(expr string, selection map[string]string) string {
	return regexp.MustCompile(`\$(\w+)`).ReplaceAllStringFunc(expr, func(name string) string {
		switch name {
		case "$__rate_interval":
			return (4 * interval).String()
		case "$__range":
			return "1m"
		}
		if value, ok := selection[name[1:]]; ok {
			return value
		}
		return name
	})
}

// runQuery runs range queries over the last minute.
func (p *prometheus) runQuery(t *testing.T, q panelQuery, selection map[string]string) ([]series, error) {
	t.Helper()
	path, form := "query", url.Values{"query": {interpolate(q.expr, selection)}}
	if !q.instant {
		now := time.Now()
		path = "query_range"
		form.Set("start", now.Add(-time.Minute).UTC().Format(time.RFC3339Nano))
		form.Set("end", now.UTC().Format(time.RFC3339Nano))
		form.Set("step", interval.String())
	}
	apiURL := "http://" + p.address + "/api/v1/" + path
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, apiURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error string
		Data  struct{ Result []series }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode, answer.Error)
	}
	return answer.Data.Result, nil
}

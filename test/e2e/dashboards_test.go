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
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// emptyQueries returns, by dashboard, panel or annotation, and refId, why a query may be empty in the demo.
func emptyQueries() map[string]string {
	return map[string]string{
		"css-vpcep-overview/Clusters that fail/B":   "the cluster that always fails has never been read",
		"css-vpcep-overview/Clusters to look at/F":  "the demo has no max_staleness",
		"css-vpcep-overview/Configuration refused/": "the demo has no configuration file",
		"css-vpcep-cluster/Configuration refused/":  "the demo has no configuration file",
		"css-vpcep-overview/Newly rejected/":        "it needs a minute of data, and the demo has just started",
		"css-vpcep-cluster/Newly rejected/":         "it needs a minute of data, and the demo has just started",
	}
}

// emptyRules returns, by name, why a rule has no result in the demo. deploy/prometheus/alerts_test.yml tests that each
// alert can fire.
func emptyRules() map[string]string {
	return map[string]string{
		"CSSVPCEPNoAcceptedConnections": "no cluster of the demo loses all connections, and the demo is not an hour old",
		"CSSVPCEPServiceDisabled":       "the demo disables no service",
		"CSSVPCEPDataStale":             "the demo has no max_staleness",
		"CSSVPCEPDiscoveryFailing":      "discovery works in the demo",
		"CSSVPCEPCredentialsRejected":   "the demo accepts its keys",
		"CSSVPCEPThrottled":             "the demo throttles nobody",
		"CSSVPCEPConfigReloadFailed":    "the demo has no configuration file",
		"CSSVPCEPExporterDown":          "the demo is up",
		"CSSVPCEPMetricsAbsent":         "the metrics exist",
	}
}

// stableClusters returns the clusters of the demo that do not change and can be read always or never.
func stableClusters() []string {
	return []string{"search-prod", "metrics-hub", "audit-trail", "sandbox"}
}

// grafana has the fields of a dashboard that the tests use.
type grafana struct {
	UID         string `json:"uid"`
	Annotations struct {
		List []struct{ Name, Expr string } `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []grafanaVariable `json:"list"`
	} `json:"templating"`
	Panels []grafanaPanel `json:"panels"`
}

type grafanaVariable struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Definition string `json:"definition"`
	Regex      string `json:"regex"`
	IncludeAll bool   `json:"includeAll"`
	AllValue   string `json:"allValue"`
}

type grafanaPanel struct {
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
}

// panelQuery is a query of a dashboard.
type panelQuery struct {
	at, expr string
	instant  bool
}

func (g grafana) queries() []panelQuery {
	var queries []panelQuery
	for _, p := range g.Panels {
		for _, q := range p.Targets {
			queries = append(queries, panelQuery{g.UID + "/" + p.Title + "/" + q.RefID, q.Expr, q.Instant})
		}
	}
	for _, a := range g.Annotations.List {
		if a.Expr != "" {
			queries = append(queries, panelQuery{g.UID + "/" + a.Name + "/", a.Expr, false})
		}
	}
	return queries
}

// readDashboards reads all files in dashboards/.
func readDashboards(t *testing.T) []grafana {
	t.Helper()
	folder := os.DirFS("../../dashboards")
	files, err := fs.Glob(folder, "*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	var dashboards []grafana
	for _, file := range files {
		content, err := fs.ReadFile(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		var g grafana
		if err := json.Unmarshal(content, &g); err != nil {
			t.Fatalf("%s: %s", file, err)
		}
		dashboards = append(dashboards, g)
	}
	return dashboards
}

// TestDashboards runs every query of the dashboards and every rule of deploy/prometheus on a real Prometheus that scrapes
// the demo by /metrics and by /probe.
func TestDashboards(t *testing.T) {
	tool(t, "prometheus")
	demo := launch(t, "demo", build(t), "--demo", "--web.listen-address=127.0.0.1:0")
	dashboards := readDashboards(t)
	for at := range emptyQueries() {
		if !slices.ContainsFunc(dashboards, func(g grafana) bool {
			return slices.ContainsFunc(g.queries(), func(q panelQuery) bool { return q.at == at })
		}) {
			t.Errorf("emptyQueries has the unknown query %s", at)
		}
	}

	prom := startPrometheus(t, demoConfig(t, demo), nil)
	known := demoClusters(t, prom, demo)
	prom.scraped(t, len(known), 3)
	// The dashboards do not show a load of the configuration in the first 5 seconds of a process as a reload.
	eventually(t, "the demo has run for 6 seconds", func() string {
		if age := prom.number(t, `time() - min(process_start_time_seconds{job="css_vpcep"})`); age < 6 {
			return fmt.Sprintf("%g seconds", age)
		}
		return ""
	})
	if err := demo.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the configuration is loaded again", func() string {
		if n := prom.query(t, `css_vpcep_exporter_config_last_reload_success_timestamp_seconds - process_start_time_seconds > 5`); len(n) < 2 {
			return fmt.Sprintf("%d jobs show it", len(n))
		}
		return ""
	})

	t.Run("Rules", func(t *testing.T) { testRules(t, prom) })
	for name, jobs := range map[string][]string{
		"Metrics": {"css_vpcep"},
		"Probe":   {"css_vpcep_probe", "css_vpcep_exporter"},
		"Both":    nil, // All
	} {
		for _, g := range dashboards {
			t.Run(name+"/"+g.UID, func(t *testing.T) {
				start := map[string]string{}
				if jobs != nil {
					start["job"], start["instance"] = several(jobs...), several(demo.address)
				}
				testQueries(t, prom, g, start, known)
			})
		}
	}
	for _, g := range dashboards {
		t.Run("Once/"+g.UID, func(t *testing.T) { testOnce(t, prom, g, known) })
		t.Run("Columns/"+g.UID, func(t *testing.T) { testColumns(t, prom, g) })
	}
}

// demoConfig returns a Prometheus configuration with sections 1, 2 and 6 of scrape.yml and the rules. The rules about
// sessions need a stand-in for the vendor's cloudeye-exporter.
func demoConfig(t *testing.T, demo *process) string {
	t.Helper()
	client := newClient(t)
	status, body := get(t, client, "http://"+demo.address+"/metrics")
	found := regexp.MustCompile(`css_vpcep_connection_max_sessions{.*cluster_name="search-prod",connection_id="([^"]+)"`).FindStringSubmatch(body)
	if status != http.StatusOK || found == nil {
		t.Fatalf("status %d, %d bytes: search-prod of the demo has no connection with a session limit", status, len(body))
	}
	eye := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintf(w, "huaweicloud_sys_vpcep_vpcep_connections{ep_instance_id=%q} 12\n", found[1])
	}))
	t.Cleanup(eye.Close)

	files, err := filepath.Glob("../../deploy/prometheus/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := "global: {evaluation_interval: 1s}\nrule_files:\n"
	for _, file := range files {
		if name := filepath.Base(file); name == "scrape.yml" || name == "demo.yml" || strings.HasSuffix(name, "_test.yml") {
			continue
		}
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		config += "  - " + path + "\n"
	}
	every := "scrape_interval: " + interval.String()
	return config + scrapeConfigs(
		replace(t, examples(t)["1"], "localhost:10247", demo.address, "scrape_interval: 1m", every, "scrape_timeout: 30s", "scrape_timeout: "+interval.String()),
		balancedJob(t, demo.address),
		replace(t, examples(t)["6"], "scrape_interval: 1m", every,
			`"css-vpcep-exporter-0:10247", "css-vpcep-exporter-1:10247", "css-vpcep-exporter-2:10247"`, strconv.Quote(demo.address)),
		fmt.Sprintf("  - job_name: cloudeye\n    %s\n    scrape_timeout: 1s\n    static_configs: [{targets: [%q]}]\n", every, eye.Listener.Addr()),
	)
}

// demoClusters returns the IDs of the demo's clusters by name, from /sd.
func demoClusters(t *testing.T, prom *prometheus, demo *process) map[string]string {
	t.Helper()
	var targets []struct{ Labels map[string]string }
	status, body := get(t, prom.client, "http://"+demo.address+"/sd")
	if err := json.Unmarshal([]byte(body), &targets); err != nil || status != http.StatusOK || len(targets) == 0 {
		t.Fatalf("/sd: %d, %v, %s", status, err, body)
	}
	clusters := make(map[string]string)
	for _, target := range targets {
		clusters[target.Labels["__meta_css_cluster_name"]] = target.Labels["__meta_css_cluster_id"]
	}
	return clusters
}

// testRules fails if a rule of deploy/prometheus has no result.
func testRules(t *testing.T, prom *prometheus) {
	type rule struct{ Name, Query, Health, LastError string }
	var answer struct{ Groups []struct{ Rules []rule } }
	var rules []rule
	eventually(t, "all rules were evaluated", func() string {
		answer.Groups, rules = nil, nil
		prom.ask(t, "rules", &answer)
		for _, g := range answer.Groups {
			rules = append(rules, g.Rules...)
		}
		if i := slices.IndexFunc(rules, func(r rule) bool { return r.Health == "unknown" }); i >= 0 || len(rules) == 0 {
			return fmt.Sprintf("%d rules", len(rules))
		}
		return ""
	})
	silent, named := emptyRules(), make(map[string]bool)
	for _, r := range rules {
		named[r.Name] = true
		if r.Health != "ok" {
			t.Errorf("%s: %s", r.Name, r.LastError)
			continue
		}
		if n := len(prom.query(t, r.Query)); n == 0 && silent[r.Name] == "" {
			t.Errorf("%s has no result in the demo; if that is correct, add the reason to emptyRules:\n%s", r.Name, r.Query)
		}
	}
	for name := range silent {
		if !named[name] {
			t.Errorf("emptyRules has the unknown rule %s", name)
		}
	}
}

// testQueries fails if a query of a dashboard has no result, with All where possible and with one cluster.
func testQueries(t *testing.T, prom *prometheus, g grafana, start, known map[string]string) {
	all, ok := prom.everything(t, g, start)
	choices := prom.choices(t, g, start)
	found := make(map[string]string)
	for _, c := range choices {
		found[c["cluster name"]] = c["cluster"]
	}
	if diff := cmp.Diff(known, found); diff != "" {
		t.Errorf("selectable clusters (-want +got):\n%s", diff)
	}
	silent := emptyQueries()
	run := func(q panelQuery, choice map[string]string) bool {
		result, err := prom.panel(t, q, choice)
		if err != nil {
			t.Errorf("%s: %s\n%s", q.at, err, fill(q.expr, choice))
		}
		return err != nil || len(result) > 0
	}
	for _, q := range g.queries() {
		if ok && !run(q, all) && silent[q.at] == "" {
			t.Errorf("%s has no result:\n%s", q.at, fill(q.expr, all))
		}
		shows := func(choice map[string]string) bool { return run(q, choice) }
		if !slices.ContainsFunc(choices, shows) && silent[q.at] == "" {
			t.Errorf("%s has no result for any cluster, such as:\n%s", q.at, fill(q.expr, choices[0]))
		}
	}
}

// testOnce compares the panels for stable clusters scraped by one endpoint and by both: nothing may be counted twice.
func testOnce(t *testing.T, prom *prometheus, g grafana, known map[string]string) {
	// Values that change with time are left out, and so are panels about exporters: both endpoints are one process.
	varies := regexp.MustCompile(`time\(\)|_duration_|rate\(|over_time\(|css_vpcep_exporter_|css_vpcep_discovery_|process_`)
	compared := 0
	for _, q := range g.queries() {
		if !q.instant || varies.MatchString(q.expr) {
			continue
		}
		for _, name := range stableClusters() {
			show := func(job string) map[string]float64 {
				choice := map[string]string{"job": job, "region": ".+", "project": ".*", "cluster": known[name], "instance": ".+"}
				result, err := prom.panel(t, q, choice)
				if err != nil {
					t.Fatalf("%s: %s", q.at, err)
				}
				shown := make(map[string]float64)
				for _, s := range result {
					shown[fmt.Sprint(s.Labels)] = s.Value.value
				}
				compared += len(shown)
				return shown
			}
			if diff := cmp.Diff(show("css_vpcep"), show(".+")); diff != "" {
				t.Errorf("%s: %s scraped by one endpoint and by both (-one +both):\n%s", q.at, name, diff)
			}
		}
	}
	t.Logf("%d values compared", compared/2)
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// testColumns compares the columns that tables place or hide with the labels of their results.
func testColumns(t *testing.T, prom *prometheus, g grafana) {
	start := map[string]string{}
	choices := prom.choices(t, g, start)
	if all, ok := prom.everything(t, g, start); ok {
		choices = []map[string]string{all}
	}
	for _, p := range g.Panels {
		if p.Type != "table" {
			continue
		}
		columns := map[string]bool{"Time": true}
		for _, q := range p.Targets {
			if columns["Value"] = true; len(p.Targets) > 1 {
				columns["Value #"+q.RefID] = true
			}
			for _, choice := range choices {
				result, err := prom.panel(t, panelQuery{p.Title, q.Expr, true}, choice)
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
		if len(p.Targets) > 1 {
			delete(columns, "Value")
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
			t.Errorf("%s: %s: columns (-labels +table):\n%s", g.UID, p.Title, diff)
		}
	}
}

// everything selects All for each variable and reports whether every variable has All.
func (p *prometheus) everything(t *testing.T, g grafana, start map[string]string) (choice map[string]string, ok bool) {
	t.Helper()
	choice, ok = maps.Clone(start), true
	for _, v := range g.Templating.List {
		if v.Type != "query" || choice[v.Name] != "" {
			continue
		}
		if len(p.variable(t, v, choice)) == 0 {
			t.Errorf("%s: no value to select for %s with %v", g.UID, v.Name, choice)
		}
		choice[v.Name], ok = v.AllValue, ok && v.IncludeAll
	}
	return choice, ok
}

// choices returns every combination of one value for each variable.
func (p *prometheus) choices(t *testing.T, g grafana, start map[string]string) []map[string]string {
	t.Helper()
	choices := []map[string]string{start}
	for _, v := range g.Templating.List {
		if v.Type != "query" || start[v.Name] != "" {
			continue
		}
		var further []map[string]string
		for _, choice := range choices {
			if v.Name == "job" || v.Name == "instance" { // some jobs have no clusters
				next := maps.Clone(choice)
				next[v.Name] = v.AllValue
				further = append(further, next)
				continue
			}
			for _, o := range p.variable(t, v, choice) {
				next := maps.Clone(choice)
				next[v.Name], next[v.Name+" name"] = several(o.value), o.text
				further = append(further, next)
			}
		}
		choices = further
	}
	return choices
}

// choosable is an option of a variable in Grafana.
type choosable struct{ text, value string }

// variable returns the options of a variable, as Grafana does.
func (p *prometheus) variable(t *testing.T, v grafanaVariable, chosen map[string]string) []choosable {
	t.Helper()
	call := regexp.MustCompile(`^(label_values|query_result)\((.+)\)$`).FindStringSubmatch(fill(v.Definition, chosen))
	if call == nil {
		t.Fatalf("variable %s: %s", v.Name, v.Definition)
	}
	var offered []choosable
	if call[1] == "label_values" {
		comma := strings.LastIndex(call[2], ",")
		var values []string
		p.ask(t, "label/"+strings.TrimSpace(call[2][comma+1:])+"/values?match[]="+url.QueryEscape(call[2][:comma]), &values)
		for _, value := range values {
			offered = append(offered, choosable{value, value})
		}
		return offered
	}
	// The regex applies to {label="value",…} value time; its named groups are text and value.
	groups := regexp.MustCompile(strings.TrimSuffix(strings.TrimPrefix(v.Regex, "/"), "/g"))
	for _, s := range p.query(t, call[2]) {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			labels = append(labels, name+`="`+s.Labels[name]+`"`)
		}
		var o choosable
		for _, found := range groups.FindAllStringSubmatch("{"+strings.Join(labels, ",")+"} 1 1", -1) {
			if text := found[groups.SubexpIndex("text")]; text != "" {
				o.text = text
			}
			if value := found[groups.SubexpIndex("value")]; value != "" {
				o.value = value
			}
		}
		if o.text == "" || o.value == "" {
			t.Errorf("variable %s: %v gives %+v", v.Name, s.Labels, o)
		}
		offered = append(offered, o)
	}
	return offered
}

// several formats selected values for a query, as Grafana does.
func several(values ...string) string {
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		quoted = append(quoted, strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`))
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "(" + strings.Join(quoted, "|") + ")"
}

// fill replaces variables by values. Unknown variables stay and make Prometheus reject the query.
func fill(expr string, chosen map[string]string) string {
	return regexp.MustCompile(`\$(\w+)`).ReplaceAllStringFunc(expr, func(name string) string {
		switch name {
		case "$__rate_interval":
			return (4 * interval).String()
		case "$__range":
			return "1m"
		}
		if value, ok := chosen[name[1:]]; ok {
			return value
		}
		return name
	})
}

// panel runs the query of a panel for now or, if it is no instant query, for the last minute.
func (p *prometheus) panel(t *testing.T, q panelQuery, choice map[string]string) ([]series, error) {
	t.Helper()
	call, form := "query", url.Values{"query": {fill(q.expr, choice)}}
	if !q.instant {
		now := time.Now() // the range is a multiple of the step, so that it ends now
		call = "query_range"
		form.Set("start", now.Add(-time.Minute).UTC().Format(time.RFC3339Nano))
		form.Set("end", now.UTC().Format(time.RFC3339Nano))
		form.Set("step", interval.String())
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.address+"/api/v1/"+call, strings.NewReader(form.Encode()))
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

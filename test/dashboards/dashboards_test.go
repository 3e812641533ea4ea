// SPDX-License-Identifier: Apache-2.0

// Package dashboards tests that Grafana accepts the dashboards as they are, that they follow the rules of
// dashboard-linter, and that their queries and those of deploy/prometheus use only documented metrics and labels. It
// contains only tests. Package e2e runs the queries on a real Prometheus.
package dashboards

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gridWidth is the number of columns of Grafana's grid.
const gridWidth = 24

// promDatasource returns the data source that panels, queries, variables and annotations must use.
func promDatasource() datasource { return datasource{"prometheus", "${datasource}"} }

type dashboard struct {
	file          string
	UID           string `json:"uid"`
	Title         string `json:"title"`
	Description   string `json:"description"`
	SchemaVersion int    `json:"schemaVersion"`
	Editable      *bool  `json:"editable"`
	ID            any    `json:"id"`
	Inputs        any    `json:"__inputs"`
	Links         []link `json:"links"`
	Annotations   struct {
		List []annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"` // collapsed rows have panels of their own
}

type link struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type annotation struct {
	Name       string     `json:"name"`
	Datasource datasource `json:"datasource"`
	BuiltIn    int        `json:"builtIn"`
	Expr       string     `json:"expr"`
	Title      string     `json:"titleFormat"`
	Text       string     `json:"textFormat"`
}

type variable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Datasource datasource      `json:"datasource"`
	Query      json.RawMessage `json:"query"`
	Definition string          `json:"definition"`
	Regex      string          `json:"regex"`
	Refresh    int             `json:"refresh"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
	Current    struct {
		Value any `json:"value"`
	} `json:"current"`
}

type panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description"`
	Datasource      datasource       `json:"datasource"`
	GridPos         grid             `json:"gridPos"`
	FieldConfig     fieldConfig      `json:"fieldConfig"`
	Options         options          `json:"options"`
	Queries         []panelQuery     `json:"targets"`
	Transformations []transformation `json:"transformations"`
	Collapsed       bool             `json:"collapsed"`
	Panels          []panel          `json:"panels"`
}

type grid struct{ X, Y, W, H int }

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

type fieldConfig struct {
	Defaults struct {
		Unit       string      `json:"unit"`
		Thresholds *thresholds `json:"thresholds"`
		Links      []link      `json:"links"`
	} `json:"defaults"`
	Overrides []override `json:"overrides"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	} `json:"steps"`
}

type override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options string `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string          `json:"id"`
		Value json.RawMessage `json:"value"`
	} `json:"properties"`
}

type options struct {
	SortBy []struct {
		DisplayName string `json:"displayName"`
	} `json:"sortBy"`
}

type panelQuery struct {
	RefID      string     `json:"refId"`
	Datasource datasource `json:"datasource"`
	Expr       string     `json:"expr"`
	Instant    bool       `json:"instant"`
	Range      bool       `json:"range"`
	Format     string     `json:"format"`
	Legend     string     `json:"legendFormat"`
	Interval   string     `json:"interval"`
}

type transformation struct {
	ID      string `json:"id"`
	Options struct {
		Exclude map[string]bool   `json:"excludeByName"`
		Index   map[string]int    `json:"indexByName"`
		Rename  map[string]string `json:"renameByName"`
	} `json:"options"`
}

// loadDashboards returns all dashboards by uid.
func loadDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	folder := os.DirFS("../../dashboards")
	files, err := fs.Glob(folder, "*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	dashboards := make(map[string]dashboard)
	for _, file := range files {
		content, err := fs.ReadFile(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(content, &d); err != nil {
			t.Fatalf("%s: %s", file, err)
		}
		if d.UID == "" || dashboards[d.UID].UID != "" {
			t.Fatalf("%s: uid %q is empty or duplicate", file, d.UID)
		}
		d.file = file
		dashboards[d.UID] = d
	}
	return dashboards
}

// allPanels includes the panels of collapsed rows.
func (d dashboard) allPanels() []panel {
	var panels []panel
	for _, p := range d.Panels {
		panels = append(append(panels, p), p.Panels...)
	}
	return panels
}

// queries returns all expressions by location.
func (d dashboard) queries() map[string]string {
	queries := make(map[string]string)
	for _, p := range d.allPanels() {
		for _, q := range p.Queries {
			queries[fmt.Sprintf("panel %s %d %s", p.Title, p.ID, q.RefID)] = q.Expr
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			queries["annotation "+a.Name] = a.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			queries["variable "+v.Name] = v.expr()
		}
	}
	return queries
}

// expr returns the PromQL expression in the definition.
func (v variable) expr() string {
	call := regexp.MustCompile(`^(label_values|query_result)\((.+)\)$`).FindStringSubmatch(v.Definition)
	switch {
	case call == nil:
		return ""
	case call[1] == "label_values":
		return call[2][:max(0, strings.LastIndex(call[2], ","))]
	}
	return call[2]
}

func (d dashboard) variable(name string) variable {
	if i := slices.IndexFunc(d.Templating.List, func(v variable) bool { return v.Name == name }); i >= 0 {
		return d.Templating.List[i]
	}
	return variable{}
}

func (d dashboard) hasVariable(name string) bool { return d.variable(name).Name != "" }

func TestMetadata(t *testing.T) {
	for uid, d := range loadDashboards(t) {
		if d.file != uid+".json" || d.Title == "" || d.Description == "" {
			t.Errorf("%s: file %q, title %q, description %q", uid, d.file, d.Title, d.Description)
		}
		if d.SchemaVersion < 39 || d.SchemaVersion > 42 {
			t.Errorf("%s: got schemaVersion %d, want that of Grafana 11 or 12", uid, d.SchemaVersion)
		}
		if d.Editable == nil || *d.Editable {
			t.Errorf("%s: editable must be false", uid)
		}
		if d.ID != nil || d.Inputs != nil {
			t.Errorf("%s: remove id and __inputs, with which Grafana cannot provision the dashboard", uid)
		}
	}
}

func TestVariables(t *testing.T) {
	for uid, d := range loadDashboards(t) {
		t.Run(uid, func(t *testing.T) {
			names := make(map[string]bool)
			for i, v := range d.Templating.List {
				if names[v.Name] || v.Label == "" {
					t.Errorf("variable %q is duplicate or has no label", v.Name)
				}
				names[v.Name] = true
				switch {
				case i == 0:
					checkDatasourceVariable(t, v)
				case v.Name == "exporter":
					checkTextVariable(t, v)
				default:
					checkQueryVariable(t, v)
				}
			}
			for _, name := range []string{"job", "region", "project", "cluster", "exporter"} {
				if !names[name] {
					t.Errorf("no variable %s", name)
				}
			}
		})
	}
}

func checkDatasourceVariable(t *testing.T, v variable) {
	t.Helper()
	if v.Name != "datasource" || v.Type != "datasource" || string(v.Query) != `"prometheus"` || v.Label != "Data source" {
		t.Errorf("the first variable is not the data source: %+v", v)
	}
}

func checkTextVariable(t *testing.T, v variable) {
	t.Helper()
	var text string
	if err := json.Unmarshal(v.Query, &text); err != nil || v.Type != "textbox" || text == "" || v.Current.Value != text {
		t.Errorf("variable %s: type %q, query %s, current value %q, %v; want a text box with this value",
			v.Name, v.Type, v.Query, v.Current.Value, err)
	}
}

func checkQueryVariable(t *testing.T, v variable) {
	t.Helper()
	var query struct{ Query string }
	if err := json.Unmarshal(v.Query, &query); err != nil || query.Query != v.Definition {
		t.Errorf("variable %s: query %s, definition %s, %v", v.Name, v.Query, v.Definition, err)
	}
	if v.Type != "query" || v.Datasource != promDatasource() || v.Refresh != 2 || v.expr() == "" {
		t.Errorf("variable %s: type %q, data source %v, refresh %d, query %s",
			v.Name, v.Type, v.Datasource, v.Refresh, v.Query)
	}
	allValue := ".+"
	if v.Name == "project" { // the project ID may still be unknown
		allValue = ".*"
	}
	if v.IncludeAll && v.AllValue != allValue {
		t.Errorf("variable %s: got %q for All, want %q", v.Name, v.AllValue, allValue)
	}
}

func TestAnnotations(t *testing.T) {
	for uid, d := range loadDashboards(t) {
		names := make(map[string]bool)
		for _, a := range d.Annotations.List {
			if names[a.Name] {
				t.Errorf("%s: duplicate annotation %q", uid, a.Name)
			}
			names[a.Name] = true
			if a.BuiltIn == 0 && (a.Datasource != promDatasource() || a.Expr == "" || a.Title == "" || a.Text == "") {
				t.Errorf("%s: annotation %s: %+v", uid, a.Name, a)
			}
		}
	}
}

func TestPanelsHaveUniqueIDsAndDoNotOverlap(t *testing.T) {
	for uid, d := range loadDashboards(t) {
		ids := make(map[int]bool)
		for _, p := range d.allPanels() {
			if p.ID <= 0 || ids[p.ID] {
				t.Errorf("%s: %s: id %d is not positive or duplicate", uid, p.Title, p.ID)
			}
			ids[p.ID] = true
			if g := p.GridPos; g.X < 0 || g.Y < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > gridWidth {
				t.Errorf("%s: %s: invalid position %+v", uid, p.Title, g)
			}
		}
		checkOverlaps(t, uid, d.Panels)
		for _, row := range d.Panels {
			if row.Type == "row" && row.Collapsed != (len(row.Panels) > 0) {
				t.Errorf("%s: row %s: collapsed is %t, but it contains %d panels", uid, row.Title, row.Collapsed, len(row.Panels))
			}
			checkOverlaps(t, uid, row.Panels) // Grafana moves what is below when it expands the row
		}
	}
}

func checkOverlaps(t *testing.T, uid string, panels []panel) {
	t.Helper()
	for i, p := range panels {
		for _, other := range panels[:i] {
			if p.GridPos.overlaps(other.GridPos) {
				t.Errorf("%s: %s and %s overlap", uid, p.Title, other.Title)
			}
		}
	}
}

func TestPanels(t *testing.T) {
	for uid, d := range loadDashboards(t) {
		t.Run(uid, func(t *testing.T) {
			for _, p := range d.allPanels() {
				if p.Title == "" {
					t.Errorf("panel %d has no title", p.ID)
				}
				if p.Type == "row" {
					continue
				}
				checkPanel(t, p)
				checkPanelQueries(t, p)
				if p.Type == "table" {
					checkTable(t, p)
				}
			}
		})
	}
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Description == "" || !strings.HasSuffix(p.Description, ".") {
		t.Errorf("%s: description %q is not a sentence", p.Title, p.Description)
	}
	if p.Datasource != promDatasource() {
		t.Errorf("%s: got data source %v, want %v", p.Title, p.Datasource, promDatasource())
	}
	known := []string{"short", "none", "locale", "s", "bytes", "percentunit", "reqps", "cpm", "dateTimeFromNow", "dateTimeAsIso"}
	for _, unit := range append(overrideValues[string](p, "unit"), p.FieldConfig.Defaults.Unit) {
		if !slices.Contains(known, unit) {
			t.Errorf("%s: unknown unit %q; add it to this test", p.Title, unit)
		}
	}
	th := p.FieldConfig.Defaults.Thresholds
	if th == nil || th.Mode != "absolute" || len(th.Steps) == 0 || th.Steps[0].Value != nil {
		t.Errorf("%s: invalid thresholds %+v", p.Title, th)
		return
	}
	// A missing value has the color of the first step.
	if p.Type == "stat" && th.Steps[0].Color == "green" {
		t.Errorf("%s: a missing value is green", p.Title)
	}
}

func checkPanelQueries(t *testing.T, p panel) {
	t.Helper()
	instant, format := true, ""
	switch p.Type {
	case "stat":
	case "table":
		format = "table"
	case "timeseries", "state-timeline":
		instant = false
	default:
		t.Errorf("%s: unknown type %s; add it to this test", p.Title, p.Type)
	}
	refIDs := make(map[string]bool)
	for _, q := range p.Queries {
		location := p.Title + " " + q.RefID
		if q.RefID == "" || refIDs[q.RefID] {
			t.Errorf("%s: refId is empty or duplicate", location)
		}
		refIDs[q.RefID] = true
		if q.Datasource != promDatasource() {
			t.Errorf("%s: got data source %v, want %v", location, q.Datasource, promDatasource())
		}
		if q.Instant != instant || q.Range == instant || q.Format != format {
			t.Errorf("%s: got instant %t, range %t, format %q; want %t, %t, %q",
				location, q.Instant, q.Range, q.Format, instant, !instant, format)
		}
		if format == "" && len(p.Queries) > 1 && (q.Legend == "" || q.Legend == "__auto") {
			t.Errorf("%s: one of several queries has no legend", location)
		}
		// Otherwise $__rate_interval depends on a setting of the data source, 15s by default.
		if strings.Contains(q.Expr, "$__rate_interval") && q.Interval != "1m" {
			t.Errorf("%s: got interval %q, want 1m", location, q.Interval)
		}
	}
	if len(p.Queries) == 0 {
		t.Errorf("%s has no query", p.Title)
	}
}

// checkTable checks that a table shows or hides the value of each query and refers only to visible columns.
func checkTable(t *testing.T, p panel) {
	t.Helper()
	visible := make(map[string]bool) // columns by name
	got := make(map[string]bool)     // columns with values
	addColumn := func(name string) {
		if strings.HasPrefix(name, "Value") {
			got[name] = true
		}
	}
	for _, tr := range p.Transformations {
		if tr.ID == "merge" {
			continue
		}
		if tr.ID != "organize" {
			t.Errorf("%s: unknown transformation %s; add it to this test", p.Title, tr.ID)
		}
		positions := make(map[int]bool)
		for name, position := range tr.Options.Index {
			newName := tr.Options.Rename[name]
			if positions[position] || newName == "" || visible[newName] {
				t.Errorf("%s: column %s: position %d or name %q is missing or duplicate", p.Title, name, position, newName)
			}
			positions[position], visible[newName] = true, true
			addColumn(name)
		}
		for name := range tr.Options.Exclude {
			addColumn(name)
		}
	}
	want := make(map[string]bool)
	for _, q := range p.Queries {
		want["Value #"+q.RefID] = true
	}
	if len(p.Queries) == 1 {
		want = map[string]bool{"Value": true}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: columns with values (-queries +table):\n%s", p.Title, diff)
	}
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.ID != "byName" || !visible[o.Matcher.Options] {
			t.Errorf("%s: override for %q, which is not a visible column", p.Title, o.Matcher.Options)
		}
	}
	for _, s := range p.Options.SortBy {
		if !visible[s.DisplayName] {
			t.Errorf("%s is sorted by %q, which is not a visible column", p.Title, s.DisplayName)
		}
	}
}

// overrideValues returns the values of a property in the overrides of a panel.
func overrideValues[T any](p panel, property string) []T {
	var values []T
	for _, o := range p.FieldConfig.Overrides {
		for _, setting := range o.Properties {
			var v T
			if setting.ID == property && json.Unmarshal(setting.Value, &v) == nil {
				values = append(values, v)
			}
		}
	}
	return values
}

func (p panel) links() []link {
	links := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, l := range overrideValues[[]link](p, "links") {
		links = append(links, l...)
	}
	return links
}

func TestLinks(t *testing.T) {
	dashboards := loadDashboards(t)
	for uid, d := range dashboards {
		toDashboards, toStatus := 0, 0
		check := func(p panel, l link) {
			if strings.HasPrefix(l.URL, "${exporter:raw}") {
				toStatus++
				checkStatusLink(t, d, l, visibleColumns(p))
				return
			}
			toDashboards++
			checkLink(t, dashboards, d, l, visibleColumns(p))
		}
		for _, l := range d.Links {
			check(panel{}, l)
		}
		for _, p := range d.allPanels() {
			for _, l := range p.links() {
				check(p, l)
				if strings.HasPrefix(l.URL, "/d/") && !strings.HasSuffix(l.URL, "${__url_time_range}") {
					t.Errorf("%s, %s: the link %s does not keep the time range", uid, p.Title, l.URL)
				}
			}
		}
		if toDashboards == 0 || toStatus == 0 {
			t.Errorf("%s: got %d links to dashboards and %d to the status page, want both", uid, toDashboards, toStatus)
		}
	}
}

// checkStatusLink checks a link to the exporter's status page or, in a table with cluster_id, to a cluster's.
func checkStatusLink(t *testing.T, from dashboard, l link, columns map[string]bool) {
	t.Helper()
	want := []string{"${exporter:raw}/status"}
	if columns["cluster_id"] {
		want[0] += "?cluster=${__data.fields.cluster_id}"
	}
	if clusters := from.variable("cluster"); !clusters.IncludeAll {
		want = append(want, "${exporter:raw}/status?cluster=${cluster:percentencode}")
	}
	if l.Title == "" || !l.TargetBlank || !slices.Contains(want, l.URL) {
		t.Errorf("%s: got link %+v, want a title, a new window, and one of %v", from.UID, l, want)
	}
}

// checkLink checks a link, which is in a table if columns is not nil.
func checkLink(t *testing.T, dashboards map[string]dashboard, from dashboard, l link, columns map[string]bool) {
	t.Helper()
	address := regexp.MustCompile(`^/d/([a-z0-9-]+)(?:\?(.+))?$`).FindStringSubmatch(l.URL)
	if l.Title == "" || address == nil {
		t.Errorf("%s: invalid link %+v", from.UID, l)
		return
	}
	uid, query := address[1], address[2]
	to, ok := dashboards[uid]
	if !ok || uid == from.UID {
		t.Errorf("%s: link to unknown dashboard %q", from.UID, uid)
	}
	parameter := regexp.MustCompile(
		`^(?:\$\{(\w+):queryparam\}|var-(\w+)=\$\{__data\.fields\.(\w+)\}|(\$\{__url_time_range\}))$`)
	for part := range strings.SplitSeq(query, "&") {
		found := parameter.FindStringSubmatch(part)
		if found == nil {
			t.Errorf("%s: invalid part %q of a link", from.UID, part)
			continue
		}
		passed, set, column := found[1], found[2], found[3]
		if passed != "" && (!from.hasVariable(passed) || !to.hasVariable(passed)) || set != "" && !to.hasVariable(set) {
			t.Errorf("%s: part %q of a link has an unknown variable", from.UID, part)
		}
		if column != "" && !columns[column] {
			t.Errorf("%s: part %q of a link has an unknown column", from.UID, part)
		}
	}
}

// visibleColumns returns the visible columns of a table by their original names.
func visibleColumns(p panel) map[string]bool {
	columns := make(map[string]bool)
	for _, tr := range p.Transformations {
		for name := range tr.Options.Index {
			columns[name] = true
		}
	}
	return columns
}

// SPDX-License-Identifier: Apache-2.0

// Package dashboards checks the Grafana dashboards, and that their queries and those of deploy/prometheus use only metrics
// and labels that README.md documents. It contains only tests. Package e2e runs the queries on a real Prometheus.
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

type dashboard struct {
	file          string
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	SchemaVersion int        `json:"schemaVersion"`
	Editable      *bool      `json:"editable"`
	ID            any        `json:"id"`
	Inputs        any        `json:"__inputs"`
	Links         []dashLink `json:"links"`
	Annotations   struct {
		List []annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type dashLink struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type annotation struct {
	Name       string `json:"name"`
	Datasource source `json:"datasource"`
	BuiltIn    int    `json:"builtIn"`
	Expr       string `json:"expr"`
	Title      string `json:"titleFormat"`
	Text       string `json:"textFormat"`
}

type variable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Datasource source          `json:"datasource"`
	Query      json.RawMessage `json:"query"`
	Definition string          `json:"definition"`
	Regex      string          `json:"regex"`
	Refresh    int             `json:"refresh"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
}

type panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description"`
	Datasource      source           `json:"datasource"`
	GridPos         grid             `json:"gridPos"`
	FieldConfig     fieldConfig      `json:"fieldConfig"`
	Options         options          `json:"options"`
	Targets         []target         `json:"targets"`
	Transformations []transformation `json:"transformations"`
}

type grid struct{ X, Y, W, H int }

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

type fieldConfig struct {
	Defaults struct {
		Unit       string      `json:"unit"`
		Thresholds *thresholds `json:"thresholds"`
		Links      []dashLink  `json:"links"`
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

type target struct {
	RefID      string `json:"refId"`
	Datasource source `json:"datasource"`
	Expr       string `json:"expr"`
	Instant    bool   `json:"instant"`
	Range      bool   `json:"range"`
	Format     string `json:"format"`
	Legend     string `json:"legendFormat"`
	Interval   string `json:"interval"`
}

type transformation struct {
	ID      string `json:"id"`
	Options struct {
		Exclude map[string]bool   `json:"excludeByName"`
		Index   map[string]int    `json:"indexByName"`
		Rename  map[string]string `json:"renameByName"`
	} `json:"options"`
}

// load returns all dashboards by uid.
func load(t *testing.T) map[string]dashboard {
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

// queries returns the expressions of a dashboard by location.
func (d dashboard) queries() map[string]string {
	queries := make(map[string]string)
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			queries["panel "+p.Title+" "+fmt.Sprint(p.ID)+" "+q.RefID] = q.Expr
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			queries["annotation "+a.Name] = a.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			queries["variable "+v.Name] = v.inner()
		}
	}
	return queries
}

// inner returns the expression in the query of a variable.
func (v variable) inner() string {
	call := regexp.MustCompile(`^(label_values|query_result)\((.+)\)$`).FindStringSubmatch(v.Definition)
	switch {
	case call == nil:
		return ""
	case call[1] == "label_values":
		return call[2][:max(0, strings.LastIndex(call[2], ","))]
	}
	return call[2]
}

func (d dashboard) variable(name string) bool {
	return slices.ContainsFunc(d.Templating.List, func(v variable) bool { return v.Name == name })
}

// TestDashboard checks metadata, variables and annotations: Grafana must accept a dashboard unchanged, and the rules of
// dashboard-linter must hold.
func TestDashboard(t *testing.T) {
	prometheus := source{"prometheus", "${datasource}"}
	for uid, d := range load(t) {
		t.Run(uid, func(t *testing.T) {
			if d.file != uid+".json" || d.Title == "" || d.Description == "" {
				t.Errorf("file %q, uid %q, title %q, description %q", d.file, uid, d.Title, d.Description)
			}
			if d.SchemaVersion < 39 || d.SchemaVersion > 42 {
				t.Errorf("schemaVersion %d is not that of Grafana 11 or 12", d.SchemaVersion)
			}
			if d.Editable == nil || *d.Editable {
				t.Error("editable must be false")
			}
			if d.ID != nil || d.Inputs != nil {
				t.Error("remove id and __inputs, with which Grafana cannot provision it")
			}

			names := make(map[string]bool)
			for i, v := range d.Templating.List {
				if names[v.Name] || v.Label == "" {
					t.Errorf("variable %q is duplicate or has no label", v.Name)
				}
				names[v.Name] = true
				if i == 0 {
					if v.Name != "datasource" || v.Type != "datasource" || string(v.Query) != `"prometheus"` || v.Label != "Data source" {
						t.Errorf("the first variable is %+v", v)
					}
					continue
				}
				var query struct{ Query string }
				if err := json.Unmarshal(v.Query, &query); err != nil || query.Query != v.Definition {
					t.Errorf("variable %s: query %s, definition %s, %v", v.Name, v.Query, v.Definition, err)
				}
				if v.Type != "query" || v.Datasource != prometheus || v.Refresh != 2 || v.inner() == "" {
					t.Errorf("variable %s: type %q, data source %v, refresh %d, query %s", v.Name, v.Type, v.Datasource, v.Refresh, v.Query)
				}
				// All series of the exporter have the label, but the project ID may be unknown at first.
				if want := map[bool]string{true: ".*", false: ".+"}[v.Name == "project"]; v.IncludeAll && v.AllValue != want {
					t.Errorf("variable %s: All is %q, want %q", v.Name, v.AllValue, want)
				}
			}
			for _, name := range []string{"job", "region", "project", "cluster"} {
				if !names[name] {
					t.Errorf("no variable %s", name)
				}
			}

			annotations := make(map[string]bool)
			for _, a := range d.Annotations.List {
				if annotations[a.Name] {
					t.Errorf("duplicate annotation %q", a.Name)
				}
				annotations[a.Name] = true
				if a.BuiltIn == 0 && (a.Datasource != prometheus || a.Expr == "" || a.Title == "" || a.Text == "") {
					t.Errorf("annotation %s: %+v", a.Name, a)
				}
			}
		})
	}
}

// TestPanels checks titles, positions, references and contents of panels.
func TestPanels(t *testing.T) {
	for uid, d := range load(t) {
		t.Run(uid, func(t *testing.T) {
			ids := make(map[int]bool)
			for i, p := range d.Panels {
				if p.ID <= 0 || ids[p.ID] {
					t.Errorf("%s: id %d is zero or duplicate", p.Title, p.ID)
				}
				ids[p.ID] = true
				if g := p.GridPos; g.X < 0 || g.Y < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > gridWidth {
					t.Errorf("%s: position %+v", p.Title, g)
				}
				for _, o := range d.Panels[:i] {
					if p.GridPos.overlaps(o.GridPos) {
						t.Errorf("%s and %s overlap", p.Title, o.Title)
					}
				}
				if p.Title == "" {
					t.Errorf("panel %d has no title", p.ID)
				}
				if p.Type != "row" {
					checkPanel(t, p)
				}
			}
		})
	}
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	prometheus := source{"prometheus", "${datasource}"}
	if p.Description == "" || !strings.HasSuffix(p.Description, ".") {
		t.Errorf("%s: description %q is not a sentence", p.Title, p.Description)
	}
	if p.Datasource != prometheus {
		t.Errorf("%s: data source %v", p.Title, p.Datasource)
	}
	units := append(unitsOf(p.FieldConfig.Overrides), p.FieldConfig.Defaults.Unit)
	for _, unit := range units {
		if !slices.Contains([]string{"short", "none", "s", "bytes", "percentunit", "reqps", "cpm", "dateTimeFromNow", "dateTimeAsIso"}, unit) {
			t.Errorf("%s: unit %q", p.Title, unit)
		}
	}
	if th := p.FieldConfig.Defaults.Thresholds; th == nil || th.Mode != "absolute" || len(th.Steps) == 0 || th.Steps[0].Value != nil {
		t.Errorf("%s: thresholds %+v", p.Title, th)
	}
	// A missing value has the colour of the first step, which must not be green.
	if p.Type == "stat" && p.FieldConfig.Defaults.Thresholds.Steps[0].Color == "green" {
		t.Errorf("%s: a missing value is green", p.Title)
	}

	refs := make(map[string]bool)
	for _, q := range p.Targets {
		at := p.Title + " " + q.RefID
		if q.RefID == "" || refs[q.RefID] {
			t.Errorf("%s: refId is empty or duplicate", at)
		}
		refs[q.RefID] = true
		if q.Datasource != prometheus {
			t.Errorf("%s: data source %v", at, q.Datasource)
		}
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
		if q.Instant != instant || q.Range == instant || q.Format != format {
			t.Errorf("%s: instant %t, range %t, format %q in a %s", at, q.Instant, q.Range, q.Format, p.Type)
		}
		if format == "" && len(p.Targets) > 1 && (q.Legend == "" || q.Legend == "__auto") {
			t.Errorf("%s: several queries need legends", at)
		}
		// Otherwise $__rate_interval uses the scrape interval of the data source, 15s by default.
		if strings.Contains(q.Expr, "$__rate_interval") && q.Interval != "1m" {
			t.Errorf("%s: interval %q", at, q.Interval)
		}
	}
	if len(refs) == 0 {
		t.Errorf("%s has no query", p.Title)
	}
	if p.Type == "table" {
		checkTable(t, p, refs)
	}
}

// checkTable checks that a table refers only to its columns. Package e2e checks the labels.
func checkTable(t *testing.T, p panel, refs map[string]bool) {
	t.Helper()
	shown, values := make(map[string]bool), make(map[string]bool)
	for _, tr := range p.Transformations {
		if tr.ID == "merge" {
			continue
		}
		if tr.ID != "organize" {
			t.Errorf("%s: unknown transformation %s; add it to this test", p.Title, tr.ID)
		}
		o := tr.Options
		order := make(map[int]bool)
		for name, index := range o.Index {
			if order[index] || o.Rename[name] == "" || shown[o.Rename[name]] {
				t.Errorf("%s: position or name of column %s is missing or duplicate: %d, %q", p.Title, name, index, o.Rename[name])
			}
			order[index], shown[o.Rename[name]], values[name] = true, true, true
		}
		for name := range o.Exclude {
			values[name] = true
		}
	}
	want, got := make(map[string]bool), make(map[string]bool)
	for ref := range refs {
		if len(refs) == 1 {
			ref = ""
		}
		want[strings.TrimSuffix("Value #"+ref, " #")] = true
	}
	for name := range values {
		if strings.HasPrefix(name, "Value") {
			got[name] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: columns with values (-queries +table):\n%s", p.Title, diff)
	}
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.ID != "byName" || !shown[o.Matcher.Options] {
			t.Errorf("%s: override for the hidden column %q", p.Title, o.Matcher.Options)
		}
	}
	for _, s := range p.Options.SortBy {
		if !shown[s.DisplayName] {
			t.Errorf("%s is sorted by the hidden column %q", p.Title, s.DisplayName)
		}
	}
}

// property returns the values that overrides set for a property.
func property[T any](overrides []override, id string) []T {
	var values []T
	for _, o := range overrides {
		for _, p := range o.Properties {
			var v T
			if p.ID == id && json.Unmarshal(p.Value, &v) == nil {
				values = append(values, v)
			}
		}
	}
	return values
}

func unitsOf(overrides []override) []string { return property[string](overrides, "unit") }

// TestLinks checks the links between dashboards and the variables that they pass on.
func TestLinks(t *testing.T) {
	dashboards := load(t)
	address := regexp.MustCompile(`^/d/([a-z0-9-]+)(?:\?(.+))?$`)
	handed := regexp.MustCompile(`^(?:\$\{(\w+):queryparam\}|var-(\w+)=\$\{__data\.fields\.(\w+)\}|(\$\{__url_time_range\}))$`)
	for uid, d := range dashboards {
		links := slices.Clone(d.Links)
		columns := make(map[string]map[string]bool) // of the panel that has the link
		for _, p := range d.Panels {
			own := p.FieldConfig.Defaults.Links
			for _, l := range property[[]dashLink](p.FieldConfig.Overrides, "links") {
				own = append(own, l...)
			}
			for _, l := range own {
				links = append(links, l)
				columns[l.URL] = labelsOfTable(p)
				if !strings.HasSuffix(l.URL, "${__url_time_range}") {
					t.Errorf("%s, %s: the link %s does not keep the time", uid, p.Title, l.URL)
				}
			}
		}
		if len(links) == 0 {
			t.Errorf("%s has no link", uid)
		}
		for _, l := range links {
			found := address.FindStringSubmatch(l.URL)
			if l.Title == "" || found == nil {
				t.Errorf("%s: link %+v", uid, l)
				continue
			}
			to, ok := dashboards[found[1]]
			if !ok || found[1] == uid {
				t.Errorf("%s: link to unknown dashboard %q", uid, found[1])
			}
			for part := range strings.SplitSeq(found[2], "&") {
				switch v := handed.FindStringSubmatch(part); {
				case v == nil:
					t.Errorf("%s: part %q of a link", uid, part)
				case v[1] != "" && (!d.variable(v[1]) || !to.variable(v[1])), v[2] != "" && !to.variable(v[2]):
					t.Errorf("%s: part %q of a link has an unknown variable", uid, part)
				case v[3] != "" && !columns[l.URL][v[3]]:
					t.Errorf("%s: part %q of a link has an unknown column", uid, part)
				}
			}
		}
	}
}

// labelsOfTable returns the visible columns of a table by their original names.
func labelsOfTable(p panel) map[string]bool {
	columns := make(map[string]bool)
	for _, tr := range p.Transformations {
		for name := range tr.Options.Index {
			columns[name] = true
		}
	}
	return columns
}

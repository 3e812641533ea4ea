// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/lenient"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// checkMetrics checks the names of all metrics of an outcome and some series, in which C means the cluster's labels.
func checkMetrics(t *testing.T, o Outcome, options Options, names []string, series ...string) {
	t.Helper()
	text := exposition(t, newCollector([]Outcome{o}, options))
	var got []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE css_vpcep_"); ok {
			got = append(got, strings.Fields(rest)[0])
		}
	}
	if diff := gocmp.Diff(names, got); diff != "" {
		t.Errorf("metrics (-want +got)\n%s", diff)
	}
	for _, line := range series {
		line = strings.Replace(line, "{C", `{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"`, 1)
		if !strings.Contains(text, line+"\n") {
			t.Errorf("got\n%s\nwant it to contain %s", text, line)
		}
	}
}

// threeConnections returns a list of accepted connections.
func threeConnections() *css.ConnectionList {
	connection := func(id string) css.Connection { return css.Connection{ID: id, Status: css.StatusAccepted} }
	return &css.ConnectionList{
		Enabled: true, Connections: []css.Connection{connection("a"), connection("b"), connection("c")},
	}
}

func serverError() error {
	return &cloud.Error{Reason: cloud.ReasonServer, Operation: "connections", Status: 500, Code: "CSS.0001"}
}

func TestFailedClusterHasFewMetrics(t *testing.T) {
	checkMetrics(t,
		Outcome{Target: newTarget(), Err: serverError(), Duration: time.Second},
		Options{Connections: true, MaxConnections: 3},
		[]string{"cluster_info", "failure_info", "scrape_duration_seconds", "up"},
		"css_vpcep_up{C} 0", "css_vpcep_scrape_duration_seconds{C} 1",
		`css_vpcep_failure_info{cluster_id="c1",cluster_name="search",code="CSS.0001",project_id="p1",reason="server",`+
			`region="cn-north-4"} 1`,
	)
}

func TestFailedClusterShowsLastList(t *testing.T) {
	checkMetrics(t,
		Outcome{Target: newTarget(), Err: serverError(), List: threeConnections(), ReadAt: readAt},
		Options{},
		[]string{
			"cluster_info", "connections", "connections_limited", "connections_truncated", "enabled", "failure_info",
			"last_success_timestamp_seconds", "scrape_duration_seconds", "up",
		},
		"css_vpcep_up{C} 0", "css_vpcep_last_success_timestamp_seconds{C} 1.767323045678e+09",
	)
}

func TestServiceOffHasNoConnections(t *testing.T) {
	checkMetrics(t,
		Outcome{Target: newTarget(), List: &css.ConnectionList{}, ReadAt: readAt},
		Options{Connections: true, MaxConnections: 3},
		[]string{"cluster_info", "enabled", "last_success_timestamp_seconds", "scrape_duration_seconds", "up"},
		"css_vpcep_up{C} 1", "css_vpcep_enabled{C} 0",
	)
}

func TestMaxConnectionsMayBeReached(t *testing.T) {
	checkMetrics(t,
		Outcome{Target: newTarget(), List: threeConnections(), ReadAt: readAt},
		Options{Connections: true, MaxConnections: 3},
		[]string{
			"cluster_info", "connection_info", "connection_status", "connections", "connections_limited",
			"connections_truncated", "enabled", "last_success_timestamp_seconds", "scrape_duration_seconds", "up",
		},
		"css_vpcep_connections_limited{C} 0",
	)
}

func TestMaxConnectionsOmitsConnections(t *testing.T) {
	checkMetrics(t,
		Outcome{Target: newTarget(), List: threeConnections(), ReadAt: readAt},
		Options{Connections: true, MaxConnections: 2},
		[]string{
			"cluster_info", "connections", "connections_limited", "connections_truncated", "enabled",
			"last_success_timestamp_seconds", "scrape_duration_seconds", "up",
		},
		`css_vpcep_connections{C,status="accepted"} 3`, "css_vpcep_connections_limited{C} 1",
	)
}

func newPermission(id, text string) css.Permission {
	return css.Permission{ID: id, Text: text, Type: "domainId"}
}

// TestPermissions checks that permissions with the same ID, or without one the same text, are shown once.
func TestPermissions(t *testing.T) {
	first := newPermission("p1", "iam:domain::alice")
	first.CreatedAt = lenient.Some(readAt)
	undated := newPermission("", "iam:domain::*")
	undated.CreatedAt = lenient.Some(readAt)
	list := &css.ConnectionList{Enabled: true, Permissions: lenient.Some([]css.Permission{
		first, newPermission("p2", "organizations:orgPath::o/r/*"), newPermission("p1", "iam:domain::bob"),
		undated, newPermission("", "iam:domain::*"), newPermission("", "*"), newPermission("", ""),
	})}
	o := Outcome{Target: newTarget(), List: list, ReadAt: readAt}
	const labels = `cluster_id="c1",cluster_name="search",`
	names := []string{
		"cluster_info", "connections", "connections_limited", "connections_truncated", "enabled",
		"last_success_timestamp_seconds", "permission_created_timestamp_seconds", "permission_info", "permissions",
		"permissions_wildcard", "scrape_duration_seconds", "unlisted_connections", "up",
	}
	checkMetrics(t, o, Options{Permissions: true, MaxConnections: 7}, names,
		"css_vpcep_permissions{C} 7",
		"css_vpcep_connections_limited{C} 0",
		"# TYPE css_vpcep_permission_info gauge\n"+
			`css_vpcep_permission_info{`+labels+`domain_id="",permission="organizations:orgPath::o/r/*",permission_id="p2",`+
			`permission_type="domainId",project_id="p1",region="cn-north-4"} 1`+"\n"+
			`css_vpcep_permission_info{`+labels+`domain_id="*",permission="*",permission_id="",permission_type="domainId",`+
			`project_id="p1",region="cn-north-4"} 1`+"\n"+
			`css_vpcep_permission_info{`+labels+`domain_id="*",permission="iam:domain::*",permission_id="",`+
			`permission_type="domainId",project_id="p1",region="cn-north-4"} 1`+"\n"+
			`css_vpcep_permission_info{`+labels+`domain_id="alice",permission="iam:domain::alice",permission_id="p1",`+
			`permission_type="domainId",project_id="p1",region="cn-north-4"} 1`,
		"# TYPE css_vpcep_permission_created_timestamp_seconds gauge\n"+
			`css_vpcep_permission_created_timestamp_seconds{`+labels+`permission_id="p1",project_id="p1",`+
			`region="cn-north-4"} 1.767323045678e+09`,
	)
	without := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.HasPrefix(name, "permission_") })
	checkMetrics(t, o, Options{Permissions: true, MaxConnections: 6}, without,
		"css_vpcep_permissions{C} 7", "css_vpcep_connections_limited{C} 1")
	checkMetrics(t, o, Options{MaxConnections: 5}, without, "css_vpcep_connections_limited{C} 0")
}

// TestLimitIsThatOfEachKind checks that many permissions do not hide connections, and the other way round.
func TestLimitIsThatOfEachKind(t *testing.T) {
	list := threeConnections()
	list.Permissions = lenient.Some([]css.Permission{newPermission("p1", "iam:domain::alice")})
	o := Outcome{Target: newTarget(), List: list, ReadAt: readAt}
	options := Options{Connections: true, Permissions: true, MaxConnections: 2}
	check := func(series, hidden string) {
		t.Helper()
		text := exposition(t, newCollector([]Outcome{o}, options))
		if !strings.Contains(text, "\n"+series+"{") || strings.Contains(text, "\n"+hidden+"{") {
			t.Errorf("got\n%s\nwant %s without %s", text, series, hidden)
		}
	}
	check("css_vpcep_permission_info", "css_vpcep_connection_info")
	list.Connections = list.Connections[:1]
	list.Permissions.Value = append(list.Permissions.Value, newPermission("p2", "*"), newPermission("p3", "*"))
	check("css_vpcep_connection_info", "css_vpcep_permission_info")
}

func TestUnlistedConnections(t *testing.T) {
	connection := func(id, domain string, status css.Status) css.Connection {
		return css.Connection{ID: id, DomainID: domain, Status: status}
	}
	list := &css.ConnectionList{
		Enabled: true,
		Connections: []css.Connection{
			connection("stranger", "mallory", css.StatusAccepted), connection("named", "alice", css.StatusAccepted),
			connection("rejected", "mallory", css.StatusRejected), connection("", "mallory", css.StatusAccepted),
		},
		Permissions: lenient.Some([]css.Permission{newPermission("p1", "iam:domain::alice")}),
	}
	o := Outcome{Target: newTarget(), List: list, ReadAt: readAt}
	text := exposition(t, newCollector([]Outcome{o}, Options{Connections: true, MaxConnections: 4}))
	const series = `css_vpcep_connection_unlisted{cluster_id="c1",cluster_name="search",connection_id="stranger",` +
		`domain_id="mallory",project_id="p1",region="cn-north-4"} 1` + "\n"
	const count = `css_vpcep_unlisted_connections{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 2` +
		"\n"
	if !strings.Contains(text, series) || strings.Count(text, "css_vpcep_connection_unlisted{") != 1 ||
		!strings.Contains(text, count) {
		t.Errorf("got\n%s\nwant %s and %s", text, series, count)
	}
}

// TestClusterInfoHasAllLabels checks that every cluster has the labels of all, with an empty value if necessary.
func TestClusterInfoHasAllLabels(t *testing.T) {
	one, other := newTarget(), newTarget()
	other.Cluster = css.Cluster{
		ID: "c2", Name: "logs", Engine: "opensearch", EngineVersion: "2.19.0", EnterpriseProjectID: "0", VPCID: "v1",
	}
	other.Labels = map[string]string{"stage": "prod"}
	got := withoutComments(exposition(t, newCollector([]Outcome{{Target: one}, {Target: other}}, Options{})))
	for _, want := range []string{
		`css_vpcep_cluster_info{cluster_id="c1",cluster_name="search",engine="",engine_version="",enterprise_project_id="",` +
			`project="production",project_id="p1",region="cn-north-4",stage="",team="search",vpc_id=""} 1`,
		`css_vpcep_cluster_info{cluster_id="c2",cluster_name="logs",engine="opensearch",engine_version="2.19.0",` +
			`enterprise_project_id="0",project="production",project_id="p1",region="cn-north-4",stage="prod",team="",` +
			`vpc_id="v1"} 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant it to contain %s", got, want)
		}
	}
}

func TestTableIsSorted(t *testing.T) {
	if !slices.IsSortedFunc(metrics(nil), func(a, b metric) int { return cmp.Compare(a.name, b.name) }) {
		t.Error("the table is not sorted")
	}
}

// TestUnusualValuesAreExposed compares Families with a registry for unusual strings and numbers.
func TestUnusualValuesAreExposed(t *testing.T) {
	texts := []string{
		"", "plain", `a "quoted" back\slash`, "two\nlines", "\ttab", "nul\x00", "\x7f", "搜索集群", "\U0001F50D",
		"\xff\xfe", "é" + strings.Repeat("x", 1023), strings.Repeat("é", 600), strings.Repeat("\xff", 1024), `\`, `"`, "\n",
		"\u2028", "\ufeff",
	}
	numbers := []float64{
		0, math.Copysign(0, -1), 1, -1, 3000, 0.5, 1e6, 1e20, 1e21, 1e22, 1.718098584e9, 1767323045.678, -2.5e-7,
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(), 123456789, 1 << 53,
	}
	list := &css.ConnectionList{Enabled: true}
	for i, number := range numbers {
		for j, text := range texts {
			list.Connections = append(list.Connections, css.Connection{
				ID: fmt.Sprintf("%d %d %s", i, j, text), DomainID: text, IP: text, IPv6: text, DNSName: text,
				SpecificationName: text, MaxSessions: lenient.Optional[float64]{Value: number, Set: true}, Status: css.Status(text),
			})
		}
	}
	list.ServiceName = texts[3]
	for _, text := range texts {
		permission := css.Permission{ID: text, Text: text, Type: text}
		list.Permissions.Value = append(list.Permissions.Value, permission)
	}
	var outcomes []Outcome
	for i, text := range texts {
		target := newTarget()
		target.Cluster.ID += strconv.Itoa(i)
		target.Cluster.Name, target.Project = text, text
		target.Labels = map[string]string{"aa": text, "project_of": text, "zz": text}
		outcomes = append(outcomes, Outcome{Target: target, List: list, ReadAt: readAt})
	}
	c := newCollector(outcomes, Options{Connections: true, Permissions: true, MaxConnections: 1000})
	exposition(t, c)
	for _, m := range metricsByName(c)["css_vpcep_connection_max_sessions"] {
		var i int
		if _, err := fmt.Sscan(m.GetLabel()[2].GetValue(), &i); err != nil {
			t.Fatal(err)
		}
		if got := m.GetGauge().GetValue(); math.Float64bits(got) != math.Float64bits(numbers[i]) {
			t.Errorf("got %v, want %v", got, numbers[i])
		}
	}
}

// TestConnectionsAreDistinct checks that connections without an ID are omitted, as are all but the first with one ID.
func TestConnectionsAreDistinct(t *testing.T) {
	long := strings.Repeat("x", clean.MaxLength)
	list := &css.ConnectionList{Enabled: true}
	for i, id := range []string{"b", "", long + "1", "a", long + "2", "b", "a"} {
		list.Connections = append(list.Connections, css.Connection{ID: id, IP: strconv.Itoa(i), Status: css.StatusAccepted})
	}
	text := exposition(t, newCollector([]Outcome{{Target: newTarget(), List: list, ReadAt: readAt}},
		Options{Connections: true, MaxConnections: 10}))
	var shown []string
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, `connection_id="`); ok && strings.HasPrefix(line, "css_vpcep_connection_info{") {
			id, rest, _ := strings.Cut(rest, `"`)
			_, ip, _ := strings.Cut(rest, `ip="`)
			shown = append(shown, id[:1]+ip[:1])
		}
	}
	if diff := gocmp.Diff([]string{"a3", "b0", "x2"}, shown); diff != "" {
		t.Errorf("first letters of ID and address (-want +got)\n%s\nin:\n%s", diff, text)
	}
}

func TestMetricsPassLint(t *testing.T) {
	simulated := newCloud("valid", "failing")
	simulated.FailReads("failing", fault{Status: 500})
	registry := prometheus.NewPedanticRegistry()
	scraper := NewScraper(ScrapeOptions{Concurrency: 2}, NewExporterMetrics(registry), discardLogger())
	options := Options{Connections: true, MaxConnections: 10}
	registry.MustRegister(New(t.Context(), scraper, NewSeries(), simulated.targets("valid", "failing"), nil, options))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("got problems %v, error %v", problems, err)
	}
}

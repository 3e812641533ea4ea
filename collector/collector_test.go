// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/css"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// readAt is the moment at which golden lists were read: 2026-01-02T03:04:05.678Z.
var readAt = time.UnixMilli(1767323045678) //nolint:gochecknoglobals // a constant, if Go had such

// values is a collector of outcomes that are there already.
type values struct {
	outcomes []Outcome
	options  Options
}

func (v values) labels() []string {
	names := make(map[string]struct{})
	for i := range v.outcomes {
		for name := range v.outcomes[i].Target.Labels {
			names[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (v values) Describe(ch chan<- *prometheus.Desc) { describe(ch, v.labels()) }

func (v values) Collect(ch chan<- prometheus.Metric) { collect(ch, v.families()) }

func (v values) families() []Family {
	var views []view
	labels := v.labels()
	for i := range v.outcomes {
		views = append(views, newView(&v.outcomes[i], labels, v.options))
	}
	return families(views, labels)
}

// exposition is the text of what v shows, as a pedantic registry lets it pass. That is what is written out without one, but
// for the order of the series.
func exposition(t *testing.T, v values) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(v)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, openMetrics := range []bool{false, true} {
		want, got := textOf(t, families, openMetrics), written(t, v.families(), openMetrics)
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Errorf("with and without a registry (-with +without)\n%s", diff)
		}
	}
	return textOf(t, families, false)
}

// written is what is written out without a registry.
func written(t *testing.T, families []Family, openMetrics bool) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	for i := range families {
		if err := families[i].WriteText(w, openMetrics); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// textOf is what the client library writes.
func textOf(t *testing.T, families []*dto.MetricFamily, openMetrics bool) string {
	t.Helper()
	var b bytes.Buffer
	for _, family := range families {
		write := func() (int, error) { return expfmt.MetricFamilyToText(&b, family) }
		if openMetrics {
			write = func() (int, error) { return expfmt.MetricFamilyToOpenMetrics(&b, family) }
		}
		if _, err := write(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// lines are the lines of each family, the families in their order and the series of each sorted.
func lines(text string) (families [][]string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# HELP") {
			families = append(families, nil)
		}
		last := &families[len(families)-1]
		*last = append(*last, line)
	}
	for _, family := range families {
		slices.Sort(family)
	}
	return families
}

// withoutComments drops HELP and TYPE.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func plainTarget() Target {
	return Target{
		Project: "production", Region: "cn-north-4", ProjectID: "p1",
		Cluster: css.Cluster{ID: "c1", Name: "search"}, Labels: map[string]string{"team": "search"},
	}
}

// TestGolden reads each body of testdata/golden through the real client and compares what is shown of it. The body
// seed.json is the example of the vendor's page of 2025-08-15; the others are one shape each of a field, as the page's
// generations, older regions or sister services have it. Only seed.prom has its comments.
func TestGolden(t *testing.T) {
	bodies, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(bodies) < 20 {
		t.Fatalf("%d bodies: %v", len(bodies), err)
	}
	for _, path := range bodies {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(path) //nolint:gosec // of testdata
			if err != nil {
				t.Fatal(err)
			}
			cloud := newCloud(t)
			cloud.add("c1", simulated(0))
			cloud.fault("c1", fault{Body: string(body)})
			list, err := cloud.client.Connections(t.Context(), "c1", nil)
			if err != nil {
				t.Fatal(err)
			}
			got := exposition(t, values{
				outcomes: []Outcome{{Target: plainTarget(), List: list, ReadAt: readAt, Duration: 1500 * time.Millisecond}},
				options:  Options{Connections: true, MaxConnections: 2000},
			})
			if name != "seed" {
				got = withoutComments(got)
			}
			for _, field := range slices.Sorted(maps.Keys(list.Unparsable)) {
				got += fmt.Sprintf("# unparsable %s: %d\n", field, list.Unparsable[field])
			}
			want, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".prom")
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEmit(t *testing.T) {
	connection := func(id string) css.Connection { return css.Connection{ID: id, Status: css.StatusAccepted} }
	three := &css.ConnectionList{Enabled: true, Connections: []css.Connection{connection("a"), connection("b"), connection("c")}}
	failure := &css.Error{Reason: css.ReasonServer, Operation: "connections", Status: 500}
	all := Options{Connections: true, MaxConnections: 3}

	for name, tc := range map[string]struct {
		outcome Outcome
		options Options
		want    []string // names of the families, and no others
		lines   []string // lines that are there
	}{
		"failed": {
			outcome: Outcome{Target: plainTarget(), Err: failure, Duration: time.Second},
			options: all,
			want:    []string{"cluster_info", "scrape_duration_seconds", "up"},
			lines: []string{
				`css_vpcep_up{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 0`,
				`css_vpcep_scrape_duration_seconds{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 1`,
			},
		},
		"failed with a list that is not too old": {
			outcome: Outcome{Target: plainTarget(), Err: failure, List: three, ReadAt: readAt},
			options: Options{},
			want: []string{
				"cluster_info", "connections", "connections_limited", "connections_truncated", "enabled",
				"last_success_timestamp_seconds", "scrape_duration_seconds", "up",
			},
			lines: []string{
				`css_vpcep_up{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 0`,
				`css_vpcep_last_success_timestamp_seconds{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 1.767323045678e+09`,
			},
		},
		"service off": {
			outcome: Outcome{Target: plainTarget(), List: &css.ConnectionList{}, ReadAt: readAt},
			options: all,
			want:    []string{"cluster_info", "enabled", "last_success_timestamp_seconds", "scrape_duration_seconds", "up"},
			lines: []string{
				`css_vpcep_up{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 1`,
				`css_vpcep_enabled{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 0`,
			},
		},
		"as many connections as allowed": {
			outcome: Outcome{Target: plainTarget(), List: three, ReadAt: readAt},
			options: all,
			want: []string{
				"cluster_info", "connection_info", "connection_status", "connections", "connections_limited",
				"connections_truncated", "enabled", "last_success_timestamp_seconds", "scrape_duration_seconds", "up",
			},
			lines: []string{
				`css_vpcep_connections_limited{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 0`,
			},
		},
		"more connections than allowed": {
			outcome: Outcome{Target: plainTarget(), List: three, ReadAt: readAt},
			options: Options{Connections: true, MaxConnections: 2},
			want: []string{
				"cluster_info", "connections", "connections_limited",
				"connections_truncated", "enabled", "last_success_timestamp_seconds", "scrape_duration_seconds", "up",
			},
			lines: []string{
				`css_vpcep_connections{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4",status="accepted"} 3`,
				`css_vpcep_connections_limited{cluster_id="c1",cluster_name="search",project_id="p1",region="cn-north-4"} 1`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := exposition(t, values{[]Outcome{tc.outcome}, tc.options})
			var names []string
			for line := range strings.Lines(text) {
				if rest, ok := strings.CutPrefix(line, "# TYPE css_vpcep_"); ok {
					names = append(names, strings.Fields(rest)[0])
				}
			}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("families (-want +got)\n%s", diff)
			}
			for _, line := range tc.lines {
				if !strings.Contains(text, line+"\n") {
					t.Errorf("missing: %s\nin:\n%s", line, text)
				}
			}
		})
	}
}

// TestClusterInfo has every configured label on every cluster, empty where a cluster has none.
func TestClusterInfo(t *testing.T) {
	one, other := plainTarget(), plainTarget()
	other.Cluster = css.Cluster{
		ID: "c2", Name: "logs", Engine: "opensearch", EngineVersion: "2.19.0", EnterpriseProjectID: "0", VPCID: "v1",
	}
	other.Labels = map[string]string{"stage": "prod"}
	got := withoutComments(exposition(t, values{outcomes: []Outcome{{Target: one}, {Target: other}}}))
	for _, want := range []string{
		`css_vpcep_cluster_info{cluster_id="c1",cluster_name="search",engine="",engine_version="",enterprise_project_id="",` +
			`project="production",project_id="p1",region="cn-north-4",stage="",team="search",vpc_id=""} 1`,
		`css_vpcep_cluster_info{cluster_id="c2",cluster_name="logs",engine="opensearch",engine_version="2.19.0",` +
			`enterprise_project_id="0",project="production",project_id="p1",region="cn-north-4",stage="prod",team="",vpc_id="v1"} 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s\nin:\n%s", want, got)
		}
	}
}

// TestCollectOnce shows a cluster once, though two projects of the file turned out to be one.
func TestCollectOnce(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(2))
	one, other := cloud.target("c1"), cloud.target("c1")
	other.Project, other.Cluster.Name = "another name", "another name"
	c := New(t.Context(), cloud.scraper(ScrapeOptions{Concurrency: 2}), []Target{one, other}, nil, Options{Connections: true, MaxConnections: 10})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"registry": textOf(t, families, false), "families": written(t, c.Families(), false)} {
		if n := strings.Count(text, "css_vpcep_up{"); n != 1 {
			t.Errorf("%s: %d series of up:\n%s", name, n, text)
		}
	}
}

// TestOrder has the metrics in the order of their names, in which families are to be written out.
func TestOrder(t *testing.T) {
	all := metrics(nil)
	for i := range all[1:] {
		if all[i].name >= all[i+1].name {
			t.Errorf("%s comes before %s", all[i].name, all[i+1].name)
		}
	}
}

// TestTextIsTheLibrarys writes odd texts and numbers as the client library does, in both formats.
func TestTextIsTheLibrarys(t *testing.T) {
	texts := []string{
		"", "plain", `a "quoted" back\slash`, "two\nlines", "\ttab", "nul\x00", "\x7f", "搜索集群", "\U0001F50D", "\xff\xfe", "é" + strings.Repeat("x", 1023),
		strings.Repeat("é", 600), strings.Repeat("\xff", 1024), `\`, `"`, "\n", "\u2028", "\ufeff",
	}
	numbers := []float64{
		0, math.Copysign(0, -1), 1, -1, 3000, 0.5, 1e6, 1e20, 1e21, 1e22, 1.718098584e9, 1767323045.678, -2.5e-7, math.MaxFloat64,
		math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(), 123456789, 1 << 53,
	}
	list := &css.ConnectionList{Enabled: true}
	for i, number := range numbers {
		for j, text := range texts {
			list.Connections = append(list.Connections, css.Connection{
				ID: fmt.Sprintf("%d %d %s", i, j, text), DomainID: text, IP: text, IPv6: text, DNSName: text, SpecificationName: text,
				MaxSessions: css.Optional[float64]{Value: number, Set: true}, Status: css.Status(text),
			})
		}
	}
	list.ServiceName = texts[3]
	v := values{options: Options{Connections: true, MaxConnections: 1000}}
	for i, text := range texts {
		target := plainTarget()
		target.Cluster.ID += strconv.Itoa(i)
		target.Cluster.Name, target.Project, target.Labels = text, text, map[string]string{"aa": text, "project_of": text, "zz": text}
		v.outcomes = append(v.outcomes, Outcome{Target: target, List: list, ReadAt: readAt})
	}
	exposition(t, v)
}

// TestLint holds all names and help texts to promlint.
func TestLint(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("good", simulated(3))
	cloud.add("bad", simulated(1))
	cloud.fault("bad", fault{Status: 500})
	registry := prometheus.NewPedanticRegistry()
	scraper := NewScraper(ScrapeOptions{Concurrency: 2}, NewExporterMetrics(registry), discard())
	registry.MustRegister(New(context.Background(), scraper, []Target{cloud.target("good"), cloud.target("bad")}, nil,
		Options{Connections: true, MaxConnections: 10}))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

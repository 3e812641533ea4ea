// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is a simulated cloud with the project p1.
type cloud struct {
	*simulator.Simulator
	url string
}

func newCloud(t *testing.T, options simulator.Options) *cloud {
	t.Helper()
	c := &cloud{Simulator: simulator.New(options)}
	c.AddProject(simulator.Project{
		Name: "production", Region: "cn-north-4", ID: "p1", Keys: []simulator.Key{{Access: "AK", Secret: "SK"}},
	})
	c.url = c.Serve(t)
	return c
}

func (c *cloud) add(id, name string, change func(*simulator.Cluster)) {
	cluster := simulator.Cluster{
		ID: id, Name: name, Status: "200", Engine: "elasticsearch", Version: "7.10.2", EnterpriseProjectID: "0", VPCID: "v1",
	}
	if change != nil {
		change(&cluster)
	}
	c.AddCluster("p1", cluster)
}

// project returns the project p1. Its ID is looked up if projectID is empty.
func (c *cloud) project(t *testing.T, projectID string, search *Search, listed ...Listed) Project {
	t.Helper()
	client := css.NewClient(css.Options{
		Region: "cn-north-4", ProjectID: projectID, Endpoint: c.url, IAMEndpoint: c.url, UserAgent: "test/1",
		Keys: css.NewKeys(), Credentials: css.NewFiles(css.Credentials{AccessKey: "AK", SecretKey: "SK"}, css.Credentials{}),
		Transport: css.NewTransport(nil, nil), Retry: css.Retry{Tries: 1},
	})
	t.Cleanup(client.Close)
	return Project{
		Name: "production", Region: "cn-north-4", Client: client,
		Listed: listed, Search: search,
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// ids joins the cluster IDs of targets.
func ids(targets []Target) string {
	var b []string
	for i := range targets {
		b = append(b, targets[i].Cluster.ID)
	}
	return strings.Join(b, " ")
}

func anchored(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }

// tags returns anchored patterns by key.
func tags(keysAndPatterns ...string) map[string]*regexp.Regexp {
	m := make(map[string]*regexp.Regexp)
	for pair := range slices.Chunk(keysAndPatterns, 2) {
		m[pair[0]] = anchored(pair[1])
	}
	return m
}

func TestSearchMatches(t *testing.T) {
	cluster := css.Cluster{
		ID: "c1", Name: "search-prod", Status: css.ClusterAvailable, Engine: "elasticsearch", EnterpriseProjectID: "0",
		Tags: map[string]string{"team": "search", "stage": "prod"},
	}
	with := func(change func(*css.Cluster)) css.Cluster {
		c := cluster
		c.Tags = maps.Clone(cluster.Tags)
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		search  Search
		cluster css.Cluster
		want    bool
	}{
		"any":                        {Search{}, cluster, true},
		"unknown status":             {Search{}, with(func(c *css.Cluster) { c.Status = "" }), true},
		"being created":              {Search{}, with(func(c *css.Cluster) { c.Status = "100" }), false},
		"unavailable":                {Search{}, with(func(c *css.Cluster) { c.Status = "303" }), false},
		"logstash":                   {Search{}, with(func(c *css.Cluster) { c.Engine = "logstash" }), false},
		"logstash, selected":         {Search{Engine: anchored("logstash")}, with(func(c *css.Cluster) { c.Engine = "logstash" }), true},
		"another engine":             {Search{Engine: anchored("opensearch")}, cluster, false},
		"name":                       {Search{Name: anchored("search-.*")}, cluster, true},
		"part of the name":           {Search{Name: anchored("search")}, cluster, false},
		"enterprise project":         {Search{EnterpriseProjectID: anchored("0")}, cluster, true},
		"another enterprise project": {Search{EnterpriseProjectID: anchored("1")}, cluster, false},
		"one of the enterprise ones": {Search{EnterpriseProjectID: anchored("0|ep-.*")}, cluster, true},
		"tags":                       {Search{Tags: tags("team", "search", "stage", "prod")}, cluster, true},
		"a pattern of tags":          {Search{Tags: tags("team", "sea.*|orders", "stage", ".+")}, cluster, true},
		"another value":              {Search{Tags: tags("team", "logs")}, cluster, false},
		"part of the value":          {Search{Tags: tags("team", "sea")}, cluster, false},
		"one of two tags":            {Search{Tags: tags("team", "search", "stage", "test")}, cluster, false},
		"no such tag":                {Search{Tags: tags("owner", "")}, cluster, false},
		"any value of no such tag":   {Search{Tags: tags("owner", ".*")}, cluster, false},
	} {
		if got := tc.search.matches(&tc.cluster); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
}

// TestMerge checks that the file's name and labels take precedence, and that a listed cluster is kept even if the API
// does not list it.
func TestMerge(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.add("found", "name of the API", func(c *simulator.Cluster) {
		c.Tags = []simulator.Tag{{Key: "team", Value: "tagged"}, {Key: "stage", Value: "prod"}}
	})
	c.add("both", "name of the API", func(c *simulator.Cluster) {
		c.Tags = []simulator.Tag{{Key: "team", Value: "tagged"}, {Key: "stage", Value: "prod"}}
	})
	search := &Search{RefreshInterval: time.Hour, LabelsFromTags: []string{"team", "stage"}}
	fleet := NewFleet([]Project{c.project(t, "p1", search,
		Listed{ID: "both", Name: "name of the file", Labels: map[string]string{"team": "listed"}},
		Listed{ID: "only listed"},
	)}, discard())

	if got := ids(fleet.Known().Targets); got != "both only listed" {
		t.Errorf("before a refresh: %s", got)
	}
	if err := fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	targets := fleet.Known().Targets
	if got := ids(targets); got != "both only listed found" {
		t.Fatalf("after a refresh: %s", got)
	}
	if diff := cmp.Diff([]css.Cluster{
		{
			ID: "both", Name: "name of the file", Status: "200", Engine: "elasticsearch", EngineVersion: "7.10.2",
			EnterpriseProjectID: "0", VPCID: "v1", Tags: map[string]string{"team": "tagged", "stage": "prod"},
		},
		{ID: "only listed"},
	}, []css.Cluster{targets[0].Cluster, targets[1].Cluster}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]map[string]string{
		{"team": "listed", "stage": "prod"}, {}, {"team": "tagged", "stage": "prod"},
	}, []map[string]string{targets[0].Labels, targets[1].Labels, targets[2].Labels}); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
}

// TestRefresh checks that all pages are read, that changes are picked up, and that a failure keeps the last list.
func TestRefresh(t *testing.T) {
	c := newCloud(t, simulator.Options{ClusterPageCap: 100})
	for i := range 230 {
		c.add(fmt.Sprintf("c%03d", i), fmt.Sprint("cluster ", i), nil)
	}
	fleet := NewFleet([]Project{c.project(t, "", &Search{RefreshInterval: time.Hour})}, discard())
	refresh := func(want int, fails bool) {
		t.Helper()
		if err := fleet.Refresh(t.Context()); (err != nil) != fails {
			t.Fatal(err)
		}
		if got := len(fleet.Known().Targets); got != want {
			t.Errorf("%d targets, want %d", got, want)
		}
	}
	if fleet.Ready() {
		t.Error("ready before the first refresh")
	}
	refresh(230, false)
	if !fleet.Ready() {
		t.Error("not ready after the first refresh")
	}
	c.RemoveCluster("c100")
	refresh(229, false)
	c.add("new", "new", nil)
	refresh(230, false)
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: "p1"}, simulator.Fault{Status: 500})
	refresh(230, true)
}

func TestMetrics(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.add("c1", "one", nil)
	c.add("c2", "two", nil)
	project := c.project(t, "p1", &Search{RefreshInterval: time.Hour})
	failing := c.project(t, "p2", &Search{RefreshInterval: time.Hour}) // a project that the key has no access to
	failing.Name = "failing"
	undiscovered := c.project(t, "p1", nil, Listed{ID: "c1"})
	fleet := NewFleet([]Project{project, failing, undiscovered}, discard())
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(fleet)

	if n, err := testutil.GatherAndCount(registry); err != nil || n != 0 {
		t.Errorf("%d series before the first refresh: %v", n, err)
	}
	if err := fleet.Refresh(t.Context()); err == nil {
		t.Error("the failing project returned no error")
	}
	want := `# HELP css_vpcep_discovery_clusters Number of discovered clusters that match the filters.
# TYPE css_vpcep_discovery_clusters gauge
css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 2
# HELP css_vpcep_discovery_up Whether the last refresh of the project's cluster list succeeded (1) or not (0).
# TYPE css_vpcep_discovery_up gauge
css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 1
css_vpcep_discovery_up{project_id="p2",region="cn-north-4"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"css_vpcep_discovery_clusters", "css_vpcep_discovery_up"); err != nil {
		t.Error(err)
	}
	n, err := testutil.GatherAndCount(registry, "css_vpcep_discovery_last_success_timestamp_seconds")
	if err != nil || n != 1 {
		t.Errorf("%d series of the last success, want 1: %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// TestApply checks that a kept project keeps its clusters, and that added ones start and removed ones stop.
func TestApply(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.add("c1", "one", nil)
	kept := c.project(t, "p1", &Search{RefreshInterval: time.Hour})
	removed := c.project(t, "p1", &Search{RefreshInterval: time.Hour})
	added := c.project(t, "p1", &Search{RefreshInterval: time.Hour})
	fleet := NewFleet([]Project{kept, removed}, discard())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { fleet.Run(ctx) })
	refreshes := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); !fleet.Ready(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not ready")
			}
		}
		if n := c.Count(simulator.Target{Endpoint: simulator.Clusters, ID: "p1"}); n != want {
			t.Errorf("%d refreshes, want %d", n, want)
		}
	}
	refreshes(2)
	fleet.Apply([]Project{kept})
	if got := ids(fleet.Known().Targets); got != "c1" {
		t.Errorf("after Apply: targets %q, want c1", got)
	}
	refreshes(2)
	fleet.Apply([]Project{added, kept})
	refreshes(3)
	if got := ids(fleet.Known().Targets); got != "c1 c1" {
		t.Errorf("targets %q", got)
	}
	cancel()
	wg.Wait()
}

// TestRun checks that clusters are refreshed in the background until the context ends.
func TestRun(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.add("c1", "one", nil)
	fleet := NewFleet([]Project{c.project(t, "", &Search{RefreshInterval: 20 * time.Millisecond})}, discard())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { fleet.Run(ctx) })
	wait := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ids(fleet.Known().Targets) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q, want %q", ids(fleet.Known().Targets), want)
			}
		}
	}
	wait("c1")
	c.add("c2", "two", nil)
	wait("c1 c2")
	c.RemoveCluster("c1")
	wait("c2")
	cancel()
	wg.Wait()
	if n := c.Count(simulator.Target{Endpoint: simulator.Projects, ID: "cn-north-4"}); n != 1 {
		t.Errorf("the project ID was looked up %d times, want once", n)
	}
}

// timeless returns a logger that writes to log, without times.
func timeless(log io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// TestLog checks that the first result, changes of the reason and recovery are logged, and repeated results are not.
func TestLog(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.add("c1", "one", nil)
	var log strings.Builder
	fleet := NewFleet([]Project{c.project(t, "p1", &Search{RefreshInterval: time.Hour})}, timeless(&log))
	for _, fault := range []simulator.Fault{
		{},
		{Status: 403, Body: `{"errCode":"CSS.0051","externalMessage":"No."}`, Header: http.Header{"X-Request-Id": {"r1"}}},
		{Status: 500, Header: http.Header{"X-Request-Id": {"r2"}}},
		{Body: `{"totalSize":3,"clusters":[]}`},
		{Body: "["},
		{},
	} {
		c.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: "p1"}, fault)
		for range 2 {
			if err := fleet.Refresh(t.Context()); (err != nil) != (fault.Status != 0 || fault.Body != "") {
				t.Fatalf("%+v: %v", fault, err)
			}
		}
	}
	const succeeded = `level=INFO msg="Discovery succeeded" project=production region=cn-north-4 clusters=1`
	const failed = `level=WARN msg="Discovery failed" project=production region=cn-north-4 `
	want := []string{
		succeeded,
		failed + `reason=denied code=CSS.0051 request_id=r1 hint="`,
		failed + `reason=server request_id=r2 hint="`,
		failed + `reason=incomplete err="the cluster list is incomplete: 0 of 3"`,
		failed + `reason=decode hint="`,
		succeeded,
	}
	lines := slices.Collect(strings.Lines(log.String()))
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), log.String())
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) || strings.Contains(line, "WARN") && !strings.Contains(line, " err=") {
			t.Errorf("line %d:\n got %swant %s", i, line, want[i])
		}
	}
}

// TestLogWithoutDiscovery does the same for a project without discovery, whose first success is not logged.
func TestLogWithoutDiscovery(t *testing.T) {
	var log strings.Builder
	failed := &css.Error{Reason: css.ReasonNotFound, Operation: "projects", Status: 404}
	p := &project{}
	for _, err := range []error{nil, nil, context.DeadlineExceeded, failed, failed, nil, nil} {
		p.recordResult(err, timeless(&log))
	}
	const want = `level=WARN msg="Discovery failed" reason=timeout err="context deadline exceeded"
level=WARN msg="Discovery failed" reason=not_found hint="check iam_endpoint" err="projects: HTTP 404"
level=INFO msg="Project is readable again"
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Error(diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// TestFaultyClustersFailAlone scrapes all scenarios at once.
func TestFaultyClustersFailAlone(t *testing.T) {
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	all := scenarios(elsewhere.URL)
	if len(all) < 40 {
		t.Fatalf("got %d scenarios, want at least 40", len(all))
	}
	runScenarios(t, 2500*time.Millisecond, all)
	if n := followed.Load(); n != 0 {
		t.Errorf("got %d redirects followed, want 0", n)
	}
}

func TestThrottledClusterFailsAlone(t *testing.T) {
	for _, s := range throttledScenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			runScenarios(t, 2500*time.Millisecond, []scenario{s})
		})
	}
}

// TestOversizedResponsesAreNotReadToTheirEnd scrapes the large scenarios at once.
func TestOversizedResponsesAreNotReadToTheirEnd(t *testing.T) {
	runScenarios(t, 20*time.Second, largeScenarios())
}

// scenarioCloud is a cloud with the clusters of scenarios, some healthy ones, and a project whose key is rejected.
type scenarioCloud struct {
	*testCloud
	scenarios              []scenario
	ids, healthy, rejected []string // ids include healthy
}

func newScenarioCloud(t *testing.T, all []scenario) *scenarioCloud {
	t.Helper()
	c := &scenarioCloud{scenarios: all, healthy: clusterIDs("healthy", 3), rejected: clusterIDs("rejected", 6)}
	for _, s := range all {
		c.ids = append(c.ids, s.name)
	}
	// Healthy clusters are listed at the start, in the middle and at the end.
	c.ids = slices.Concat(c.healthy[:1], c.ids[:len(all)/2], c.healthy[1:2], c.ids[len(all)/2:], c.healthy[2:])
	c.testCloud = newCloud(t, simulator.Options{Seed: 1},
		project{name: "faulty", id: "faulty", clusters: c.ids},
		project{name: "rejected", id: "rejected", clusters: c.rejected})
	for _, id := range c.ids {
		c.AddCluster("faulty", withThreeConnections(id))
	}
	for _, s := range all {
		if s.change != nil {
			c.UpdateCluster(s.name, s.change)
		}
	}
	c.RemoveCluster("missing")
	c.failEach(c.rejected, simulator.Fault{Status: 401, Body: `{"error_code":"APIGW.0301",` +
		`"error_msg":"Incorrect IAM authentication information: verify aksk signature fail"}`})
	return c
}

// withThreeConnections returns a valid cluster whose summary is whole.
func withThreeConnections(id string) simulator.Cluster {
	c := simulator.Cluster{
		ID: id, Status: "200", ServiceName: simulator.Text("service of " + id), UpdateSwitch: "false",
		Permissions: []simulator.Permission{{ID: "1", Permission: "iam:domain::d1", Type: "domainId"}},
	}
	for i, status := range []string{"accepted", "accepted", "rejected"} {
		c.Connections = append(c.Connections, simulator.Connection{
			ID: fmt.Sprintf("%s-%d", id, i), Status: status, MaxSession: simulator.Text("3000"), Specification: "default",
			IP: "192.168.0.1", CreatedAt: simulator.Text("2024-06-11T09:36:24Z"), DomainID: "d1",
		})
	}
	return c
}

// timeoutOffset is a --scrape.timeout-offset that is longer than any scrape, even on a slow machine, unless the
// exporter ignores it.
const timeoutOffset = 30 * time.Second

// runScenarios scrapes without the faults of the scenarios and then with them.
func runScenarios(t *testing.T, deadline time.Duration, all []scenario) {
	t.Helper()
	c := newScenarioCloud(t, all)
	p := c.start(t, "--scrape.timeout-offset="+timeoutOffset.String())
	// Without faults at first, so that no faulty cluster is the one that tries the valid key.
	before := p.scrape(t, deadline+timeoutOffset)
	rejections := c.readsOf(c.rejected)
	c.ForgetRequests()
	for _, s := range all {
		c.FailReads(s.name, s.faults...)
	}

	after := p.scrape(t, deadline+timeoutOffset)
	after.checkDurations(t, timeoutOffset)
	if got, want := len(after.clusters), len(c.ids)+len(c.rejected); got != want {
		t.Errorf("got %d clusters, want %d", got, want)
	}
	for _, s := range all {
		s.check(t, after.clusters[s.name], c.Reads(s.name), p.log.String())
	}
	c.checkFailures(t, before.failures(), after.failures())
	c.checkHealthy(t, before, after)
	for _, id := range c.rejected {
		if !isDown(after.clusters[id]) {
			t.Errorf("%s: got %v, want only the series of a failed cluster", id, after.clusters[id])
		}
	}
	if rejections += c.readsOf(c.rejected); rejections < 1 || rejections > 4 {
		t.Errorf("got %d requests with a rejected key, want 1 to 4", rejections)
	}
	p.eventually(t, "no request is in flight", func() bool { return c.InFlight() == 0 })
	c.checkSecrets(t, "the log", p.log.String())
	if strings.Contains(p.log.String(), "\nlevel=info msg=forged") {
		t.Error("the log contains a forged line")
	}
}

// checkFailures compares the counters before and after the scrape with the faults.
func (c *scenarioCloud) checkFailures(t *testing.T, before, after map[string]int) {
	t.Helper()
	want := maps.Clone(before)
	want["auth"] += len(c.rejected)
	for _, s := range c.scenarios {
		if s.reason != "" {
			want[s.reason]++
		}
	}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("failures by reason (-want +got):\n%s", diff)
	}
}

// checkHealthy fails unless the healthy clusters are shown as they were without the faults.
func (c *scenarioCloud) checkHealthy(t *testing.T, before, after exposition) {
	t.Helper()
	for _, id := range c.healthy {
		for _, s := range []series{before.clusters[id], after.clusters[id]} {
			delete(s, "scrape_duration_seconds")
			delete(s, "last_success_timestamp_seconds")
		}
		if diff := cmp.Diff(before.clusters[id], after.clusters[id]); diff != "" {
			t.Errorf("%s before (-) and with the faults (+):\n%s", id, diff)
		}
		if got := summary(after.clusters[id]); got != whole {
			t.Errorf("%s: got %s, want %s", id, got, whole)
		}
	}
}

// check compares the series of the scenario's cluster, the number of its requests and the log with the scenario.
func (s scenario) check(t *testing.T, got series, requests int, log string) {
	t.Helper()
	switch {
	case s.reason == "":
		if got := summary(got); sortedParts(got) != sortedParts(s.summary) {
			t.Errorf("%s: got %s, want %s", s.name, got, s.summary)
		}
	case !isDown(got):
		t.Errorf("%s: got %v, want only the series of a failed cluster", s.name, got)
	case !strings.Contains(log, "cluster_id="+s.name+" cluster_name= reason="+s.reason+" "):
		t.Errorf("%s: not logged with the reason %s:\n%s", s.name, s.reason, linesWith(log, "cluster_id="+s.name+" "))
	}
	if requests < s.minRequests || requests > s.maxRequests {
		t.Errorf("%s: got %d requests, want %d to %d", s.name, requests, s.minRequests, s.maxRequests)
	}
}

// summary returns a cluster's counts that are not 0, sorted by name.
func summary(s series) string {
	if s["up"] != 1 {
		return "down"
	}
	if s["enabled"] != 1 {
		return "off"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		status, counts := strings.CutPrefix(name, "connections ")
		switch value := strconv.FormatFloat(s[name], 'g', -1, 64); {
		case counts && value != "0":
			parts = append(parts, status+" "+value)
		case name == "reported_connections":
			parts = append(parts, "reported "+value)
		case name == "connections_truncated" && value != "0":
			parts = append(parts, "truncated")
		}
	}
	return strings.Join(parts, ", ")
}

func sortedParts(summary string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(summary, ", ")), ", ")
}

// isDown reports whether the series are exactly those of a failed cluster.
func isDown(s series) bool {
	up, ok := s["up"]
	names := slices.Sorted(maps.Keys(s))
	return ok && up == 0 && slices.Equal(names, []string{"cluster_info", "failure_info", "scrape_duration_seconds", "up"})
}

func linesWith(text, part string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

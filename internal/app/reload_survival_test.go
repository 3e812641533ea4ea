// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

const otherKey = "{access_key: another-AK-of-the-test, secret_key: " + simtest.SecretKey + "}"

// surviving is a project with a second key, and the cluster list or IAM may fail.
type surviving struct {
	*program
	cloud   *testCloud
	path    string
	project project
}

// startSurviving starts a program over the clusters a1, a2 and b1, which are discovered.
func startSurviving(t *testing.T, scrape string, p project, args ...string) *surviving {
	t.Helper()
	c := newCloud(t, simulator.Options{}, p)
	full := p.withDefaults()
	c.AddProject(simulator.Project{ID: full.id, Region: full.region, Keys: []simulator.Key{
		{Access: full.accessKey, Secret: simtest.SecretKey}, {Access: "another-AK-of-the-test", Secret: simtest.SecretKey},
	}})
	for _, id := range []string{"a1", "a2", "b1"} {
		c.addCluster("p1", id, func(c *simulator.Cluster) {
			c.Connections = []simulator.Connection{{ID: "connection of " + id, Status: "accepted"}}
			c.Tags = []simulator.Tag{{Key: "team", Value: "search"}}
		})
	}
	c.scrape = scrape
	path := c.file(t, p)
	s := &surviving{start(t, append(args, "--config.file="+path, "--web.enable-lifecycle")...), c, path, p}
	s.checkClusters(t, "at first", "a1", "a2", "b1")
	return s
}

// fail lets all requests for these endpoints fail.
func (s *surviving) fail(endpoints ...simulator.Endpoint) {
	for _, endpoint := range endpoints {
		s.cloud.SetFault(simulator.Target{Endpoint: endpoint}, simulator.Fault{Status: 500})
	}
}

// change reloads with a changed project.
func (s *surviving) change(t *testing.T, change func(*project)) {
	t.Helper()
	change(&s.project)
	if status, body := s.reload(t, s.path, s.cloud.config(s.project)); status != http.StatusOK {
		t.Fatalf("the reload: got status %d, want 200: %s", status, body)
	}
}

// checkClusters checks that a scrape and /sd show these clusters.
func (s *surviving) checkClusters(t *testing.T, when string, ids ...string) exposition {
	t.Helper()
	e := s.scrape(t, 10*time.Second)
	if got := e.labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(got, ids) {
		t.Errorf("%s: got clusters %v up, want %v", when, got, ids)
	}
	status, body := s.get(t, "/sd")
	if got := sdLabels(t, body, "__meta_css_cluster_id"); status != http.StatusOK || !slices.Equal(got, ids) {
		t.Errorf("%s: /sd: got status %d and clusters %v, want 200 and %v: %s", when, status, got, ids, body)
	}
	return e
}

// sdLabels returns the sorted values of a label of all targets, or nil if body is not a list.
func sdLabels(t *testing.T, body, label string) (values []string) {
	t.Helper()
	var groups []struct{ Labels map[string]string }
	if json.Unmarshal([]byte(body), &groups) != nil {
		return nil
	}
	for _, group := range groups {
		values = append(values, group.Labels[label])
	}
	slices.Sort(values)
	return values
}

// TestReloadKeepsDiscoveredClusters changes one setting after the other while the cluster list cannot be read.
func TestReloadKeepsDiscoveredClusters(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	s.fail(simulator.Clusters)
	for _, step := range []struct {
		name   string
		change func(*project)
	}{
		{"another name", func(p *project) { p.name = "renamed" }},
		{"other credentials", func(p *project) { p.auth = otherKey }},
		{"another request budget", func(p *project) { p.rate = 500 }},
		{"other filters", func(p *project) { p.settings = `discovery: {tags: {team: search}}` }},
		{"labels", func(p *project) { p.settings = `discovery: {labels_from_tags: [team]}` }},
		{"another interval", func(p *project) { p.settings = `discovery: {refresh_interval: 1h}` }},
		{"TLS settings", func(p *project) { p.settings += "\n    tls_config: {insecure_skip_verify: true}" }},
		{"several at once", func(p *project) { *p = project{name: "again", rate: 900, settings: "discovery: {name: '.*'}"} }},
	} {
		s.change(t, step.change)
		s.checkClusters(t, step.name, "a1", "a2", "b1")
	}
	s.cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters})
	s.cloud.RemoveCluster("a2")
	s.change(t, func(p *project) { p.settings = "discovery: {refresh_interval: 1s}" })
	s.eventually(t, "the list is read again", func() bool { return !strings.Contains(s.scrape(t, 10*time.Second).text, `"a2"`) })
	s.checkClusters(t, "after a list", "a1", "b1")
	s.cloud.checkSecrets(t, "the log", s.log.String())
}

// TestReloadFiltersKnownClustersAtOnce narrows and widens the filters while the cluster list cannot be read.
func TestReloadFiltersKnownClustersAtOnce(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	s.fail(simulator.Clusters)
	s.change(t, func(p *project) { p.settings = `discovery: {name: "name of a.*"}` })
	s.checkClusters(t, "narrower", "a1", "a2").checkLines(t,
		`css_vpcep_discovery_clusters{project_id="p1",region="cn-north-4"} 2`)
	s.change(t, func(p *project) { p.settings = `discovery: {name: "name of .1"}` })
	s.checkClusters(t, "others", "a1", "b1")
	s.change(t, func(p *project) { p.settings = "discovery: {}" })
	s.checkClusters(t, "all again", "a1", "a2", "b1")
}

// TestReloadKeepsLists checks the last lists, their age and the time of the first failure across a changed name.
func TestReloadKeepsLists(t *testing.T) {
	s := startSurviving(t, "{max_staleness: 1h}", project{settings: "discovery: {}"})
	before := s.scrape(t, 10*time.Second).clusters["a1"]
	s.cloud.FailReads("", simulator.Fault{Status: 500})
	s.change(t, func(p *project) { p.name, p.rate = "renamed", 500 })
	after := s.scrape(t, 10*time.Second).clusters["a1"]
	for _, name := range []string{"connections accepted", "last_success_timestamp_seconds"} {
		if got, ok := after[name]; !ok || got != before[name] {
			t.Errorf("%s: got %v (%t), want %v as before", name, got, ok, before[name])
		}
	}
	if after["up"] != 0 {
		t.Error("a cluster that failed is up")
	}
}

func TestReloadKeepsMinInterval(t *testing.T) {
	s := startSurviving(t, "{min_interval: 1h}", project{settings: "discovery: {}"})
	s.change(t, func(p *project) { p.name, p.auth, p.rate = "renamed", otherKey, 500 })
	s.checkClusters(t, "renamed", "a1", "a2", "b1")
	if n := s.cloud.Reads(""); n != 3 {
		t.Errorf("got %d reads, want 3: the lists are younger than min_interval", n)
	}
}

// TestReloadKeepsTheLookedUpProjectID checks the labels while IAM fails: a series with another project_id would
// resolve alerts.
func TestReloadKeepsTheLookedUpProjectID(t *testing.T) {
	slow(t)
	s := startSurviving(t, "", project{lookUpID: true, settings: "discovery: {}"})
	s.fail(simulator.Projects, simulator.Clusters)
	s.change(t, func(p *project) { p.rate, p.settings = 500, "discovery: {labels_from_tags: [team]}" })
	s.checkClusters(t, "another budget", "a1", "a2", "b1").checkLines(t,
		`css_vpcep_up{cluster_id="a1",cluster_name="name of a1",project_id="p1",region="cn-north-4"} 1`)

	// An operator sets project_id, as the hint of a failed lookup says, and removes it again.
	for _, lookUp := range []bool{false, true} {
		s.change(t, func(p *project) { p.lookUpID = lookUp })
		e := s.scrape(t, 10*time.Second)
		if got := e.labelValues("css_vpcep_cluster_info", "project_id", 1); !slices.Equal(got, []string{"p1", "p1", "p1"}) {
			t.Errorf("looked up: %t: got project IDs %q, want p1 for each cluster", lookUp, got)
		}
	}
	s.cloud.SetFault(simulator.Target{Endpoint: simulator.Projects})
	s.eventually(t, "the ID was looked up again", func() bool {
		return len(s.scrape(t, 10*time.Second).labelValues("css_vpcep_up", "cluster_id", 1)) == 3
	})
	s.fail(simulator.Projects)

	// With other credentials the ID is looked up again, because the account may be another one.
	s.change(t, func(p *project) { p.auth = otherKey })
	s.scrape(t, 10*time.Second).checkLines(t,
		`css_vpcep_up{cluster_id="a1",cluster_name="name of a1",project_id="p1",region="cn-north-4"} 0`)
	_, body := s.get(t, "/sd")
	if got := sdLabels(t, body, "__meta_css_project_id"); !slices.Equal(got, []string{"p1", "p1", "p1"}) {
		t.Errorf("/sd: got project IDs %q, want p1 for each cluster", got)
	}
	s.cloud.SetFault(simulator.Target{Endpoint: simulator.Projects})
	s.eventually(t, "the ID was looked up", func() bool {
		return len(s.scrape(t, 10*time.Second).labelValues("css_vpcep_up", "cluster_id", 1)) == 3
	})
}

// TestReloadDropsClustersOfAnotherAccount: the credentials of another account have another project in the region.
func TestReloadDropsClustersOfAnotherAccount(t *testing.T) {
	slow(t)
	s := startSurviving(t, "{max_staleness: 1h}", project{lookUpID: true, settings: "discovery: {refresh_interval: 1s}"})
	s.cloud.AddProject(simulator.Project{ID: "p2", Region: simtest.Region, Keys: []simulator.Key{
		{Access: "AK-of-another-account", Secret: simtest.SecretKey},
	}})
	s.cloud.addCluster("p2", "z1")
	s.cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Status: 500})
	s.change(t, func(p *project) {
		p.auth = "{access_key: AK-of-another-account, secret_key: " + simtest.SecretKey + "}"
	})
	s.eventually(t, "/sd is not available", func() bool {
		status, _ := s.get(t, "/sd")
		return status == http.StatusServiceUnavailable
	})
	if e := s.scrape(t, 10*time.Second); len(e.clusters) != 0 {
		t.Errorf("got clusters %v of the former project", e.clusters)
	}
	s.cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters})
	s.eventually(t, "/sd is available", func() bool {
		status, _ := s.get(t, "/sd")
		return status == http.StatusOK
	})
	s.checkClusters(t, "the other account", "z1")
}

// TestReloadKeepsSimilarProjectsApart has two projects that differ only in name, filters and credentials.
func TestReloadKeepsSimilarProjectsApart(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	named := func(name, filter string, changes ...func(*project)) project {
		p := project{name: name, settings: "discovery: {name: " + filter + "}"}
		for _, change := range changes {
			change(&p)
		}
		return p
	}
	other := func(p *project) { p.auth = otherKey }
	reload := func(when, want string, projects ...project) {
		t.Helper()
		if status, body := s.reload(t, s.path, s.cloud.config(projects...)); status != http.StatusOK {
			t.Fatalf("%s: got status %d: %s", when, status, body)
		}
		s.eventually(t, when+": /sd shows "+want, func() bool {
			_, body := s.get(t, "/sd")
			return strings.Join(sdLabels(t, body, "__meta_css_cluster_id"), " ") == want
		})
	}
	reload("two projects", "a1 a2 b1", named("a", `"name of a.*"`), named("b", `"name of b.*"`, other))
	s.fail(simulator.Clusters)
	reload("swapped", "a1 a2 b1", named("b", `"name of a.*"`), named("a", `"name of b.*"`, other))
	reload("renamed", "a1 a2 b1", named("c", `"name of a.*"`), named("a", `"name of b.*"`, other))
	reload("one less", "b1", named("a", `"name of b.*"`, other))
}

// TestReloadDoesNotAskAThrottledClusterAgain lowers the budget, as an operator would, during a back-off.
func TestReloadDoesNotAskAThrottledClusterAgain(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	s.cloud.FailReads("a1", simulator.Fault{Status: 429, Header: http.Header{"Retry-After": {"600"}}})
	s.scrape(t, 10*time.Second)
	before := s.cloud.Reads("a1")
	s.change(t, func(p *project) { p.rate = 500 })
	s.scrape(t, 10*time.Second)
	if n := s.cloud.Reads("a1") - before; n != 0 {
		t.Errorf("got %d requests during the back-off, want none", n)
	}
}

// TestReadsInFlightCompleteDuringAReload holds a read of the old client; a scrape after the reload does not join it.
func TestReadsInFlightCompleteDuringAReload(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	held := newGate()
	s.cloud.FailReads("a1", simulator.Fault{For: 1, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held.hold(r.Context())
		_, _ = w.Write([]byte(`{"connections":[],"total_count":0}`))
	})})
	first := make(chan exposition)
	go func() { first <- s.scrape(t, patience) }()
	s.eventually(t, "a read is held", func() bool { return held.held.Load() == 1 })
	s.change(t, func(p *project) { p.auth = otherKey })
	s.checkClusters(t, "while a read of the old client hangs", "a1", "a2", "b1")
	close(held.release)
	if got := (<-first).labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(got, []string{"a1", "a2", "b1"}) {
		t.Errorf("the scrape that was under way: got %v up, want all", got)
	}
}

// TestRestartDuringAFailureOfTheClusterList checks that no target is dropped until the list was read.
func TestRestartDuringAFailureOfTheClusterList(t *testing.T) {
	slow(t)
	for name, fault := range map[string]simulator.Fault{
		"failing":    {Status: 500},
		"denied":     {Status: 403, Body: `{"errCode":"CSS.0051"}`},
		"empty":      {Body: `{"clusters":[],"totalSize":2}`},
		"incomplete": {Body: `{"clusters":[{"id":"c1","status":"200"}],"totalSize":2}`},
		"no answer":  {Body: `<html>`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, project{settings: "discovery: {refresh_interval: 1s}"})
			c.addCluster("p1", "c1")
			c.addCluster("p1", "c2")
			list := simulator.Target{Endpoint: simulator.Clusters}
			c.SetFault(list, fault)
			p := c.start(t)
			status, body := p.get(t, "/sd")
			if status != http.StatusServiceUnavailable || !strings.Contains(body, `"cn-north-4"`) {
				t.Errorf("got status %d, want 503 and the project's name: %s", status, body)
			}
			c.SetFault(list)
			p.eventually(t, "/sd shows both clusters", func() bool {
				status, body := p.get(t, "/sd")
				ids := strings.Join(sdLabels(t, body, "__meta_css_cluster_id"), " ")
				if status == http.StatusOK && ids != "c1 c2" {
					t.Errorf("got clusters %q before the list was read", ids)
				}
				return status == http.StatusOK
			})
		})
	}
}

// TestReloadThatAddsAProjectKeepsReadiness: Prometheus keeps its targets while the new project's list is unknown.
func TestReloadThatAddsAProjectKeepsReadiness(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	s.cloud.AddProject(simulator.Project{ID: "p2", Region: "cn-east-3", Keys: []simulator.Key{
		{Access: "AK-of-p2", Secret: simtest.SecretKey},
	}})
	s.cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: "p2"}, simulator.Fault{Hang: true})
	added := project{id: "p2", region: "cn-east-3", accessKey: "AK-of-p2", settings: "discovery: {}"}
	if status, body := s.reload(t, s.path, s.cloud.config(s.project, added)); status != http.StatusOK {
		t.Fatalf("got status %d: %s", status, body)
	}
	if status, body := s.get(t, "/-/ready"); status != http.StatusOK {
		t.Errorf("/-/ready: got status %d, want 200: %s", status, body)
	}
	if status, body := s.get(t, "/sd"); status != http.StatusServiceUnavailable {
		t.Errorf("/sd: got status %d, want 503: %s", status, body)
	}
	if got := s.scrape(t, 10*time.Second).labelValues("css_vpcep_up", "cluster_id", 1); len(got) != 3 {
		t.Errorf("got clusters %v up, want those of the other project", got)
	}
}

// TestReloadShowsNoListOfAnotherProject: max_staleness must not show a list under the ID of a project that it is not of.
func TestReloadShowsNoListOfAnotherProject(t *testing.T) {
	s := startSurviving(t, "{max_staleness: 1h}", project{
		lookUpID: true, clusters: []string{"a1"}, settings: "discovery: {refresh_interval: 1s}",
	})
	s.cloud.AddProject(simulator.Project{ID: "p2", Region: simtest.Region, Keys: []simulator.Key{
		{Access: "AK-of-another-account", Secret: simtest.SecretKey},
	}})
	s.change(t, func(p *project) {
		p.auth = "{access_key: AK-of-another-account, secret_key: " + simtest.SecretKey + "}"
	})
	s.eventually(t, "the other project is known", func() bool {
		return slices.Equal(s.scrape(t, 10*time.Second).labelValues("css_vpcep_up", "project_id", 0), []string{"p2"})
	})
	if got, ok := s.scrape(t, 10*time.Second).clusters["a1"]["connections accepted"]; ok {
		t.Errorf("got %v accepted connections of the former project", got)
	}
}

func TestReloadKeepsChangesAndARestartDoesNot(t *testing.T) {
	s := startSurviving(t, "", project{settings: "discovery: {}"})
	s.cloud.addCluster("p1", "a1", func(c *simulator.Cluster) {
		c.Connections = []simulator.Connection{{ID: "connection of a1", Status: "rejected", DomainID: "o1", IP: "10.0.0.1"}}
	})
	s.scrape(t, 10*time.Second)
	s.change(t, func(p *project) { p.auth = otherKey })
	s.scrape(t, 10*time.Second)
	changes := func(p *program) string {
		t.Helper()
		_, body := p.get(t, "/status?cluster=a1&format=json")
		var status struct {
			Clusters []struct {
				Details struct{ Changes []map[string]any }
			}
		}
		if err := json.Unmarshal([]byte(body), &status); err != nil || len(status.Clusters) != 1 {
			t.Fatalf("got %d clusters, %v: %s", len(status.Clusters), err, body)
		}
		text := ""
		for _, c := range status.Clusters[0].Details.Changes {
			text += fmt.Sprint(c["change"], " ", c["connection_id"], " ", c["from"], " ", c["to"], "\n")
		}
		return text
	}
	const want = "connection_status_changed connection of a1 accepted rejected\n"
	if got := changes(s.program); got != want {
		t.Errorf("after the reload: got changes %q, want %q", got, want)
	}
	const line = `msg="Connection status changed" project=cn-north-4 region=cn-north-4 cluster_id=a1 ` +
		`cluster_name="name of a1" connection_id="connection of a1" domain_id=o1 ip=10.0.0.1 from=accepted to=rejected`
	if n := strings.Count(s.log.String(), line); n != 1 {
		t.Errorf("got %d lines %s, want 1:\n%s", n, line, s.log)
	}
	restarted := start(t, "--config.file="+s.path)
	restarted.scrape(t, 10*time.Second)
	if got := changes(restarted); got != "" || strings.Contains(restarted.log.String(), "Connection ") {
		t.Errorf("after the restart: got changes %q, want none, and none in the log:\n%s", got, restarted.log)
	}
}

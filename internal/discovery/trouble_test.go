// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// run runs the fleet until the returned function is called.
func run(t *testing.T, fleet *Fleet) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { fleet.Run(ctx) })
	synctest.Wait()
	return func() {
		cancel()
		running.Wait()
	}
}

// listing returns the body of a list with these clusters, which may report more of them.
func listing(total int, ids ...string) string {
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = fmt.Sprintf(`{"id":%q,"status":"200"}`, id)
	}
	return fmt.Sprintf(`{"clusters":[%s],"totalSize":%d}`, strings.Join(items, ","), total)
}

func checkClusters(t *testing.T, fleet *Fleet, when, want string) {
	t.Helper()
	if got := clusterIDs(fleet); got != want {
		t.Errorf("%s: got clusters %q, want %q", when, got, want)
	}
}

// TestIncompleteListsDropClusters: a cluster is kept until a complete list, or three incomplete ones in a row, lack it.
func TestIncompleteListsDropClusters(t *testing.T) {
	cloud := simtest.NewUnserved(simulator.Options{})
	fleet := NewFleet([]Project{newProject(cloud, simtest.ProjectID, &Search{RefreshInterval: time.Hour})}, discardLogger())
	for i, step := range []struct{ body, want string }{
		{listing(3, "a", "b", "c"), "a b c"},
		{listing(9, "a", "d"), "a d b c"},
		{listing(9, "a", "b"), "a b d c"}, // once without d, twice without c
		{"", "a b d c"},                   // a failure says nothing
		{listing(9, "a"), "a b d"},
		{listing(9, "a", "c"), "a c b"},
		{listing(9), "a c"},
		{listing(9), "a c"},
		{listing(9, "a"), "a"},
		{listing(9, "a", "e"), "a e"},
		{listing(1, "a"), "a"}, // complete
		{listing(9), "a"},
		{listing(9), "a"},
		{listing(1, "a"), "a"}, // counts again from here
		{listing(9), "a"},
		{listing(9), "a"},
		{listing(9), ""},
	} {
		fault := simulator.Fault{Body: step.body}
		if step.body == "" {
			fault.Status = 500
		}
		failDiscovery(cloud, fault)
		_ = fleet.Refresh(t.Context())
		checkClusters(t, fleet, fmt.Sprintf("step %d", i), step.want)
	}
}

// TestIncompleteListsAreNotHurried: three bad lists within seconds must not drop every cluster.
func TestIncompleteListsAreNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.NewUnserved(simulator.Options{})
		cloud.Add("a")
		fleet := NewFleet([]Project{
			newProject(cloud, simtest.ProjectID, &Search{RefreshInterval: 5 * time.Minute}),
		}, discardLogger())
		stop := run(t, fleet)
		failDiscovery(cloud, simulator.Fault{Body: listing(2)})
		time.Sleep(12 * time.Minute)
		checkClusters(t, fleet, "after 12 minutes", "a")
		time.Sleep(6 * time.Minute)
		checkClusters(t, fleet, "after 18 minutes", "")
		stop()
	})
}

func TestUnavailableClustersStayKnown(t *testing.T) {
	cloud := simtest.NewUnserved(simulator.Options{})
	for _, id := range []string{"a", "b"} {
		cloud.Add(id)
	}
	cloud.Add("creating", func(c *simulator.Cluster) { c.Status = "100" })
	cloud.Add("unavailable", func(c *simulator.Cluster) { c.Status = "303" })
	fleet := NewFleet([]Project{newProject(cloud, simtest.ProjectID, &Search{RefreshInterval: time.Hour})}, discardLogger())
	_ = fleet.Refresh(t.Context())
	checkClusters(t, fleet, "at first", "a b unavailable")
	cloud.UpdateCluster("b", func(c *simulator.Cluster) { c.Status = "303" })
	cloud.UpdateCluster("creating", func(c *simulator.Cluster) { c.Status = "200" })
	_ = fleet.Refresh(t.Context())
	checkClusters(t, fleet, "later", "a b creating unavailable")
}

// forSD returns the clusters of service discovery, or "missing" and the names of the projects that are missing.
func forSD(fleet *Fleet) string {
	known, missing := fleet.KnownForSD()
	if len(missing) > 0 {
		return "missing " + strings.Join(missing, " ")
	}
	ids := make([]string, len(known.Targets))
	for i := range ids {
		ids[i] = known.Targets[i].Cluster.ID
	}
	return strings.Join(ids, " ")
}

// TestServiceDiscoveryWaitsForEveryList: for 15 minutes at most, and again after neither.
func TestServiceDiscoveryWaitsForEveryList(t *testing.T) {
	for name, test := range map[string]struct {
		fault simulator.Fault
		known string
	}{
		"failing":    {simulator.Fault{Status: 500}, "a"},
		"hanging":    {simulator.Fault{Hang: true}, "a"},
		"incomplete": {simulator.Fault{Body: listing(2, "c")}, "a c"},
		"unreadable": {simulator.Fault{Body: "<html>"}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := simtest.NewUnserved(simulator.Options{})
				cloud.Add("b")
				failDiscovery(cloud, test.fault)
				fleet := NewFleet([]Project{
					newProject(cloud, simtest.ProjectID, &Search{RefreshInterval: time.Minute}, Listed{ID: "a"}),
				}, discardLogger())
				check := func(want string) {
					t.Helper()
					if got := forSD(fleet); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
				check("missing production")
				stop := run(t, fleet)
				time.Sleep(15*time.Minute - time.Second)
				check("missing production")
				if !fleet.Ready() {
					t.Error("not ready after a try")
				}
				time.Sleep(time.Second)
				check(test.known)
				failDiscovery(cloud, simulator.Fault{})
				time.Sleep(3 * time.Minute)
				check("a b")
				failDiscovery(cloud, test.fault)
				time.Sleep(time.Minute)
				if got := forSD(fleet); strings.HasPrefix(got, "missing") {
					t.Errorf("got %q after the list was read", got)
				}
				stop()
			})
		})
	}
}

// TestServiceDiscoveryDoesNotWaitForALookUp: without discovery, the clusters are those of the file.
func TestServiceDiscoveryDoesNotWaitForALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.NewUnserved(simulator.Options{})
		cloud.SetFault(simulator.Target{Endpoint: simulator.Projects}, simulator.Fault{Status: 500})
		fleet := NewFleet([]Project{newProject(cloud, "", nil, Listed{ID: "a"})}, discardLogger())
		stop := run(t, fleet)
		if got := forSD(fleet); got != "a" {
			t.Errorf("got %q, want a", got)
		}
		stop()
	})
}

// TestApplyWithAnotherSearch has reloads that turn discovery on and off, and add a project, while the list fails.
func TestApplyWithAnotherSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.NewUnserved(simulator.Options{})
		cloud.Add("a")
		search := func(name string) *Search { return &Search{RefreshInterval: time.Minute, Name: anchored(name)} }
		project := newProject(cloud, simtest.ProjectID, search(".*"), Listed{ID: "listed"})
		fleet := NewFleet([]Project{project}, discardLogger())
		stop := run(t, fleet)
		apply := func(want string, projects ...Project) {
			t.Helper()
			fleet.Apply(projects)
			got := forSD(fleet)
			synctest.Wait()
			if later := forSD(fleet); later != want || got != want && !strings.HasPrefix(got, "missing") {
				t.Errorf("got %q and then %q, want %q", got, later, want)
			}
			if !fleet.Ready() {
				t.Error("not ready any more")
			}
		}
		failDiscovery(cloud, simulator.Fault{Status: 500})
		project.Search = search("name of a")
		apply("listed a", project)
		project.Search = search("b.*")
		apply("listed", project)
		project.Search = search(".*")
		apply("listed a", project)
		project.Search = nil
		apply("listed", project)
		project.Search = search(".*")
		apply("missing production", project) // it is not known which there are now
		time.Sleep(14 * time.Minute)
		added := newProject(cloud, simtest.ProjectID, nil, Listed{ID: "added"})
		added.Key, added.Name = "added", "added"
		apply("missing production", project, added)
		time.Sleep(2 * time.Minute) // a reload does not start the 15 minutes again
		apply("listed added", project, added)
		stop()
	})
}

// TestListedClustersStayUntilTheListIsRead has a reload that discovers the clusters instead of listing them.
func TestListedClustersStayUntilTheListIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.NewUnserved(simulator.Options{})
		cloud.Add("a")
		cloud.Add("c")
		project := newProject(cloud, "", nil, Listed{ID: "a", Name: "name of the file"}, Listed{ID: "b"})
		fleet := NewFleet([]Project{project}, discardLogger())
		stop := run(t, fleet)
		failDiscovery(cloud, simulator.Fault{Status: 500})
		project.Search, project.Listed = &Search{RefreshInterval: time.Minute}, nil
		fleet.Apply([]Project{project})
		checkClusters(t, fleet, "at once", "a b")
		if got := fleet.Known().Find("name of the file", ""); len(got) != 1 {
			t.Errorf("got %d clusters of the file's name, want 1", len(got))
		}
		synctest.Wait()
		checkClusters(t, fleet, "after a failure", "a b")
		if got := forSD(fleet); got != "missing production" {
			t.Errorf("got %q, want missing production", got)
		}
		failDiscovery(cloud, simulator.Fault{})
		time.Sleep(2 * time.Minute)
		checkClusters(t, fleet, "after a list", "a c")
		stop()
	})
}

// TestApplyReplacesARefreshInFlight: the refresh of the old client changes nothing any more.
func TestApplyReplacesARefreshInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, replacement := simtest.NewUnserved(simulator.Options{}), simtest.NewUnserved(simulator.Options{})
		old.Add("old")
		replacement.Add("new")
		failDiscovery(old, simulator.Fault{Latency: 20 * time.Second})
		search := &Search{RefreshInterval: time.Hour}
		fleet := NewFleet([]Project{newProject(old, simtest.ProjectID, search)}, discardLogger())
		stop := run(t, fleet)
		fleet.Apply([]Project{newProject(replacement, simtest.ProjectID, search)})
		synctest.Wait()
		checkClusters(t, fleet, "at once", "new")
		time.Sleep(time.Minute)
		checkClusters(t, fleet, "later", "new")
		stop()
	})
}

// TestReadyStays also if nobody asked before the reload.
func TestReadyStays(t *testing.T) {
	cloud := simtest.NewUnserved(simulator.Options{})
	project := newProject(cloud, simtest.ProjectID, &Search{RefreshInterval: time.Hour})
	fleet := NewFleet(nil, discardLogger())
	fleet.Apply([]Project{project})
	if fleet.Ready() {
		t.Error("ready before the first try")
	}
	failDiscovery(cloud, simulator.Fault{Status: 500})
	_ = fleet.Refresh(t.Context())
	added := project
	added.Key = "added"
	fleet.Apply([]Project{project, added})
	if !fleet.Ready() {
		t.Error("not ready after a project was added")
	}
}

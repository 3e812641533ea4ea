// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newProject returns a project of the cloud. An empty ID is looked up.
func newProject(cloud *simtest.Cloud, projectID string, search *Search, listed ...Listed) Project {
	return Project{
		Key: "production", Name: "production", Region: simtest.Region, Client: csstest.InMemory(cloud, func(o *csstest.Options) { o.ProjectID = projectID }), Listed: listed, Search: search,
	}
}

func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// failDiscovery sets the fault of requests for the cluster list; the zero Fault is none.
func failDiscovery(cloud *simtest.Cloud, fault simulator.Fault) {
	cloud.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: simtest.ProjectID}, fault)
}

// clusterIDs joins the cluster IDs of the fleet's targets.
func clusterIDs(fleet *Fleet) string {
	var ids []string
	for _, target := range fleet.Known().Targets {
		ids = append(ids, target.Cluster.ID)
	}
	return strings.Join(ids, " ")
}

// TestListedClustersAreMerged checks that the file's name and labels take precedence, and that a listed cluster is kept
// even if the API does not list it.
func TestListedClustersAreMerged(t *testing.T) {
	cloud := simtest.NewUnserved(simulator.Options{})
	for _, id := range []string{"found", "both"} {
		cloud.Add(id, func(c *simulator.Cluster) {
			c.Name = "name of the API"
			c.VPCID = "v1"
			c.Tags = []simulator.Tag{
				{Key: "team", Value: "tagged"}, {Key: "stage", Value: "prod"},
				{Key: "部门", Value: "研发"}, {Key: "cost-center", Value: "7"},
			}
		})
	}
	search := &Search{RefreshInterval: time.Hour, LabelsFromTags: map[string]string{
		"team": "team", "stage": "stage", "department": "部门", "cost_center": "cost-center", "owner": "no such tag",
	}}
	fleet := NewFleet([]Project{newProject(cloud, simtest.ProjectID, search,
		Listed{ID: "both", Name: "name of the file", Labels: map[string]string{"team": "listed"}},
		Listed{ID: "only listed"},
	)}, discardLogger())

	if got := clusterIDs(fleet); got != "both only listed" {
		t.Errorf("before a refresh: got targets %q, want the listed ones", got)
	}
	if err := fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := clusterIDs(fleet), "both only listed found"; got != want {
		t.Fatalf("after a refresh: got targets %q, want %q", got, want)
	}
	targets := fleet.Known().Targets
	if diff := cmp.Diff([]css.Cluster{
		{
			ID: "both", Name: "name of the file", Status: "200", Engine: "elasticsearch", EngineVersion: "7.10.2",
			EnterpriseProjectID: "0", VPCID: "v1",
			Tags: map[string]string{"team": "tagged", "stage": "prod", "部门": "研发", "cost-center": "7"},
		},
		{ID: "only listed"},
	}, []css.Cluster{targets[0].Cluster, targets[1].Cluster}); diff != "" {
		t.Errorf("clusters (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]map[string]string{
		{"team": "listed", "stage": "prod", "department": "研发", "cost_center": "7"},
		{},
		{"team": "tagged", "stage": "prod", "department": "研发", "cost_center": "7"},
	}, []map[string]string{targets[0].Labels, targets[1].Labels, targets[2].Labels}); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
}

// TestRefreshReadsAllPages checks that all pages are read, that changes are found, and that a failure keeps the last
// list.
func TestRefreshReadsAllPages(t *testing.T) {
	cloud := simtest.NewUnserved(simulator.Options{ClusterPageCap: 100})
	for i := range 230 {
		cloud.Add(fmt.Sprintf("c%03d", i))
	}
	fleet := NewFleet([]Project{newProject(cloud, "", &Search{RefreshInterval: time.Hour})}, discardLogger())
	refresh := func(wantTargets int, wantErr bool) {
		t.Helper()
		if err := fleet.Refresh(t.Context()); (err != nil) != wantErr {
			t.Fatalf("got error %v, want an error: %t", err, wantErr)
		}
		if got := len(fleet.Known().Targets); got != wantTargets {
			t.Errorf("got %d targets, want %d", got, wantTargets)
		}
	}
	if fleet.Ready() {
		t.Error("ready before the first refresh")
	}
	refresh(230, false)
	if !fleet.Ready() {
		t.Error("not ready after the first refresh")
	}
	cloud.RemoveCluster("c100")
	refresh(229, false)
	cloud.Add("new")
	refresh(230, false)
	failDiscovery(cloud, simulator.Fault{Status: 500})
	refresh(230, true)
}

// TestApplyKeepsClusters checks that a kept project keeps its clusters, and that added projects start and removed ones
// stop.
func TestApplyKeepsClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.NewUnserved(simulator.Options{})
		cloud.Add("c1")
		search := &Search{RefreshInterval: time.Hour}
		kept := newProject(cloud, simtest.ProjectID, search)
		removed := newProject(cloud, simtest.ProjectID, search)
		added := newProject(cloud, simtest.ProjectID, search)
		kept.Key, removed.Key, added.Key = "kept", "removed", "added"
		fleet := NewFleet([]Project{kept, removed}, discardLogger())
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { fleet.Run(ctx) })
		checkRefreshes := func(want int) {
			t.Helper()
			synctest.Wait()
			if !fleet.Ready() {
				t.Fatal("not ready")
			}
			if n := cloud.Requested(simulator.Clusters); n != want {
				t.Errorf("got %d refreshes, want %d", n, want)
			}
		}
		checkRefreshes(2)
		fleet.Apply([]Project{kept})
		if got := clusterIDs(fleet); got != "c1" {
			t.Errorf("after removal: got targets %q, want c1", got)
		}
		checkRefreshes(2)
		fleet.Apply([]Project{added, kept})
		checkRefreshes(3)
		if got := clusterIDs(fleet); got != "c1 c1" {
			t.Errorf("after addition: got targets %q, want c1 c1", got)
		}
		time.Sleep(time.Hour * 115 / 100)
		checkRefreshes(5) // not of the removed project
		cancel()
		run.Wait()
	})
}

func TestRunRefreshesRegularly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = time.Hour // plus or minus 10%
		cloud := simtest.NewUnserved(simulator.Options{})
		cloud.Add("c1")
		fleet := NewFleet([]Project{newProject(cloud, "", &Search{RefreshInterval: interval})}, discardLogger())
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { fleet.Run(ctx) })
		start := time.Now()
		checkTargets := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(time.Until(start.Add(after)))
			synctest.Wait()
			if got := clusterIDs(fleet); got != want {
				t.Errorf("after %s: got targets %q, want %q", after, got, want)
			}
		}
		checkTargets(0, "c1")
		cloud.Add("c2")
		checkTargets(interval*85/100, "c1")
		checkTargets(interval*115/100, "c1 c2")
		cloud.RemoveCluster("c1")
		checkTargets(interval*175/100, "c1 c2")
		checkTargets(interval*225/100, "c2")
		cancel()
		run.Wait()
		if n := cloud.Requested(simulator.Projects); n != 1 {
			t.Errorf("got %d lookups of the project ID, want 1", n)
		}
	})
}

func TestRunRetriesSoonAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.NewUnserved(simulator.Options{})
		failDiscovery(cloud, simulator.Fault{Status: 500})
		fleet := NewFleet([]Project{
			newProject(cloud, simtest.ProjectID, &Search{RefreshInterval: time.Minute}),
		}, discardLogger())
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { fleet.Run(ctx) })
		start := time.Now()
		for _, step := range []struct {
			seconds, requests int
		}{
			{0, 1}, {4, 1}, {6, 2}, {13, 2}, {17, 3}, {31, 3}, {39, 4}, // after 5, 10 and 20 s, plus or minus 10%
			{67, 4}, {83, 5}, {120, 5}, {150, 6}, {170, 6}, {216, 7}, // after 40 s and then after 60 s
		} {
			time.Sleep(time.Until(start.Add(time.Duration(step.seconds) * time.Second)))
			synctest.Wait()
			if n := cloud.Requested(simulator.Clusters); n != step.requests {
				t.Errorf("after %d s: got %d requests, want %d", step.seconds, n, step.requests)
			}
		}
		cancel()
		run.Wait()
	})
}

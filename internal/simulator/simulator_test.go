// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClustersAreCopied(t *testing.T) {
	s := newTestSimulator(Options{})
	newCluster := func() Cluster { // without clone, which is under test
		return Cluster{ID: "c2", Name: "second", Tags: []Tag{{"a", "b"}}, Connections: []Connection{{ID: "x"}},
			Permissions: []Permission{{ID: "p"}}}
	}
	modify := func(c Cluster) {
		c.Tags[0].Value, c.Connections[0].ID, c.Permissions[0].ID = "modified", "modified", "modified"
	}
	checkUnmodified := func(when string) {
		t.Helper()
		got, ok := s.Cluster(testProject, "c2")
		if diff := cmp.Diff(newCluster(), got); diff != "" || !ok {
			t.Errorf("after %s: found: %t (-want +got):\n%s", when, ok, diff)
		}
	}
	argument := newCluster()
	s.AddCluster(testProject, argument)
	modify(argument)
	checkUnmodified("modifying the argument of AddCluster")
	result, _ := s.Cluster(testProject, "c2")
	modify(result)
	checkUnmodified("modifying the result of Cluster")
	modify(s.Clusters(testProject)[1])
	checkUnmodified("modifying the result of Clusters")
}

func TestProjectsAreCopied(t *testing.T) {
	s := newTestSimulator(Options{})
	s.Projects()[0].Keys[0].Secret = "modified"
	if status := get(t, s, connectionsPath).Code; status != 200 {
		t.Errorf("after modifying the result of Projects: got status %d, want 200", status)
	}
}

func TestClustersAreAddedReplacedUpdatedAndRemoved(t *testing.T) {
	s := newTestSimulator(Options{})
	checkNames := func(want string) {
		t.Helper()
		var names []string
		for _, c := range s.Clusters(testProject) {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("got clusters %q, want %q", got, want)
		}
	}
	s.AddCluster(testProject, Cluster{ID: "c2", Name: "second"})
	s.AddCluster(testProject, Cluster{ID: "c1", Name: "replaced"})
	if !s.UpdateCluster("c2", func(c *Cluster) { c.Name = "updated" }) {
		t.Error("UpdateCluster: got false, want true")
	}
	checkNames("replaced updated")
	if !s.RemoveCluster("c1") {
		t.Error("RemoveCluster: got false, want true")
	}
	checkNames("updated")
	if s.RemoveCluster("c1") {
		t.Error("RemoveCluster of a removed cluster: got true, want false")
	}
	if s.UpdateCluster("c1", func(*Cluster) { t.Error("UpdateCluster called change for a removed cluster") }) {
		t.Error("UpdateCluster of a removed cluster: got true, want false")
	}
	if _, ok := s.Cluster(testProject, "c1"); ok {
		t.Error("Cluster of a removed cluster: got true, want false")
	}
}

func TestUnknownProjectHasNoClusters(t *testing.T) {
	s := newTestSimulator(Options{})
	if _, ok := s.Cluster("nowhere", testCluster); ok {
		t.Error("Cluster: got true, want false")
	}
	if got := s.Clusters("nowhere"); got != nil {
		t.Errorf("Clusters: got %v, want nil", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("AddCluster: got no panic, want one")
		}
	}()
	s.AddCluster("nowhere", Cluster{ID: "c3"})
}

func TestSecretsAreNotPrinted(t *testing.T) {
	key := Key{Access: "AK", Secret: "hidden-1", SecurityToken: "hidden-2"}
	user := User{Name: "name", Domain: "domain", Password: "hidden-3"}
	pod := PodIdentity{Token: "hidden-4"}
	s := New(Options{})
	s.AddProject(Project{ID: testProject, Keys: []Key{key}})
	s.AddUser(user)
	s.SetPodIdentity(pod)
	for _, v := range []any{Project{Keys: []Key{key}}, key, user, &user, []User{user}, pod, &pod, s} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "hidden") {
				t.Errorf("%s of %T: got %s, want no secret", format, v, got)
			}
		}
	}
	if got, want := fmt.Sprint(user, pod, key), "user domain/name pod identity key AK"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// takeSteps returns 2000 events of a simulator with four clusters, of which Step may change only one.
func takeSteps(t *testing.T, seed uint64) (*Simulator, []Event) {
	t.Helper()
	s := newTestSimulator(Options{Seed: seed})
	s.AddCluster(testProject, Cluster{ID: "still", Status: "200", Still: true})
	s.AddCluster(testProject, Cluster{ID: "off", Status: "200", ServiceOff: true})
	s.AddCluster(testProject, Cluster{ID: "creating", Status: "100"})
	var events []Event
	before, _ := s.Cluster(testProject, testCluster)
	for range 2000 {
		e := s.Step()
		after, _ := s.Cluster(testProject, testCluster)
		checkEvent(t, e, before, after)
		if n := len(after.Connections); n > maxStepConnections {
			t.Fatalf("got %d connections, want at most %d", n, maxStepConnections)
		}
		events, before = append(events, e), after
	}
	return s, events
}

// checkEvent checks that the event is the only change.
func checkEvent(t *testing.T, e Event, before, after Cluster) {
	t.Helper()
	find := func(c Cluster) (conn Connection, found bool) {
		for _, x := range c.Connections {
			if x.ID == e.ConnectionID {
				return x, true
			}
		}
		return Connection{}, false
	}
	oldConn, existed := find(before)
	newConn, exists := find(after)
	added := len(after.Connections) - len(before.Connections)
	updated := newConn.UpdatedAt == `"2026-01-02T03:04:05Z"`
	var ok bool
	switch e.Kind {
	case "asked":
		ok = !existed && exists && added == 1 && newConn.Status == "pendingAcceptance" && newConn.UpdatedAt == "" &&
			newConn.CreatedAt == `"2026-01-02T03:04:05Z"`
	case "deleted":
		ok = existed && !exists && added == -1 && oldConn.Status == "deleting"
	case "touched":
		ok = existed && exists && added == 0 && newConn.Status == oldConn.Status && updated
	default:
		ok = existed && exists && added == 0 && newConn.Status == e.Kind && oldConn.Status != e.Kind && updated
	}
	if !ok {
		t.Fatalf("event %+v: got connection %+v instead of %+v and %d more, want only the change of the event",
			e, newConn, oldConn, added)
	}
}

func TestStepChangesAvailableClusters(t *testing.T) {
	s, events := takeSteps(t, 1)
	counts := map[string]int{}
	for _, e := range events {
		counts[e.Kind]++
	}
	for _, kind := range []string{"asked", "accepted", "rejected", "deleting", "deleted", "failed", "touched"} {
		if counts[kind] == 0 {
			t.Errorf("got events %v, want %s too", counts, kind)
		}
	}
	for _, id := range []string{"still", "off", "creating"} {
		if c, _ := s.Cluster(testProject, id); len(c.Connections) > 0 {
			t.Errorf("cluster %s: got connections %v, want none", id, c.Connections)
		}
	}
	if e := New(Options{}).Step(); e != (Event{}) {
		t.Errorf("without clusters: got event %+v, want a zero one", e)
	}
}

func TestStepDependsOnSeed(t *testing.T) {
	_, events := takeSteps(t, 1)
	if _, again := takeSteps(t, 1); !cmp.Equal(events, again) {
		t.Error("got other events with the same seed")
	}
	if _, other := takeSteps(t, 2); cmp.Equal(events, other) {
		t.Error("got the same events with another seed")
	}
}

func TestRunStepsUntilCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSimulator(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(ctx, time.Second)
		}()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if c, _ := s.Cluster(testProject, testCluster); len(c.Connections) != 1 {
			t.Errorf("after one interval: got %d connections, want 1", len(c.Connections))
		}
		cancel()
		<-done
	})
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	s := newTestSimulator(Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := fmt.Sprint("c", i%3)
			for range 50 {
				s.Step()
				get(t, s, connectionsPath)
				get(t, s, "/v1.0/proj1/clusters")
				s.AddCluster(testProject, Cluster{ID: id, Status: "200"})
				s.UpdateCluster(id, func(c *Cluster) { c.Connections = append(c.Connections, Connection{ID: "x"}) })
				s.SetFault(Target{Connections, id}, Fault{Probability: 0.5, Status: 500})
				s.Requests()
				s.Clusters(testProject)
				s.RemoveCluster("c2")
				s.AddUser(testUser())
				logIn(t, s, loginBody("right"))
				s.RevokeTokens()
				s.SetAgency(Agency{})
				requestSecurityKey(t, s, newMetadataToken(t, s))
				s.SetPodIdentity(PodIdentity{Token: "pod"})
				requestPodKey(t, s, "pod", "{}")
				s.ExpireKeys()
			}
		})
	}
	wg.Wait()
	if s.InFlight() != 0 || s.Count(clusterTarget()) != 400 {
		t.Errorf("got %d in flight, %d requests; want 0, 400", s.InFlight(), s.Count(clusterTarget()))
	}
}

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

func TestFleetIsCopied(t *testing.T) {
	s := newTestSimulator(Options{})
	build := func() Cluster { // without clone, which is under test
		return Cluster{ID: "c2", Name: "second", Tags: []Tag{{"a", "b"}}, Connections: []Connection{{ID: "x"}},
			Permissions: []Permission{{ID: "p"}}}
	}
	given, want := build(), build()
	s.AddCluster(testProject, given)
	spoil := func(c Cluster) {
		c.Tags[0].Value, c.Connections[0].ID, c.Permissions[0].ID = "spoilt", "spoilt", "spoilt"
	}
	spoil(given)
	got, ok := s.Cluster(testProject, "c2")
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("after changing the argument, %v:\n%s", ok, diff)
	}
	spoil(got)
	spoil(s.Clusters(testProject)[1])
	got, _ = s.Cluster(testProject, "c2")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after changing the result:\n%s", diff)
	}
	s.Projects()[0].Keys[0].Secret = "spoilt"
	if get(t, s, connectionsPath).Code != 200 {
		t.Error("Projects returns keys that are not copies")
	}
}

func TestFleetChanges(t *testing.T) {
	s := newTestSimulator(Options{})
	names := func() string {
		var out []string
		for _, c := range s.Clusters(testProject) {
			out = append(out, c.Name)
		}
		return strings.Join(out, " ")
	}
	s.AddCluster(testProject, Cluster{ID: "c2", Name: "second"})
	s.AddCluster(testProject, Cluster{ID: "c1", Name: "replaced"})
	if !s.UpdateCluster("c2", func(c *Cluster) { c.Name = "updated" }) || names() != "replaced updated" {
		t.Errorf("clusters %q", names())
	}
	if !s.RemoveCluster("c1") || names() != "updated" {
		t.Errorf("clusters %q", names())
	}
	if s.RemoveCluster("c1") || s.UpdateCluster("c1", func(*Cluster) { t.Error("called") }) {
		t.Error("a removed cluster was found")
	}
	if _, ok := s.Cluster(testProject, "c1"); ok {
		t.Error("a removed cluster was found")
	}
	if _, ok := s.Cluster("nowhere", "c2"); ok || s.Clusters("nowhere") != nil {
		t.Error("an unknown project has clusters")
	}
	defer func() {
		if recover() == nil {
			t.Error("AddCluster accepts an unknown project")
		}
	}()
	s.AddCluster("nowhere", Cluster{ID: "c3"})
}

func TestSecretsAreNotPrinted(t *testing.T) {
	key := Key{Access: "AK", Secret: "hidden-1", SecurityToken: "hidden-2"}
	user := User{Name: "name", Domain: "domain", Password: "hidden-3"}
	identity := PodIdentity{Token: "hidden-4"}
	s := New(Options{})
	s.AddProject(Project{ID: testProject, Keys: []Key{key}})
	s.AddUser(user)
	s.SetPodIdentity(identity)
	for _, v := range []any{Project{Keys: []Key{key}}, key, user, &user, []User{user}, identity, &identity, s} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "hidden") {
				t.Errorf("%s of %T: %s", format, v, got)
			}
		}
	}
	if got, want := fmt.Sprint(user, identity, key), "user domain/name pod identity key AK"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStep(t *testing.T) {
	run := func(seed uint64) (*Simulator, []Event) {
		s := newTestSimulator(Options{Seed: seed})
		s.AddCluster(testProject, Cluster{ID: "still", Status: "200", Still: true})
		s.AddCluster(testProject, Cluster{ID: "off", Status: "200", ServiceOff: true})
		s.AddCluster(testProject, Cluster{ID: "new", Status: "100"})
		var events []Event
		before, _ := s.Cluster(testProject, testCluster)
		for range 2000 {
			e := s.Step()
			after, _ := s.Cluster(testProject, testCluster)
			checkEvent(t, e, before, after)
			if len(after.Connections) > maxStepConnections {
				t.Fatalf("%d connections", len(after.Connections))
			}
			events, before = append(events, e), after
		}
		return s, events
	}
	s, events := run(1)
	counts := map[string]int{}
	for _, e := range events {
		counts[e.Kind]++
	}
	for _, kind := range []string{"asked", "accepted", "rejected", "deleting", "deleted", "failed", "touched"} {
		if counts[kind] == 0 {
			t.Errorf("no connection was %s: %v", kind, counts)
		}
	}
	for _, id := range []string{"still", "off", "new"} {
		if c, _ := s.Cluster(testProject, id); len(c.Connections) > 0 {
			t.Errorf("cluster %s changed", id)
		}
	}
	if _, again := run(1); !cmp.Equal(events, again) {
		t.Error("the same seed gave other events")
	}
	if _, other := run(2); cmp.Equal(events, other) {
		t.Error("another seed gave the same events")
	}
	if e := New(Options{}).Step(); e != (Event{}) {
		t.Errorf("an empty fleet gave %+v", e)
	}
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
	old, was := find(before)
	now, is := find(after)
	grown := len(after.Connections) - len(before.Connections)
	updated := now.UpdatedAt == `"2026-01-02T03:04:05Z"`
	var ok bool
	switch e.Kind {
	case "asked":
		ok = !was && is && grown == 1 && now.Status == "pendingAcceptance" && now.UpdatedAt == "" &&
			now.CreatedAt == `"2026-01-02T03:04:05Z"`
	case "deleted":
		ok = was && !is && grown == -1 && old.Status == "deleting"
	case "touched":
		ok = was && is && grown == 0 && now.Status == old.Status && updated
	default:
		ok = was && is && grown == 0 && now.Status == e.Kind && old.Status != e.Kind && updated
	}
	if !ok {
		t.Fatalf("event %+v: before %+v, after %+v, %d more", e, old, now, grown)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSimulator(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx, time.Second)
		}()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if c, _ := s.Cluster(testProject, testCluster); len(c.Connections) != 1 {
			t.Errorf("%d connections after one step, want 1", len(c.Connections))
		}
		cancel()
		<-ended
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
		t.Errorf("%d in flight, %d counted, want 0 and 400", s.InFlight(), s.Count(clusterTarget()))
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// newSharedKey returns a cloud with many projects that read sessions with the same key, which Cloud Eye rejects.
func newSharedKey(t *testing.T) *testCloud {
	t.Helper()
	c := newCloud(t, simulator.Options{})
	for i := range 12 {
		id := fmt.Sprintf("p%d", i+1)
		c.AddProject(simulator.Project{
			ID: id, Region: "cn-north-4", Keys: []simulator.Key{{Access: "AK-shared", Secret: c.secrets[0]}},
		})
		c.projects = append(c.projects, project{id: id, name: id, accessKey: "AK-shared", settings: c.sessionsOf("")})
		c.addWithSessions(id, "c-"+id)
	}
	c.failSessions(simulator.Fault{Status: 401, Body: `{"http_code":401,"message":{"details":"no","code":"ces.0401"}}`})
	return c
}

// TestCloudEyeThatRejectsAllProjectsPausesNoKey: one project at a time asks it, and after three none.
func TestCloudEyeThatRejectsAllProjectsPausesNoKey(t *testing.T) {
	c := newSharedKey(t)
	p := c.start(t)
	for i := 1; i <= 5; i++ {
		e := p.scrape(t, 10*time.Second)
		if failures := e.failures(); len(failures) > 0 {
			t.Fatalf("scrape %d: got failures %v, want none", i, failures)
		}
		want := min(i, 3)
		p.eventually(t, "Cloud Eye is asked", func() bool { return c.Requested(simulator.Sessions) >= want })
		time.Sleep(100 * time.Millisecond)
		if n := c.Requested(simulator.Sessions); n != want {
			t.Fatalf("scrape %d: got %d calls of Cloud Eye, want %d", i, n, want)
		}
	}
}

func TestOnceIsRejectedByCloudEyeAtMostThreeTimes(t *testing.T) {
	c := newSharedKey(t)
	var stdout bytes.Buffer
	log := &buffer{}
	args := []string{"--once", "--config.file=" + c.file(t, c.projects...)}
	if exit := run(t.Context(), args, environment(nil), &stdout, log); exit != 1 {
		t.Errorf("got exit code %d, want 1:\n%s", exit, log)
	}
	e := parse(t, stdout.String())
	if up := e.labelValues("css_vpcep_up", "cluster_id", 1); len(up) != len(c.projects) {
		t.Errorf("got %d clusters up, want all %d", len(up), len(c.projects))
	}
	if n := c.Requested(simulator.Sessions); n == 0 || n > 3 {
		t.Errorf("got %d calls of Cloud Eye, want 1 to 3", n)
	}
}

func TestOnceSaysThatNoTimeIsLeftForSessions(t *testing.T) {
	slow(t)
	c := newSessionsCloud(t, "a", "b")
	c.FailReads("b", simulator.Fault{Hang: true})
	log := &buffer{}
	args := []string{"--once", "--scrape.timeout=3s", "--config.file=" + c.file(t, c.projects...)}
	if exit := run(t.Context(), args, environment(nil), &bytes.Buffer{}, log); exit != 1 {
		t.Errorf("got exit code %d, want 1", exit)
	}
	lines := linesWith(log.String(), `msg="Reading sessions failed"`)
	for _, want := range []string{
		"reason=timeout", `hint="raise --scrape.timeout"`, `err="sessions: timed out waiting for the lists of connections"`,
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("got %q, want %q in it", lines, want)
		}
	}
}

func TestSessionsKeepNoConnectionForAMinute(t *testing.T) {
	slow(t)
	c := newUnservedCloud(simulator.Options{}, project{})
	c.addWithSessions("p1", "a")
	closed := make(chan struct{}, 100)
	server := httptest.NewUnstartedServer(c)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c.URL = server.URL
	c.projects[0].settings = c.sessionsOf("batch_size: 1")
	p := c.start(t)
	p.scrapeUntil(t, "sessions are read", func(e exposition) bool { return e.has(sessionsAreUp) })
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Error("the connection to Cloud Eye is still open after 30 s")
	}
}

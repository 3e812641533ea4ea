// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oneProject = `{"projects":[{"id":"p1","name":"cn-north-4"}]}`

// newCloud returns a cloud in memory whose IAM answers as the fault says, and a client that looks up its project.
func newCloud(t *testing.T, fault simulator.Fault) (*simtest.Cloud, *css.Client) {
	t.Helper()
	c := simtest.NewUnserved(simulator.Options{})
	c.Add("c1")
	c.SetFault(simulator.Target{Endpoint: simulator.Projects}, fault)
	return c, csstest.NewClient(t, "http://cloud.invalid", func(o *csstest.Options) {
		o.ProjectID, o.Transport = "", &simtest.RoundTripper{Handler: c}
	})
}

func read(t *testing.T, c *css.Client) error {
	t.Helper()
	_, err := c.Connections(t.Context(), "c1", nil)
	return err
}

func TestProjectIDIsLookedUpOnce(t *testing.T) {
	for name, body := range map[string]string{
		"one":              `{"projects":[{"id":"p1","name":"cn-north-4","domain_id":"d"}],"links":{}}`,
		"one of that name": `{"projects":[{"id":"p0","name":"cn-north-4_sub"},{"id":"p1","name":"cn-north-4"},null,{"id":"p2"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, client := newCloud(t, simulator.Fault{Body: body})
			if id := client.KnownProjectID(); id != "" {
				t.Errorf("before the lookup: got %q, want none", id)
			}
			for range 2 {
				if err := read(t, client); err != nil {
					t.Fatal(err)
				}
			}
			if id := client.KnownProjectID(); id != "p1" {
				t.Errorf("got %q, want p1", id)
			}
			requests := c.Requests()
			if len(requests) != 3 {
				t.Fatalf("got %d requests, want 3", len(requests))
			}
			if r := requests[0]; r.Path != "/v3/projects" || r.Query != "name=cn-north-4" || r.Header.Get("X-Project-Id") != "" {
				t.Errorf("lookup: got %s?%s with the project %q", r.Path, r.Query, r.Header.Get("X-Project-Id"))
			}
			for _, r := range requests[1:] {
				if r.ProjectID != "p1" || r.Header.Get("X-Project-Id") != "p1" {
					t.Errorf("read: got a request for the project %q (header %q)", r.ProjectID, r.Header.Get("X-Project-Id"))
				}
			}
		})
	}
}

func TestProjectIDCannotBeLookedUp(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		reason cloud.Reason
		hint   string
	}{
		{"none", 200, `{"projects":[]}`, cloud.ReasonDecode, "set project_id"},
		{"none of that name", 200, `{"projects":[{"id":"p0","name":"MOS"}]}`, cloud.ReasonDecode, "set project_id"},
		{"several", 200, `{"projects":[{"id":"p1","name":"cn-north-4"},{"id":"p2","name":"cn-north-4"}]}`, cloud.ReasonDecode, "set project_id"},
		{"without an ID", 200, `{"projects":[{"name":"cn-north-4"}]}`, cloud.ReasonDecode, "set project_id"},
		{"null", 200, `{"projects":null}`, cloud.ReasonDecode, "set project_id"},
		{"not a list", 200, `{"projects":{"id":"p1","name":"cn-north-4"}}`, cloud.ReasonDecode, "set project_id"},
		{"empty", 200, `{}`, cloud.ReasonDecode, "set project_id"},
		{"HTML", 200, `<html>`, cloud.ReasonDecode, "not from IAM"},
		{"denied", 403, `{"error":{"code":403,"message":"You are not authorized","title":"Forbidden"}}`, cloud.ReasonDenied, "list the projects"},
		{"rejected", 401, `{"error":{"code":401,"message":"x","title":"Unauthorized"}}`, cloud.ReasonAuth, "access key"},
		{"rejected as 400", 400, `{"errCode":"CSS.0045","externalMessage":"token incorrect"}`, cloud.ReasonAuth, "access key"},
		{"denied as 400", 400, `{"errCode":"CSS.0051","externalMessage":"x"}`, cloud.ReasonDenied, "list the projects"},
		{"refused as 400", 400, `{"errCode":"CSS.5313","externalMessage":"x"}`, cloud.ReasonDenied, "list the projects"},
		{"try later", 202, `{"errCode":"CSS.0011","externalMessage":"x"}`, cloud.ReasonServer, "try again later"},
		{"not found", 404, ``, cloud.ReasonNotFound, "iam_endpoint"},
		{"server", 503, ``, cloud.ReasonServer, "failing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, client := newCloud(t, simulator.Fault{Status: test.status, Body: test.body})
			err := read(t, client)
			var e *cloud.Error
			if !errors.As(err, &e) || e.Reason != test.reason || e.Operation != "projects" {
				t.Fatalf("got %v, want reason %q of the operation projects", err, test.reason)
			}
			if !strings.Contains(e.Hint(), test.hint) {
				t.Errorf("got hint %q, want %q in it", e.Hint(), test.hint)
			}
			if n := c.Reads(""); n != 0 {
				t.Errorf("got %d reads without a project ID, want none", n)
			}
		})
	}
}

func TestProjectIDCannotChangeThePath(t *testing.T) {
	c, client := newCloud(t, simulator.Fault{Body: `{"projects":[{"id":"../../x","name":"cn-north-4"}]}`})
	if err := read(t, client); cloud.ReasonOf(err) != cloud.ReasonInvalid || c.Reads("") != 0 {
		t.Errorf("got %v after %d reads, want invalid after none", err, c.Reads(""))
	}
}

// readTogether reads in parallel and returns the reasons of the failures, "" for success.
func readTogether(t *testing.T, client *css.Client, n int) map[cloud.Reason]int {
	t.Helper()
	var mu sync.Mutex
	ended := make(map[cloud.Reason]int)
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			reason := cloud.Reason("")
			if err := read(t, client); err != nil {
				reason = cloud.ReasonOf(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ended[reason]++
		})
	}
	group.Wait()
	return ended
}

func TestParallelReadsShareALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := newCloud(t, simulator.Fault{Latency: 20 * time.Millisecond, Body: oneProject})
		if ended := readTogether(t, client, 30); ended[""] != 30 {
			t.Errorf("got %v, want 30 successes", ended)
		}
		if n, m := c.Requested(simulator.Projects), c.Reads(""); n != 1 || m != 30 {
			t.Errorf("got %d lookups and %d reads, want 1 and 30", n, m)
		}
	})
}

func TestParallelReadsShareAFailedLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := newCloud(t, simulator.Fault{Latency: 50 * time.Millisecond, Status: 403})
		if ended := readTogether(t, client, 20); ended[cloud.ReasonDenied] != 20 {
			t.Errorf("got %v, want 20 denied", ended)
		}
		if n := c.Requested(simulator.Projects); n != 1 {
			t.Errorf("got %d lookups, want 1", n)
		}
	})
}

// TestWaitForALookUp: a caller waits no longer than its deadline, and one that gives up does not fail the others.
func TestWaitForALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		started := make(chan struct{}, 10)
		_, client := newCloud(t, simulator.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			started <- struct{}{}
			select {
			case <-release:
				fmt.Fprint(w, oneProject)
			case <-r.Context().Done():
			}
		})})
		first, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := client.ProjectID(first); cloud.ReasonOf(err) != cloud.ReasonTimeout {
				t.Errorf("the caller that gives up: got %v, want a timeout", err)
			}
		})
		<-started
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := client.ProjectID(short); cloud.ReasonOf(err) != cloud.ReasonTimeout {
			t.Errorf("the caller with a short deadline: got %v, want a timeout", err)
		}
		group.Go(func() {
			if id, err := client.ProjectID(t.Context()); id != "p1" || err != nil {
				t.Errorf("the caller that waits: got %q, %v", id, err)
			}
		})
		synctest.Wait()
		giveUp()
		<-started
		close(release)
		group.Wait()
	})
}

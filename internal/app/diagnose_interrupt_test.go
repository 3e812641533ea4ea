// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestDiagnoseIsInterrupted: what was found is shown, and the rest is marked.
func TestDiagnoseIsInterrupted(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{})
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Hang: true})
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for c.Requested(simulator.Clusters) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		interrupt()
	}()
	start := time.Now()
	d := runDiagnose(ctx, t, environment(nil), "--config.file="+c.file(t, c.projects...))
	if took := time.Since(start); d.code != 1 || took > 5*time.Second {
		t.Errorf("got exit code %d after %s, want 1 at once", d.code, took)
	}
	if got := d.named("failed"); len(got) != 0 {
		t.Errorf("got these steps failed: %q, want none:\n%s", got, d.text)
	}
	for step, want := range map[string]string{
		"CSS HTTP": "ok", "authentication": "skipped", "cluster list": "skipped", "scrape timeout": "skipped",
	} {
		s := d.step(step)
		if s.state != want || want == "skipped" && s.text != "interrupted" {
			t.Errorf("step %s: got %q, want %s", step, s, want)
		}
	}
	if got := d.fact("offset"); got != "unknown (interrupted)" {
		t.Errorf("offset: got %q", got)
	}
}

// TestDiagnoseIsInterruptedOnTheWay: the steps before the one that hangs are shown.
func TestDiagnoseIsInterruptedOnTheWay(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	c := newUnservedCloud(simulator.Options{}, project{})
	c.URL = server.URL
	d := runDiagnose(ctx, t, environment(nil), "--config.file="+c.file(t, c.projects...))
	for step, want := range map[string]string{
		"CSS DNS": "ok", "CSS TCP": "ok", "CSS HTTP": "skipped", "CSS clock": "skipped", "authentication": "skipped",
	} {
		if s := d.step(step); s.state != want || want == "skipped" && s.text != "interrupted" {
			t.Errorf("step %s: got %q, want %s", step, s, want)
		}
	}
	if d.code != 1 || len(d.named("failed")) != 0 {
		t.Errorf("got exit code %d:\n%s", d.code, d.text)
	}
}

// TestDiagnoseIsInterruptedInAList: the first page is shown.
func TestDiagnoseIsInterruptedInAList(t *testing.T) {
	c := newCloud(t, simulator.Options{ConnectionPageCap: 10}, project{clusters: []string{"c1"}})
	c.addCluster("p1", "c1", withConnections(25))
	ctx, interrupt := context.WithCancel(t.Context())
	requests := 0
	c.FailReads("c1", simulator.Fault{Hang: true, Active: func(time.Time) bool {
		requests++
		if requests == 2 {
			interrupt()
		}
		return requests > 1
	}})
	d := runDiagnose(ctx, t, environment(nil), "--config.file="+c.file(t, c.projects...))
	if got := d.step("connections 1/1"); got.state != "ok" ||
		!strings.Contains(got.text, "10 connections of 25 reported (10 accepted), 1 page; further pages were not read") {
		t.Errorf("got %q:\n%s", got, d.text)
	}
}

func TestDiagnoseEndsWithASignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		c := newCloud(t, simulator.Options{}, project{})
		c.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Hang: true})
		p := startChild(t, "--diagnose", "--config.file="+c.file(t, c.projects...))
		p.eventually(t, "the list is requested", func() bool { return c.Requested(simulator.Clusters) > 0 })
		p.signal(t, syscall.SIGHUP, signal)
		p.waitForExit(t, 1)
		out := p.stdout.String()
		for _, want := range []string{"ok       CSS HTTP", "skipped  authentication   interrupted\n", "\nInterrupted. "} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: want %q in\n%s", signal, want, out)
			}
		}
	}
}

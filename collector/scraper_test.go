// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/css"
	"css_vpcep_exporter/simulator"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"
)

func reasons(outcomes []Outcome) []css.Reason {
	var r []css.Reason
	for i := range outcomes {
		if outcomes[i].Err == nil {
			r = append(r, "")
			continue
		}
		r = append(r, css.ReasonOf(outcomes[i].Err))
	}
	return r
}

func TestScrape(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("good", simulated(2))
	cloud.add("nonsense", simulated(2))
	cloud.add("off", simulated(0))
	cloud.UpdateCluster("off", func(c *simulatedCluster) { c.ServiceOff = true })
	cloud.fault("nonsense", fault{Body: "<html>"})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})

	outcomes := collected(scraper.Scrape(t.Context(), cloud.targets("good", "nonsense", "off", "missing")))
	if got, want := fmt.Sprint(reasons(outcomes)), "[ decode  denied]"; got != want {
		t.Errorf("reasons %s, want %s", got, want)
	}
	if l := outcomes[0].List; l == nil || len(l.Connections) != 2 || outcomes[0].ReadAt.IsZero() || outcomes[0].Duration <= 0 {
		t.Errorf("good: %+v", outcomes[0])
	}
	if outcomes[1].List != nil || outcomes[3].List != nil {
		t.Error("a failure shows a list")
	}
	if l := outcomes[2].List; l == nil || l.Enabled {
		t.Errorf("off: %+v", outcomes[2])
	}
	scraper.Wait()
}

type simulatedCluster = simulator.Cluster

// TestShared has two scrapes at the same moment cost one call.
func TestShared(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(2))
	cloud.fault("c1", fault{Latency: 100 * time.Millisecond})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if o := collected(scraper.Scrape(t.Context(), cloud.targets("c1"))); o[0].Err != nil {
				t.Error(o[0].Err)
			}
		})
	}
	wg.Wait()
	if n := cloud.calls("c1"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// TestGivesUp has a hanging cluster cost only itself, and its call is cancelled when nobody waits any more.
func TestGivesUp(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("good", simulated(1))
	cloud.add("hangs", simulated(1))
	cloud.fault("hangs", fault{Hang: true})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	if o := collected(scraper.Scrape(t.Context(), cloud.targets("good"))); o[0].Err != nil { // the credentials are proven
		t.Fatal(o[0].Err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	start := time.Now()
	outcomes := collected(scraper.Scrape(ctx, cloud.targets("hangs", "good")))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if got, want := fmt.Sprint(reasons(outcomes)), "[timeout ]"; got != want {
		t.Errorf("reasons %s, want %s", got, want)
	}
	eventually(t, "the call is cancelled", func() bool { return cloud.Cancelled() == 1 && cloud.InFlight() == 0 })
	scraper.Wait()
}

// TestImpatient has one scrape that gives up leave the other's call alone.
func TestImpatient(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.fault("c1", fault{Latency: 300 * time.Millisecond})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	patient, cancelPatient := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancelPatient()

	var wg sync.WaitGroup
	wg.Go(func() {
		if o := collected(scraper.Scrape(impatient, cloud.targets("c1"))); o[0].Err == nil {
			t.Error("the impatient scrape got an answer")
		}
	})
	eventually(t, "the call is under way", func() bool { return cloud.InFlight() == 1 })
	o := collected(scraper.Scrape(patient, cloud.targets("c1")))
	wg.Wait()
	if o[0].Err != nil || cloud.calls("c1") != 1 {
		t.Errorf("%v after %d calls", o[0].Err, cloud.calls("c1"))
	}
}

func TestMinInterval(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.add("fails", simulated(1))
	cloud.fault("fails", fault{Status: http.StatusNotFound, Body: "{}"})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4, MinInterval: time.Hour})
	first := collected(scraper.Scrape(t.Context(), cloud.targets("c1", "fails")))
	second := collected(scraper.Scrape(t.Context(), cloud.targets("c1", "fails")))
	if cloud.calls("c1") != 1 || second[0].Err != nil || second[0].ReadAt != first[0].ReadAt || second[0].List == nil {
		t.Errorf("%d calls, %+v", cloud.calls("c1"), second[0])
	}
	if cloud.calls("fails") != 2 || second[1].Err == nil {
		t.Errorf("a failure was served again: %d calls", cloud.calls("fails"))
	}
}

func TestMaxStaleness(t *testing.T) {
	for _, tc := range []struct {
		staleness time.Duration
		stands    bool
	}{{0, false}, {time.Nanosecond, false}, {time.Hour, true}} {
		t.Run(tc.staleness.String(), func(t *testing.T) {
			cloud := newCloud(t)
			cloud.add("c1", simulated(1))
			scraper := cloud.scraper(ScrapeOptions{Concurrency: 4, MaxStaleness: tc.staleness})
			good := collected(scraper.Scrape(t.Context(), cloud.targets("c1")))
			cloud.fault("c1", fault{Status: http.StatusInternalServerError})
			bad := collected(scraper.Scrape(t.Context(), cloud.targets("c1")))
			if bad[0].Err == nil || (bad[0].List != nil) != tc.stands {
				t.Errorf("%+v", bad[0])
			}
			if tc.stands && bad[0].ReadAt != good[0].ReadAt {
				t.Errorf("read at %s, want %s", bad[0].ReadAt, good[0].ReadAt)
			}
		})
	}
}

// TestConcurrency holds the limit over all clusters.
func TestConcurrency(t *testing.T) {
	cloud := newCloud(t)
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("c", i))
		cloud.add(ids[i], simulated(1))
	}
	cloud.fault("", fault{Latency: 5 * time.Millisecond})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 3})
	for i, o := range collected(scraper.Scrape(t.Context(), cloud.targets(ids...))) {
		if o.Err != nil || o.Target.Cluster.ID != ids[i] {
			t.Errorf("%s: %v", o.Target.Cluster.ID, o.Err)
		}
	}
	if peak := cloud.PeakInFlight(); peak != 3 {
		t.Errorf("%d at once, want 3", peak)
	}
}

// TestOtherProjects has a project whose calls all hang leave something to the others, even to a later scrape.
func TestOtherProjects(t *testing.T) {
	cloud := newCloud(t)
	var hanging []Target
	for i := range 20 {
		id := fmt.Sprint("hangs", i)
		cloud.add(id, simulated(1))
		cloud.fault(id, fault{Hang: true})
		target := cloud.target(id)
		target.Project = "another"
		hanging = append(hanging, target)
	}
	cloud.add("c1", simulated(1))
	cloud.add("c2", simulated(1))
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	if o := collected(scraper.Scrape(t.Context(), cloud.targets("c1"))); o[0].Err != nil { // the credentials are proven
		t.Fatal(o[0].Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { collected(scraper.Scrape(ctx, hanging)) })
	eventually(t, "the project has all slots", func() bool { return cloud.InFlight() == 4 })

	ctx2, cancel2 := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel2()
	for _, o := range collected(scraper.Scrape(ctx2, cloud.targets("c1", "c2"))) {
		if o.Err != nil {
			t.Error(o.Err)
		}
	}
	cancel()
	wg.Wait()
	scraper.Wait()
}

// TestOldestFirst spends a tight budget on the clusters that had to wait the last time.
func TestOldestFirst(t *testing.T) {
	cloud := newCloud(t)
	var ids []string
	for i := range 6 {
		ids = append(ids, fmt.Sprint("c", i))
		cloud.add(ids[i], simulated(1))
	}
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	for round := range 3 {
		cloud.limit(rate.NewLimiter(rate.Every(time.Hour), 2)) // two requests a round
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		outcomes := collected(scraper.Scrape(ctx, cloud.targets(ids...)))
		cancel()
		for i, o := range outcomes {
			if turn := i/2 == round; turn != (o.Err == nil) {
				t.Errorf("round %d, cluster %d: %v", round, i, o.Err)
			}
		}
	}
	for _, id := range ids {
		if n := cloud.calls(id); n != 1 {
			t.Errorf("%s: %d calls, want 1", id, n)
		}
	}
}

// TestLogsOnce has a failure logged when it starts, when its reason changes, and when it ends; and counted each time.
func TestLogsOnce(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	var log bytes.Buffer
	metrics := NewExporterMetrics(prometheus.NewRegistry())
	scraper := NewScraper(ScrapeOptions{Concurrency: 1}, metrics, slog.New(slog.NewTextHandler(&log, nil)))
	scrape := func(times int) {
		for range times {
			collected(scraper.Scrape(t.Context(), cloud.targets("c1")))
		}
	}
	scrape(2)
	cloud.fault("c1", fault{Status: http.StatusForbidden, Body: `{"errCode":"CSS.0015","externalMessage":"No."}`})
	scrape(3)
	cloud.fault("c1", fault{Status: http.StatusInternalServerError})
	scrape(2)
	cloud.fault("c1")
	scrape(2)

	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), log.String())
	}
	for i, wants := range [][]string{
		{`msg="Cluster scrape failed"`, "reason=denied", "code=CSS.0015", "request_id=0", "hint=\"check the cluster ID", "cluster_id=c1"},
		{`msg="Cluster scrape failed"`, "reason=server"},
		{`msg="Cluster scrape succeeded again"`, "cluster_id=c1"},
	} {
		for _, want := range wants {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d has no %s: %s", i, want, lines[i])
			}
		}
	}
	for reason, want := range map[css.Reason]float64{css.ReasonDenied: 3, css.ReasonServer: 2, css.ReasonTimeout: 0} {
		if got := testutil.ToFloat64(metrics.failures.WithLabelValues(string(reason))); got != want {
			t.Errorf("%s counted %v times, want %v", reason, got, want)
		}
	}
}

// TestCallerGone counts and logs nothing when whoever asked went away.
func TestCallerGone(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.fault("c1", fault{Hang: true})
	metrics := NewExporterMetrics(prometheus.NewRegistry())
	scraper := NewScraper(ScrapeOptions{Concurrency: 1}, metrics, discard())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { collected(scraper.Scrape(ctx, cloud.targets("c1"))) })
	eventually(t, "the call is under way", func() bool { return cloud.InFlight() == 1 })
	cancel()
	wg.Wait()
	if n := testutil.ToFloat64(metrics.failures.WithLabelValues("timeout")); n != 0 {
		t.Errorf("counted %v times", n)
	}
	cloud.fault("c1")
	if o := collected(scraper.Scrape(t.Context(), cloud.targets("c1"))); o[0].Err != nil {
		t.Errorf("the next scrape joined the cancelled call: %v", o[0].Err)
	}
	scraper.Wait()
}

// TestRetain forgets clusters that are gone, and with them what would be served again.
func TestRetain(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.add("c2", simulated(1))
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 1, MinInterval: time.Hour})
	collected(scraper.Scrape(t.Context(), cloud.targets("c1", "c2")))
	scraper.Retain(cloud.targets("c2"))
	collected(scraper.Scrape(t.Context(), cloud.targets("c1", "c2")))
	if a, b := cloud.calls("c1"), cloud.calls("c2"); a != 2 || b != 1 {
		t.Errorf("%d and %d calls, want 2 and 1", a, b)
	}
}

// TestWrongKey has clusters whose key is refused fail at once and cost next to nothing.
func TestWrongKey(t *testing.T) {
	cloud := newCloud(t)
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("c", i))
		cloud.add(ids[i], simulated(1))
	}
	cloud.fault("", fault{Status: http.StatusUnauthorized, Body: `{"error_code":"APIGW.0301"}`})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 16})
	for range 5 {
		for _, o := range collected(scraper.Scrape(t.Context(), cloud.targets(ids...))) {
			if css.ReasonOf(o.Err) != css.ReasonAuth {
				t.Fatal(o.Err)
			}
		}
	}
	if n := len(cloud.Requests()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// TestScrapeRemembersWhoHung: a cluster that only waited while another one tried the credentials keeps its place before
// that one.
func TestScrapeRemembersWhoHung(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("hangs", simulated(1))
	cloud.add("waits", simulated(1))
	cloud.fault("hangs", fault{Hang: true})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond) // shorter than the patience with who tries
	defer cancel()
	var first sync.WaitGroup
	first.Go(func() { collected(scraper.Scrape(ctx, cloud.targets("hangs"))) })
	for cloud.InFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	collected(scraper.Scrape(ctx, cloud.targets("waits")))
	first.Wait()
	scraper.Wait()
	if hung := scraper.clusters[clusterKey{"production", "hangs"}]; !hung.timedOut {
		t.Error("the one that hung does not go last")
	}
	if waited := scraper.clusters[clusterKey{"production", "waits"}]; waited.timedOut || !waited.triedAt.IsZero() {
		t.Error("the one that waited goes last too")
	}
}

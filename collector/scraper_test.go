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

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"
)

// reasons returns the reason of each outcome, "" for success.
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
	cloud.add("valid", simulated(2))
	cloud.add("html", simulated(2))
	cloud.add("off", simulated(0))
	cloud.UpdateCluster("off", func(c *simulator.Cluster) { c.ServiceOff = true })
	cloud.fault("html", fault{Body: "<html>"})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})

	outcomes := collect(scraper.Scrape(t.Context(), cloud.targets("valid", "html", "off", "missing")))
	if got, want := fmt.Sprint(reasons(outcomes)), "[ decode  denied]"; got != want {
		t.Errorf("reasons %s, want %s", got, want)
	}
	o := outcomes[0]
	if o.List == nil || len(o.List.Connections) != 2 || o.ReadAt.IsZero() || o.Duration <= 0 {
		t.Errorf("valid: %+v", o)
	}
	if outcomes[1].List != nil || outcomes[3].List != nil {
		t.Error("a failed outcome has a list")
	}
	if l := outcomes[2].List; l == nil || l.Enabled {
		t.Errorf("off: %+v", outcomes[2])
	}
	scraper.Wait()
}

// TestScrapesShareReads checks that concurrent scrapes send one request.
func TestScrapesShareReads(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(2))
	cloud.fault("c1", fault{Latency: 100 * time.Millisecond})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if o := collect(scraper.Scrape(t.Context(), cloud.targets("c1"))); o[0].Err != nil {
				t.Error(o[0].Err)
			}
		})
	}
	wg.Wait()
	if n := cloud.calls("c1"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestTimeoutCancelsRead checks that a hanging cluster affects no other, and that its read is cancelled with the
// scrape.
func TestTimeoutCancelsRead(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("valid", simulated(1))
	cloud.add("hangs", simulated(1))
	cloud.fault("hangs", fault{Hang: true})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	if o := collect(scraper.Scrape(t.Context(), cloud.targets("valid"))); o[0].Err != nil { // proves the credentials
		t.Fatal(o[0].Err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	start := time.Now()
	outcomes := collect(scraper.Scrape(ctx, cloud.targets("hangs", "valid")))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if got, want := fmt.Sprint(reasons(outcomes)), "[timeout ]"; got != want {
		t.Errorf("reasons %s, want %s", got, want)
	}
	eventually(t, "the request is cancelled", func() bool { return cloud.Cancelled() == 1 && cloud.InFlight() == 0 })
	scraper.Wait()
}

// TestSharedReadOutlivesShortScrape checks that a read continues for a second scrape when the first one times out.
func TestSharedReadOutlivesShortScrape(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.fault("c1", fault{Latency: 300 * time.Millisecond})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4})
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	long, cancelLong := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancelLong()

	var wg sync.WaitGroup
	wg.Go(func() {
		if o := collect(scraper.Scrape(short, cloud.targets("c1"))); o[0].Err == nil {
			t.Error("the short scrape succeeded")
		}
	})
	eventually(t, "the request is in flight", func() bool { return cloud.InFlight() == 1 })
	o := collect(scraper.Scrape(long, cloud.targets("c1")))
	wg.Wait()
	if o[0].Err != nil || cloud.calls("c1") != 1 {
		t.Errorf("%v after %d requests", o[0].Err, cloud.calls("c1"))
	}
}

func TestMinInterval(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.add("fails", simulated(1))
	cloud.fault("fails", fault{Status: http.StatusNotFound, Body: "{}"})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 4, MinInterval: time.Hour})
	first := collect(scraper.Scrape(t.Context(), cloud.targets("c1", "fails")))
	second := collect(scraper.Scrape(t.Context(), cloud.targets("c1", "fails")))
	if cloud.calls("c1") != 1 || second[0].Err != nil || second[0].ReadAt != first[0].ReadAt || second[0].List == nil {
		t.Errorf("%d requests, %+v", cloud.calls("c1"), second[0])
	}
	if cloud.calls("fails") != 2 || second[1].Err == nil {
		t.Errorf("a failure was served again: %d requests", cloud.calls("fails"))
	}
}

func TestMaxStaleness(t *testing.T) {
	for _, tc := range []struct {
		staleness time.Duration
		wantList  bool
	}{{0, false}, {time.Nanosecond, false}, {time.Hour, true}} {
		t.Run(tc.staleness.String(), func(t *testing.T) {
			cloud := newCloud(t)
			cloud.add("c1", simulated(1))
			scraper := cloud.scraper(ScrapeOptions{Concurrency: 4, MaxStaleness: tc.staleness})
			first := collect(scraper.Scrape(t.Context(), cloud.targets("c1")))
			cloud.fault("c1", fault{Status: http.StatusInternalServerError})
			second := collect(scraper.Scrape(t.Context(), cloud.targets("c1")))
			if second[0].Err == nil || (second[0].List != nil) != tc.wantList {
				t.Errorf("%+v", second[0])
			}
			if tc.wantList && second[0].ReadAt != first[0].ReadAt {
				t.Errorf("read at %s, want %s", second[0].ReadAt, first[0].ReadAt)
			}
		})
	}
}

func TestConcurrencyLimit(t *testing.T) {
	cloud := newCloud(t)
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("c", i))
		cloud.add(ids[i], simulated(1))
	}
	cloud.fault("", fault{Latency: 5 * time.Millisecond})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 3})
	for i, o := range collect(scraper.Scrape(t.Context(), cloud.targets(ids...))) {
		if o.Err != nil || o.Target.Cluster.ID != ids[i] {
			t.Errorf("%s: %v", o.Target.Cluster.ID, o.Err)
		}
	}
	if peak := cloud.PeakInFlight(); peak != 3 {
		t.Errorf("%d requests in flight at once, want 3", peak)
	}
}

// TestHangingProjectReleasesSlots checks that a project whose requests all hang does not block a scrape of another one.
func TestHangingProjectReleasesSlots(t *testing.T) {
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
	if o := collect(scraper.Scrape(t.Context(), cloud.targets("c1"))); o[0].Err != nil { // proves the credentials
		t.Fatal(o[0].Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { collect(scraper.Scrape(ctx, hanging)) })
	eventually(t, "the project has all slots", func() bool { return cloud.InFlight() == 4 })

	ctx2, cancel2 := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel2()
	for _, o := range collect(scraper.Scrape(ctx2, cloud.targets("c1", "c2"))) {
		if o.Err != nil {
			t.Error(o.Err)
		}
	}
	cancel()
	wg.Wait()
	scraper.Wait()
}

// TestOldestTryFirst checks that a tight budget is spent on the clusters that waited longest.
func TestOldestTryFirst(t *testing.T) {
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
		outcomes := collect(scraper.Scrape(ctx, cloud.targets(ids...)))
		cancel()
		for i, o := range outcomes {
			if turn := i/2 == round; turn != (o.Err == nil) {
				t.Errorf("round %d, cluster %d: %v", round, i, o.Err)
			}
		}
	}
	for _, id := range ids {
		if n := cloud.calls(id); n != 1 {
			t.Errorf("%s: %d requests, want 1", id, n)
		}
	}
}

// TestFailureIsLoggedOnce checks that each failure is counted, but only those that begin, change their reason or end
// are logged.
func TestFailureIsLoggedOnce(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	var log bytes.Buffer
	metrics := NewExporterMetrics(prometheus.NewRegistry())
	scraper := NewScraper(ScrapeOptions{Concurrency: 1}, metrics, slog.New(slog.NewTextHandler(&log, nil)))
	scrape := func(times int) {
		for range times {
			collect(scraper.Scrape(t.Context(), cloud.targets("c1")))
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
		{
			`msg="Cluster scrape failed"`, "reason=denied", "code=CSS.0015", "request_id=0",
			"hint=\"check the cluster ID", "cluster_id=c1",
		},
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

func TestCancelledScrapeIsNotCounted(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.fault("c1", fault{Hang: true})
	metrics := NewExporterMetrics(prometheus.NewRegistry())
	scraper := NewScraper(ScrapeOptions{Concurrency: 1}, metrics, discard())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { collect(scraper.Scrape(ctx, cloud.targets("c1"))) })
	eventually(t, "the request is in flight", func() bool { return cloud.InFlight() == 1 })
	cancel()
	wg.Wait()
	if n := testutil.ToFloat64(metrics.failures.WithLabelValues("timeout")); n != 0 {
		t.Errorf("counted %v times", n)
	}
	cloud.fault("c1")
	if o := collect(scraper.Scrape(t.Context(), cloud.targets("c1"))); o[0].Err != nil {
		t.Errorf("the next scrape joined the cancelled read: %v", o[0].Err)
	}
	scraper.Wait()
}

// TestRetain checks that the lists of removed clusters are not served again.
func TestRetain(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("c1", simulated(1))
	cloud.add("c2", simulated(1))
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 1, MinInterval: time.Hour})
	collect(scraper.Scrape(t.Context(), cloud.targets("c1", "c2")))
	scraper.Retain(cloud.targets("c2"))
	collect(scraper.Scrape(t.Context(), cloud.targets("c1", "c2")))
	if a, b := cloud.calls("c1"), cloud.calls("c2"); a != 2 || b != 1 {
		t.Errorf("%d and %d requests, want 2 and 1", a, b)
	}
}

func TestRejectedKeyCostsFewRequests(t *testing.T) {
	cloud := newCloud(t)
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("c", i))
		cloud.add(ids[i], simulated(1))
	}
	cloud.fault("", fault{Status: http.StatusUnauthorized, Body: `{"error_code":"APIGW.0301"}`})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 16})
	for range 5 {
		for _, o := range collect(scraper.Scrape(t.Context(), cloud.targets(ids...))) {
			if css.ReasonOf(o.Err) != css.ReasonAuth {
				t.Fatal(o.Err)
			}
		}
	}
	if n := len(cloud.Requests()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// TestTimedOutClusterGoesLast checks that a cluster that waited while another one tried the credentials keeps its
// place.
func TestTimedOutClusterGoesLast(t *testing.T) {
	cloud := newCloud(t)
	cloud.add("hangs", simulated(1))
	cloud.add("waits", simulated(1))
	cloud.fault("hangs", fault{Hang: true})
	scraper := cloud.scraper(ScrapeOptions{Concurrency: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond) // shorter than a try of the credentials may take
	defer cancel()
	var first sync.WaitGroup
	first.Go(func() { collect(scraper.Scrape(ctx, cloud.targets("hangs"))) })
	for cloud.InFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	collect(scraper.Scrape(ctx, cloud.targets("waits")))
	first.Wait()
	scraper.Wait()
	if hung := scraper.clusters[clusterKey{"production", "hangs"}]; !hung.timedOut {
		t.Error("the cluster that hung does not go last")
	}
	if waited := scraper.clusters[clusterKey{"production", "waits"}]; waited.timedOut || !waited.triedAt.IsZero() {
		t.Error("the cluster that waited goes last too")
	}
}

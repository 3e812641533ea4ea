// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// reasons returns the reason of each outcome, "" for success.
func reasons(outcomes []Outcome) []cloud.Reason {
	var r []cloud.Reason
	for i := range outcomes {
		if outcomes[i].Err == nil {
			r = append(r, "")
			continue
		}
		r = append(r, cloud.ReasonOf(outcomes[i].Err))
	}
	return r
}

func TestScrapeYieldsOutcomesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud()
		simulated.Add("valid", withConnections(2))
		simulated.Add("html", withConnections(2))
		simulated.Add("off", func(c *simulator.Cluster) { c.ServiceOff = true })
		simulated.FailReads("valid", fault{Latency: 20 * time.Millisecond})
		simulated.FailReads("html", fault{Body: "<html>"})
		scraper := newScraper(ScrapeOptions{Concurrency: 4})

		start := time.Now()
		outcomes := scrapeAll(t.Context(), scraper, simulated.targets("valid", "html", "off", "missing"))
		if got, want := fmt.Sprint(reasons(outcomes)), "[ decode  denied]"; got != want {
			t.Errorf("got reasons %s, want %s", got, want)
		}
		o := outcomes[0]
		if o.List == nil || len(o.List.Connections) != 2 {
			t.Errorf("valid: got %+v, want two connections", o)
		}
		if read, want := o.ReadAt.Sub(start), 20*time.Millisecond; read != want || o.Duration != want {
			t.Errorf("valid: got a read after %s and a duration of %s, want %s", read, o.Duration, want)
		}
		if outcomes[1].List != nil || outcomes[3].List != nil {
			t.Error("a failed outcome has a list")
		}
		if l := outcomes[2].List; l == nil || l.Enabled {
			t.Errorf("off: got %+v, want a list that is not enabled", outcomes[2])
		}
		scraper.Wait()
	})
}

func TestConcurrentScrapesShareReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("c1")
		simulated.FailReads("c1", fault{Latency: 100 * time.Millisecond})
		scraper := newScraper(ScrapeOptions{Concurrency: 4})
		for range 4 {
			go func() {
				if o := scrapeAll(t.Context(), scraper, simulated.targets("c1")); o[0].Err != nil {
					t.Error(o[0].Err)
				}
			}()
		}
		time.Sleep(time.Second)
		if n := simulated.Reads("c1"); n != 1 {
			t.Errorf("got %d requests, want 1", n)
		}
	})
}

// TestTimeoutCancelsRead checks that a hanging cluster affects no other, and that its read ends with the scrape.
func TestTimeoutCancelsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("valid", "hangs")
		simulated.FailReads("hangs", fault{Hang: true})
		scraper := newScraper(ScrapeOptions{Concurrency: 4})
		if o := scrapeAll(t.Context(), scraper, simulated.targets("valid")); o[0].Err != nil {
			t.Fatal(o[0].Err) // the key must be accepted first
		}

		const timeout = 150 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		start := time.Now()
		outcomes := scrapeAll(ctx, scraper, simulated.targets("hangs", "valid"))
		if took := time.Since(start); took != timeout || outcomes[0].Duration != timeout {
			t.Errorf("got a scrape of %s and a read of %s, want %s", took, outcomes[0].Duration, timeout)
		}
		if got, want := fmt.Sprint(reasons(outcomes)), "[timeout ]"; got != want {
			t.Errorf("got reasons %s, want %s", got, want)
		}
		scraper.Wait()
		synctest.Wait() // the cloud notices a moment later
		if cancelled, inFlight := simulated.Cancelled(), simulated.InFlight(); cancelled != 1 || inFlight != 0 {
			t.Errorf("got %d cancelled requests and %d in flight, want 1 and 0", cancelled, inFlight)
		}
	})
}

func TestSharedReadOutlivesShortScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("c1")
		simulated.FailReads("c1", fault{Latency: 300 * time.Millisecond})
		scraper := newScraper(ScrapeOptions{Concurrency: 4})
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		long, cancelLong := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancelLong()

		go func() {
			if o := scrapeAll(short, scraper, simulated.targets("c1")); o[0].Err == nil {
				t.Error("the short scrape succeeded")
			}
		}()
		synctest.Wait()
		if n := simulated.InFlight(); n != 1 {
			t.Fatalf("got %d requests in flight, want 1", n)
		}
		o := scrapeAll(long, scraper, simulated.targets("c1"))
		if n := simulated.Reads("c1"); o[0].Err != nil || n != 1 {
			t.Errorf("got %v after %d requests, want success after 1", o[0].Err, n)
		}
	})
}

func TestMinIntervalServesLastList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("c1", "fails")
		simulated.FailReads("fails", fault{Status: http.StatusNotFound, Body: "{}"})
		scraper := newScraper(ScrapeOptions{Concurrency: 4, MinInterval: time.Hour})
		scrape := func() []Outcome {
			return scrapeAll(t.Context(), scraper, simulated.targets("c1", "fails"))
		}
		first := scrape()
		time.Sleep(time.Hour - time.Nanosecond)
		second := scrape()
		if n := simulated.Reads("c1"); n != 1 {
			t.Errorf("got %d requests, want 1", n)
		}
		if o := second[0]; o.Err != nil || o.ReadAt != first[0].ReadAt || o.List == nil || o.List != first[0].List {
			t.Errorf("got %+v, want the list of %+v", o, first[0])
		}
		if n := simulated.Reads("fails"); n != 2 || second[1].Err == nil {
			t.Errorf("a failure was served again: got %d requests, want 2", n)
		}
		time.Sleep(time.Nanosecond)
		if third := scrape(); simulated.Reads("c1") != 2 || third[0].ReadAt != time.Now() {
			t.Errorf("after min_interval: got %d requests, want 2", simulated.Reads("c1"))
		}
	})
}

func TestMaxStalenessShowsLastList(t *testing.T) {
	const age = time.Minute
	for _, tc := range []struct {
		staleness time.Duration
		wantList  bool
	}{{0, false}, {time.Nanosecond, false}, {age - 1, false}, {age, true}, {time.Hour, true}} {
		t.Run(tc.staleness.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				simulated := newCloud("c1")
				scraper := newScraper(ScrapeOptions{Concurrency: 4, MaxStaleness: tc.staleness})
				first := scrapeAll(t.Context(), scraper, simulated.targets("c1"))
				time.Sleep(age)
				simulated.FailReads("c1", fault{Status: http.StatusInternalServerError})
				second := scrapeAll(t.Context(), scraper, simulated.targets("c1"))
				if second[0].Err == nil || (second[0].List != nil) != tc.wantList {
					t.Errorf("got %+v, want a failure; with a list: %t", second[0], tc.wantList)
				}
				if tc.wantList && second[0].ReadAt != first[0].ReadAt {
					t.Errorf("got a list read at %s, want %s", second[0].ReadAt, first[0].ReadAt)
				}
			})
		})
	}
}

// TestFailureIsLoggedOnce checks that each failure is counted, but only those that begin, change their reason or end
// are logged.
func TestFailureIsLoggedOnce(t *testing.T) {
	simulated := newCloud("c1")
	var log bytes.Buffer
	metrics := NewExporterMetrics(prometheus.NewRegistry())
	scraper := NewScraper(ScrapeOptions{Concurrency: 1}, metrics, slog.New(slog.NewTextHandler(&log, nil)))
	scrape := func(times int) {
		for range times {
			scrapeAll(t.Context(), scraper, simulated.targets("c1"))
		}
	}
	scrape(2)
	simulated.FailReads("c1", fault{Status: http.StatusForbidden, Body: `{"errCode":"CSS.0015","externalMessage":"No."}`})
	scrape(3)
	simulated.FailReads("c1", fault{Status: http.StatusInternalServerError})
	scrape(2)
	simulated.FailReads("c1")
	scrape(2)

	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines, want 3:\n%s", len(lines), log.String())
	}
	for i, parts := range [][]string{
		{
			`msg="Cluster scrape failed"`, "reason=denied", "code=CSS.0015", "request_id=0",
			"hint=\"check the cluster ID", " err=", "cluster_id=c1",
		},
		{`msg="Cluster scrape failed"`, "reason=server", "request_id=0", " hint=", " err="},
		{`msg="Cluster scrape succeeded again"`, "cluster_id=c1"},
	} {
		for _, want := range parts {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d: got %s, want it to contain %s", i, lines[i], want)
			}
		}
	}
	for reason, want := range map[cloud.Reason]float64{cloud.ReasonDenied: 3, cloud.ReasonServer: 2, cloud.ReasonTimeout: 0} {
		if got := testutil.ToFloat64(metrics.failures.WithLabelValues(string(reason))); got != want {
			t.Errorf("%s: got %v failures, want %v", reason, got, want)
		}
	}
}

func TestCancelledScrapeIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("c1")
		simulated.FailReads("c1", fault{Hang: true})
		metrics := NewExporterMetrics(prometheus.NewRegistry())
		scraper := NewScraper(ScrapeOptions{Concurrency: 1}, metrics, discardLogger())
		ctx, cancel := context.WithCancel(t.Context())
		go scrapeAll(ctx, scraper, simulated.targets("c1"))
		synctest.Wait()
		if n := simulated.InFlight(); n != 1 {
			t.Errorf("got %d requests in flight, want 1", n)
		}
		cancel()
		synctest.Wait()
		if n := testutil.ToFloat64(metrics.failures.WithLabelValues("timeout")); n != 0 {
			t.Errorf("got %v failures, want 0", n)
		}
		simulated.FailReads("c1")
		if o := scrapeAll(t.Context(), scraper, simulated.targets("c1")); o[0].Err != nil {
			t.Errorf("the next scrape joined the cancelled read: %v", o[0].Err)
		}
		scraper.Wait()
	})
}

// lingeringReader returns from a cancelled read late.
type lingeringReader struct{ Reader }

func (r lingeringReader) Connections(
	ctx context.Context, id string, last *css.ConnectionList,
) (*css.ConnectionList, error) {
	list, err := r.Reader.Connections(ctx, id, last)
	if ctx.Err() != nil {
		time.Sleep(time.Minute)
	}
	return list, err
}

func TestCancelledReadIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("c1")
		simulated.FailReads("c1", fault{Hang: true})
		targets := simulated.targets("c1")
		targets[0].Reader = lingeringReader{simulated.client}
		scraper := newScraper(ScrapeOptions{Concurrency: 2})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		scrapeAll(ctx, scraper, targets)
		simulated.FailReads("c1")
		start := time.Now()
		if o := scrapeAll(t.Context(), scraper, targets); o[0].Err != nil || time.Since(start) != 0 {
			t.Errorf("got %v after %s, want success at once", o[0].Err, time.Since(start))
		}
		scraper.Wait()
	})
}

func TestScrapeMayBeStoppedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("first", "recent", "hangs")
		scraper := newScraper(ScrapeOptions{Concurrency: 4, MinInterval: time.Hour})
		scrapeAll(t.Context(), scraper, simulated.targets("recent"))
		simulated.FailReads("hangs", fault{Hang: true})
		for o := range scraper.Scrape(t.Context(), simulated.targets("first", "recent", "hangs")) {
			if o.Err != nil {
				t.Error(o.Err)
			}
			synctest.Wait()
			break
		}
		scraper.Wait()
		synctest.Wait() // the cloud notices a moment later
		if cancelled, inFlight := simulated.Cancelled(), simulated.InFlight(); cancelled != 1 || inFlight != 0 {
			t.Errorf("got %d cancelled requests and %d in flight, want 1 and 0", cancelled, inFlight)
		}
	})
}

func TestStateOfFailingCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := newCloud("c1")
		scraper := newScraper(ScrapeOptions{Concurrency: 1})
		scrape := func() time.Time {
			scrapeAll(t.Context(), scraper, simulated.targets("c1"))
			defer time.Sleep(time.Minute)
			return time.Now()
		}
		if s := scraper.State("production", "c1"); s != (State{}) {
			t.Errorf("before the first scrape: got %+v, want nothing", s)
		}
		readAt := scrape()
		simulated.FailReads("c1", fault{Status: http.StatusInternalServerError})
		first := scrape()
		last := scrape()
		s := scraper.State("production", "c1")
		if s.List == nil || s.ReadAt != readAt || cloud.ReasonOf(s.Err) != cloud.ReasonServer {
			t.Errorf("got %+v, want a list read at %s and a failure of the server", s, readAt)
		}
		if s.Failing != first || s.FailedAt != last {
			t.Errorf("got failures from %s to %s, want from %s to %s", s.Failing, s.FailedAt, first, last)
		}
		simulated.FailReads("c1")
		scrape()
		if s := scraper.State("production", "c1"); s.Err != nil {
			t.Errorf("after recovery: got %v", s.Err)
		}
	})
}

func TestScrapeFillsInProjectID(t *testing.T) {
	simulated := newCloud("c1", "c2")
	targets := simulated.targets("c1", "c2")
	targets[0].ProjectID, targets[1].ProjectID = "", "configured"
	outcomes := scrapeAll(t.Context(), newScraper(ScrapeOptions{Concurrency: 2}), targets)
	for i, want := range []string{simtest.ProjectID, "configured"} {
		if got := outcomes[i].Target.ProjectID; got != want {
			t.Errorf("target %d: got project ID %q, want %q", i, got, want)
		}
	}
}

func TestRetainDropsOtherClusters(t *testing.T) {
	simulated := newCloud("c1", "c2")
	scraper := newScraper(ScrapeOptions{Concurrency: 1, MinInterval: time.Hour})
	scrapeAll(t.Context(), scraper, simulated.targets("c1", "c2"))
	scraper.Retain(simulated.targets("c2"))
	scrapeAll(t.Context(), scraper, simulated.targets("c1", "c2"))
	if n1, n2 := simulated.Reads("c1"), simulated.Reads("c2"); n1 != 2 || n2 != 1 {
		t.Errorf("got %d and %d requests, want 2 and 1", n1, n2)
	}
}

func TestRejectedKeyCostsFewRequests(t *testing.T) {
	ids := numberedIDs(20)
	simulated := newCloud(ids...)
	simulated.FailReads("", fault{Status: http.StatusUnauthorized, Body: `{"error_code":"APIGW.0301"}`})
	scraper := newScraper(ScrapeOptions{Concurrency: 16})
	for range 5 {
		for o := range scraper.Scrape(t.Context(), simulated.targets(ids...)) {
			if cloud.ReasonOf(o.Err) != cloud.ReasonAuth {
				t.Fatalf("got %v, want the reason auth", o.Err)
			}
		}
	}
	if n := len(simulated.Requests()); n != 3 {
		t.Errorf("got %d requests, want 3", n)
	}
}

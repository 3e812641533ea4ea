// SPDX-License-Identifier: Apache-2.0

package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/sessions"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a project of a cloud without a network, in virtual time.
type rig struct {
	cloud  *simtest.Cloud
	css    *css.Client
	reader *sessions.Reader
	ids    []string
	log    *strings.Builder // only for single goroutines
	budget *rate.Limiter
	keys   *cloud.Keys
	asked  []time.Time // of each call of Cloud Eye

	handler http.Handler // default: cloud
}

type projectID struct{}

func (projectID) KnownID() string { return simtest.ProjectID }

// newRig returns a project with n connections that have sessions. It reads them in batches until the test ends.
func newRig(t *testing.T, n, batchSize int, changes ...func(*rig)) *rig {
	t.Helper()
	r := &rig{
		cloud: simtest.NewUnserved(simulator.Options{}), log: &strings.Builder{},
		budget: rate.NewLimiter(1000, 1000), keys: cloud.NewKeys(),
	}
	for _, change := range changes {
		change(r)
	}
	if r.handler == nil {
		r.handler = r.cloud
	}
	r.cloud.Add("c1", func(c *simulator.Cluster) {
		for i := range n {
			id := fmt.Sprintf("e%03d", i)
			r.ids = append(r.ids, id)
			c.Connections = append(c.Connections, simulator.Connection{ID: id, Status: "accepted"})
			r.cloud.SetSessions(id, func(time.Time) (sessions, active float64, ok bool) { return float64(i), 1, true })
		}
	})
	r.css = csstest.InMemory(r.cloud, func(o *csstest.Options) { o.Keys, o.Budget = r.keys, r.budget })
	r.reader = r.newReader(batchSize)
	r.run(t, r.reader)
	return r
}

func (r *rig) newReader(batchSize int) *sessions.Reader {
	client := cloud.NewClient(cloud.Options{
		Region: simtest.Region, Scope: "sessions", Keys: r.keys, Retry: cloud.Retry{Tries: 1}, Budget: r.budget,
		Credentials: credentials.NewFiles(
			cloud.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}, cloud.Credentials{}),
		Transport: &simtest.RoundTripper{Handler: r.handler},
		Observe:   func(e cloud.Exchange) { r.asked = append(r.asked, time.Now().Add(-e.Duration)) },
	})
	return sessions.New(ces.NewClient(client, "http://cloud.invalid", projectID{}, func(map[string]int) {}),
		batchSize, slog.New(slog.NewTextHandler(r.log, nil)))
}

// run runs a reader until the test, or the returned function, ends it.
func (r *rig) run(t *testing.T, reader *sessions.Reader) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		reader.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// scrape reads the cluster and offers its connections.
func (r *rig) scrape(t *testing.T) {
	t.Helper()
	if err := r.css.Reserve(t.Context(), "c1"); err != nil {
		t.Error(err)
	}
	if _, err := r.css.Connections(t.Context(), "c1", nil); err != nil {
		t.Error(err)
	}
	r.reader.Offer(func() []string { return r.ids })
}

// scrapeFor scrapes at an interval.
func (r *rig) scrapeFor(t *testing.T, d, interval time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		r.scrape(t)
		time.Sleep(interval)
	}
	synctest.Wait()
}

func (r *rig) fail(faults ...simulator.Fault) {
	r.cloud.SetFault(simulator.Target{Endpoint: simulator.Sessions}, faults...)
}

// shown returns how many connections have sessions.
func (r *rig) shown() (n int) {
	for i, id := range r.ids {
		if s := r.reader.Values().Of(id).Sessions; s.Known && s.Value == float64(i) {
			n++
		}
	}
	return n
}

// mostInAMinute returns the largest number of calls within any minute.
func mostInAMinute(calls []time.Time) (most int) {
	for i := range calls {
		n := 1
		for j := i + 1; j < len(calls) && calls[j].Sub(calls[i]) < time.Minute; j++ {
			n++
		}
		most = max(most, n)
	}
	return most
}

func TestCallsHoweverOftenItIsScraped(t *testing.T) {
	for name, test := range map[string]struct {
		connections, batchSize, want int
		interval                     time.Duration
		fault                        simulator.Fault
		atLeast                      int // reads in ten minutes
	}{
		"every second":         {10, 7, 3, time.Second, simulator.Fault{}, 10},
		"every 15 s":           {10, 20, 1, 15 * time.Second, simulator.Fault{}, 10},
		"every minute":         {10, 1, 20, time.Minute, simulator.Fault{}, 10},
		"a little faster":      {10, 20, 1, 59 * time.Second, simulator.Fault{}, 9},
		"every two minutes":    {10, 20, 1, 2 * time.Minute, simulator.Fault{}, 5},
		"slow answers":         {10, 5, 4, 15 * time.Second, simulator.Fault{Latency: 7 * time.Second}, 10},
		"slower than a minute": {10, 5, 4, 15 * time.Second, simulator.Fault{Latency: 25 * time.Second}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, test.connections, test.batchSize)
				r.fail(test.fault)
				r.scrapeFor(t, 10*time.Minute, test.interval)
				if most := mostInAMinute(r.asked); most > test.want {
					t.Errorf("got %d calls within a minute, want at most %d: %v", most, test.want, r.asked)
				}
				if least := test.atLeast * test.want; len(r.asked) < least {
					t.Errorf("got %d calls, want at least %d", len(r.asked), least)
				}
				if n := r.shown(); n != test.connections {
					t.Errorf("got %d connections with sessions, want %d", n, test.connections)
				}
				if s := r.reader.State(); !s.Tried || s.Err != nil || time.Since(s.LastSuccess) > 4*time.Minute {
					t.Errorf("got state %+v", s)
				}
				for _, q := range r.cloud.Requests() {
					if q.Endpoint == simulator.Sessions && (q.FromMoved || q.Status != 200 && !q.InFlight) {
						t.Errorf("got the query %+v", q)
					}
				}
			})
		})
	}
}

func TestOneBatchThatFailsHidesNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10, 4) // 5 batches
		bad := 0
		r.fail(simulator.Fault{Status: 500, Active: func(time.Time) bool {
			// The third batch of the first read, and then each fifth.
			bad++
			return bad%5 == 3
		}})
		r.scrapeFor(t, 5*time.Minute, 15*time.Second)
		if n := r.shown(); n != 8 {
			t.Errorf("got %d connections with sessions, want the 8 of the other batches", n)
		}
		if s := r.reader.State(); s.Err == nil || !s.LastSuccess.IsZero() {
			t.Errorf("got state %+v, want a failure", s)
		}
		if n := strings.Count(r.log.String(), "Reading sessions failed"); n != 1 {
			t.Errorf("got %d messages, want 1:\n%s", n, r.log)
		}
		if most := mostInAMinute(r.asked); most > 5 {
			t.Errorf("got %d calls within a minute, want at most 5", most)
		}
	})
}

func TestValuesAgeAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500)
		r.scrape(t)
		synctest.Wait()
		time.Sleep(time.Second)
		if n := r.shown(); n != 3 {
			t.Fatalf("got %d connections with sessions, want 3", n)
		}
		values := r.reader.Values()
		r.fail(simulator.Fault{Status: 503})
		start := time.Now().Truncate(time.Minute) // of the newest value
		r.scrapeFor(t, time.Until(start.Add(10*time.Minute-time.Second)), 15*time.Second)
		if s := r.reader.State(); s.Err == nil || s.LastSuccess.IsZero() {
			t.Errorf("got state %+v, want a failure after a success", s)
		}
		time.Sleep(time.Until(start.Add(11 * time.Minute)))
		if n := r.shown(); n != 0 || r.reader.Values() != nil {
			t.Errorf("after 11 minutes, got %d connections with sessions, want none", n)
		}
		if values.Of(r.ids[1]).Sessions.Value != 1 {
			t.Error("the old values have changed")
		}
		r.fail()
		r.scrapeFor(t, 2*time.Minute, 15*time.Second)
		if n := r.shown(); n != 3 {
			t.Errorf("after the failure, got %d connections with sessions, want 3", n)
		}
		if n := strings.Count(r.log.String(), "Reading sessions succeeded"); n != 2 {
			t.Errorf("got %d messages about success, want 2:\n%s", n, r.log)
		}
	})
}

func TestGapsAndEndpointsWithoutData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500)
		r.cloud.SetSessions("e001", nil)
		gap := time.Now().Add(5 * time.Minute)
		r.cloud.SetSessions("e002", func(at time.Time) (sessions, active float64, ok bool) { return 2, 2, at.Before(gap) })
		r.scrapeFor(t, 14*time.Minute, 15*time.Second)
		if n := r.shown(); n != 2 || r.reader.Values().Of("e001").Sessions.Known {
			t.Errorf("got %d connections with sessions, want 2", n)
		}
		r.scrapeFor(t, 2*time.Minute, 15*time.Second)
		if n := r.shown(); n != 1 {
			t.Errorf("11 minutes after the last value, got %d connections with sessions, want 1", n)
		}
		if s := r.reader.State(); s.Err != nil {
			t.Errorf("got %v, although no data is normal", s.Err)
		}
	})
}

func TestHangingCloudEyeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10, 4)
		r.fail(simulator.Fault{Hang: true})
		r.scrapeFor(t, 5*time.Minute, 10*time.Second)
		if s := r.reader.State(); cloud.ReasonOf(s.Err) != cloud.ReasonTimeout {
			t.Errorf("got %v, want a timeout", s.Err)
		}
		if len(r.asked) != 5 {
			t.Errorf("got %d calls in 5 minutes, want one each", len(r.asked))
		}
	})
}

func TestThrottlingIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10, 4)
		r.fail(simulator.Fault{
			Status: 429, Header: map[string][]string{"Retry-After": {"150"}}, Body: `{"http_code":429,"message":{"code":"ces.0429"}}`,
		})
		r.scrapeFor(t, 2*time.Minute, 10*time.Second)
		if len(r.asked) != 1 || cloud.CodeOf(r.reader.State().Err) != "ces.0429" {
			t.Errorf("got %d calls and %v, want 1 call", len(r.asked), r.reader.State().Err)
		}
		r.fail()
		r.scrapeFor(t, 2*time.Minute, 10*time.Second)
		if n := r.shown(); n != 10 {
			t.Errorf("after Retry-After, got %d connections with sessions, want 10", n)
		}
	})
}

// TestInherit shows that a reload keeps the values and the count of calls, even while the old reader reads.
func TestInherit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10, 4)
		r.fail(simulator.Fault{Latency: time.Second})
		stop := r.run(t, r.reader) // waits for the other
		r.scrape(t)
		time.Sleep(3500 * time.Millisecond)
		old := r.reader
		r.reader = r.newReader(4)
		r.reader.Inherit(old)
		r.run(t, r.reader)
		stop()
		if r.reader.Due() {
			t.Error("a read is due right after the reload")
		}
		r.scrapeFor(t, 3*time.Minute, 10*time.Second)
		if most := mostInAMinute(r.asked); most > 5 {
			t.Errorf("got %d calls within a minute, want at most 5: %v", most, r.asked)
		}
	})
}

func TestIDsThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 500)
		r.ids = append(r.ids, "", "e000", `"`, "a b", "端", strings.Repeat("x", 257), "-e")
		r.scrapeFor(t, time.Minute, 15*time.Second)
		asked := slices.Sorted(maps.Keys(countByID(r.cloud.MetricQueries())))
		if !slices.Equal(asked, []string{"e000", "e001"}) || r.reader.State().Err != nil {
			t.Errorf("asked for %q: %v", asked, r.reader.State().Err)
		}
	})
}

func countByID(queries map[simulator.Metric]int) map[string]int {
	counts := make(map[string]int)
	for m, n := range queries {
		counts[m.ConnectionID] += n
	}
	return counts
}

func TestNothingToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0, 500)
		r.scrapeFor(t, 2*time.Minute, 15*time.Second)
		if s := r.reader.State(); s != (sessions.State{}) || len(r.asked) > 0 {
			t.Errorf("got state %+v and %d calls, want none", s, len(r.asked))
		}
	})
}

// TestHintIfThereIsNoBudget shows that the hint is that of Cloud Eye's requests, and not of those of clusters.
func TestHintIfThereIsNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500, func(r *rig) { r.budget = rate.NewLimiter(0.001, 1) })
		r.scrape(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err, ok := errors.AsType[*cloud.Error](r.newReader(500).Read(ctx, r.ids))
		if !ok || err.Hint() != "raise --scrape.timeout or requests_per_second" {
			t.Errorf("got %v, want a hint on requests_per_second", err)
		}
	})
}

// TestTightBudget shows that sessions are read although the budget allows a request only every 10 s, and that the reads of
// a cluster never wait for them.
func TestTightBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500, func(r *rig) { r.budget = rate.NewLimiter(0.1, 1) })
		for range 20 {
			start := time.Now()
			r.scrape(t)
			if took := time.Since(start); took > 0 {
				t.Errorf("a read of the cluster waited for %s", took)
			}
			time.Sleep(45 * time.Second)
		}
		if n := r.shown(); n != 3 {
			t.Errorf("got %d connections with sessions, want 3", n)
		}
	})
}

// TestBudgetThatScrapesUseUp shows that sessions that are never read are a failure that says why.
func TestBudgetThatScrapesUseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500, func(r *rig) { r.budget = rate.NewLimiter(0.1, 1) })
		r.scrapeFor(t, 11*time.Minute, 0)
		state := r.reader.State()
		if cloud.ReasonOf(state.Err) != cloud.ReasonTimeout || !strings.Contains(state.Err.Error(), "requests_per_second") {
			t.Errorf("got state %+v, want a timeout that names requests_per_second", state)
		}
		if len(r.asked) > 0 {
			t.Errorf("got %d calls, want none", len(r.asked))
		}
	})
}

// TestScrapesWithoutAPause shows that sessions are read although scrapes use all of the budget.
func TestScrapesWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500, func(r *rig) { r.budget = rate.NewLimiter(20, 20) })
		r.scrapeFor(t, 4*time.Minute, 0)
		if n := len(r.asked); n < 4 || mostInAMinute(r.asked) > 1 {
			t.Errorf("got %d calls in 4 minutes, want one each minute: %v", n, r.asked)
		}
		if state := r.reader.State(); state.Err != nil {
			t.Errorf("got state %+v, want no failure", state)
		}
	})
}

// TestScrapesThatReadNoList shows that sessions are read every minute although scrape.min_interval spares the lists.
func TestScrapesThatReadNoList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500)
		r.scrape(t)
		for range 40 {
			time.Sleep(15 * time.Second)
			r.reader.Offer(func() []string { return r.ids })
		}
		if len(r.asked) < 10 || mostInAMinute(r.asked) > 1 {
			t.Errorf("got %d calls in 10 minutes, want one each minute: %v", len(r.asked), r.asked)
		}
	})
}

func TestFailureEndsWithTheLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500)
		r.fail(simulator.Fault{Status: 403})
		r.scrapeFor(t, time.Minute, 15*time.Second)
		if state := r.reader.State(); state.Err == nil {
			t.Fatalf("got state %+v, want a failure", state)
		}
		r.ids = nil
		r.scrapeFor(t, 2*time.Minute, 15*time.Second)
		if state := r.reader.State(); state != (sessions.State{}) {
			t.Errorf("without connections, got state %+v, want that of a project without reads", state)
		}
	})
}

// TestCallsThatArriveLate shows that a slow network does not bring two calls closer together than a minute.
func TestCallsThatArriveLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived []time.Time
		r := newRig(t, 3, 500, func(r *rig) {
			r.handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if len(arrived)%2 == 0 {
					time.Sleep(80 * time.Millisecond)
				}
				arrived = append(arrived, time.Now())
				r.cloud.ServeHTTP(w, req)
			})
		})
		r.scrapeFor(t, 10*time.Minute, time.Second)
		if most := mostInAMinute(arrived); most > 1 || len(arrived) < 9 {
			t.Errorf("got %d calls, %d of them within a minute; want one each minute: %v", len(arrived), most, arrived)
		}
	})
}

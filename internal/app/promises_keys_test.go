// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

const (
	trustedFor    = 3 * time.Second // how long an accepted key may be used concurrently
	maxRejections = 3               // rejections in a row before a pause; the cloud locks the key at the fifth
)

// checkRejections fails if a key was rejected too often, in a row or in total, or is locked.
func (c *testCloud) checkRejections(t *testing.T, accessKey string, maxTotal int) {
	t.Helper()
	inARow, total := c.Rejections(accessKey)
	t.Logf("%d rejections in a row, %d in total", inARow, total)
	if inARow > maxRejections {
		t.Errorf("got %d rejections in a row, want at most %d", inARow, maxRejections)
	}
	if total > maxTotal {
		t.Errorf("got %d rejections, want at most %d", total, maxTotal)
	}
	if c.Locked(accessKey) {
		t.Error("the key is locked")
	}
}

// checkAllUp fails unless a scrape shows all clusters up.
func (p *program) checkAllUp(t *testing.T, ids []string) {
	t.Helper()
	if got := p.scrape(t, 10*time.Second).countUp(ids); got != len(ids) {
		t.Fatalf("got %d clusters up, want %d", got, len(ids))
	}
}

// checkPaused scrapes three times with a rejected key. Every cluster must fail with auth, and only the first scrape
// may send requests.
func (p *program) checkPaused(t *testing.T, c *testCloud, ids []string) {
	t.Helper()
	var sent int
	for n := 1; n <= 3; n++ {
		e := p.scrape(t, 10*time.Second)
		if got := e.countDown(ids); got != len(ids) {
			t.Errorf("scrape %d: got %d clusters down, want %d", n, got, len(ids))
		}
		if got := e.failures(); got["auth"] != n*len(ids) || len(got) != 1 {
			t.Errorf("scrape %d: got the failures %v, want only auth: %d", n, got, n*len(ids))
		}
		if got := len(c.Requests()) - sent; n > 1 && got != 0 {
			t.Errorf("scrape %d: got %d requests during the pause, want 0", n, got)
		}
		sent = len(c.Requests())
	}
}

// fiveWithOneKey returns projects of 12 clusters each, and the IDs of all clusters.
func fiveWithOneKey(secretKey, settings string) (projects []project, ids []string) {
	for i := range 5 {
		id := fmt.Sprintf("p%d", i)
		p := project{
			name: id, id: id, accessKey: "AK-shared", secretKey: secretKey, settings: settings, clusters: clusterIDs(id, 12),
		}
		projects, ids = append(projects, p), append(ids, p.clusters...)
	}
	return projects, ids
}

func TestKeyRevokedBetweenScrapesIsPaused(t *testing.T) {
	slow(t)
	for name, code := range map[string]string{
		"revoked": "APIGW.0301", "unknown": "APIGW.0303", "expired": "APIGW.0307", "CSS.0045": "CSS.0045",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := clusterIDs("c", 60)
			revokeBetweenScrapes(t, code, ids, project{accessKey: "AK-revoked", clusters: ids})
		})
	}
	t.Run("shared by five projects", func(t *testing.T) {
		t.Parallel()
		projects, ids := fiveWithOneKey("", "")
		revokeBetweenScrapes(t, "APIGW.0301", ids, projects...)
	})
}

func revokeBetweenScrapes(t *testing.T, code string, ids []string, projects ...project) {
	t.Helper()
	c := newCloud(t, simulator.Options{}, projects...)
	c.FailReads("", simulator.Fault{Latency: 200 * time.Millisecond}) // after the gateway has checked the key
	p := c.start(t)
	p.checkAllUp(t, ids)
	c.RejectKey(projects[0].accessKey, code)
	time.Sleep(trustedFor)
	p.checkPaused(t, c, ids)
	c.checkRejections(t, projects[0].accessKey, maxRejections)
}

func TestWrongKeyIsPaused(t *testing.T) {
	slow(t)
	ids := clusterIDs("c", 60)
	for name, p := range map[string]project{
		"clusters":  {clusters: ids},
		"discovery": {clusters: ids, settings: everySecond},
		"lookup":    {clusters: ids, lookUpID: true},
	} {
		p.accessKey, p.secretKey = "AK-wrong", "another one"
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, simulator.Options{}, p)
			program := c.start(t)
			var clients sync.WaitGroup
			for range 2 {
				clients.Go(func() {
					for range 3 {
						if got := program.scrape(t, 10*time.Second).countDown(ids); got != len(ids) {
							t.Errorf("got %d clusters down, want %d", got, len(ids))
						}
						time.Sleep(time.Second) // in which discovery and the lookup could retry
					}
				})
			}
			clients.Wait()
			c.checkRejections(t, p.accessKey, maxRejections)
		})
	}
}

func TestWrongKeyOfFiveProjectsIsPaused(t *testing.T) {
	projects, ids := fiveWithOneKey("another one", "discovery: {}")
	c := newCloud(t, simulator.Options{}, projects...)
	p := c.start(t)
	for range 3 {
		if got := p.scrape(t, 10*time.Second).countDown(ids); got != len(ids) {
			t.Errorf("got %d clusters down, want %d", got, len(ids))
		}
	}
	c.checkRejections(t, "AK-shared", maxRejections)
}

// TestReloadKeepsThePause checks that repeated reloads, such as by a sidecar, do not lock a wrong key.
func TestReloadKeepsThePause(t *testing.T) {
	wrong := project{accessKey: "AK-wrong", secretKey: "another one", clusters: clusterIDs("c", 20)}
	c := newCloud(t, simulator.Options{}, wrong)
	path := c.file(t, wrong)
	p := start(t, "--config.file="+path, "--web.enable-lifecycle")
	for n := range 6 {
		p.scrape(t, 5*time.Second)
		wrong.rate = 1001 + n
		if status, body := p.reload(t, path, c.config(wrong)); status != http.StatusOK {
			t.Errorf("reload: got status %d, want 200: %s", status, body)
		}
	}
	c.checkRejections(t, wrong.accessKey, maxRejections)
}

// TestKeyRevokedInABurst revokes a key while 16 requests are in flight, whose responses arrive at once. Those that
// were sent before the first rejection arrived may be rejected too, and then at most three single tries.
func TestKeyRevokedInABurst(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{accessKey: "AK-burst", clusters: clusterIDs("c", 60)})
	c.FailReads("", simulator.Fault{Latency: 200 * time.Millisecond})
	p := c.start(t)
	var scrape sync.WaitGroup
	scrape.Go(func() { p.scrape(t, 10*time.Second) })
	p.eventually(t, "the burst is in flight", func() bool { return c.InFlight() >= 16 })
	c.RejectKey("AK-burst", "APIGW.0301")
	scrape.Wait()
	p.scrape(t, 10*time.Second)
	_, total := c.Rejections("AK-burst")
	t.Logf("%d rejections, at most %d requests in flight", total, c.PeakInFlight())
	if most := c.PeakInFlight() + maxRejections; total == 0 || total > most {
		t.Errorf("got %d rejections, want 1 to %d", total, most)
	}
}

// TestLateSuccessesDoNotEndAPause revokes a key while 16 accepted requests are in flight, whose responses arrive one
// by one after the key was rejected.
func TestLateSuccessesDoNotEndAPause(t *testing.T) {
	c := newUnservedCloud(simulator.Options{}, project{accessKey: "AK-burst", clusters: clusterIDs("c", 60)})
	accepted := newGate()
	c.serveBuffered(t, func(r *http.Request, response *httptest.ResponseRecorder) {
		if response.Code == http.StatusOK {
			accepted.hold(r.Context())
		}
	})
	p := c.start(t)
	var scrape sync.WaitGroup
	scrape.Go(func() { p.scrape(t, 10*time.Second) })
	p.eventually(t, "the key is tried", func() bool { return accepted.held.Load() == 1 })
	accepted.release <- struct{}{}
	p.eventually(t, "the burst is in flight", func() bool { return accepted.held.Load() >= 16 })
	c.RejectKey("AK-burst", "APIGW.0301")
	accepted.release <- struct{}{}
	p.eventually(t, "the key was tried three times", func() bool {
		_, total := c.Rejections("AK-burst")
		return total >= maxRejections
	})
	for held := accepted.held.Load(); held > 0; held-- {
		accepted.release <- struct{}{}
		p.eventually(t, "the response is sent", func() bool { return accepted.held.Load() < held })
	}
	scrape.Wait()
	p.scrape(t, 10*time.Second)
	c.checkRejections(t, "AK-burst", maxRejections)
	c.checkSingleTries(t)
}

// checkSingleTries fails if two rejected requests were in flight at once.
func (c *testCloud) checkSingleTries(t *testing.T) {
	t.Helper()
	var end time.Time // of the last rejected request
	for _, r := range c.Requests() {
		if r.Status != http.StatusUnauthorized {
			continue
		}
		if r.Start.Before(end) {
			t.Error("two rejected requests were in flight at once")
		}
		end = r.Start.Add(r.Duration)
	}
}

// TestOneRejectingClusterAffectsNoOthers makes the first of 61 clusters reject the key in each of five scrapes, which
// follow at once or after the trust in the key has ended.
func TestOneRejectingClusterAffectsNoOthers(t *testing.T) {
	slow(t)
	tokenIncorrect := simulator.Fault{
		Status: 400, Body: `{"errCode":"CSS.0045","externalMessage":"The token is incorrect."}`,
	}
	for name, test := range map[string]struct {
		rejection simulator.Fault
		interval  time.Duration
	}{
		"401":                 {simulator.Fault{Status: 401}, 0},
		"401, 3 s apart":      {simulator.Fault{Status: 401}, trustedFor},
		"CSS.0045":            {tokenIncorrect, 0},
		"CSS.0045, 3 s apart": {tokenIncorrect, trustedFor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const scrapes = 5
			others := clusterIDs("c", 60)
			c := newCloud(t, simulator.Options{}, project{
				accessKey: "AK-valid", clusters: append([]string{"rejecting"}, others...),
			})
			c.FailReads("", simulator.Fault{Latency: 20 * time.Millisecond})
			c.FailReads("rejecting", test.rejection)
			p := c.start(t)
			for n := 1; n <= scrapes; n++ {
				if n > 1 {
					time.Sleep(test.interval)
				}
				e := p.scrape(t, 10*time.Second)
				if got := e.countUp(others); got != len(others) {
					t.Errorf("scrape %d: got %d others up, want %d", n, got, len(others))
				}
				if got := e.failures(); e.countDown([]string{"rejecting"}) != 1 || got["auth"] != n {
					t.Errorf("scrape %d: got the failures %v, want auth: %d", n, got, n)
				}
			}
			c.checkRejections(t, "AK-valid", scrapes)
		})
	}
}

// TestPausedKeyRecovers waits for the end of a pause, more than a minute, so it runs with the soak test.
func TestPausedKeyRecovers(t *testing.T) {
	if os.Getenv("CSS_VPCEP_SOAK") == "" {
		t.Skip("CSS_VPCEP_SOAK is not set")
	}
	t.Parallel()
	ids := clusterIDs("c", 60)
	t.Run("accepted again", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t, simulator.Options{}, project{accessKey: "AK-again", clusters: ids})
		rejectForAWhile(t, c, ids, func() { c.RejectKey("AK-again", "APIGW.0301") }, func() { c.AcceptKey("AK-again") })
		c.checkRejections(t, "AK-again", maxRejections)
	})
	t.Run("the cloud's clock jumps and comes back", func(t *testing.T) {
		t.Parallel()
		var ahead atomic.Int64
		clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c := newCloud(t, simulator.Options{Now: clock}, project{accessKey: "AK-late", clusters: ids})
		rejectForAWhile(t, c, ids, func() { ahead.Store(int64(20 * time.Minute)) }, func() { ahead.Store(0) })
		c.checkRejections(t, "AK-late", maxRejections)
	})
}

// rejectForAWhile checks that a key is not used in the first half of its pause of a minute, although it is accepted
// again, and is used after the pause.
func rejectForAWhile(t *testing.T, c *testCloud, ids []string, reject, accept func()) {
	t.Helper()
	p := c.start(t)
	p.checkAllUp(t, ids)
	reject()
	time.Sleep(trustedFor)
	p.checkPaused(t, c, ids)
	sent := len(c.Requests())
	accept()
	for range 3 {
		time.Sleep(10 * time.Second)
		p.scrape(t, 10*time.Second)
	}
	if n := len(c.Requests()) - sent; n != 0 {
		t.Errorf("got %d requests during the pause, want 0", n)
	}
	p.eventually(t, "all clusters are up again", func() bool {
		time.Sleep(time.Second)
		return p.scrape(t, 10*time.Second).countUp(ids) == len(ids)
	})
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/simulator"
)

const (
	// trust is for how long an accepted key may be used by many calls at once.
	trust = 3 * time.Second
	// mostRefusals of a key in a row come before its pause; the cloud locks it with the fifth.
	mostRefusals = 3
	// firstPause of a key after that.
	firstPause = time.Minute

	everySecond = "discovery: {refresh_interval: 1s}"
)

// TestKeysAreProtected holds that no key comes near its lock, whatever happens to it, and that a cluster that refuses
// alone costs the others nothing.
func TestKeysAreProtected(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits until an accepted key has to show again that it is valid")
	}
	t.Parallel()
	together(t, map[string]func(*testing.T){
		"revoked between scrapes":         func(t *testing.T) { revokedBetweenScrapes(t, "APIGW.0301") },
		"unknown between scrapes":         func(t *testing.T) { revokedBetweenScrapes(t, "APIGW.0303") },
		"expired between scrapes":         func(t *testing.T) { revokedBetweenScrapes(t, "APIGW.0307") },
		"CSS.0045 between scrapes":        func(t *testing.T) { revokedBetweenScrapes(t, "CSS.0045") },
		"wrong, with clusters":            func(t *testing.T) { wrongFromTheStart(t, member{}) },
		"wrong, with discovery":           func(t *testing.T) { wrongFromTheStart(t, member{settings: everySecond}) },
		"wrong, with a look-up":           func(t *testing.T) { wrongFromTheStart(t, member{lookup: true}) },
		"shared, revoked between scrapes": sharedAndRevoked,
		"shared, wrong from the start":    sharedAndWrong,
		"revoked in a burst":              revokedInABurst,
		"revoked in a burst, one by one":  revokedOneByOne,
		"one refuses alone":               func(t *testing.T) { refusesAlone(t, 0, simulator.Fault{Status: 401}) },
		"one refuses alone, now and then": func(t *testing.T) { refusesAlone(t, trust, simulator.Fault{Status: 401}) },
		"one says CSS.0045":               func(t *testing.T) { refusesAlone(t, 0, tokenIncorrect()) },
		"one says CSS.0045, now and then": func(t *testing.T) { refusesAlone(t, trust, tokenIncorrect()) },
	})
}

// TestPausedKeyRecovers waits for the end of a pause, so it takes more than a minute and runs with the soak test.
func TestPausedKeyRecovers(t *testing.T) {
	if os.Getenv("CSS_VPCEP_SOAK") == "" {
		t.Skip("set CSS_VPCEP_SOAK to run it")
	}
	t.Parallel()
	together(t, map[string]func(*testing.T){
		"accepted again":             acceptedAgain,
		"clock jumps and comes back": clockJumps,
	})
}

func tokenIncorrect() simulator.Fault {
	return simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0045","externalMessage":"The token is incorrect."}`}
}

// checkRefusals fails if a key was refused too often in a row or in all, or is locked.
func (c *promisesCloud) checkRefusals(t *testing.T, access string, mostInAll int) {
	t.Helper()
	inARow, total := c.Refusals(access)
	t.Logf("%d refusals in a row, %d in all", inARow, total)
	if inARow > mostRefusals || total > mostInAll {
		t.Errorf("the key was refused %d times in a row and %d times in all, more than %d and %d",
			inARow, total, mostRefusals, mostInAll)
	}
	if c.Locked(access) {
		t.Error("the key is locked")
	}
}

// slow gives every cluster a latency, which is none of the gateway.
func (c *promisesCloud) slow(latency time.Duration) {
	c.SetFault(simulator.Target{Endpoint: simulator.Connections}, simulator.Fault{Latency: latency})
}

// pausedScrapes scrapes three times while a key is refused: every cluster fails with auth. The first scrape may be what
// brings the refusals; the others make no call at all.
func pausedScrapes(t *testing.T, cloud *promisesCloud, p *program, ids []string) {
	t.Helper()
	var calls int
	for n := 1; n <= 3; n++ {
		clusters, own, _ := p.scrape(t, "10")
		if down := clusters.down(ids); down != len(ids) {
			t.Errorf("scrape %d: %d of %d clusters are down", n, down, len(ids))
		}
		if failed := failures(own); failed["auth"] != n*len(ids) || len(failed) != 1 {
			t.Errorf("scrape %d: failures by reason %v, want %d times auth", n, failed, n*len(ids))
		}
		if n > 1 && len(cloud.Requests()) != calls {
			t.Errorf("scrape %d: %d requests in the pause", n, len(cloud.Requests())-calls)
		}
		calls = len(cloud.Requests())
	}
}

func revokedBetweenScrapes(t *testing.T, code string) {
	t.Helper()
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-revoked", clusters: ids})
	cloud.slow(200 * time.Millisecond)
	p := cloud.start(t)
	if clusters, _, _ := p.scrape(t, "10"); clusters.up(ids) != len(ids) {
		t.Fatalf("%d of %d clusters are up at first", clusters.up(ids), len(ids))
	}
	cloud.RefuseKey("AK-revoked", code)
	time.Sleep(trust)
	pausedScrapes(t, cloud, p, ids)
	cloud.checkRefusals(t, "AK-revoked", mostRefusals)
}

// wrongFromTheStart has two Prometheus servers scrape at once, again and again.
func wrongFromTheStart(t *testing.T, m member) {
	t.Helper()
	m.project, m.access, m.secret, m.clusters = "p1", "AK-wrong", "another one", clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, m)
	p := cloud.start(t)
	var scrapes sync.WaitGroup
	for range 2 {
		scrapes.Go(func() {
			for range 3 {
				if clusters, _, _ := p.scrape(t, "10"); clusters.down(m.clusters) != len(m.clusters) {
					t.Errorf("%d of %d clusters are down", clusters.down(m.clusters), len(m.clusters))
				}
				time.Sleep(time.Second) // in which discovery and the look-up try again
			}
		})
	}
	scrapes.Wait()
	cloud.checkRefusals(t, m.access, mostRefusals)
}

// fiveWithOneKey are projects of 12 clusters each.
func fiveWithOneKey(secret, settings string) (members []member, ids []string) {
	for i := range 5 {
		m := member{project: fmt.Sprintf("p%d", i), access: "AK-shared", secret: secret, settings: settings}
		m.clusters = clusterIDs(m.project, 12)
		members, ids = append(members, m), append(ids, m.clusters...)
	}
	return members, ids
}

// TestReloadKeepsThePause: a sidecar that reloads again and again must not lock a wrong key, whatever else the file changes.
func TestReloadKeepsThePause(t *testing.T) {
	ids := clusterIDs("c", 20)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-wrong", secret: "another one", clusters: ids})
	file := cloud.file(t, cloud.Serve(t))
	content, err := os.ReadFile(file) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "--config.file="+file, "--web.enable-lifecycle")
	for n := range 6 {
		p.scrape(t, "5")
		changed := strings.Replace(string(content), "requests_per_second: 1000", fmt.Sprintf("requests_per_second: %d", 1001+n), 1)
		p.reload(t, file, changed)
	}
	cloud.checkRefusals(t, "AK-wrong", mostRefusals)
}

func sharedAndRevoked(t *testing.T) {
	members, ids := fiveWithOneKey("", "")
	cloud := newPromisesCloud(simulator.Options{}, members...)
	cloud.slow(200 * time.Millisecond)
	p := cloud.start(t)
	if clusters, _, _ := p.scrape(t, "10"); clusters.up(ids) != len(ids) {
		t.Fatalf("%d of %d clusters are up at first", clusters.up(ids), len(ids))
	}
	cloud.RefuseKey("AK-shared", "APIGW.0301")
	time.Sleep(trust)
	pausedScrapes(t, cloud, p, ids)
	cloud.checkRefusals(t, "AK-shared", mostRefusals)
}

func sharedAndWrong(t *testing.T) {
	members, ids := fiveWithOneKey("another one", "discovery: {}")
	cloud := newPromisesCloud(simulator.Options{}, members...)
	p := cloud.start(t)
	for range 3 {
		if clusters, _, _ := p.scrape(t, "10"); clusters.down(ids) != len(ids) {
			t.Errorf("%d of %d clusters are down", clusters.down(ids), len(ids))
		}
	}
	cloud.checkRefusals(t, "AK-shared", mostRefusals)
}

func acceptedAgain(t *testing.T) {
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-again", clusters: ids})
	recovers(t, cloud, "AK-again", ids,
		func() { cloud.RefuseKey("AK-again", "APIGW.0301") },
		func() { cloud.AcceptKey("AK-again") })
}

// clockJumps moves the cloud's clock by 20 minutes, so that it refuses every signature.
func clockJumps(t *testing.T) {
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{Now: clock}, member{project: "p1", access: "AK-late", clusters: ids})
	recovers(t, cloud, "AK-late", ids,
		func() { ahead.Store(int64(20 * time.Minute)) },
		func() { ahead.Store(0) })
}

// recovers has a key refused from one moment to another. It is refused three times at most, pauses, and is used again
// after the pause of a minute.
func recovers(t *testing.T, cloud *promisesCloud, access string, ids []string, refuse, accept func()) {
	t.Helper()
	p := cloud.start(t)
	if clusters, _, _ := p.scrape(t, "10"); clusters.up(ids) != len(ids) {
		t.Fatalf("%d of %d clusters are up at first", clusters.up(ids), len(ids))
	}
	refuse()
	time.Sleep(trust)
	pausedScrapes(t, cloud, p, ids)
	paused, calls := time.Now(), len(cloud.Requests())
	accept()
	for time.Since(paused) < firstPause/2 {
		time.Sleep(firstPause / 6)
		p.scrape(t, "10")
	}
	if n := len(cloud.Requests()); n != calls {
		t.Errorf("%d requests in the pause", n-calls)
	}
	up := 0
	for up != len(ids) && time.Since(paused) < firstPause+10*time.Second {
		time.Sleep(time.Second)
		clusters, _, _ := p.scrape(t, "10")
		up = clusters.up(ids)
	}
	if up != len(ids) {
		t.Errorf("%d of %d clusters are up after the pause", up, len(ids))
	}
	cloud.checkRefusals(t, access, mostRefusals)
}

// revokedInABurst revokes a key while 16 calls of 200 ms are under way, whose answers come all at once. The calls that
// follow may be refused if they were sent before the first refusal arrived. After that there are single tries, three at
// most.
func revokedInABurst(t *testing.T) {
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-burst", clusters: ids})
	cloud.slow(200 * time.Millisecond)
	p := cloud.start(t)
	var scrape sync.WaitGroup
	scrape.Go(func() { p.scrape(t, "10") })
	p.eventually(t, "the burst has begun", func() bool { return cloud.InFlight() >= 16 })
	cloud.RefuseKey("AK-burst", "APIGW.0301")
	scrape.Wait()
	p.scrape(t, "10")
	_, total := cloud.Refusals("AK-burst")
	t.Logf("%d refusals, %d calls under way at most", total, cloud.PeakInFlight())
	if most := cloud.PeakInFlight() + mostRefusals; total == 0 || total > most {
		t.Errorf("%d refusals, want 1 to %d", total, most)
	}
}

// revokedOneByOne revokes a key while 16 calls are under way that the gateway has accepted. Their answers come one by
// one, and say nothing about a key that has been refused since.
func revokedOneByOne(t *testing.T) {
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-burst", clusters: ids})
	var held atomic.Int64
	release := make(chan struct{})
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		cloud.ServeHTTP(answer, r)
		if answer.Code == http.StatusOK {
			held.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			held.Add(-1)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(gate.Close)
	p := start(t, "--config.file="+cloud.file(t, gate.URL))
	var scrape sync.WaitGroup
	scrape.Go(func() { p.scrape(t, "10") })
	p.eventually(t, "the key is tried", func() bool { return held.Load() == 1 })
	release <- struct{}{}
	p.eventually(t, "the burst has begun", func() bool { return held.Load() >= 16 })
	cloud.RefuseKey("AK-burst", "APIGW.0301")
	release <- struct{}{}
	p.eventually(t, "the key is refused", func() bool {
		_, total := cloud.Refusals("AK-burst")
		return total > 0
	})
	time.Sleep(500 * time.Millisecond) // in which the program makes its single tries
	for held.Load() > 0 {
		release <- struct{}{}
		time.Sleep(20 * time.Millisecond)
	}
	scrape.Wait()
	p.scrape(t, "10")
	cloud.checkRefusals(t, "AK-burst", mostRefusals)
	var last time.Time // the end of the last refusal
	for _, r := range cloud.Requests() {
		if r.Status != http.StatusUnauthorized {
			continue
		}
		if r.Start.Before(last) {
			t.Error("two requests that were refused were in flight at once")
		}
		last = r.Start.Add(r.Duration)
	}
}

// refusesAlone has the first of 61 clusters refuse in each of five scrapes.
func refusesAlone(t *testing.T, interval time.Duration, refusal simulator.Fault) {
	t.Helper()
	const scrapes = 5
	ids := clusterIDs("c", 61)
	alone, others := ids[0], ids[1:]
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-valid", clusters: ids})
	cloud.slow(20 * time.Millisecond)
	cloud.fault([]string{alone}, refusal)
	p := cloud.start(t)
	for n := 1; n <= scrapes; n++ {
		time.Sleep(interval)
		clusters, own, _ := p.scrape(t, "10")
		if up := clusters.up(others); up != len(others) {
			t.Errorf("scrape %d: %d of %d others were read", n, up, len(others))
		}
		if clusters.down([]string{alone}) != 1 || failures(own)["auth"] != n {
			t.Errorf("scrape %d: the cluster is not down with auth; failures by reason: %v", n, failures(own))
		}
	}
	cloud.checkRefusals(t, "AK-valid", scrapes)
}

// SPDX-License-Identifier: Apache-2.0

package app

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

	"css_vpcep_exporter/internal/simulator"
)

const (
	trust         = 3 * time.Second // how long an accepted key may be used concurrently
	maxRejections = 3               // rejections in a row before a pause; the cloud locks the key at the fifth
	firstPause    = time.Minute

	everySecond = "discovery: {refresh_interval: 1s}"
)

// TestKeysAreProtected checks that no key is rejected often enough to be locked, and that a single cluster that rejects
// the key does not affect the others.
func TestKeysAreProtected(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until an accepted key must be tried again")
	}
	t.Parallel()
	together(t, map[string]func(*testing.T){
		"revoked between scrapes":               func(t *testing.T) { revokedBetweenScrapes(t, "APIGW.0301") },
		"unknown between scrapes":               func(t *testing.T) { revokedBetweenScrapes(t, "APIGW.0303") },
		"expired between scrapes":               func(t *testing.T) { revokedBetweenScrapes(t, "APIGW.0307") },
		"CSS.0045 between scrapes":              func(t *testing.T) { revokedBetweenScrapes(t, "CSS.0045") },
		"wrong, with clusters":                  func(t *testing.T) { wrongFromTheStart(t, member{}) },
		"wrong, with discovery":                 func(t *testing.T) { wrongFromTheStart(t, member{settings: everySecond}) },
		"wrong, with a lookup":                  func(t *testing.T) { wrongFromTheStart(t, member{lookup: true}) },
		"shared, revoked between scrapes":       sharedAndRevoked,
		"shared, wrong from the start":          sharedAndWrong,
		"revoked in a burst":                    revokedInABurst,
		"revoked in a burst, one by one":        revokedOneByOne,
		"one cluster rejects":                   func(t *testing.T) { oneClusterRejects(t, 0, simulator.Fault{Status: 401}) },
		"one cluster rejects, intermittently":   func(t *testing.T) { oneClusterRejects(t, trust, simulator.Fault{Status: 401}) },
		"one cluster: CSS.0045":                 func(t *testing.T) { oneClusterRejects(t, 0, tokenIncorrect()) },
		"one cluster: CSS.0045, intermittently": func(t *testing.T) { oneClusterRejects(t, trust, tokenIncorrect()) },
	})
}

// TestPausedKeyRecovers waits for the end of a pause, more than a minute, so it runs with the soak test.
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

// checkRejections fails if a key was rejected too often in a row or in total, or is locked.
func (c *promisesCloud) checkRejections(t *testing.T, access string, maxTotal int) {
	t.Helper()
	inARow, total := c.Refusals(access)
	t.Logf("%d rejections in a row, %d in total", inARow, total)
	if inARow > maxRejections || total > maxTotal {
		t.Errorf("the key was rejected %d times in a row and %d times in total, more than %d and %d",
			inARow, total, maxRejections, maxTotal)
	}
	if c.Locked(access) {
		t.Error("the key is locked")
	}
}

// pausedScrapes scrapes three times with a rejected key: every cluster fails with auth, and only the first scrape may
// send requests.
func pausedScrapes(t *testing.T, cloud *promisesCloud, p *program, ids []string) {
	t.Helper()
	var sent int
	for n := 1; n <= 3; n++ {
		clusters, own, _ := p.scrape(t, "10")
		if down := clusters.down(ids); down != len(ids) {
			t.Errorf("scrape %d: %d of %d clusters are down", n, down, len(ids))
		}
		if failed := failures(own); failed["auth"] != n*len(ids) || len(failed) != 1 {
			t.Errorf("scrape %d: failures by reason %v, want auth: %d", n, failed, n*len(ids))
		}
		if n > 1 && len(cloud.Requests()) != sent {
			t.Errorf("scrape %d: %d requests during the pause", n, len(cloud.Requests())-sent)
		}
		sent = len(cloud.Requests())
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
	cloud.checkRejections(t, "AK-revoked", maxRejections)
}

// wrongFromTheStart scrapes a project with an invalid key like two Prometheus servers.
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
				time.Sleep(time.Second) // discovery and the lookup retry meanwhile
			}
		})
	}
	scrapes.Wait()
	cloud.checkRejections(t, m.access, maxRejections)
}

// fiveWithOneKey returns projects of 12 clusters each, and the IDs of all clusters.
func fiveWithOneKey(secret, settings string) (members []member, ids []string) {
	for i := range 5 {
		m := member{project: fmt.Sprintf("p%d", i), access: "AK-shared", secret: secret, settings: settings}
		m.clusters = clusterIDs(m.project, 12)
		members, ids = append(members, m), append(ids, m.clusters...)
	}
	return members, ids
}

// TestReloadKeepsThePause checks that repeated reloads, such as by a sidecar, do not lock an invalid key.
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
	cloud.checkRejections(t, "AK-wrong", maxRejections)
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
	cloud.checkRejections(t, "AK-shared", maxRejections)
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
	cloud.checkRejections(t, "AK-shared", maxRejections)
}

func acceptedAgain(t *testing.T) {
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-again", clusters: ids})
	recovers(t, cloud, "AK-again", ids,
		func() { cloud.RefuseKey("AK-again", "APIGW.0301") },
		func() { cloud.AcceptKey("AK-again") })
}

// clockJumps moves the cloud's clock by 20 minutes, so that it rejects every signature.
func clockJumps(t *testing.T) {
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{Now: clock}, member{project: "p1", access: "AK-late", clusters: ids})
	recovers(t, cloud, "AK-late", ids,
		func() { ahead.Store(int64(20 * time.Minute)) },
		func() { ahead.Store(0) })
}

// recovers checks that a key that is suddenly rejected is paused after three rejections at most, and is used again
// after a minute.
func recovers(t *testing.T, cloud *promisesCloud, access string, ids []string, reject, accept func()) {
	t.Helper()
	p := cloud.start(t)
	if clusters, _, _ := p.scrape(t, "10"); clusters.up(ids) != len(ids) {
		t.Fatalf("%d of %d clusters are up at first", clusters.up(ids), len(ids))
	}
	reject()
	time.Sleep(trust)
	pausedScrapes(t, cloud, p, ids)
	paused, sent := time.Now(), len(cloud.Requests())
	accept()
	for time.Since(paused) < firstPause/2 {
		time.Sleep(firstPause / 6)
		p.scrape(t, "10")
	}
	if n := len(cloud.Requests()); n != sent {
		t.Errorf("%d requests during the pause", n-sent)
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
	cloud.checkRejections(t, access, maxRejections)
}

// revokedInABurst revokes a key while 16 requests are in flight, whose responses arrive at once. Requests that were
// sent before the first rejection arrived may be rejected too; after that at most three single tries are.
func revokedInABurst(t *testing.T) {
	ids := clusterIDs("c", 60)
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-burst", clusters: ids})
	cloud.slow(200 * time.Millisecond)
	p := cloud.start(t)
	var scrape sync.WaitGroup
	scrape.Go(func() { p.scrape(t, "10") })
	p.eventually(t, "the burst is in flight", func() bool { return cloud.InFlight() >= 16 })
	cloud.RefuseKey("AK-burst", "APIGW.0301")
	scrape.Wait()
	p.scrape(t, "10")
	_, total := cloud.Refusals("AK-burst")
	t.Logf("%d rejections, at most %d requests in flight", total, cloud.PeakInFlight())
	if most := cloud.PeakInFlight() + maxRejections; total == 0 || total > most {
		t.Errorf("%d rejections, want 1 to %d", total, most)
	}
}

// revokedOneByOne revokes a key while 16 accepted requests are in flight. Their successful responses, which arrive one
// by one after the first rejection, must not end the suspicion.
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
	p.eventually(t, "the burst is in flight", func() bool { return held.Load() >= 16 })
	cloud.RefuseKey("AK-burst", "APIGW.0301")
	release <- struct{}{}
	p.eventually(t, "the key is rejected", func() bool {
		_, total := cloud.Refusals("AK-burst")
		return total > 0
	})
	time.Sleep(500 * time.Millisecond) // the program sends its single tries meanwhile
	for held.Load() > 0 {
		release <- struct{}{}
		time.Sleep(20 * time.Millisecond)
	}
	scrape.Wait()
	p.scrape(t, "10")
	cloud.checkRejections(t, "AK-burst", maxRejections)
	var last time.Time // end of the last rejected request
	for _, r := range cloud.Requests() {
		if r.Status != http.StatusUnauthorized {
			continue
		}
		if r.Start.Before(last) {
			t.Error("two rejected requests were in flight at once")
		}
		last = r.Start.Add(r.Duration)
	}
}

// oneClusterRejects makes the first of 61 clusters reject the key in each of five scrapes.
func oneClusterRejects(t *testing.T, interval time.Duration, rejection simulator.Fault) {
	t.Helper()
	const scrapes = 5
	ids := clusterIDs("c", 61)
	alone, others := ids[0], ids[1:]
	cloud := newPromisesCloud(simulator.Options{}, member{project: "p1", access: "AK-valid", clusters: ids})
	cloud.slow(20 * time.Millisecond)
	cloud.fault([]string{alone}, rejection)
	p := cloud.start(t)
	for n := 1; n <= scrapes; n++ {
		time.Sleep(interval)
		clusters, own, _ := p.scrape(t, "10")
		if up := clusters.up(others); up != len(others) {
			t.Errorf("scrape %d: %d of %d others are up", n, up, len(others))
		}
		if clusters.down([]string{alone}) != 1 || failures(own)["auth"] != n {
			t.Errorf("scrape %d: the cluster is not down with auth; failures by reason: %v", n, failures(own))
		}
	}
	cloud.checkRejections(t, "AK-valid", scrapes)
}

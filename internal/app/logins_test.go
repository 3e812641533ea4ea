// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// startTwoProjects starts a program that reads c1 as a user, and c2 with a key of another project.
func (c credentialsCloud) startTwoProjects(t *testing.T, args ...string) *program {
	t.Helper()
	c.AddProject(simulator.Project{Region: "ap-southeast-3", ID: "p2", Keys: []simulator.Key{keyOf("file-2")}})
	c.addCluster("p2", "c2")
	path := c.file(t,
		project{
			auth:     "{user: {name: watcher, domain: account, password_file: " + c.dir + "/password}}",
			clusters: []string{"c1"},
		},
		project{
			region: "ap-southeast-3", id: "p2", clusters: []string{"c2"},
			auth: "{access_key: ACCESS-KEY-file-2, secret_key: secret-key-of-file-2}",
		},
	)
	return start(t, append(args, "--config.file="+path)...)
}

// TestHangingLoginAffectsOnlyItsProject also checks that the login is cancelled with the scrape.
func TestHangingLoginAffectsOnlyItsProject(t *testing.T) {
	slow(t)
	c := newCredentialsCloud(t, simulator.Options{})
	logins := simulator.Target{Endpoint: simulator.Tokens}
	c.SetFault(logins, simulator.Fault{Hang: true})
	p := c.startTwoProjects(t, "--scrape.timeout-offset="+timeoutOffset.String())
	for n := 1; n <= 3; n++ {
		e := p.scrape(t, time.Second+timeoutOffset)
		if e.countDown([]string{"c1"}) != 1 || e.countUp([]string{"c2"}) != 1 || e.failures()["timeout"] != n {
			t.Errorf("scrape %d: got c1 %v, c2 %v and the failures %v; want c1 down by timeout and c2 up",
				n, e.clusters["c1"], e.clusters["c2"], e.failures())
		}
		e.checkDurations(t, timeoutOffset)
		p.eventually(t, "no login is in flight", func() bool { return c.InFlight() == 0 })
	}
	c.SetFault(logins)
	if e := p.scrape(t, 10*time.Second+timeoutOffset); e.countUp([]string{"c1", "c2"}) != 2 {
		t.Errorf("got c1 %v and c2 %v without the fault, want both up", e.clusters["c1"], e.clusters["c2"])
	}
	c.checkSecrets(t, "the log", p.log.String())
}

// TestTimedOutScrapesDoNotDisturbALogin checks that a long scrape succeeds, although short ones that begin before and
// after it wait for the same login and time out.
func TestTimedOutScrapesDoNotDisturbALogin(t *testing.T) {
	c := newCredentialsCloud(t, simulator.Options{})
	logins := newGate()
	c.serveBuffered(t, func(r *http.Request, _ *httptest.ResponseRecorder) {
		if r.Method == http.MethodPost {
			logins.hold(r.Context())
		}
	})
	p := c.startTwoProjects(t)
	var long, short sync.WaitGroup
	scrapeShortly := func() {
		short.Go(func() { p.scrape(t, 600*time.Millisecond) }) // of which the default offset leaves 100 ms
	}
	scrapeShortly()
	p.eventually(t, "a login is in flight", func() bool { return logins.held.Load() == 1 })
	long.Go(func() {
		if e := p.scrape(t, patience/2); e.countUp([]string{"c1", "c2"}) != 2 {
			t.Errorf("got c1 %v and c2 %v in the long scrape, want both up", e.clusters["c1"], e.clusters["c2"])
		}
	})
	short.Wait()
	p.eventually(t, "the long scrape waits for a login", func() bool {
		_, metrics := p.get(t, "/metrics?collect[]=exporter") // is counted too
		return strings.Contains(metrics, "\npromhttp_metric_handler_requests_in_flight 2\n") && logins.held.Load() == 1
	})
	for range 3 {
		scrapeShortly()
	}
	short.Wait()
	close(logins.release)
	long.Wait()
	if n := c.Requested(simulator.Tokens); n > 2 {
		t.Errorf("got %d logins, want at most 2", n)
	}
}

// TestTokensAreRenewedBeforeTheyExpire checks that short-lived tokens cause neither failures nor more logins than
// necessary.
func TestTokensAreRenewedBeforeTheyExpire(t *testing.T) {
	slow(t)
	const life = 3 * time.Second
	c := newCredentialsCloud(t, simulator.Options{TokenLife: life})
	ids := append(clusterIDs("id", 100), "c1")
	for _, id := range ids {
		c.addCluster("p1", id)
	}
	p := start(t, "--config.file="+c.file(t, project{
		auth:     "{user: {name: watcher, domain: account, password_file: " + c.dir + "/password}}",
		settings: "discovery: {}",
	}))
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for c.Requested(simulator.Tokens) < 3 {
				if e := p.scrape(t, 10*time.Second); e.countUp(ids) != len(ids) || len(e.clusters) != len(ids) {
					t.Errorf("got %d of %d clusters up, want %d", e.countUp(ids), len(e.clusters), len(ids))
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	clients.Wait()
	var last time.Time
	for _, r := range c.Requests() {
		if r.Endpoint != simulator.Tokens {
			continue
		}
		if gap := r.Start.Sub(last); gap < life*3/4 { // tokens are renewed after four fifths of their life
			t.Errorf("got a login %s after the one before, want at least %s", gap, life*4/5)
		}
		last = r.Start
	}
	c.checkSecrets(t, "the log", p.log.String())
}

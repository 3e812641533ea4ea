// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

func TestWebConfigFileRequiresAPassword(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	web := filepath.Join(t.TempDir(), "web.yml")
	const hash = "$2a$04$ZNVM.GqBFHMBQRulhoLus./13wX8OxFGU9E5hLvovjtq4R3Qpk7Am" // of only-for-this-test
	writeFile(t, web, "basic_auth_users:\n  prometheus: "+hash+"\n")
	p := launch(t, environment(nil), "--config.file="+c.file(t, c.projects...), "--web.config.file="+web)
	for password, want := range map[string]int{
		"only-for-this-test": http.StatusOK,
		"another":            http.StatusUnauthorized,
	} {
		credentials := base64.StdEncoding.EncodeToString([]byte("prometheus:" + password))
		status, body := p.request(t, http.MethodGet, "/metrics", http.Header{"Authorization": {"Basic " + credentials}})
		if status != want {
			t.Errorf("password %q: got status %d, want %d: %s", password, status, want, body)
		}
	}
	if status, body := p.get(t, "/metrics"); status != http.StatusUnauthorized {
		t.Errorf("no password: got status %d, want 401: %s", status, body)
	}
}

func TestShutdownLetsRunningScrapesFinish(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"slow"}})
	c.FailReads("slow", simulator.Fault{Latency: 300 * time.Millisecond})
	p := c.start(t)
	var scrape sync.WaitGroup
	scrape.Go(func() {
		if e := p.scrape(t, 10*time.Second); e.countUp([]string{"slow"}) != 1 {
			t.Errorf("the running scrape was cancelled:\n%s", e.text)
		}
	})
	p.eventually(t, "the request is in flight", func() bool { return c.InFlight() == 1 })
	p.stop(t)
	scrape.Wait()
}

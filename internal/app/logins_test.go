// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// startTwoProjects starts a program that reads c1 as a user, and c2 with a key of another project.
func (v *vault) startTwoProjects(t *testing.T) *program {
	t.Helper()
	v.AddProject(simulator.Project{Name: "two", Region: "ap-southeast-3", ID: "p2", Keys: []simulator.Key{v.key("file-2")}})
	v.AddCluster("p2", simulator.Cluster{ID: "c2", Name: "other", Status: "200", Engine: "opensearch"})
	text := fmt.Sprintf(`projects:
  - {region: cn-north-4, project_id: p1, endpoint: %[1]q, iam_endpoint: %[1]q, clusters: [{id: c1}],
     credentials: {user: {name: watcher, domain: account, password_file: %[2]s/password}}}
  - {region: ap-southeast-3, project_id: p2, endpoint: %[1]q, clusters: [{id: c2}],
     credentials: {access_key: ACCESS-KEY-file-2, secret_key: secret-key-of-file-2}}
`, v.url, v.dir)
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "--config.file="+path)
}

// TestHangingLogin checks that a hanging login affects only its project, and is cancelled with the scrape.
func TestHangingLogin(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.SetFault(simulator.Target{Endpoint: simulator.Tokens}, simulator.Fault{Hang: true})
	p := v.startTwoProjects(t)
	for range 3 {
		clusters, _, took := p.scrape(t, "1.5")
		if clusters["c1"]["up"] != 0 || clusters["c2"]["up"] != 1 || took > 1400*time.Millisecond {
			t.Errorf("after %s: %v", took, clusters)
		}
		p.eventually(t, "no login is in flight", func() bool { return v.InFlight() == 0 })
	}
	v.SetFault(simulator.Target{Endpoint: simulator.Tokens})
	if clusters, _, _ := p.scrape(t, "10"); clusters["c1"]["up"] != 1 || clusters["c2"]["up"] != 1 {
		t.Errorf("after the fault: %v", clusters)
	}
	v.checkSecrets(t, "the log", p.log.String())
}

// TestShortScrapesDuringLogin checks that scrapes that time out during a login do not affect one with more time.
func TestShortScrapesDuringLogin(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.SetFault(simulator.Target{Endpoint: simulator.Tokens}, simulator.Fault{Latency: 400 * time.Millisecond})
	p := v.startTwoProjects(t)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			time.Sleep(time.Duration(i) * 30 * time.Millisecond)
			p.scrape(t, "0.6") // 100 ms after the offset
		})
	}
	group.Go(func() {
		time.Sleep(50 * time.Millisecond)
		if clusters, _, _ := p.scrape(t, "10"); clusters["c1"]["up"] != 1 || clusters["c2"]["up"] != 1 {
			t.Errorf("long scrape: %v", clusters)
		}
	})
	group.Wait()
	if n := v.Count(simulator.Target{Endpoint: simulator.Tokens}); n > 2 {
		t.Errorf("%d logins", n)
	}
}

// TestShortLivedTokens checks that no cluster fails while two Prometheus servers scrape with tokens that expire in a
// second.
func TestShortLivedTokens(t *testing.T) {
	t.Parallel()
	v := newVaultWith(t, simulator.Options{TokenLife: time.Second})
	for i := range 100 {
		v.AddCluster("p1", simulator.Cluster{ID: fmt.Sprint("id-", i), Name: fmt.Sprint("name-", i), Status: "200", Engine: "elasticsearch"})
	}
	path := v.file(t, "{user: {name: watcher, domain: account, password_file: "+v.dir+"/password}}\n    requests_per_second: 1000\n    discovery: {}")
	p := start(t, "--config.file="+path)
	end := time.Now().Add(2500 * time.Millisecond)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for time.Now().Before(end) {
				clusters, _, _ := p.scrape(t, "10")
				if len(clusters) != 101 {
					t.Errorf("%d clusters", len(clusters))
				}
				for id, series := range clusters {
					if series["up"] != 1 {
						t.Errorf("%s is down", id)
					}
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	group.Wait()
	if n := v.Count(simulator.Target{Endpoint: simulator.Tokens}); n < 3 || n > 6 {
		t.Errorf("%d logins", n)
	}
	v.checkSecrets(t, "the log", p.log.String())
}

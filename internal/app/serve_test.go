// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestBasicAuth checks basic authentication with a web configuration file.
func TestBasicAuth(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "c1", Status: "200"})
	web := filepath.Join(t.TempDir(), "web.yml")
	const hash = "$2a$04$ZNVM.GqBFHMBQRulhoLus./13wX8OxFGU9E5hLvovjtq4R3Qpk7Am" // of the password below
	if err := os.WriteFile(web, []byte("basic_auth_users:\n  prometheus: "+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := begin(t, "--config.file="+file("[{id: c1}]"), "--web.config.file="+web)
	for password, want := range map[string]int{"only-for-this-test": http.StatusOK, "another": http.StatusUnauthorized} {
		p.eventually(t, "the status is as expected", func() bool {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("prometheus", password)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return resp.StatusCode == want
		})
	}
	if status, _ := p.get(t, "/metrics"); status != http.StatusUnauthorized {
		t.Errorf("status %d without a password", status)
	}
}

// TestShutdown checks that a running scrape may finish.
func TestShutdown(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "slow", Status: "200"})
	cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: "slow"}, simulator.Fault{Latency: 300 * time.Millisecond})
	p := start(t, "--config.file="+file("[{id: slow}]"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, metrics := p.get(t, "/metrics"); !strings.Contains(metrics, `css_vpcep_up{cluster_id="slow",cluster_name="",project_id="p1",region="cn-north-4"} 1`) {
			t.Errorf("the running scrape was cancelled:\n%s", metrics)
		}
	})
	p.eventually(t, "the request is in flight", func() bool { return cloud.InFlight() == 1 })
	p.stop(t)
	wg.Wait()
}

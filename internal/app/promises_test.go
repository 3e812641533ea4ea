// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"css_vpcep_exporter/internal/simulator"
)

// The tests in promises_*_test.go check what the program promises about its requests: they count those that a simulated
// cloud receives, and the clusters that are up.

// together runs all tests concurrently, because they mostly wait. t.Parallel would be limited by GOMAXPROCS.
func together(t *testing.T, tests map[string]func(t *testing.T)) {
	t.Helper()
	var running sync.WaitGroup
	for name, test := range tests {
		running.Go(func() { t.Run(name, test) })
	}
	running.Wait()
}

// member is a project of a promisesCloud and of its configuration file.
type member struct {
	project  string // ID and name
	access   string // access key; default: one per project
	secret   string // secret key in the file; default: the valid one
	lookup   bool   // the file omits the project's ID
	clusters []string
	discover bool   // the file omits the clusters
	settings string // further settings of the project in the file
}

func (m *member) accessKey() string {
	if m.access != "" {
		return m.access
	}
	return "AK-of-the-test-" + m.project
}

// promisesCloud is a simulated cloud that locks a key after five rejections in a row.
type promisesCloud struct {
	*simulator.Simulator
	members []member
}

const validSecret = "SK-of-the-test" //nolint:gosec // opens nothing but the simulator

func newPromisesCloud(options simulator.Options, members ...member) *promisesCloud {
	options.LockKeys = true
	c := &promisesCloud{simulator.New(options), members}
	for _, m := range members {
		key := simulator.Key{Access: m.accessKey(), Secret: validSecret}
		c.AddProject(simulator.Project{ID: m.project, Region: "cn-north-4", Keys: []simulator.Key{key}})
		for _, id := range m.clusters {
			c.AddCluster(m.project, simulator.Cluster{ID: id, Name: id, Status: "200", Engine: "elasticsearch"})
		}
	}
	return c
}

// file writes a configuration file with all members, and returns its path.
func (c *promisesCloud) file(t *testing.T, url string) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("scrape: {concurrency: 16}\nprojects:\n")
	for _, m := range c.members {
		secret := m.secret
		if secret == "" {
			secret = validSecret
		}
		fmt.Fprintf(&text, "  - name: %s\n    region: cn-north-4\n    requests_per_second: 1000\n"+
			"    endpoint: %s\n    iam_endpoint: %s\n    credentials: {access_key: %s, secret_key: %s}\n",
			m.project, url, url, m.accessKey(), secret)
		if !m.lookup {
			fmt.Fprintf(&text, "    project_id: %s\n", m.project)
		}
		if !m.discover {
			fmt.Fprintf(&text, "    clusters: [{id: %s}]\n", strings.Join(m.clusters, "}, {id: "))
		}
		if m.settings != "" {
			fmt.Fprintf(&text, "    %s\n", m.settings)
		}
	}
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts the program and waits until it is ready.
func (c *promisesCloud) start(t *testing.T) *program {
	t.Helper()
	return start(t, "--config.file="+c.file(t, c.Serve(t)))
}

// fault sets the fault of each cluster.
func (c *promisesCloud) fault(ids []string, f simulator.Fault) {
	for _, id := range ids {
		c.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, f)
	}
}

// requests returns the number of requests for connections.
func (c *promisesCloud) requests() int {
	return c.Count(simulator.Target{Endpoint: simulator.Connections})
}

// clusterIDs returns n IDs with a prefix.
func clusterIDs(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return ids
}

// up returns how many of the clusters are up.
func (s shown) up(ids []string) int {
	n := 0
	for _, id := range ids {
		if s[id]["up"] == 1 {
			n++
		}
	}
	return n
}

// down returns how many of the clusters are down.
func (s shown) down(ids []string) int {
	n := 0
	for _, id := range ids {
		if up, ok := s[id]["up"]; ok && up == 0 {
			n++
		}
	}
	return n
}

// probe probes one cluster with a timeout of 5 s, and reports whether it is up.
func (p *program) probe(t *testing.T, id string) (up bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/probe?target="+id, nil)
	if err != nil {
		t.Error(err)
		return false
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "5")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("probe of %s: status %d, %v: %.200s", id, resp.StatusCode, err, body)
	}
	return slices.Equal(labelled(string(body), "css_vpcep_up", "cluster_id", "1"), []string{id})
}

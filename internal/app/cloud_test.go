// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// testCloud is a simulated cloud for the program. Like the real one, it locks a key after five rejections in a row.
type testCloud struct {
	*simtest.Cloud
	projects []project // of the configuration file
	scrape   string    // the file's scrape section

	mu      sync.Mutex
	secrets []string // must not be shown anywhere
}

// project is a project in the configuration file. The file omits what is empty and has no default.
type project struct {
	id        string   // default: p1
	lookUpID  bool     // the file omits the ID
	name      string   // the program's default is the region
	region    string   // default: cn-north-4
	accessKey string   // default: one for each project
	secretKey string   // default: the valid one
	auth      string   // the credentials section; default: the access key
	noAuth    bool     // the file has no such section
	clusters  []string // IDs
	rate      int      // requests_per_second; default: 1000
	settings  string   // any others
}

func (p project) withDefaults() project {
	p.id = cmp.Or(p.id, simtest.ProjectID)
	p.region = cmp.Or(p.region, simtest.Region)
	p.accessKey = cmp.Or(p.accessKey, simtest.AccessKey+"-"+p.id)
	p.secretKey = cmp.Or(p.secretKey, simtest.SecretKey)
	p.auth = cmp.Or(p.auth, fmt.Sprintf("{access_key: %s, secret_key: %s}", p.accessKey, p.secretKey))
	p.rate = cmp.Or(p.rate, 1000)
	return p
}

// newCloud returns a cloud with the projects and their clusters, which is served until the test ends.
func newCloud(t *testing.T, options simulator.Options, projects ...project) *testCloud {
	t.Helper()
	c := newUnservedCloud(options, projects...)
	c.URL = c.Serve(t)
	return c
}

// newUnservedCloud returns a cloud that is not served. Its URL must be set before a configuration is written.
func newUnservedCloud(options simulator.Options, projects ...project) *testCloud {
	options.LockKeys = true
	c := &testCloud{Cloud: simtest.NewUnserved(options), projects: projects, secrets: []string{simtest.SecretKey}}
	for _, p := range projects {
		p = p.withDefaults()
		key := simulator.Key{Access: p.accessKey, Secret: simtest.SecretKey}
		c.AddProject(simulator.Project{ID: p.id, Region: p.region, Keys: []simulator.Key{key}})
		c.secrets = append(c.secrets, p.accessKey)
		for _, id := range p.clusters {
			c.addCluster(p.id, id)
		}
	}
	return c
}

// addCluster adds an available cluster after applying the changes to it.
func (c *testCloud) addCluster(projectID, id string, changes ...func(*simulator.Cluster)) {
	cluster := simulator.Cluster{ID: id, Name: "name of " + id, Status: "200", Engine: "elasticsearch"}
	for _, change := range changes {
		change(&cluster)
	}
	c.AddCluster(projectID, cluster)
}

// start starts the program with the cloud's projects and waits until it is ready.
func (c *testCloud) start(t *testing.T, args ...string) *program {
	t.Helper()
	return start(t, append(args, "--config.file="+c.file(t, c.projects...))...)
}

// file writes a configuration file with the projects and returns its path.
func (c *testCloud) file(t *testing.T, projects ...project) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	writeFile(t, path, c.config(projects...))
	return path
}

// config returns a configuration with the projects.
func (c *testCloud) config(projects ...project) string {
	var text strings.Builder
	if c.scrape != "" {
		fmt.Fprintf(&text, "scrape: %s\n", c.scrape)
	}
	text.WriteString("projects:\n")
	for _, p := range projects {
		p = p.withDefaults()
		fmt.Fprintf(&text, "  - region: %s\n    endpoint: %s\n    iam_endpoint: %s\n    requests_per_second: %d\n",
			p.region, c.URL, c.URL, p.rate)
		if p.name != "" {
			fmt.Fprintf(&text, "    name: %s\n", p.name)
		}
		if !p.lookUpID {
			fmt.Fprintf(&text, "    project_id: %s\n", p.id)
		}
		if !p.noAuth {
			fmt.Fprintf(&text, "    credentials: %s\n", p.auth)
		}
		if len(p.clusters) > 0 {
			fmt.Fprintf(&text, "    clusters: [{id: \"%s\"}]\n", strings.Join(p.clusters, `"}, {id: "`))
		}
		if p.settings != "" {
			fmt.Fprintf(&text, "    %s\n", p.settings)
		}
	}
	return text.String()
}

// failEach is FailReads for several clusters.
func (c *testCloud) failEach(ids []string, faults ...simulator.Fault) {
	for _, id := range ids {
		c.FailReads(id, faults...)
	}
}

// readsOf is Reads for several clusters.
func (c *testCloud) readsOf(ids []string) (n int) {
	for _, id := range ids {
		n += c.Reads(id)
	}
	return n
}

// serveBuffered serves the cloud until the test ends and calls before with each response before it is sent.
func (c *testCloud) serveBuffered(t *testing.T, before func(r *http.Request, response *httptest.ResponseRecorder)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response := httptest.NewRecorder()
		c.ServeHTTP(response, r)
		before(r, response)
		maps.Copy(w.Header(), response.Header())
		w.WriteHeader(response.Code)
		_, _ = w.Write(response.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL
}

// gate holds responses of serveBuffered.
type gate struct {
	held    atomic.Int64
	release chan struct{} // each value releases one response, and closing it releases all
}

func newGate() *gate { return &gate{release: make(chan struct{})} }

// hold waits until the response is released or the client disconnects.
func (g *gate) hold(ctx context.Context) {
	g.held.Add(1)
	defer g.held.Add(-1)
	select {
	case <-g.release:
	case <-ctx.Done():
	}
}

// serveHeld serves the cloud until the test ends. The gate holds its responses.
func (c *testCloud) serveHeld(t *testing.T, g *gate) {
	t.Helper()
	c.serveBuffered(t, func(r *http.Request, _ *httptest.ResponseRecorder) { g.hold(r.Context()) })
}

func (c *testCloud) addSecret(secret string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets = append(c.secrets, secret)
}

// checkSecrets fails if the text contains a secret, plain, URL-encoded or in base64.
func (c *testCloud) checkSecrets(t *testing.T, where, text string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, secret := range c.secrets {
		for _, form := range []string{
			secret, url.QueryEscape(secret),
			base64.RawStdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s contains the secret %q:\n%s", where, form, text)
			}
		}
	}
}

func clusterIDs(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return ids
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// newCloud returns a simulated cloud with one project, and a function that writes a configuration file for it.
func newCloud(t *testing.T) (cloud *simulator.Simulator, file func(clusters string) string) {
	t.Helper()
	cloud = simulator.New(simulator.Options{})
	cloud.AddProject(simulator.Project{
		Name: "production", Region: "cn-north-4", ID: "p1", Keys: []simulator.Key{{Access: "AK-of-the-test", Secret: "SK-of-the-test"}}, //nolint:gosec // opens nothing
	})
	url := cloud.Serve(t)
	return cloud, func(clusters string) string {
		path := filepath.Join(t.TempDir(), "css_vpcep.yml")
		text := fmt.Sprintf("projects:\n  - region: cn-north-4\n    project_id: p1\n    endpoint: %s\n"+
			"    credentials: {access_key: AK-of-the-test, secret_key: SK-of-the-test}\n    clusters: %s\n", url, clusters)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// faultyCloud returns a simulated cloud with these projects, each with its own key.
func faultyCloud(t *testing.T, seed uint64, projects ...string) (cloud *simulator.Simulator, url string) {
	t.Helper()
	cloud = simulator.New(simulator.Options{Seed: seed})
	for _, id := range projects {
		cloud.AddProject(simulator.Project{ID: id, Region: "cn-north-4", Keys: []simulator.Key{{Access: "AK-of-the-test-" + id, Secret: "SK-of-the-test"}}}) //nolint:gosec // opens nothing
	}
	url = cloud.Serve(t)
	return cloud, url
}

// faultyFile writes a configuration file with the clusters of each project, and returns its path.
func faultyFile(t *testing.T, url, scrape string, clusters map[string][]string) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("scrape: " + scrape + "\nprojects:\n")
	for _, project := range slices.Sorted(maps.Keys(clusters)) {
		fmt.Fprintf(&text, "  - {name: %s, region: cn-north-4, project_id: %s, endpoint: %q, requests_per_second: 1000,\n"+
			"     credentials: {access_key: AK-of-the-test-%s, secret_key: SK-of-the-test}, clusters: [", project, project, url, project)
		for _, id := range clusters[project] {
			fmt.Fprintf(&text, "{id: %q}, ", id)
		}
		text.WriteString("]}\n")
	}
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// region is a simulated cloud that caps the pages of the cluster list, with a configuration file.
type region struct {
	*simulator.Simulator
	url, path string
}

func newRegion(t *testing.T) *region {
	t.Helper()
	r := &region{
		Simulator: simulator.New(simulator.Options{ClusterPageCap: 100}),
		path:      filepath.Join(t.TempDir(), "css_vpcep.yml"),
	}
	r.AddProject(simulator.Project{
		Name: "production", Region: "cn-north-4", ID: "p1",
		Keys: []simulator.Key{{Access: "AK-of-the-test", Secret: "SK-of-the-test"}}, //nolint:gosec // opens nothing
	})
	r.url = r.Serve(t)
	return r
}

// add adds the nth cluster after applying change to it.
func (r *region) add(n int, change func(*simulator.Cluster)) {
	c := simulator.Cluster{
		ID: fmt.Sprintf("id-%03d", n), Name: fmt.Sprintf("search-%03d", n), Status: "200", Engine: "elasticsearch",
		Version: "7.10.2", EnterpriseProjectID: "0", VPCID: "vpc", Tags: []simulator.Tag{{Key: "team", Value: "search"}},
	}
	if change != nil {
		change(&c)
	}
	r.AddCluster("p1", c)
}

// write writes a file with one project, whose ID is looked up, and the given further settings.
func (r *region) write(t *testing.T, rest string) {
	t.Helper()
	text := fmt.Sprintf("projects:\n  - region: cn-north-4\n    endpoint: %s\n    iam_endpoint: %s\n    requests_per_second: 1000\n"+
		"    credentials: {access_key: AK-of-the-test, secret_key: SK-of-the-test}\n%s\n", r.url, r.url, rest)
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
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

// slow sets a latency of all clusters, though not of the gateway, which checks the keys.
func (c *promisesCloud) slow(latency time.Duration) {
	c.SetFault(simulator.Target{Endpoint: simulator.Connections}, simulator.Fault{Latency: latency})
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

// vault is a simulated cloud with all sources of credentials. It records the secrets that it issues.
type vault struct {
	*simulator.Simulator
	url string
	dir string

	mu      sync.Mutex
	secrets []string
}

func newVault(t *testing.T) *vault {
	t.Helper()
	return newVaultWith(t, simulator.Options{})
}

func newVaultWith(t *testing.T, options simulator.Options) *vault {
	t.Helper()
	v := &vault{Simulator: simulator.New(options), dir: t.TempDir()}
	for _, key := range []string{"environment", "profile", "file-1", "file-2"} {
		v.secrets = append(v.secrets, v.key(key).Secret)
	}
	v.accept("environment", "profile", "file-1")
	v.AddCluster("p1", simulator.Cluster{ID: "c1", Name: "search", Status: "200", Engine: "elasticsearch"})
	v.secretFile(t, "password", "password-of-the-user-1")
	v.AddUser(simulator.User{Name: "watcher", Domain: "account", Password: "password-of-the-user-1"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		v.ServeHTTP(recorder, r)
		v.recordSecrets(recorder)
		maps.Copy(w.Header(), recorder.Header())
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(recorder.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	v.url = server.URL
	return v
}

// key returns a key that is named after its source.
func (v *vault) key(name string) simulator.Key {
	return simulator.Key{Access: "ACCESS-KEY-" + name, Secret: "secret-key-of-" + name}
}

// accept configures the cloud to accept only these keys.
func (v *vault) accept(names ...string) {
	p := simulator.Project{Name: "production", Region: "cn-north-4", ID: "p1"}
	for _, name := range names {
		p.Keys = append(p.Keys, v.key(name))
	}
	v.AddProject(p)
}

// recordSecrets records the secrets of a response.
func (v *vault) recordSecrets(answer *httptest.ResponseRecorder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if token := answer.Header().Get("X-Subject-Token"); token != "" {
		v.secrets = append(v.secrets, token)
	}
	for _, name := range []string{`"secret":"`, `"securitytoken":"`, `"secretAccessKey":"`, `"securityToken":"`} {
		if _, rest, ok := strings.Cut(answer.Body.String(), name); ok {
			value, _, _ := strings.Cut(rest, `"`)
			v.secrets = append(v.secrets, value)
		}
	}
}

// secretFile records a secret and writes it to a file, whose path it returns.
func (v *vault) secretFile(t *testing.T, name, content string) string {
	t.Helper()
	v.mu.Lock()
	v.secrets = append(v.secrets, content)
	v.mu.Unlock()
	path := filepath.Join(v.dir, name)
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (v *vault) profile(t *testing.T, key string) string {
	t.Helper()
	k := v.key(key)
	path := filepath.Join(v.dir, "credentials")
	if err := os.WriteFile(path, []byte("[basic]\nak = "+k.Access+"\nsk = "+k.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// file writes a configuration file with these credentials, or none if empty, and returns its path.
func (v *vault) file(t *testing.T, credentials string) string {
	t.Helper()
	text := fmt.Sprintf("projects:\n  - region: cn-north-4\n    project_id: p1\n    endpoint: %s\n    iam_endpoint: %s\n    clusters: [{id: c1}]\n", v.url, v.url)
	if credentials != "" {
		text += "    credentials: " + credentials + "\n"
	}
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkSecrets fails if the text contains a secret, plain, URL-encoded or in base64.
func (v *vault) checkSecrets(t *testing.T, where, text string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, secret := range v.secrets {
		for _, form := range []string{
			secret, url.QueryEscape(secret), base64.RawStdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s contains the secret %q:\n%s", where, form, text)
			}
		}
	}
}

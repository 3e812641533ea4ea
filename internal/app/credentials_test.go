// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"
)

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

// lastUser returns the access key or user of the last request for connections.
func (v *vault) lastUser() string {
	who := "nobody"
	for _, r := range v.Requests() {
		if r.Endpoint == simulator.Connections {
			who = r.AccessKey + r.User
		}
	}
	return who
}

func environment(variables map[string]string) config.Environment {
	return func(key string) (string, bool) { value, ok := variables[key]; return value, ok }
}

const up1 = `css_vpcep_up{cluster_id="c1",cluster_name="",project_id="p1",region="cn-north-4"} 1`

// TestCredentialSources scrapes once with each source alone, and checks the order of those that need no configuration.
func TestCredentialSources(t *testing.T) {
	for name, test := range map[string]struct {
		credentials                     string // in the file
		variables, profile, agency, pod bool
		lastUser                        string
		exit                            int
		stderr                          string
	}{
		"the environment first":   {"", true, true, true, true, "ACCESS-KEY-environment", 0, ""},
		"then the profile":        {"", false, true, true, true, "ACCESS-KEY-profile", 0, ""},
		"then the agency":         {"", false, false, true, true, "agency", 0, ""},
		"then the pod's identity": {"", false, false, false, true, "pod", 0, ""},
		"no source": {"", false, false, false, false, "nobody", 1,
			"no credentials: the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK; profile file "},
		"the agency by name":  {"{ecs_agency: true}", true, true, true, true, "agency", 0, ""},
		"the profile by name": {"{profile: basic}", true, true, true, true, "ACCESS-KEY-profile", 0, ""},
		"the profile by path": {"{profile: DIR/credentials}", true, true, true, true, "ACCESS-KEY-profile", 0, ""},
		"files":               {"{access_key: ACCESS-KEY-file-1, secret_key_file: DIR/sk}", true, true, true, true, "ACCESS-KEY-file-1", 0, ""},
		"a user":              {"{user: {name: watcher, domain: account, password: password-of-the-user-1}}", true, true, true, true, "account/watcher", 0, ""},
		"a user and a file":   {"{user: {name: watcher, domain: account, password_file: DIR/password}}", true, true, true, true, "account/watcher", 0, ""},
		"an unknown user":     {"{user: {name: stranger, domain: account, password_file: DIR/password}}", true, true, true, true, "nobody", 1, "check the user's name, domain and password"},
		"no agency":           {"{ecs_agency: true}", true, true, false, true, "nobody", 1, "has this ECS an agency?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVault(t)
			v.secretFile(t, "sk", v.key("file-1").Secret)
			variables := map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": v.url, "HOME": v.dir}
			if test.variables {
				key := v.key("environment")
				variables["HUAWEICLOUD_SDK_AK"], variables["HUAWEICLOUD_SDK_SK"] = key.Access, key.Secret
			}
			if test.profile {
				variables["HUAWEICLOUD_SDK_CREDENTIALS_FILE"] = v.profile(t, "profile")
			}
			if test.agency {
				v.SetAgency(simulator.Agency{})
			}
			if test.pod {
				v.SetPodIdentity(simulator.PodIdentity{Token: "token-of-the-pod"})
				variables["HC_CONTAINER_CREDENTIALS_FULL_URI"] = v.url + simulator.PodIdentityPath
				variables["HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = v.secretFile(t, "pod", "token-of-the-pod")
			}
			var stdout, stderr bytes.Buffer
			file := v.file(t, strings.ReplaceAll(test.credentials, "DIR", v.dir))
			exit := run(t.Context(), []string{"--once", "--log.level=debug", "--config.file=" + file}, environment(variables), &stdout, &stderr)
			if exit != test.exit || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("exit %d:\n%s", exit, &stderr)
			}
			who := v.lastUser()
			switch test.lastUser {
			case "agency", "pod":
				endpoint := map[string]simulator.Endpoint{"agency": simulator.SecurityKey, "pod": simulator.PodCredentials}[test.lastUser]
				if n := v.Count(simulator.Target{Endpoint: endpoint}); n != 1 || strings.HasPrefix(who, "ACCESS-KEY") || who == "nobody" {
					t.Errorf("user %q; %d requests to %s", who, n, endpoint)
				}
			default:
				if who != test.lastUser {
					t.Errorf("user %q, want %q", who, test.lastUser)
				}
			}
			v.checkSecrets(t, "standard output", stdout.String())
			v.checkSecrets(t, "standard error", stderr.String())
		})
	}
}

// TestRotation checks that a rotated secret is used within two seconds, without a restart or a reload.
func TestRotation(t *testing.T) {
	for name, test := range map[string]struct {
		credentials string
		rotate      func(t *testing.T, v *vault)
	}{
		"secret key": {"{access_key_file: DIR/ak, secret_key_file: DIR/sk}", func(t *testing.T, v *vault) {
			t.Helper()
			v.accept("file-2")
			v.secretFile(t, "ak", v.key("file-2").Access)
			v.secretFile(t, "sk", v.key("file-2").Secret)
		}},
		"profile": {"{profile: DIR/credentials}", func(t *testing.T, v *vault) {
			t.Helper()
			v.accept("file-2")
			v.profile(t, "file-2")
		}},
		"password": {"{user: {name: watcher, domain: account, password_file: DIR/password}}", func(t *testing.T, v *vault) {
			t.Helper()
			v.AddUser(simulator.User{Name: "watcher", Domain: "account", Password: "password-of-the-user-2"})
			v.RevokeTokens()
			v.secretFile(t, "password", "password-of-the-user-2")
		}},
		"agency": {"{ecs_agency: true}", func(_ *testing.T, v *vault) { v.ExpireKeys() }},
		"token": {"{token_file: DIR/token}", func(t *testing.T, v *vault) {
			t.Helper()
			v.RevokeTokens()
			v.tokenFile(t)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVault(t)
			v.SetAgency(simulator.Agency{})
			v.secretFile(t, "ak", v.key("file-1").Access)
			v.secretFile(t, "sk", v.key("file-1").Secret)
			v.profile(t, "file-1")
			v.tokenFile(t)
			p := beginIn(t, environment(map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": v.url}),
				"--config.file="+v.file(t, strings.ReplaceAll(test.credentials, "DIR", v.dir)))
			p.waitUntilReady(t)
			if _, metrics := p.get(t, "/metrics"); !strings.Contains(metrics, up1) {
				t.Fatalf("not up at first:\n%s", p.log)
			}
			test.rotate(t, v)
			rotated := time.Now()
			for up := false; !up; time.Sleep(50 * time.Millisecond) {
				_, metrics := p.get(t, "/metrics")
				up = strings.Contains(metrics, up1)
				if time.Since(rotated) > 2*time.Second {
					t.Fatalf("not up two seconds after the rotation:\n%s", p.log)
				}
			}
			for _, path := range []string{"/metrics", "/status", "/status?format=json", "/sd", "/probe?target=c1", "/"} {
				_, page := p.get(t, path)
				v.checkSecrets(t, path, page)
			}
			v.checkSecrets(t, "the log", p.log.String())
		})
	}
}

// tokenFile logs in and writes the token to a file.
func (v *vault) tokenFile(t *testing.T) {
	t.Helper()
	const login = `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"watcher","domain":{"name":"account"},` +
		`"password":"password-of-the-user-1"}}},"scope":{"project":{"id":"p1"}}}}`
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v3/auth/tokens", strings.NewReader(login))
	recorder := httptest.NewRecorder()
	v.ServeHTTP(recorder, req)
	v.secretFile(t, "token", recorder.Header().Get("X-Subject-Token"))
}

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

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// credentialsCloud is a cloud with the cluster c1 and all sources of credentials. Their files are in dir.
type credentialsCloud struct {
	*testCloud
	dir string
}

// newCredentialsCloud returns a cloud that accepts the keys "environment", "profile" and "file-1", and a user whose
// password is in the file "password". It records the secrets that it issues.
func newCredentialsCloud(t *testing.T, options simulator.Options) credentialsCloud {
	t.Helper()
	c := credentialsCloud{newUnservedCloud(options, project{clusters: []string{"c1"}}), t.TempDir()}
	for _, name := range []string{"environment", "profile", "file-1", "file-2"} {
		c.addSecret(keyOf(name).Secret)
	}
	c.acceptKeys("environment", "profile", "file-1")
	c.setPassword(t, "password-of-the-user-1")
	c.serveBuffered(t, func(_ *http.Request, response *httptest.ResponseRecorder) {
		if token := response.Header().Get("X-Subject-Token"); token != "" {
			c.addSecret(token)
		}
		for _, name := range []string{
			`"secret":"`, `"securitytoken":"`, `"secretAccessKey":"`, `"securityToken":"`, `"secret_access_key":"`, `"security_token":"`,
		} {
			if _, rest, ok := strings.Cut(response.Body.String(), name); ok {
				value, _, _ := strings.Cut(rest, `"`)
				c.addSecret(value)
			}
		}
	})
	return c
}

// keyOf returns a key that is named after its source.
func keyOf(name string) simulator.Key {
	return simulator.Key{Access: "ACCESS-KEY-" + name, Secret: "secret-key-of-" + name}
}

// acceptKeys makes the project p1 accept only these keys.
func (c credentialsCloud) acceptKeys(names ...string) {
	p := simulator.Project{Region: "cn-north-4", ID: "p1"}
	for _, name := range names {
		p.Keys = append(p.Keys, keyOf(name))
	}
	c.AddProject(p)
}

// writeSecret writes a secret to a file and returns the path.
func (c credentialsCloud) writeSecret(t *testing.T, name, secret string) (path string) {
	t.Helper()
	c.addSecret(secret)
	path = filepath.Join(c.dir, name)
	writeFile(t, path, secret+"\n")
	return path
}

// writeKey writes a key to the files "ak" and "sk".
func (c credentialsCloud) writeKey(t *testing.T, k simulator.Key) {
	t.Helper()
	writeFile(t, filepath.Join(c.dir, "ak"), k.Access+"\n")
	c.writeSecret(t, "sk", k.Secret)
}

// writeProfile writes a key to a profile file and returns the path.
func (c credentialsCloud) writeProfile(t *testing.T, k simulator.Key) (path string) {
	t.Helper()
	path = filepath.Join(c.dir, "credentials")
	writeFile(t, path, "[basic]\nak = "+k.Access+"\nsk = "+k.Secret+"\n")
	return path
}

// setPassword sets the user's password and writes it to the file "password".
func (c credentialsCloud) setPassword(t *testing.T, password string) {
	t.Helper()
	c.AddUser(simulator.User{Name: "watcher", Domain: "account", Password: password})
	c.writeSecret(t, "password", password)
}

// writeToken logs in with the first password and writes the token to the file "token".
func (c credentialsCloud) writeToken(t *testing.T) {
	t.Helper()
	const login = `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"watcher",` +
		`"domain":{"name":"account"},"password":"password-of-the-user-1"}}},"scope":{"project":{"id":"p1"}}}}`
	response := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v3/auth/tokens", strings.NewReader(login))
	c.ServeHTTP(response, request)
	c.writeSecret(t, "token", response.Header().Get("X-Subject-Token"))
}

// fileWith writes a configuration file for c1 with these credentials, in which DIR stands for c.dir.
func (c credentialsCloud) fileWith(t *testing.T, credentials string) (path string) {
	t.Helper()
	credentials = strings.ReplaceAll(credentials, "DIR", c.dir)
	return c.file(t, project{auth: credentials, noAuth: credentials == "", clusters: []string{"c1"}})
}

// lastCaller returns the access key or the user of the last request for connections, or "none".
func (c credentialsCloud) lastCaller() string {
	caller := "none"
	for _, r := range c.Requests() {
		if r.Endpoint == simulator.Connections {
			caller = r.AccessKey + r.User
		}
	}
	return caller
}

// variables returns the environment variables of the chosen sources.
func (c credentialsCloud) variables(t *testing.T, keys, profile, agency, pod bool) map[string]string {
	t.Helper()
	variables := map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": c.URL, "HOME": c.dir}
	if keys {
		key := keyOf("environment")
		variables["HUAWEICLOUD_SDK_AK"], variables["HUAWEICLOUD_SDK_SK"] = key.Access, key.Secret
	}
	if profile {
		variables["HUAWEICLOUD_SDK_CREDENTIALS_FILE"] = c.writeProfile(t, keyOf("profile"))
	}
	if agency {
		c.SetAgency(simulator.Agency{})
	}
	if pod {
		c.SetPodIdentity(simulator.PodIdentity{Token: "token-of-the-pod"})
		variables["HC_CONTAINER_CREDENTIALS_FULL_URI"] = c.URL + simulator.PodIdentityPath
		variables["HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = c.writeSecret(t, "pod", "token-of-the-pod")
	}
	return variables
}

// checkCaller compares the last caller. "agency" and "pod" stand for the temporary keys of these.
func (c credentialsCloud) checkCaller(t *testing.T, want string) {
	t.Helper()
	got := c.lastCaller()
	issuer, temporary := map[string]simulator.Endpoint{
		"agency": simulator.SecurityKey, "pod": simulator.PodCredentials,
	}[want]
	if !temporary {
		if got != want {
			t.Errorf("got the caller %q, want %q", got, want)
		}
		return
	}
	if got == "none" || strings.HasPrefix(got, "ACCESS-KEY") {
		t.Errorf("got the caller %q, want a temporary key", got)
	}
	if n := c.Requested(issuer); n != 1 {
		t.Errorf("got %d requests for %s, want 1", n, issuer)
	}
}

// TestCredentialSources checks each source, and the order of those that the file need not name.
func TestCredentialSources(t *testing.T) {
	for name, test := range map[string]struct {
		credentials                string // in the file
		keys, profile, agency, pod bool   // offered by the environment
		caller                     string
		code                       int
		stderr                     string
	}{
		"the environment first":   {"", true, true, true, true, "ACCESS-KEY-environment", 0, ""},
		"then the profile":        {"", false, true, true, true, "ACCESS-KEY-profile", 0, ""},
		"then the pod's identity": {"", false, false, true, true, "pod", 0, ""},
		"then the agency":         {"", false, false, true, false, "agency", 0, ""},
		"no source": {
			"", false, false, false, false, "none", 1,
			"no credentials: the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK; profile file ",
		},
		"agency by name":  {"{ecs_agency: true}", true, true, true, true, "agency", 0, ""},
		"profile by name": {"{profile: basic}", true, true, true, true, "ACCESS-KEY-profile", 0, ""},
		"profile by path": {"{profile: DIR/credentials}", true, true, true, true, "ACCESS-KEY-profile", 0, ""},
		"files": {
			"{access_key: ACCESS-KEY-file-1, secret_key_file: DIR/sk}", true, true, true, true, "ACCESS-KEY-file-1", 0, "",
		},
		"user": {
			"{user: {name: watcher, domain: account, password: password-of-the-user-1}}", true, true, true, true,
			"account/watcher", 0, "",
		},
		"user and file": {
			"{user: {name: watcher, domain: account, password_file: DIR/password}}", true, true, true, true,
			"account/watcher", 0, "",
		},
		"unknown user": {
			"{user: {name: stranger, domain: account, password_file: DIR/password}}", true, true, true, true,
			"none", 1, "check the user's name, domain and password",
		},
		"no agency": {"{ecs_agency: true}", true, true, false, true, "none", 1, "does this ECS have an agency?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCredentialsCloud(t, simulator.Options{})
			c.writeSecret(t, "sk", keyOf("file-1").Secret)
			env := environment(c.variables(t, test.keys, test.profile, test.agency, test.pod))
			var stdout, stderr bytes.Buffer
			args := []string{"--once", "--log.level=debug", "--config.file=" + c.fileWith(t, test.credentials)}
			if code := run(t.Context(), args, env, &stdout, &stderr); code != test.code {
				t.Errorf("got exit code %d, want %d:\n%s", code, test.code, &stderr)
			}
			if !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("standard error: got %q, want %q in it", &stderr, test.stderr)
			}
			c.checkCaller(t, test.caller)
			c.checkSecrets(t, "standard output", stdout.String())
			c.checkSecrets(t, "standard error", stderr.String())
		})
	}
}

// TestRotatedSecretIsUsedByTheNextScrape checks that a rotated secret needs no restart and no reload.
func TestRotatedSecretIsUsedByTheNextScrape(t *testing.T) {
	for name, test := range map[string]struct {
		credentials string
		rotate      func(t *testing.T, c credentialsCloud)
	}{
		"secret key": {"{access_key_file: DIR/ak, secret_key_file: DIR/sk}", func(t *testing.T, c credentialsCloud) {
			t.Helper()
			c.acceptKeys("file-2")
			c.writeKey(t, keyOf("file-2"))
		}},
		"profile": {"{profile: DIR/credentials}", func(t *testing.T, c credentialsCloud) {
			t.Helper()
			c.acceptKeys("file-2")
			c.writeProfile(t, keyOf("file-2"))
		}},
		"password": {
			"{user: {name: watcher, domain: account, password_file: DIR/password}}",
			func(t *testing.T, c credentialsCloud) {
				t.Helper()
				c.RevokeTokens()
				c.setPassword(t, "password-of-the-user-2")
			},
		},
		"agency": {"{ecs_agency: true}", func(_ *testing.T, c credentialsCloud) { c.ExpireKeys() }},
		"token": {"{token_file: DIR/token}", func(t *testing.T, c credentialsCloud) {
			t.Helper()
			c.RevokeTokens()
			c.writeToken(t)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCredentialsCloud(t, simulator.Options{})
			c.SetAgency(simulator.Agency{})
			c.writeKey(t, keyOf("file-1"))
			c.writeProfile(t, keyOf("file-1"))
			c.writeToken(t)
			p := startIn(t, environment(map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": c.URL}),
				"--config.file="+c.fileWith(t, test.credentials))
			if p.scrape(t, 10*time.Second).countUp([]string{"c1"}) != 1 {
				t.Fatalf("the cluster is down at first:\n%s", p.log)
			}
			test.rotate(t, c)
			if p.scrape(t, 10*time.Second).countUp([]string{"c1"}) != 1 {
				t.Errorf("the cluster is down after the rotation:\n%s", p.log)
			}
			for _, path := range []string{"/metrics", "/status", "/status?format=json", "/sd", "/probe?target=c1", "/"} {
				_, page := p.get(t, path)
				c.checkSecrets(t, path, page)
			}
			c.checkSecrets(t, "the log", p.log.String())
		})
	}
}

// TestProjectsUseTheirOwnCredentials reads two regions and two accounts with several kinds of credentials.
func TestProjectsUseTheirOwnCredentials(t *testing.T) {
	c := newCredentialsCloud(t, simulator.Options{})
	c.AddProject(simulator.Project{Region: "ap-southeast-3", ID: "p2", Keys: []simulator.Key{keyOf("file-2")}})
	c.addCluster("p2", "c2", func(c *simulator.Cluster) { c.Engine = "opensearch" })
	c.SetAgency(simulator.Agency{Projects: []string{"p2"}})
	path := c.file(t,
		project{
			name: "keys", auth: "{access_key: ACCESS-KEY-file-1, secret_key: secret-key-of-file-1}",
			clusters: []string{"c1"},
		},
		project{
			name: "user", lookUpID: true,
			auth:     "{user: {name: watcher, domain: account, password: password-of-the-user-1}}",
			settings: "discovery: {name: name of c1}",
		},
		project{
			name: "agency", region: "ap-southeast-3", id: "p2", auth: "{ecs_agency: true}",
			settings: "discovery: {engine: opensearch}",
		},
		project{name: "wrong", region: "ap-southeast-3", auth: "{ecs_agency: true}", clusters: []string{"c1"}},
		project{
			name: "rejected", region: "ap-southeast-3", id: "p2",
			auth: "{access_key: ACCESS-KEY-unknown, secret_key: secret-key-of-nobody}", clusters: []string{"c3"},
		},
	)
	p := startIn(t, environment(map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": c.URL}), "--config.file="+path)
	e := p.scrape(t, 10*time.Second)
	if diff := cmp.Diff([]string{"c1", "c2"}, e.labelValues("css_vpcep_up", "cluster_id", 1)); diff != "" {
		t.Errorf("up (-want +got):\n%s\n%s", diff, p.log)
	}
	if diff := cmp.Diff([]string{"c1", "c3"}, e.labelValues("css_vpcep_up", "cluster_id", 0)); diff != "" {
		t.Errorf("down (-want +got):\n%s\n%s", diff, p.log)
	}
	e.checkLines(t,
		`css_vpcep_exporter_scrape_failures_total{reason="denied"} 1`,
		`css_vpcep_exporter_scrape_failures_total{reason="auth"} 1`,
		`css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 1`,
		`css_vpcep_discovery_up{project_id="p2",region="ap-southeast-3"} 1`,
		`css_vpcep_exporter_api_requests_total{code="201",operation="token",region="cn-north-4"} 1`,
	)
}

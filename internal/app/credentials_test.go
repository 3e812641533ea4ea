// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

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

// TestSeveralAccounts checks one file with two regions, two accounts and several kinds of credentials.
func TestSeveralAccounts(t *testing.T) {
	v := newVault(t)
	v.AddProject(simulator.Project{Name: "two", Region: "ap-southeast-3", ID: "p2", Keys: []simulator.Key{v.key("file-2")}})
	v.AddCluster("p2", simulator.Cluster{ID: "c2", Name: "other", Status: "200", Engine: "opensearch"})
	v.SetAgency(simulator.Agency{Projects: []string{"p2"}})
	text := "projects:\n"
	for _, p := range []struct{ name, region, id, rest string }{
		{"keys", "cn-north-4", "p1", "credentials: {access_key: ACCESS-KEY-file-1, secret_key: secret-key-of-file-1}, clusters: [{id: c1}]"},
		{"user", "cn-north-4", "", "credentials: {user: {name: watcher, domain: account, password: password-of-the-user-1}}, discovery: {name: search}"},
		{"agency", "ap-southeast-3", "p2", "credentials: {ecs_agency: true}, discovery: {engine: opensearch}"},
		{"wrong", "ap-southeast-3", "p1", "credentials: {ecs_agency: true}, clusters: [{id: c1}]"},
		{"rejected", "ap-southeast-3", "p2", "credentials: {access_key: ACCESS-KEY-unknown, secret_key: secret-key-of-nobody}, clusters: [{id: c3}]"},
	} {
		text += fmt.Sprintf("  - {name: %s, region: %s, project_id: %q, endpoint: %q, iam_endpoint: %q, %s}\n", p.name, p.region, p.id, v.url, v.url, p.rest)
	}
	text = strings.ReplaceAll(text, `project_id: "", `, "")
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := beginIn(t, environment(map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": v.url}), "--config.file="+path)
	p.waitUntilReady(t)
	_, metrics := p.get(t, "/metrics")
	if diff := cmp.Diff([]string{"c1", "c2"}, labelled(metrics, "css_vpcep_up", "cluster_id", "1")); diff != "" {
		t.Errorf("up (-want +got):\n%s\n%s", diff, p.log)
	}
	if diff := cmp.Diff([]string{"c1", "c3"}, labelled(metrics, "css_vpcep_up", "cluster_id", "0")); diff != "" {
		t.Errorf("down (-want +got):\n%s", diff)
	}
	for _, line := range []string{
		`css_vpcep_exporter_scrape_failures_total{reason="denied"} 1`,
		`css_vpcep_exporter_scrape_failures_total{reason="auth"} 1`,
		`css_vpcep_discovery_up{project_id="p1",region="cn-north-4"} 1`,
		`css_vpcep_discovery_up{project_id="p2",region="ap-southeast-3"} 1`,
		`css_vpcep_exporter_api_requests_total{code="201",operation="token",region="cn-north-4"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("missing: %s\n%s", line, p.log)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

const (
	oidcProvider = "iam::0123456789abcdef0123456789abcdef:oidcProvider:cluster"
	oidcAgency   = "iam::0123456789abcdef0123456789abcdef:agency:css-reader"
	oidcByIAM    = "{oidc: {token_file: DIR/id-token, idp_id: cluster-idp}}"
)

func oidcBySTS(endpoint string) string {
	return "{oidc: {token_file: DIR/id-token, provider_urn: '" + oidcProvider + "', agency_urn: '" + oidcAgency + "', " +
		"sts_endpoint: '" + endpoint + "'}}"
}

// trustProvider makes the cloud trust an identity provider, and writes a token of it to the file "id-token".
func (c credentialsCloud) trustProvider(t *testing.T, change func(*simulator.IdentityProvider)) {
	t.Helper()
	c.setProvider(change)
	c.writeIDToken(t, time.Hour)
}

func (c credentialsCloud) setProvider(change func(*simulator.IdentityProvider)) {
	p := simulator.IdentityProvider{ID: "cluster-idp", URN: oidcProvider, AgencyURN: oidcAgency}
	change(&p)
	c.SetIdentityProvider(p)
}

func (c credentialsCloud) writeIDToken(t *testing.T, life time.Duration) {
	t.Helper()
	c.writeSecret(t, "id-token", c.IDToken("exporter", "", life))
}

func unchanged(*simulator.IdentityProvider) {}

// secretPages checks that no page and no log line shows a secret.
func (c credentialsCloud) secretPages(t *testing.T, p *program) {
	t.Helper()
	for _, path := range []string{"/metrics", "/status", "/status?format=json", "/sd", "/probe?target=c1", "/"} {
		_, page := p.get(t, path)
		c.checkSecrets(t, path, page)
	}
	c.checkSecrets(t, "the log", p.log.String())
}

// proxyToSTS starts a proxy that takes every host for the cloud, and returns the settings of a project that uses it.
func proxyToSTS(t *testing.T, c credentialsCloud) (settings string, connected func() []string) {
	t.Helper()
	secure := httptest.NewUnstartedServer(c)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	certificate, _ := selfSigned(t, 1)
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	secure.StartTLS()
	var mu sync.Mutex
	var hosts []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			c.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		hosts = append(hosts, r.Host)
		mu.Unlock()
		server, err := new(net.Dialer).DialContext(r.Context(), "tcp", secure.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		_, _ = io.Copy(client, server)
	}))
	t.Cleanup(func() {
		secure.Close()
		proxy.Close()
	})
	return "proxy_url: " + proxy.URL + "\n    tls_config: {insecure_skip_verify: true}", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return hosts
	}
}

// TestOIDCSources checks both ways from the file and from the variables, and their places in the default chain.
func TestOIDCSources(t *testing.T) {
	sts := map[string]string{ //nolint:gosec // a path
		"HUAWEICLOUD_OIDC_PROVIDER_URN": oidcProvider, "HUAWEICLOUD_OIDC_AGENCY_URN": oidcAgency,
		"HUAWEICLOUD_OIDC_TOKEN_FILE": "DIR/id-token",
	}
	iam := map[string]string{ //nolint:gosec // a path
		"HUAWEICLOUD_SDK_IDP_ID": "cluster-idp", "HUAWEICLOUD_SDK_ID_TOKEN_FILE": "DIR/id-token",
	}
	both := maps.Clone(sts)
	maps.Copy(both, iam)
	inVariable := maps.Clone(sts)
	delete(inVariable, "HUAWEICLOUD_OIDC_TOKEN_FILE")
	inVariable["HUAWEICLOUD_OIDC_ID_TOKEN"] = "TOKEN"
	for name, test := range map[string]struct {
		credentials string
		variables   map[string]string
		endpoint    simulator.Endpoint // of the exchange; empty: none
	}{
		"STS in the file":          {"STS", nil, simulator.AssumeWithOIDC},
		"IAM in the file":          {oidcByIAM, nil, simulator.IDTokens},
		"the file before the rest": {oidcByIAM, sts, simulator.IDTokens},
		"STS first":                {"", both, simulator.AssumeWithOIDC},
		"token in a variable":      {"", inVariable, simulator.AssumeWithOIDC},
		"then IAM":                 {"", iam, simulator.IDTokens},
		"then keys":                {"", nil, ""},
		"keys in the file":         {"{access_key: ACCESS-KEY-file-1, secret_key: secret-key-of-file-1}", both, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCredentialsCloud(t, simulator.Options{})
			c.trustProvider(t, unchanged)
			settings, connected := proxyToSTS(t, c)
			variables := c.variables(t, true, true, true, true)
			for name, value := range test.variables {
				value = strings.ReplaceAll(value, "DIR", c.dir)
				if value == "TOKEN" {
					value = c.IDToken("exporter", "", time.Hour)
					c.addSecret(value)
				}
				variables[name] = value
			}
			auth := test.credentials
			if auth == "STS" {
				auth = oidcBySTS(c.URL)
			}
			path := c.file(t, project{
				auth: strings.ReplaceAll(auth, "DIR", c.dir), noAuth: auth == "", clusters: []string{"c1"}, settings: settings,
				lookUpID: true,
			})
			var stdout, stderr bytes.Buffer
			args := []string{"--once", "--log.level=debug", "--config.file=" + path}
			if code := run(t.Context(), args, environment(variables), &stdout, &stderr); code != 0 {
				t.Errorf("got exit code %d:\n%s", code, &stderr)
			}
			for _, endpoint := range []simulator.Endpoint{simulator.AssumeWithOIDC, simulator.IDTokens} {
				want := 0
				if endpoint == test.endpoint {
					want = 1
				}
				if n := c.Requested(endpoint); n != want {
					t.Errorf("got %d requests for %s, want %d:\n%s", n, endpoint, want, &stderr)
				}
			}
			if len(test.variables) > 0 && test.endpoint == simulator.AssumeWithOIDC &&
				strings.Join(connected(), " ") != "sts.cn-north-4.myhuaweicloud.com:443" {
				t.Errorf("got connections to %q, want STS of the region", connected())
			}
			if caller := c.lastCaller(); strings.HasPrefix(caller, "HSTSIM") != (test.endpoint != "") {
				t.Errorf("got the caller %q", caller)
			}
			c.checkSecrets(t, "standard output", stdout.String())
			c.checkSecrets(t, "standard error", stderr.String())
		})
	}
}

// TestProjectsShareAnExchange: projects with the same settings share their keys, which survive reloads.
func TestProjectsShareAnExchange(t *testing.T) {
	for name, endpoint := range map[string]simulator.Endpoint{
		"STS": simulator.AssumeWithOIDC, "IAM": simulator.IDTokens,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCredentialsCloud(t, simulator.Options{})
			c.trustProvider(t, unchanged)
			c.AddProject(simulator.Project{Region: "ap-southeast-3", ID: "p2"})
			c.addCluster("p2", "c2")
			auth := strings.ReplaceAll(oidcByIAM, "DIR", c.dir)
			if name == "STS" {
				auth = strings.ReplaceAll(oidcBySTS(c.URL), "DIR", c.dir)
			}
			projects := []project{
				{auth: auth, clusters: []string{"c1"}},
				{region: "ap-southeast-3", id: "p2", auth: auth, clusters: []string{"c2"}, lookUpID: true},
			}
			path := c.file(t, projects...)
			p := start(t, "--web.enable-lifecycle", "--config.file="+path)
			_, before := p.get(t, "/metrics?collect[]=exporter")
			for _, code := range []string{"200", "429"} {
				want := `css_vpcep_exporter_api_requests_total{code="` + code + `",operation="oidc",region="cn-north-4"} `
				if !strings.Contains(before, want) {
					t.Errorf("got no series %s", want)
				}
			}
			for i := range 4 {
				if e := p.scrape(t, 10*time.Second); e.countUp([]string{"c1", "c2"}) != 2 {
					t.Fatalf("scrape %d: got c1 %v, c2 %v, want both up:\n%s", i, e.clusters["c1"], e.clusters["c2"], p.log)
				}
				projects[0].rate = 100 + i // another client
				projects[1].rate = 100 + i
				if i == 2 {
					projects = projects[1:] // the first, whose transport may be in use
					projects = append(projects, project{name: "again", auth: auth, clusters: []string{"c1"}})
				}
				if status, body := p.reload(t, path, c.config(projects...)); status != http.StatusOK {
					t.Fatalf("reload: %d %s", status, body)
				}
			}
			if n := c.Requested(endpoint); n != 1 {
				t.Errorf("got %d exchanges, want 1", n)
			}
			c.secretPages(t, p)
		})
	}
}

// TestRotatedIDToken: keys that live for seconds never fail a cluster while their token file is rotated.
func TestRotatedIDToken(t *testing.T) {
	slow(t)
	for name, endpoint := range map[string]simulator.Endpoint{
		"STS": simulator.AssumeWithOIDC, "IAM": simulator.IDTokens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const life = 5 * time.Second
			c := newCredentialsCloud(t, simulator.Options{})
			c.trustProvider(t, func(p *simulator.IdentityProvider) { p.Life = life })
			auth := oidcByIAM
			if name == "STS" {
				auth = oidcBySTS(c.URL)
			}
			p := start(t, "--config.file="+c.fileWith(t, auth))
			began := time.Now()
			scrapes := 0
			for ; time.Since(began) < 13*time.Second; scrapes++ {
				c.writeIDToken(t, 10*time.Second)
				if p.scrape(t, 10*time.Second).countUp([]string{"c1"}) != 1 {
					t.Fatalf("the cluster is down in scrape %d:\n%s", scrapes, p.log)
				}
				time.Sleep(50 * time.Millisecond)
			}
			if n, most := c.Requested(endpoint), 1+int(time.Since(began)/(life*4/5)); n < 3 || n > most {
				t.Errorf("got %d exchanges in %d scrapes, want 3 to %d", n, scrapes, most)
			}
			c.secretPages(t, p)
		})
	}
}

// TestRefusedIDToken: the reason and the hint are shown, and the token is not sent again by each scrape.
func TestRefusedIDToken(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*simulator.IdentityProvider)
		life   time.Duration
		reason string
		hint   string
	}{
		"denied":   {func(p *simulator.IdentityProvider) { p.Denied = true }, time.Hour, "denied", "trust policy"},
		"audience": {func(p *simulator.IdentityProvider) { p.Audience = "other" }, time.Hour, "auth", "audience"},
		"expired":  {unchanged, -time.Minute, "auth", "the ID token expired at "},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCredentialsCloud(t, simulator.Options{})
			c.trustProvider(t, unchanged)
			c.writeIDToken(t, test.life)
			c.setProvider(test.change)
			p := start(t, "--config.file="+c.fileWith(t, oidcBySTS(c.URL)))
			for range 10 {
				if e := p.scrape(t, 10*time.Second); e.countDown([]string{"c1"}) != 1 || e.failures()[test.reason] == 0 {
					t.Fatalf("got %v, failures %v, want c1 down by %s", e.clusters["c1"], e.failures(), test.reason)
				}
			}
			if n := c.Requested(simulator.AssumeWithOIDC); n != 1 {
				t.Errorf("got %d exchanges, want 1", n)
			}
			_, page := p.get(t, "/status?format=json")
			if !strings.Contains(page, test.hint) || strings.Contains(page+p.log.String(), "ENCODED-") {
				t.Errorf("got no hint %q, or the encoded message, on the page:\n%s", test.hint, page)
			}
			c.secretPages(t, p)
		})
	}
}

// TestDiagnoseOIDC checks the steps to where ID tokens are exchanged.
func TestDiagnoseOIDC(t *testing.T) {
	for name, test := range map[string]struct {
		auth   func(url string) string
		denied bool
		iam    string // state of the steps to the endpoints
		sts    string
		login  string
		says   string
	}{
		"STS":        {oidcBySTS, false, "", "ok", "ok", "from an ID token, exchanged by STS for the agency iam::"},
		"IAM":        {func(string) string { return oidcByIAM }, false, "ok", "", "ok", "from an ID token of the identity provider cluster-idp"},
		"STS denied": {oidcBySTS, true, "", "ok", "failed", "trust policy"},
		"IAM denied": {func(string) string { return oidcByIAM }, true, "ok", "", "failed", "IAM refused the token"},
		"no STS":     {func(string) string { return oidcBySTS("http://127.0.0.1:1") }, false, "", "ok", "skipped", "STS cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCredentialsCloud(t, simulator.Options{})
			c.trustProvider(t, unchanged)
			c.setProvider(func(p *simulator.IdentityProvider) { p.Denied = test.denied })
			c.projects = []project{{auth: strings.ReplaceAll(test.auth(c.URL), "DIR", c.dir), clusters: []string{"c1"}}}
			d := c.diagnose(t)
			for step, want := range map[string]string{
				"IAM endpoint": test.iam, "STS endpoint": test.sts, "login": test.login,
			} {
				if got := d.step(step).state; got != want {
					t.Errorf("step %s: got %q, want %q:\n%s", step, got, want, d.text)
				}
			}
			if text := d.step("login").text; !strings.Contains(text, test.says) {
				t.Errorf("got %q for the login, want %q in it", text, test.says)
			}
		})
	}
}

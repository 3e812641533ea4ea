// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

func TestDiagnoseShowsTheCertificate(t *testing.T) {
	end := time.Now().Add(24 * time.Hour)
	certificate, block := issue(t, end)
	path := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, path, block)
	shown := "TLS 1.3; certificate of Company CA for 127.0.0.1, valid from " +
		end.Add(-48*time.Hour).UTC().Format("2006-01-02 15:04 UTC") + " to " + end.UTC().Format("2006-01-02 15:04 UTC") + "; "
	for settings, want := range map[string]string{
		"tls_config: {ca_file: " + path + "}":      shown + "trusted",
		"tls_config: {insecure_skip_verify: true}": shown + "not verified (insecure_skip_verify)",
	} {
		c, sent := behind(t, settings, func(s *httptest.Server) {
			s.EnableHTTP2 = true
			serveWith(&certificate)(s)
		})
		d := c.diagnose(t)
		if got := d.step("CSS TLS"); got.state != "ok" || got.text != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := d.step("CSS HTTP"); !strings.HasPrefix(got.text, "HTTP/2.0, ") || d.code != 0 {
			t.Errorf("got %q and exit code %d", got, d.code)
		}
		if n := sent(); !strings.Contains(d.step("API facts").text, fmt.Sprintf("; %d requests were sent", n)) {
			t.Errorf("the server got %d requests: %q", n, d.step("API facts"))
		}
		for _, r := range c.Requests() {
			if r.Endpoint == simulator.Unknown && r.Header.Get("Authorization") != "" {
				t.Error("the request without credentials has a signature")
			}
		}
	}
}

func TestDiagnoseThroughAProxy(t *testing.T) {
	certificate, block := issue(t, time.Now().Add(time.Hour))
	path := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, path, block)
	var connects atomic.Int64
	var target string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects.Add(1)
		if user, password, _ := basicAuth(r); r.Method != http.MethodConnect || user != "user" || password != "pass-of-proxy" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		server, err := new(net.Dialer).DialContext(r.Context(), "tcp", target)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = client.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}))
	t.Cleanup(proxy.Close)
	host := strings.TrimPrefix(proxy.URL, "http://")
	for name, test := range map[string]struct {
		password, state, text string
	}{
		"allowed":        {"pass-of-proxy", "ok", "it connects to the endpoint"},
		"wrong password": {"pass-of-nobody", "failed", "the proxy answered 407 Proxy Authentication Required to CONNECT"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := behind(t, "tls_config: {ca_file: "+path+"}\n    proxy_url: http://user:"+test.password+"@"+host,
				serveWith(&certificate))
			target = strings.TrimPrefix(c.URL, "https://")
			c.addSecret(test.password)
			d := c.diagnose(t)
			if got := d.step("CSS proxy"); got.state != test.state || !strings.HasPrefix(got.text, test.text) {
				t.Errorf("got %q, want %s with %q", got, test.state, test.text)
			}
			if got := d.step("proxy").text; got != "CSS: http://"+host+" from proxy_url, with user and password" {
				t.Errorf("got %q", got)
			}
			if got := d.step("CSS TCP").text; !strings.HasPrefix(got, "connected to the proxy "+host+" in ") {
				t.Errorf("got %q", got)
			}
			if step := d.step("CSS TLS"); (step.state == "ok") != (test.state == "ok") || connects.Load() == 0 {
				t.Errorf("got %q and %d tunnels", step, connects.Load())
			}
		})
	}
}

// TestDiagnoseOfCredentialsThatOneServiceRejects: others may accept them. No key is tried again after a rejection.
func TestDiagnoseOfCredentialsThatOneServiceRejects(t *testing.T) {
	rejected := simulator.Fault{Status: 401, Body: `{"error_code":"APIGW.0301","error_msg":"Incorrect."}`}
	for name, test := range map[string]struct {
		project  project
		endpoint simulator.Endpoint
		fails    string
	}{
		"IAM accepts, the list rejects":                 {project{lookUpID: true}, simulator.Clusters, "cluster list"},
		"the list accepts, the connections reject":      {project{}, simulator.Connections, "connections 1/3"},
		"IAM accepts, connections reject, no discovery": {project{lookUpID: true, clusters: []string{"c1", "c2"}}, simulator.Connections, "connections 1/2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, test.project)
			for _, id := range clusterIDs("c", 4) {
				c.addCluster("p1", id, withConnections(3))
			}
			c.SetFault(simulator.Target{Endpoint: test.endpoint}, rejected)
			d := c.diagnose(t)
			if got := d.named("failed"); !slices.Equal(got, []string{test.fails}) || d.code != 1 {
				t.Errorf("got these steps failed: %q, want %q:\n%s", got, test.fails, d.text)
			}
			if n := c.Requested(test.endpoint); n != 1 {
				t.Errorf("got %d requests with rejected credentials, want 1:\n%s", n, d.text)
			}
		})
	}
}

func TestDiagnoseWithoutCredentials(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{noAuth: true})
	d := c.diagnoseIn(t, environment(map[string]string{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": c.URL}))
	if got := d.named("failed"); !slices.Equal(got, []string{"credentials"}) {
		t.Errorf("got these steps failed: %q:\n%s", got, d.text)
	}
	if got := d.step("credentials").text; !strings.Contains(got, "What to do: Set credentials in the configuration file") {
		t.Errorf("got %q", got)
	}
	if n := c.Reads("") + c.Requested(simulator.Clusters); n != 0 {
		t.Errorf("got %d requests without credentials", n)
	}
}

// TestDiagnoseOfAWrongPassword: IAM locks a user after five wrong passwords in a row.
func TestDiagnoseOfAWrongPassword(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{
		auth: "{user: {name: reader, domain: company, password: wrong-password}}",
	})
	c.AddUser(simulator.User{Name: "reader", Domain: "company", Password: "password-of-reader"})
	c.addSecret("wrong-password")
	d := c.diagnose(t)
	if got := d.named("failed"); !slices.Equal(got, []string{"login"}) || c.Requested(simulator.Tokens) != 1 {
		t.Errorf("got these steps failed: %q, with %d logins:\n%s", got, c.Requested(simulator.Tokens), d.text)
	}
}

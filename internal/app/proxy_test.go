// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestEnvironmentProxyIsUsed: the program takes the proxy from the environment that it is given.
func TestEnvironmentProxyIsUsed(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Run(name, func(t *testing.T) {
			c := newUnservedCloud(simulator.Options{}, project{clusters: []string{"c1"}})
			c.URL = "http://css.invalid"
			var proxied atomic.Int64
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, password, _ := basicAuth(r); r.URL.Host == "css.invalid" && user == "user" && password == "p%w#d" {
					proxied.Add(1)
				}
				r.Header.Del("Proxy-Authorization")
				c.ServeHTTP(w, r)
			}))
			defer proxy.Close()
			address := "http://user:p%25w%23d@" + strings.TrimPrefix(proxy.URL, "http://")
			p := startIn(t, environment(map[string]string{name: address}), "--config.file="+c.file(t, c.projects...))
			if p.scrape(t, 5*time.Second).countUp([]string{"c1"}) != 1 || proxied.Load() == 0 {
				t.Errorf("got %d requests at the proxy, want the cluster up through it:\n%s", proxied.Load(), p.log)
			}
		})
	}
}

// basicAuth returns the user and the password for a proxy.
func basicAuth(r *http.Request) (user, password string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
}

// TestInvalidProxyVariable: the program does not start with a variable that would be ignored, and does not show it.
func TestInvalidProxyVariable(t *testing.T) {
	const secret = "pass%word"
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	env := environment(map[string]string{"HTTPS_PROXY": "http://user:" + secret + "@proxy.invalid:3128"})
	for name, test := range map[string]struct {
		settings string
		args     []string
		code     int
	}{
		"check":                {"", []string{"--config.check"}, 1},
		"once":                 {"", []string{"--once"}, 1},
		"check with proxy_url": {"proxy_url: socks5h://127.0.0.1:1080", []string{"--config.check"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var out, err bytes.Buffer
			file := c.file(t, project{clusters: []string{"c1"}, settings: test.settings})
			code := run(t.Context(), append(test.args, "--config.file="+file), env, &out, &err)
			text := out.String() + err.String()
			if code != test.code || strings.Contains(text, "HTTPS_PROXY") != (test.code == 1) {
				t.Errorf("got exit code %d, want %d, with HTTPS_PROXY named if it is invalid:\n%s", code, test.code, text)
			}
			if strings.Contains(text, secret) {
				t.Errorf("the password is shown:\n%s", text)
			}
		})
	}
}

// TestInvalidProxyExceptions: quotes that docker --env-file keeps would send requests to the proxy.
func TestInvalidProxyExceptions(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	env := environment(map[string]string{"HTTPS_PROXY": "proxy.invalid:3128", "NO_PROXY": `"css.example,.internal"`})
	var out, err bytes.Buffer
	code := run(t.Context(), []string{"--config.check", "--config.file=" + c.file(t, c.projects...)}, env, &out, &err)
	if text := out.String() + err.String(); code != 1 || !strings.Contains(text, "variable NO_PROXY") {
		t.Errorf("got exit code %d, want 1 and the variable:\n%s", code, text)
	}
}

// TestUnresolvableProxy: the log and the status page name the proxy.
func TestUnresolvableProxy(t *testing.T) {
	const secret = "word-of-the-proxy" //nolint:gosec // of no proxy
	c := newUnservedCloud(simulator.Options{}, project{
		clusters: []string{"c1"}, settings: "proxy_url: http://user:" + secret + "@proxy.invalid:3128",
	})
	c.URL = "https://css.invalid"
	c.addSecret(secret)
	p := start(t, "--config.file="+c.file(t, c.projects...))
	p.scrape(t, 5*time.Second)
	_, page := p.get(t, "/status?format=json")
	for where, text := range map[string]string{"the log": p.log.String(), "the status page": page} {
		if !strings.Contains(text, "the proxy's name cannot be resolved") {
			t.Errorf("%s does not name the proxy:\n%s", where, text)
		}
		c.checkSecrets(t, where, text)
	}
}

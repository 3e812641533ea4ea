// SPDX-License-Identifier: Apache-2.0

package server

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/discovery"
)

// TestOnlyGETReadsTheCloud: load balancers and uptime monitors send HEAD to any path.
func TestOnlyGETReadsTheCloud(t *testing.T) {
	r := newRig(t, &discovery.Search{RefreshInterval: time.Hour}, "healthy", "hangs", "nonsense")
	for path, allowed := range map[string]string{
		"/": "GET, HEAD", "/metrics": "GET, HEAD", "/probe?target=healthy": "GET, HEAD", "/sd": "GET, HEAD",
		"/status": "GET, HEAD", "/status?format=json": "GET, HEAD", "/-/healthy": "GET, HEAD", "/-/ready": "GET, HEAD",
		"/-/reload": "POST, PUT",
	} {
		for _, method := range []string{"HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"} {
			resp, body := r.fetch(t, method, path, nil)
			allow := resp.Header.Get("Allow")
			switch {
			case strings.Contains(allowed, method):
				if resp.StatusCode == http.StatusMethodNotAllowed || method == http.MethodHead && body != "" {
					t.Errorf("%s %s: got %d %s", method, path, resp.StatusCode, body)
				}
			case resp.StatusCode != http.StatusMethodNotAllowed || allow != allowed:
				t.Errorf("%s %s: got %d, Allow %q; want 405, %q", method, path, resp.StatusCode, allow, allowed)
			}
		}
	}
	if n := len(r.cloud.Requests()); n != 0 {
		t.Errorf("got %d API requests, want none", n)
	}
	if s := r.scraper.State("production", "healthy"); s.List != nil || s.Err != nil {
		t.Errorf("got the state %+v, want none", s)
	}
	_, metrics := r.get(t, http.MethodGet, "/metrics?collect[]=exporter", "")
	for _, want := range []string{
		`promhttp_metric_handler_requests_total{code="200"} 2`, // HEAD of /metrics and /probe
		`css_vpcep_exporter_scrape_failures_total{reason="timeout"} 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("missing: %s in\n%s", want, metrics)
		}
	}
}

func TestHEADOfAProbeHasTheStatusOfGET(t *testing.T) {
	r := newRig(t, nil, "healthy")
	for path, want := range map[string]int{
		"/probe?target=healthy": 200, "/probe?target=name+of+healthy": 200, "/probe?target=nothing": 404,
		"/probe": 400, "/probe?target=": 400, "/metrics?collect[]=nonsense": 400,
	} {
		head, _ := r.fetch(t, http.MethodHead, path, nil)
		if requests := len(r.cloud.Requests()); head.StatusCode != want || requests != 0 {
			t.Errorf("HEAD %s: got %d with %d API requests, want %d with none", path, head.StatusCode, requests, want)
		}
		if !strings.HasPrefix(head.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("HEAD %s: got Content-Type %q", path, head.Header.Get("Content-Type"))
		}
	}
}

// withTelemetryPath returns a rig behind a proxy that removes the prefix /monitoring/css.
func withTelemetryPath(t *testing.T, path string) *rig {
	t.Helper()
	r := newRig(t, nil, "healthy")
	if err := r.fleet.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.server.options.TelemetryPath = path
	handler, err := r.server.Handler()
	if err != nil {
		t.Fatal(err)
	}
	r.serve(t, http.StripPrefix("/monitoring/css", handler))
	r.url += "/monitoring/css"
	return r
}

func TestLinksWorkBehindAPathPrefix(t *testing.T) {
	links := regexp.MustCompile(`(?:href|action)="([^"]*)"`)
	for _, telemetryPath := range []string{"/metrics", "/a/b", "/metrics/"} {
		r := withTelemetryPath(t, telemetryPath)
		visited := make(map[string]bool)
		for queue := []string{"/"}; len(queue) > 0; queue = queue[1:] {
			base, err := url.Parse(r.url + queue[0])
			if err != nil {
				t.Fatal(err)
			}
			_, page := r.get(t, http.MethodGet, queue[0], "")
			for _, match := range links.FindAllStringSubmatch(page, -1) {
				address := html.UnescapeString(match[1])
				if address == "./probe" { // a form, which adds the parameter
					address += "?target=healthy"
				}
				to, err := base.Parse(address)
				if err != nil {
					t.Fatal(err)
				}
				path, inside := strings.CutPrefix(to.String(), r.url)
				if !inside {
					t.Errorf("%s links to %s, which is outside the prefix", queue[0], address)
					continue
				}
				if visited[path] {
					continue
				}
				visited[path] = true
				if status, body := r.get(t, http.MethodGet, path, ""); status != 200 {
					t.Errorf("%s links to %s: got %d %s", queue[0], address, status, body)
				}
				if strings.HasPrefix(path, "/status") && !strings.Contains(path, "json") {
					queue = append(queue, path)
				}
			}
		}
		for _, path := range []string{telemetryPath, "/status", "/sd", "/-/healthy", "/-/ready", "/probe?target=healthy", "/"} {
			if !visited[path] {
				t.Errorf("with the telemetry path %s: no link to %s", telemetryPath, path)
			}
		}
	}
}

func TestRedirectsStayBehindAPathPrefix(t *testing.T) {
	r := withTelemetryPath(t, "/metrics/")
	r.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]string{
		"/metrics":                    "/metrics/",
		"/metrics?collect[]=exporter": "/metrics/?collect[]=exporter",
		"//status?show=failing":       "/status?show=failing",
		"///sd":                       "/sd",
		"/-//healthy":                 "/-/healthy",
		"//":                          "/",
		"/./status":                   "/status",
		"/a/../status":                "/status",
		"/a/./..//status":             "/status",
		"//example.com/../status":     "/status",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "/monitoring/css" + path // as it is
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		location := resp.Header.Get("Location")
		base, err := url.Parse(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		to, err := base.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusTemporaryRedirect || to.String() != r.url+want {
			t.Errorf("%s: got %d with Location %q (%s), want 307 to %s", path, resp.StatusCode, location, to, want)
		}
	}
}

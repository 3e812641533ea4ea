// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"css_vpcep_exporter/internal/server/status"

	"github.com/prometheus/exporter-toolkit/web"
)

// newLandingPage returns a page whose links are relative, to work behind a path prefix.
func (s *Server) newLandingPage() (http.Handler, error) {
	page, err := web.NewLandingPage(web.LandingConfig{
		RoutePrefix: ".",
		Name:        "CSS VPC Endpoint Exporter",
		Description: "Prometheus exporter for the VPC endpoint connections of Huawei Cloud CSS clusters",
		Version:     s.options.Build.Version,
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: s.options.TelemetryPath, Text: "Metrics", Description: "Metrics of every cluster, read on request"},
			{Address: status.Path, Text: "Status", Description: "Last result of every cluster, and how to fix failures"},
			{Address: pathSD, Text: "Service discovery", Description: "Every cluster as a target for http_sd_configs"},
			{Address: pathHealthy, Text: "Healthy", Description: "Liveness"},
			{Address: pathReady, Text: "Ready", Description: "Readiness: every project has been refreshed once"},
		},
		Form: web.LandingForm{
			Action: pathProbe,
			Inputs: []web.LandingFormInput{
				{Label: "Cluster to read now, by ID or name", Type: "text", Name: "target"},
				{Label: "Project, if several have this cluster", Type: "text", Name: "project"},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path = "./" // else the page responds with 404
		page.ServeHTTP(w, r)
	}), nil
}

// redirect redirects to clean paths before http.ServeMux does, whose redirects would leave a path prefix.
func (s *Server) redirect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := path.Clean(r.URL.Path)
		if strings.HasSuffix(r.URL.Path, "/") && to != "/" || to+"/" == s.options.TelemetryPath {
			to += "/"
		}
		if to == r.URL.Path || !strings.HasPrefix(r.URL.Path, "/") {
			next.ServeHTTP(w, r)
			return
		}
		address := url.URL{Path: to, RawQuery: r.URL.RawQuery}
		w.Header().Set("Location", toRoot(r.URL.EscapedPath())+strings.TrimPrefix(address.String(), "/"))
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

// toRoot returns the relative address of the root, as seen from a path.
func toRoot(from string) string {
	segments := strings.Split(from, "/")
	depth := 0
	for _, segment := range segments[1 : len(segments)-1] {
		switch segment {
		case ".":
		case "..":
			depth = max(depth-1, 0)
		default:
			depth++
		}
	}
	return "./" + strings.Repeat("../", depth)
}

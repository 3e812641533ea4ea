// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
)

// TestPictures takes the screenshots of README.md: `make pictures`. The clusters are those of the demo; one of their
// connections is rejected, and the pictures are taken when the alert fires.
func TestPictures(t *testing.T) {
	if os.Getenv(envScreenshots) == "" {
		t.Skip(envScreenshots + " is not set")
	}
	all := releases(t)
	newest := all[len(all)-1]
	if !strings.HasPrefix(newest.version, "3.") {
		t.Fatalf("got Prometheus %s, want version 3 in the last directory of %s", newest.version, envPrometheusDirs)
	}
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	cloud := simulator.Demo(simulator.Options{})
	exporter := startExporter(t, buildExporter(t), cloud, cloud.Serve(t), 0, exporterOptions{})
	job := replace(t, scrapeSections(t)["1"], "localhost:10247", exporter.address,
		"scrape_interval: 1m", "scrape_interval: 15s", "scrape_timeout: 30s", "scrape_timeout: 15s")
	prom := startRelease(t, newest.prometheus,
		"global: {evaluation_interval: 15s}\nrule_files: [alerts.yml]\n"+scrapeConfigs(job),
		map[string]string{"alerts.yml": string(rules)})
	const alert = "CSSVPCEPConnectionRejected"
	alerts := serveAlerts(t, prom, alert)

	cluster, connection := demoClusters(t, prom, exporter)["search-prod"], ""
	has := func(query string) func() string {
		return func() string {
			if len(prom.query(t, query)) == 0 {
				return "no " + query
			}
			return ""
		}
	}
	eventually(t, "the cluster is read", has(fmt.Sprintf(`css_vpcep_up{cluster_id=%q} == 1`, cluster)))
	cloud.UpdateCluster(cluster, func(c *simulator.Cluster) {
		c.Connections[1].Status, connection = "rejected", c.Connections[1].ID
	})
	eventuallyWithin(t, processLimit, alert+" fires",
		has(fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing",connection_id=%q}`, alert, connection)))

	screenshot(t, "http://"+exporter.address+"/status", appearance{"status", 1280, 1280, false})
	screenshot(t, "http://"+exporter.address+"/status?cluster="+cluster, appearance{"cluster", 1280, 1120, false})
	screenshot(t, alerts, appearance{"alerts", 1280, 1140, false})
}

// serveAlerts serves the user interface of Prometheus, and returns the address of the page that shows the alert with its
// annotations. Released builds of Prometheus have the user interface, those of go install do not.
func serveAlerts(t *testing.T, prom *prometheus, alert string) (page string) {
	t.Helper()
	// The page is animated, but not in a browser whose time is virtual.
	opened := fmt.Sprintf(`<style>
.mantine-Accordion-panel, .mantine-Accordion-panel * { height: auto !important; transition: none !important; }
</style>
<script>
localStorage.setItem("settings.showAnnotations", "true");
setTimeout(() => [...document.querySelectorAll("button[aria-expanded]")]
  .find(button => button.textContent.startsWith(%q)).click(), 3000);
</script>`, alert)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: prom.address})
		r.Out.Header.Del("Accept-Encoding") // the transport decompresses
	}}
	directory := regexp.MustCompile(`"file":"[^"]*/`) // of the test
	proxy.ModifyResponse = func(resp *http.Response) error {
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch contentType := resp.Header.Get("Content-Type"); {
		case strings.HasPrefix(contentType, "text/html"):
			body = append(body, opened...)
		case strings.HasPrefix(contentType, "application/json"):
			body = directory.ReplaceAll(body, []byte(`"file":"`))
		}
		resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return err
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	page = server.URL + "/alerts?state=firing&search=" + alert
	if status, body := get(t, newClient(t), page); status != http.StatusOK {
		t.Fatalf("got status %d, want 200 and the user interface of Prometheus: %s", status, body)
	}
	return page
}

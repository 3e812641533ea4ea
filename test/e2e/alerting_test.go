// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

const alertInterval = time.Second // of scrapes and evaluations

type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// receiver is a webhook that stores alerts.
type receiver struct {
	url string

	mu       sync.Mutex
	received map[string][]alert // by path
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{received: make(map[string][]alert)}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var message struct {
			Alerts []alert `json:"alerts"`
		}
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = json.Unmarshal(body, &message)
		}
		if err != nil {
			t.Errorf("%s: %s", req.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.received[req.URL.Path] = append(r.received[req.URL.Path], message.Alerts...)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.received)
}

// find returns the first alert with this status and at least these labels.
func (r *receiver) find(path, status string, labels map[string]string) (found alert, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.received[path] {
		same := a.Status == status
		for name, value := range labels {
			same = same && a.Labels[name] == value
		}
		if same {
			return a, true
		}
	}
	return alert{}, false
}

// alertChain leads from a cloud through two Prometheus servers to a receiver of alerts.
type alertChain struct {
	cloud    *simulator.Simulator
	project  simulator.Project
	cluster  simulator.Cluster // all its connections are accepted
	servers  []*prometheus
	receiver *receiver
}

func startAlertChain(t *testing.T) *alertChain {
	t.Helper()
	c := &alertChain{cloud: simulator.Demo(simulator.Options{}), receiver: newReceiver(t)}
	c.project = c.cloud.Projects()[1]
	clusters := c.cloud.Clusters(c.project.ID)
	i := slices.IndexFunc(clusters, func(cluster simulator.Cluster) bool { return cluster.Name == "search-staging" })
	if i < 0 {
		t.Fatal("the demo has no cluster search-staging")
	}
	c.cluster = clusters[i]

	pair := newKeyPair(t)
	exporter := startExporter(t, buildExporter(t), c.cloud, c.cloud.Serve(t), 0, exporterOptions{
		scrape: fmt.Sprintf("min_interval: %s", alertInterval*8/10), tls: pair,
	})
	alertmanager := startAlertmanager(t, c.receiver.url)
	for _, replica := range []string{"a", "b"} {
		c.servers = append(c.servers, startAlertingServer(t, replica, exporter, alertmanager, pair))
	}
	accepted := fmt.Sprintf(`css_vpcep_connections{cluster_name=%q,status="accepted"}`, c.cluster.Name)
	for _, p := range c.servers {
		eventually(t, "the cluster is scraped", func() string {
			if n := p.number(t, accepted); n != float64(len(c.cluster.Connections)) {
				return fmt.Sprintf("%g accepted connections\n%s", n, exporter.output.lastLines())
			}
			return ""
		})
	}
	return c
}

// startAlertingServer starts a server with the alerts of alerts.yml, without their delays.
func startAlertingServer(t *testing.T, replica string, exporter, alertmanager *process, pair keyPair) *prometheus {
	t.Helper()
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := pair.clientFiles()
	delay := regexp.MustCompile(`(?m)^(\s+(?:keep_firing_)?for: ).*$`)
	files["alerts.yml"] = delay.ReplaceAllString(string(rules), "${1}"+alertInterval.String())
	job := replace(t, scrapeSections(t)["1"], "localhost:10247", exporter.address,
		"scrape_interval: 1m", "scrape_interval: "+alertInterval.String(),
		"scrape_timeout: 30s", "scrape_timeout: "+alertInterval.String()) + scrapeSections(t)["5"]
	config := fmt.Sprintf("global: {scrape_interval: %[1]s, evaluation_interval: %[1]s, "+
		"external_labels: {replica: %[2]s}}\nrule_files: [alerts.yml]\n"+
		"alerting:\n  alert_relabel_configs: [{regex: replica, action: labeldrop}]\n"+
		"  alertmanagers: [{static_configs: [{targets: [%[3]q]}]}]\n",
		alertInterval, replica, alertmanager.address)
	return startPrometheus(t, config+scrapeConfigs(job), files)
}

// startAlertmanager starts Alertmanager with alertmanager.yml, with short group intervals.
func startAlertmanager(t *testing.T, webhook string) *process {
	t.Helper()
	content, err := os.ReadFile("../../deploy/alertmanager/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := replace(t, string(content), "http://127.0.0.1:9/", webhook+"/")
	config = regexp.MustCompile(`(?m)^(\s+group_(?:wait|interval): ).*$`).ReplaceAllString(config, "${1}1s")
	dir := writeFiles(t, map[string]string{"alertmanager.yml": config})
	return startServer(t, "Alertmanager", lookPath(t, "prometheus-alertmanager"),
		"--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
}

// connection returns the connection that setStatus changes.
func (c *alertChain) connection() simulator.Connection { return c.cluster.Connections[1] }

func (c *alertChain) setStatus(t *testing.T, status string) {
	t.Helper()
	if !c.cloud.UpdateCluster(c.cluster.ID, func(cluster *simulator.Cluster) { cluster.Connections[1].Status = status }) {
		t.Fatalf("the cloud has no cluster %s", c.cluster.ID)
	}
}

// rejection returns the labels of the alert about the connection that setStatus changes.
func (c *alertChain) rejection() map[string]string {
	return map[string]string{
		"alertname": "CSSVPCEPConnectionRejected", "severity": "warning", "region": c.project.Region,
		"project_id": c.project.ID, "cluster_id": c.cluster.ID, "cluster_name": c.cluster.Name,
		"connection_id": c.connection().ID,
	}
}

func (r *receiver) waitFor(t *testing.T, path, status string, labels map[string]string) (found alert) {
	t.Helper()
	eventually(t, fmt.Sprint("the receiver got the alert ", status, labels), func() string {
		var ok bool
		if found, ok = r.find(path, status, labels); !ok {
			return r.String()
		}
		return ""
	})
	return found
}

// checkDescription fails unless the description has the texts and ends with the first step.
func (a alert) checkDescription(t *testing.T, texts ...string) {
	t.Helper()
	description := a.Annotations["description"]
	t.Log(description)
	facts, firstStep, found := strings.Cut(description, " First: ")
	if !found || !strings.HasSuffix(firstStep, ".") {
		t.Errorf("description %q has no first step", description)
	}
	for _, text := range texts {
		if !strings.Contains(facts, text) {
			t.Errorf("description %q does not contain %q", facts, text)
		}
	}
}

func TestAlertsReachReceiver(t *testing.T) {
	c := startAlertChain(t)
	t.Run("RejectedConnectionFires", func(t *testing.T) { testRejectedConnectionFires(t, c) })
	if os.Getenv(envScreenshots) != "" {
		screenshotAlerts(t, c.servers[0])
	}
	t.Run("AcceptedConnectionResolves", func(t *testing.T) {
		c.setStatus(t, "accepted")
		c.receiver.waitFor(t, "/chat", "resolved", c.rejection())
	})
	t.Run("FailingClusterSaysWhy", func(t *testing.T) {
		fired := c.receiver.waitFor(t, "/chat", "firing", map[string]string{
			"alertname": "CSSVPCEPScrapeFailing", "project_id": c.project.ID, "cluster_name": "sandbox",
		})
		fired.checkDescription(t, "project "+c.project.Name+" ("+c.project.ID+")", "Reason: denied, code CSS.0015.")
	})
	t.Run("UnlistedConnectionNamesOwner", func(t *testing.T) { testUnlistedConnectionNamesOwner(t, c) })
	t.Run("SecondServerCostsNoRequests", func(t *testing.T) { testSecondServerCostsNoRequests(t, c) })
}

func testRejectedConnectionFires(t *testing.T, c *alertChain) {
	if _, ok := c.receiver.find("/chat", "firing", c.rejection()); ok {
		t.Error("the alert fires before the connection is rejected")
	}
	c.setStatus(t, "rejected")
	fired := c.receiver.waitFor(t, "/chat", "firing", c.rejection())
	fired.checkDescription(t, c.cluster.Name, c.connection().ID, "account "+c.connection().DomainID,
		"address "+c.connection().IP, "project "+c.project.Name+" ("+c.project.ID+")")
	if runbook, ok := fired.Annotations["runbook_url"]; ok {
		t.Errorf("got runbook_url %q without a base address, want none", runbook)
	}
	if _, ok := fired.Labels["replica"]; ok {
		t.Errorf("the alert has the label replica, so the two servers send different alerts: %v", fired.Labels)
	}
}

// testUnlistedConnectionNamesOwner uses the cluster of the demo with an accepted connection whose owner is not listed.
func testUnlistedConnectionNamesOwner(t *testing.T, c *alertChain) {
	project := c.cloud.Projects()[0]
	for _, path := range []string{"/chat", "/security"} {
		fired := c.receiver.waitFor(t, path, "firing", map[string]string{
			"alertname": "CSSVPCEPUnlistedConnection", "project_id": project.ID, "cluster_name": "search-prod",
		})
		owner := c.servers[0].query(t, `css_vpcep_connection_unlisted{cluster_name="search-prod"}`)
		if len(owner) != 1 {
			t.Fatalf("got %d unlisted connections, want 1", len(owner))
		}
		fired.checkDescription(t, "names: 1 of account "+owner[0].Labels["domain_id"], "project "+project.Name)
	}
}

func screenshotAlerts(t *testing.T, server *prometheus) {
	t.Helper()
	ui := "http://" + server.address + "/classic"
	screenshot(t, ui+"/alerts", appearance{name: "alerts", width: 1280, height: 1000})
	expr := `sum by (cluster_name, status) (css_vpcep_connections{status=~"rejected|pendingAcceptance|failed"}) > 0`
	graph := url.Values{"g0.expr": {expr}, "g0.tab": {"0"}, "g0.range_input": {"1m"}}
	screenshot(t, ui+"/graph?"+graph.Encode(), appearance{name: "graph", width: 1280, height: 1000})
}

func testSecondServerCostsNoRequests(t *testing.T, c *alertChain) {
	const window = 10 * alertInterval
	count := fmt.Sprintf(`count_over_time(css_vpcep_up{cluster_id=%q}[%s])`, c.cluster.ID, window)
	var samples float64
	var end time.Time
	eventually(t, "both servers have at least 9 samples", func() string {
		samples, end = 0, time.Now()
		for _, p := range c.servers {
			result := p.queryAt(t, count, end)
			if len(result) != 1 || result[0].Value.value < 9 {
				return fmt.Sprint(result)
			}
			samples += result[0].Value.value
		}
		return ""
	})
	requests := 0
	for _, r := range c.cloud.Requests() {
		read := r.Target == simulator.Target{Endpoint: simulator.Connections, ID: c.cluster.ID}
		if read && r.Start.After(end.Add(-window)) && !r.Start.After(end) {
			requests++
		}
	}
	t.Logf("%d requests for %g samples", requests, samples)
	if most := 0.65 * samples; float64(requests) > most {
		t.Errorf("got %d requests for %g samples of two Prometheus servers, want at most %g", requests, samples, most)
	}
}

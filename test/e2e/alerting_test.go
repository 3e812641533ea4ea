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
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// pace is the scrape and evaluation interval.
const pace = time.Second

// alert is an alert in a webhook message of Alertmanager.
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

// find returns the first alert at a path with this status and these labels, among others.
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

// TestAlerting covers the whole chain. A connection is rejected in the cloud; the exporter, with TLS and a password, shows
// it to two Prometheus servers; Alertmanager notifies the receiver once, and again when the connection is accepted. The
// two servers cost one set of requests.
func TestAlerting(t *testing.T) {
	cloud := simulator.Demo(simulator.Options{})
	pair := newCertificate(t)
	exporter := startExporter(t, build(t), cloud, cloud.Serve(t), 0, options{
		scrape: fmt.Sprintf("min_interval: %s", pace*8/10), tls: pair,
	})
	receiver := newReceiver(t)
	alertmanager := startAlertmanager(t, receiver.url)

	job := replace(t, examples(t)["1"], "localhost:10247", exporter.address, "scrape_interval: 1m", "scrape_interval: "+pace.String(),
		"scrape_timeout: 30s", "scrape_timeout: "+pace.String()) + examples(t)["5"]
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := pair.clientFiles()
	files["alerts.yml"] = regexp.MustCompile(`(?m)^(\s+for: ).*$`).ReplaceAllString(string(rules), "${1}"+pace.String())
	var servers []*prometheus
	for _, replica := range []string{"a", "b"} {
		config := fmt.Sprintf("global: {scrape_interval: %[1]s, evaluation_interval: %[1]s, external_labels: {replica: %[2]s}}\n"+
			"rule_files: [alerts.yml]\nalerting:\n  alert_relabel_configs: [{regex: replica, action: labeldrop}]\n"+
			"  alertmanagers: [{static_configs: [{targets: [%[3]q]}]}]\n", pace, replica, alertmanager.address)
		servers = append(servers, startPrometheus(t, config+scrapeConfigs(job), files))
	}
	const name = "search-staging" // all its connections are accepted
	project := cloud.Projects()[1]
	cluster := simulator.Cluster{}
	for _, c := range cloud.Clusters(project.ID) {
		if c.Name == name {
			cluster = c
		}
	}
	for _, p := range servers {
		eventually(t, "the cluster is scraped", func() string {
			if n := p.number(t, fmt.Sprintf(`css_vpcep_connections{cluster_name=%q,status="accepted"}`, name)); n != float64(len(cluster.Connections)) {
				return fmt.Sprintf("%g accepted connections\n%s", n, exporter.output.tail())
			}
			return ""
		})
	}
	connection := cluster.Connections[1].ID
	set := func(status string) {
		t.Helper()
		if !cloud.UpdateCluster(cluster.ID, func(c *simulator.Cluster) { c.Connections[1].Status = status }) {
			t.Fatal("no such cluster")
		}
	}
	labels := map[string]string{
		"alertname": "CSSVPCEPConnectionRejected", "severity": "warning", "region": project.Region, "project_id": project.ID,
		"cluster_id": cluster.ID, "cluster_name": name, "connection_id": connection,
	}
	expectAlert := func(status string) {
		t.Helper()
		eventually(t, "the receiver got an alert: "+status, func() string {
			if _, ok := receiver.find("/chat", status, labels); !ok {
				return fmt.Sprint(receiver.received)
			}
			return ""
		})
	}
	if _, ok := receiver.find("/chat", "firing", labels); ok {
		t.Error("the alert fires before the connection is rejected")
	}
	set("rejected")
	expectAlert("firing")
	fired, _ := receiver.find("/chat", "firing", labels)
	for _, text := range []string{name, connection} {
		if !strings.Contains(fired.Annotations["description"], text) {
			t.Errorf("description %[2]q does not contain %[1]q", text, fired.Annotations["description"])
		}
	}
	if page := filepath.Join("../..", fired.Annotations["runbook_url"]); fired.Annotations["runbook_url"] == "" || !exists(page) {
		t.Errorf("runbook %q does not exist", fired.Annotations["runbook_url"])
	}
	if _, replica := fired.Labels["replica"]; replica {
		t.Errorf("the two Prometheus servers send different alerts: %v", fired.Labels)
	}
	if os.Getenv(screenshots) != "" {
		chromium, ui := tool(t, "chromium"), "http://"+servers[0].address+"/classic"
		screenshot(t, chromium, ui+"/alerts", "alerts", 1280, 1000, false)
		graph := url.Values{
			"g0.expr": {`sum by (cluster_name, status) (css_vpcep_connections{status=~"rejected|pendingAcceptance|failed"}) > 0`},
			"g0.tab":  {"0"}, "g0.range_input": {"1m"},
		}
		screenshot(t, chromium, ui+"/graph?"+graph.Encode(), "graph", 1280, 1000, false)
	}
	set("accepted")
	expectAlert("resolved")

	// Each Prometheus has a sample per second; the cloud got the requests of one.
	const window = 10 * pace
	var samples float64
	var end time.Time
	eventually(t, "enough samples", func() string {
		samples, end = 0, time.Now()
		for _, p := range servers {
			result := p.queryAt(t, fmt.Sprintf(`count_over_time(css_vpcep_up{cluster_name=%q}[%s])`, name, window), end)
			if len(result) != 1 || result[0].Value.value < 9 {
				return fmt.Sprint(result)
			}
			samples += result[0].Value.value
		}
		return ""
	})
	requests := 0
	for _, r := range cloud.Requests() {
		read := r.Target == simulator.Target{Endpoint: simulator.Connections, ID: cluster.ID}
		if read && r.Start.After(end.Add(-window)) && !r.Start.After(end) {
			requests++
		}
	}
	t.Logf("%d requests for %g samples", requests, samples)
	if float64(requests) > 0.65*samples {
		t.Errorf("%d requests for %g samples of two Prometheus servers", requests, samples)
	}
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
	return launch(t, "Alertmanager", tool(t, "prometheus-alertmanager"),
		"--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

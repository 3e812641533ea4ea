// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// exporterResult is what the exporter shows of the fleet.
type exporterResult struct {
	clusters    map[string]clusterMetrics           // by ID, only those that it could read
	serviceOff  map[string]bool                     // clusters with a disabled VPC endpoint service
	clusterInfo map[string]map[string]clusterInfo   // css_vpcep_cluster_info, by project and cluster ID
	discovered  map[string]float64                  // css_vpcep_discovery_clusters, by project
	errors      map[string]map[string]exporterError // by project and cluster ID, which is empty for discovery
}

// clusterInfo has labels of css_vpcep_cluster_info.
type clusterInfo struct{ Name, Engine, Version, EnterpriseProjectID, VPCID string }

// exporterError is an error in /status?format=json.
type exporterError struct {
	Status int    `json:"http_status"`
	Code   string `json:"code"`
}

func (e exporterError) String() string {
	return strings.TrimSpace(fmt.Sprint(e.Status, " ", e.Code))
}

// wantClusterInfo returns the expected labels of clusters that a client has listed.
func wantClusterInfo(a answer) map[string]clusterInfo {
	infos := make(map[string]clusterInfo)
	for _, c := range *a.Clusters {
		infos[text(c.ID)] = clusterInfo{
			text(c.Name), text(c.Datastore.Type), text(c.Datastore.Version), text(c.EnterpriseProjectID), text(c.VPCID),
		}
	}
	return infos
}

// cell returns the exporter's result for a call, whatever the page: the exporter reads whole lists.
func (e *exporterResult) cell(t *testing.T, b behaviour) string {
	t.Helper()
	if err, ok := e.errors[b.project][b.cluster]; ok {
		return err.String()
	}
	if b.cluster == "" {
		count, ok := e.discovered[b.project]
		if !ok {
			t.Errorf("%s: the exporter shows neither clusters nor an error", b.name)
		}
		return fmt.Sprintf("%g clusters", count)
	}
	if e.serviceOff[b.cluster] {
		return "off"
	}
	c, ok := e.clusters[b.cluster]
	if !ok || c.Reported == nil || c.Truncated == nil {
		t.Errorf("%s: the exporter shows neither the cluster nor an error", b.name)
		return ""
	}
	cell := fmt.Sprintf("%d of %g", len(c.Connections), *c.Reported)
	if *c.Truncated == 1 {
		cell += ", truncated"
	}
	return cell
}

// scrapeExporter builds the exporter, runs it and scrapes it once.
func scrapeExporter(t *testing.T, at endpoints) *exporterResult {
	t.Helper()
	program := filepath.Join(t.TempDir(), "css_vpcep_exporter")
	runGo(t, "../../..", "build", "-trimpath", "-o", program, ".")
	address := startExporter(t, program, writeConfig(t, at))

	e := &exporterResult{
		clusters: make(map[string]clusterMetrics), serviceOff: make(map[string]bool),
		clusterInfo: make(map[string]map[string]clusterInfo), discovered: make(map[string]float64),
		errors: make(map[string]map[string]exporterError),
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(get(t, "http://"+address+"/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	e.readMetrics(families)
	e.readStatus(t, get(t, "http://"+address+"/status?format=json"))
	return e
}

// writeConfig writes the exporter's configuration, with all projects and the clients' keys.
func writeConfig(t *testing.T, at endpoints) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("projects:\n")
	for _, project := range fleet.Projects() {
		endpoint, cluster := at.byOffset, ""
		switch project {
		case fleet.Permanent:
			cluster = fleet.Missing
		case fleet.OlderRegion:
			endpoint = at.byStart
		case fleet.Temporary:
		default:
			cluster = fleet.ClusterOf(project)
		}
		key := fleet.ClientKey(project)
		fmt.Fprintf(&b, "  - name: %q\n    region: cn-north-4\n    project_id: %q\n", project, project)
		fmt.Fprintf(&b, "    endpoint: %s\n    requests_per_second: 1000\n", endpoint)
		fmt.Fprintf(&b, "    credentials: {access_key: %q, secret_key: %q", key.Access, key.Secret)
		if key.SecurityToken != "" {
			fmt.Fprintf(&b, ", security_token: %q", key.SecurityToken)
		}
		b.WriteString("}\n    discovery: {}\n")
		if cluster != "" {
			fmt.Fprintf(&b, "    clusters:\n      - id: %q\n", cluster)
		}
	}
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// syncBuffer is a buffer for the output of a process that is still running.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// startExporter starts the exporter and waits until it is ready, when discovery has run for all projects.
func startExporter(t *testing.T, program, configFile string) (address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), maxRuntime)
	log := &syncBuffer{}
	cmd := exec.CommandContext(ctx, program, //nolint:gosec // built by the test
		"--config.file="+configFile, "--web.listen-address=127.0.0.1:0")
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // returns an error because of cancel, whatever the exit status is
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the exporter: got exit status %d, want 0", code)
		}
		if t.Failed() {
			t.Logf("output of the exporter:\n%s", log)
		}
	})
	listening := regexp.MustCompile(`msg="Listening on" address=(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		found := listening.FindStringSubmatch(log.String())
		if len(found) == 0 {
			continue
		}
		if status, _ := fetch(t, "http://"+found[1]+"/-/ready"); status == http.StatusOK {
			return found[1]
		}
	}
	t.Fatal("the exporter is not ready after 30 seconds")
	return ""
}

// get returns the body of a response with status 200.
func get(t *testing.T, url string) string {
	t.Helper()
	status, body := fetch(t, url)
	if status != http.StatusOK {
		t.Fatalf("%s: got status %d, want 200: %.200s", url, status, body)
	}
	return body
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// sample is a series with its value.
type sample struct {
	labels map[string]string
	value  float64
}

// metricSamples returns the samples of css_vpcep_<name>.
func metricSamples(families map[string]*dto.MetricFamily, name string) []sample {
	var samples []sample
	for _, m := range families["css_vpcep_"+name].GetMetric() {
		s := sample{make(map[string]string), m.GetGauge().GetValue()}
		for _, label := range m.GetLabel() {
			s.labels[label.GetName()] = label.GetValue()
		}
		samples = append(samples, s)
	}
	return samples
}

func (e *exporterResult) readMetrics(families map[string]*dto.MetricFamily) {
	for _, s := range metricSamples(families, "discovery_clusters") {
		e.discovered[s.labels["project_id"]] = s.value
	}
	for _, s := range metricSamples(families, "cluster_info") {
		project, id := s.labels["project_id"], s.labels["cluster_id"]
		if id == fleet.Missing || s.labels["engine"] == "" { // not listed by the API
			continue
		}
		if e.clusterInfo[project] == nil {
			e.clusterInfo[project] = make(map[string]clusterInfo)
		}
		e.clusterInfo[project][id] = clusterInfo{
			s.labels["cluster_name"], s.labels["engine"], s.labels["engine_version"],
			s.labels["enterprise_project_id"], s.labels["vpc_id"],
		}
	}
	for _, s := range metricSamples(families, "enabled") {
		id := s.labels["cluster_id"]
		if s.value == 0 {
			e.serviceOff[id] = true
			continue
		}
		e.clusters[id] = readCluster(families, id)
	}
}

func readCluster(families map[string]*dto.MetricFamily, id string) clusterMetrics {
	otherCluster := func(s sample) bool { return s.labels["cluster_id"] != id }
	samples := func(name string) []sample { return slices.DeleteFunc(metricSamples(families, name), otherCluster) }
	value := func(name string) *float64 {
		if s := samples(name); len(s) > 0 {
			return &s[0].value
		}
		return nil
	}
	m := clusterMetrics{
		Reported: value("reported_connections"), Truncated: value("connections_truncated"),
		Switch: value("update_switch"), Permissions: value("permissions"), Wildcard: value("permissions_wildcard"),
		ByStatus: make(map[string]float64), Connections: make(map[string]connectionMetrics),
	}
	for _, s := range samples("service_info") {
		m.ServiceName = s.labels["service_name"]
	}
	for _, s := range samples("connections") {
		m.ByStatus[s.labels["status"]] = s.value
	}
	for _, s := range samples("connection_info") {
		m.Connections[s.labels["connection_id"]] = connectionMetrics{
			Domain: s.labels["domain_id"], Specification: s.labels["specification_name"],
			IP: s.labels["ip"], IPv6: s.labels["ipv6"], DNSName: s.labels["dns_name"],
		}
	}
	updateConnections := func(name string, update func(c *connectionMetrics, s sample)) {
		for _, s := range samples(name) {
			c := m.Connections[s.labels["connection_id"]]
			update(&c, s)
			m.Connections[s.labels["connection_id"]] = c
		}
	}
	updateConnections("connection_status", func(c *connectionMetrics, s sample) { c.Status = s.labels["status"] })
	updateConnections("connection_max_sessions", func(c *connectionMetrics, s sample) { c.MaxSessions = &s.value })
	updateConnections("connection_created_timestamp_seconds",
		func(c *connectionMetrics, s sample) { c.Created = &s.value })
	updateConnections("connection_updated_timestamp_seconds",
		func(c *connectionMetrics, s sample) { c.Updated = &s.value })
	return m
}

func (e *exporterResult) readStatus(t *testing.T, body string) {
	t.Helper()
	var page struct {
		Projects []struct {
			ID    string         `json:"project_id"`
			Error *exporterError `json:"error"`
		} `json:"projects"`
		Clusters []struct {
			ProjectID string         `json:"project_id"`
			ID        string         `json:"id"`
			Error     *exporterError `json:"error"`
		} `json:"clusters"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	record := func(project, cluster string, err *exporterError) {
		if err == nil {
			return
		}
		if e.errors[project] == nil {
			e.errors[project] = make(map[string]exporterError)
		}
		e.errors[project][cluster] = *err
	}
	for _, p := range page.Projects {
		record(p.ID, "", p.Error)
	}
	for _, c := range page.Clusters {
		record(c.ProjectID, c.ID, c.Error)
	}
}

func TestFleetHasInvalidKeysOnlyWhereIntended(t *testing.T) {
	// Foreign rejects a valid key of another account.
	valid := []string{fleet.Permanent, fleet.Temporary, fleet.OlderRegion, fleet.Foreign}
	used := make(map[simulator.Key]bool)
	for _, project := range fleet.Projects() {
		key := fleet.ClientKey(project)
		used[key] = true
		want := slices.Contains(valid, project)
		if got := key == fleet.ValidKey(project); got != want {
			t.Errorf("%s: got the valid key: %t, want %t", project, got, want)
		}
	}
	if len(used) != 6 {
		t.Errorf("got %d keys, want 6", len(used))
	}
}

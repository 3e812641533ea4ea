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

// exported is the fleet as the exporter shows it.
type exported struct {
	clusters map[string]shown                      // by ID, those that were read
	off      map[string]bool                       // with a disabled VPC endpoint service
	infos    map[string]map[string]info            // css_vpcep_cluster_info by project and cluster ID
	found    map[string]float64                    // css_vpcep_discovery_clusters by project
	failures map[string]map[string]exporterFailure // by project and cluster ID, which is empty for the project
}

// info is a cluster in the cluster list.
type info struct{ Name, Engine, Version, EnterpriseProjectID, VPCID string }

// exporterFailure is a failure in /status?format=json.
type exporterFailure struct {
	Status int    `json:"http_status"`
	Code   string `json:"code"`
}

func (f exporterFailure) String() string {
	return strings.TrimSpace(fmt.Sprint(f.Status, " ", f.Code))
}

// infos returns the expected infos for a cluster list. Clusters without an endpoint service are left out.
func infos(a answer) map[string]info {
	all := make(map[string]info)
	for _, c := range *a.Clusters {
		all[text(c.ID)] = info{
			text(c.Name), text(c.Datastore.Type), text(c.Datastore.Version), text(c.EnterpriseProjectID), text(c.VPCID),
		}
	}
	return all
}

// cell returns the exporter's result for a call. The exporter reads whole lists, whatever the page.
func (e *exported) cell(t *testing.T, b behaviour) string {
	t.Helper()
	if refused, ok := e.failures[b.project][b.cluster]; ok {
		return refused.String()
	}
	if b.cluster == "" {
		found, ok := e.found[b.project]
		if !ok {
			t.Errorf("%s: the exporter shows neither clusters nor a failure", b.name)
		}
		return fmt.Sprintf("%g clusters", found)
	}
	if e.off[b.cluster] {
		return "off"
	}
	c, ok := e.clusters[b.cluster]
	if !ok || c.Reported == nil || c.Truncated == nil {
		t.Errorf("%s: the exporter shows neither the cluster nor a failure", b.name)
		return ""
	}
	cell := fmt.Sprintf("%d of %g", len(c.Connections), *c.Reported)
	if *c.Truncated == 1 {
		cell += ", truncated"
	}
	return cell
}

// export runs the exporter, built from the tree, and returns one scrape of the fleet.
func export(t *testing.T, at cloud) *exported {
	t.Helper()
	program := filepath.Join(t.TempDir(), "css_vpcep_exporter")
	runGo(t, "../../..", "build", "-trimpath", "-o", program, ".")
	address := startExporter(t, program, exporterFile(t, at))

	e := &exported{
		clusters: make(map[string]shown), off: make(map[string]bool), infos: make(map[string]map[string]info),
		found: make(map[string]float64), failures: make(map[string]map[string]exporterFailure),
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

// exporterFile writes a configuration with every project and its key.
func exporterFile(t *testing.T, at cloud) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("projects:\n")
	for _, project := range fleet.Projects() {
		endpoint, clusters, discovery := at.byOffset, []string{}, "{}"
		switch project {
		case fleet.Permanent:
			clusters = append(clusters, fleet.Missing)
		case fleet.Older:
			endpoint = at.byStart
		case fleet.Temporary:
		default:
			clusters = append(clusters, fleet.Of(project))
		}
		key := fleet.Given(project)
		fmt.Fprintf(&b, "  - name: %q\n    region: cn-north-4\n    project_id: %q\n    endpoint: %s\n    requests_per_second: 1000\n", project, project, endpoint)
		fmt.Fprintf(&b, "    credentials: {access_key: %q, secret_key: %q", key.Access, key.Secret)
		if key.SecurityToken != "" {
			fmt.Fprintf(&b, ", security_token: %q", key.SecurityToken)
		}
		fmt.Fprintf(&b, "}\n    discovery: %s\n", discovery)
		for i, id := range clusters {
			if i == 0 {
				b.WriteString("    clusters:\n")
			}
			fmt.Fprintf(&b, "      - id: %q\n", id)
		}
	}
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// said is the output of a child process. It is safe for concurrent use.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startExporter starts the exporter and waits until discovery has run for all projects. It gets SIGTERM after the test.
func startExporter(t *testing.T, program, file string) (address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), processLife)
	log := &said{}
	cmd := exec.CommandContext(ctx, program, "--config.file="+file, "--web.listen-address=127.0.0.1:0") //nolint:gosec // just built
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
		_ = cmd.Wait() // ProcessState has the exit status
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit status %d of the exporter", code)
		}
		if t.Failed() {
			t.Logf("output of the exporter:\n%s", log)
		}
	})
	listening := regexp.MustCompile(`msg="Listening on" address=(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		found := listening.FindStringSubmatch(log.String())
		if len(found) > 1 && status(t, "http://"+found[1]+"/-/ready") == http.StatusOK {
			return found[1]
		}
	}
	t.Fatal("the exporter is not ready within 30 seconds")
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	code, body := fetch(t, url)
	if code != http.StatusOK {
		t.Fatalf("%s: %d %.200s", url, code, body)
	}
	return body
}

func status(t *testing.T, url string) int {
	t.Helper()
	code, _ := fetch(t, url)
	return code
}

func fetch(t *testing.T, url string) (code int, body string) {
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

func samples(families map[string]*dto.MetricFamily, name string) (all []sample) {
	for _, m := range families["css_vpcep_"+name].GetMetric() {
		s := sample{make(map[string]string), m.GetGauge().GetValue()}
		for _, label := range m.GetLabel() {
			s.labels[label.GetName()] = label.GetValue()
		}
		all = append(all, s)
	}
	return all
}

// readMetrics collects the series of each cluster.
func (e *exported) readMetrics(families map[string]*dto.MetricFamily) {
	for _, s := range samples(families, "discovery_clusters") {
		e.found[s.labels["project_id"]] = s.value
	}
	for _, s := range samples(families, "cluster_info") {
		project := s.labels["project_id"]
		if s.labels["cluster_id"] == fleet.Missing || s.labels["engine"] == "" { // not in the cluster list
			continue
		}
		if e.infos[project] == nil {
			e.infos[project] = make(map[string]info)
		}
		e.infos[project][s.labels["cluster_id"]] = info{
			s.labels["cluster_name"], s.labels["engine"], s.labels["engine_version"], s.labels["enterprise_project_id"], s.labels["vpc_id"],
		}
	}
	for _, s := range samples(families, "enabled") {
		if s.value == 0 {
			e.off[s.labels["cluster_id"]] = true
			continue
		}
		e.clusters[s.labels["cluster_id"]] = readCluster(families, s.labels["cluster_id"])
	}
}

func readCluster(families map[string]*dto.MetricFamily, id string) shown {
	c := shown{ByStatus: make(map[string]float64), Connections: make(map[string]shownConnection)}
	of := func(name string) (all []sample) {
		for _, s := range samples(families, name) {
			if s.labels["cluster_id"] == id {
				all = append(all, s)
			}
		}
		return all
	}
	one := func(name string) *float64 {
		for _, s := range of(name) {
			return &s.value
		}
		return nil
	}
	c.Reported, c.Truncated, c.Switch = one("reported_connections"), one("connections_truncated"), one("update_switch")
	c.Permissions, c.Wildcard = one("permissions"), one("permissions_wildcard")
	for _, s := range of("service_info") {
		c.ServiceName = s.labels["service_name"]
	}
	for _, s := range of("connections") {
		c.ByStatus[s.labels["status"]] = s.value
	}
	for _, s := range of("connection_info") {
		l := s.labels
		c.Connections[l["connection_id"]] = shownConnection{
			Domain: l["domain_id"], Specification: l["specification_name"], IP: l["ip"], IPv6: l["ipv6"], DNSName: l["dns_name"],
		}
	}
	each := func(name string, set func(c *shownConnection, s sample)) {
		for _, s := range of(name) {
			x := c.Connections[s.labels["connection_id"]]
			set(&x, s)
			c.Connections[s.labels["connection_id"]] = x
		}
	}
	each("connection_status", func(c *shownConnection, s sample) { c.Status = s.labels["status"] })
	each("connection_max_sessions", func(c *shownConnection, s sample) { c.MaxSessions = &s.value })
	each("connection_created_timestamp_seconds", func(c *shownConnection, s sample) { c.Created = &s.value })
	each("connection_updated_timestamp_seconds", func(c *shownConnection, s sample) { c.Updated = &s.value })
	return c
}

// readStatus collects the failures with the codes of the API.
func (e *exported) readStatus(t *testing.T, body string) {
	t.Helper()
	var page struct {
		Projects []struct {
			ID    string           `json:"project_id"`
			Error *exporterFailure `json:"error"`
		} `json:"projects"`
		Clusters []struct {
			ProjectID string           `json:"project_id"`
			ID        string           `json:"id"`
			Error     *exporterFailure `json:"error"`
		} `json:"clusters"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	note := func(project, cluster string, failure *exporterFailure) {
		if failure == nil {
			return
		}
		if e.failures[project] == nil {
			e.failures[project] = make(map[string]exporterFailure)
		}
		e.failures[project][cluster] = *failure
	}
	for _, p := range page.Projects {
		note(p.ID, "", p.Error)
	}
	for _, c := range page.Clusters {
		note(c.ProjectID, c.ID, c.Error)
	}
}

// The other tests are useless if the keys are wrong.
func TestKeys(t *testing.T) {
	seen := make(map[simulator.Key]bool)
	for _, project := range fleet.Projects() {
		right, given := fleet.Key(project), fleet.Given(project)
		wrong := project != fleet.Permanent && project != fleet.Temporary && project != fleet.Older && project != fleet.Foreign
		if (right != given) != wrong {
			t.Errorf("%s: wrong key: %t, want %t", project, right != given, wrong)
		}
		seen[given] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d keys", len(seen))
	}
}

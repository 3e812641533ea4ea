// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnv(string) (string, bool) { return "", false }

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = bytes.Buffer{}
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// program is the exporter serving on a loopback port.
type program struct {
	url    string
	log    *buffer
	cancel context.CancelFunc
	exit   chan int
}

// start starts the program and waits until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := begin(t, args...)
	p.waitUntilReady(t)
	return p
}

func (p *program) waitUntilReady(t *testing.T) {
	t.Helper()
	p.eventually(t, "the program is ready", func() bool {
		status, _ := p.get(t, "/-/ready")
		return status == http.StatusOK
	})
}

func begin(t *testing.T, args ...string) *program {
	t.Helper()
	return beginIn(t, noEnv, args...)
}

// beginIn starts the program in an environment and waits until it listens or exits.
func beginIn(t *testing.T, env config.Environment, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &program{log: &buffer{}, cancel: cancel, exit: make(chan int, 1)}
	go func() {
		p.exit <- run(ctx, append(args, "--web.listen-address=127.0.0.1:0", "--log.level=debug"), env, io.Discard, p.log)
	}()
	t.Cleanup(func() { p.stop(t) })
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	p.eventually(t, "the program listens", func() bool {
		if match := listening.FindStringSubmatch(p.log.String()); match != nil {
			p.url = "http://" + match[1]
		}
		return p.url != "" || len(p.exit) > 0
	})
	return p
}

// stop stops the program like SIGTERM.
func (p *program) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	select {
	case code := <-p.exit:
		if code != 0 {
			t.Errorf("exit %d:\n%s", code, p.log)
		}
		p.exit <- code
	case <-time.After(20 * time.Second):
		t.Error("the program does not exit")
	}
	http.DefaultClient.CloseIdleConnections()
}

func (p *program) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s\n%s", what, p.log)
		}
	}
}

// get returns status 0 if the request fails.
func (p *program) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// families returns the names of the css_vpcep metrics in a text exposition.
func families(exposition string) []string {
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (css_vpcep_\w+) `).FindAllStringSubmatch(exposition, -1) {
		names = append(names, match[1])
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// documented returns the metrics of the README's table.
func documented(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(css_vpcep_\\w+)`").FindAllStringSubmatch(string(readme), -1) {
		names = append(names, match[1])
	}
	return slices.Sorted(slices.Values(names))
}

// TestDemo checks that the demo exposes exactly the metrics that the README documents.
func TestDemo(t *testing.T) {
	p := start(t, "--demo")
	status, metrics := p.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, metrics)
	}
	if diff := cmp.Diff(documented(t), families(metrics)); diff != "" {
		t.Errorf("README.md (-) and the demo's metrics (+) differ:\n%s", diff)
	}
	for _, want := range []string{
		`css_vpcep_up\{.*\} 0`,
		`css_vpcep_enabled\{.*\} 0`,
		`css_vpcep_connections\{.*status="rejected"\} [1-9]`,
		`css_vpcep_connections\{.*status="pendingAcceptance"\} [1-9]`,
		`css_vpcep_connections\{.*status="unknown"\} [1-9]`,
		`css_vpcep_connection_status\{.*status="rejected"\} 1`,
		`css_vpcep_connections_truncated\{.*\} 1`,
		`css_vpcep_connections_limited\{.*\} 1`,
		`css_vpcep_permissions_wildcard\{.*\} 1`,
		`css_vpcep_unlisted_connections\{.*\} [1-9]`,
		`css_vpcep_update_switch\{.*\} 1`,
		`css_vpcep_update_switch\{.*\} 0`,
		`css_vpcep_exporter_unparsable_values_total\{field="maxSession"\} [1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(metrics) {
			t.Errorf("no line matches %s", want)
		}
	}
	if log := p.log.String(); strings.Contains(log, "opens-nothing") || strings.Contains(log, "SIMULATED-ACCESS-KEY") {
		t.Errorf("the log contains credentials:\n%s", log)
	}
}

// newCloud returns a simulated cloud with one project, and a function that writes a configuration file for it.
func newCloud(t *testing.T) (cloud *simulator.Simulator, file func(clusters string) string) {
	t.Helper()
	cloud = simulator.New(simulator.Options{})
	cloud.AddProject(simulator.Project{
		Name: "production", Region: "cn-north-4", ID: "p1", Keys: []simulator.Key{{Access: "AK-of-the-test", Secret: "SK-of-the-test"}}, //nolint:gosec // opens nothing
	})
	url := cloud.Serve(t)
	return cloud, func(clusters string) string {
		path := filepath.Join(t.TempDir(), "css_vpcep.yml")
		text := fmt.Sprintf("projects:\n  - region: cn-north-4\n    project_id: p1\n    endpoint: %s\n"+
			"    credentials: {access_key: AK-of-the-test, secret_key: SK-of-the-test}\n    clusters: %s\n", url, clusters)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

func example(t *testing.T) string {
	t.Helper()
	body, err := os.ReadFile("../../collector/testdata/golden/seed.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestExample serves the example of the API documentation to the program: one request, and the documented values.
func TestExample(t *testing.T) {
	cloud, file := newCloud(t)
	const id = "5c77b71c-5b35-4f50-8984-76387e42451a"
	cloud.AddCluster("p1", simulator.Cluster{ID: id, Name: "search-prod", Status: "200"})
	cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, simulator.Fault{Body: example(t)})

	p := start(t, "--config.file="+file("[{id: "+id+", name: search-prod, labels: {team: search}}]"))
	status, metrics := p.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, metrics)
	}
	const labels = `cluster_id="` + id + `",cluster_name="search-prod",`
	const where = `project_id="p1",region="cn-north-4"`
	const first, second = `connection_id="54b7f739-31a1-40d0-862b-ac85b83ab2da",`, `connection_id="e88ad0bc-c2c7-419c-bd9b-a961111f0a42",`
	for _, want := range []string{
		`css_vpcep_up{` + labels + where + `} 1`,
		`css_vpcep_enabled{` + labels + where + `} 1`,
		`css_vpcep_reported_connections{` + labels + where + `} 2`,
		`css_vpcep_connections{` + labels + where + `,status="accepted"} 2`,
		`css_vpcep_connections{` + labels + where + `,status="rejected"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="pendingAcceptance"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="creating"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="failed"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="deleting"} 0`,
		`css_vpcep_connections{` + labels + where + `,status="unknown"} 0`,
		`css_vpcep_connections_truncated{` + labels + where + `} 0`,
		`css_vpcep_update_switch{` + labels + where + `} 0`,
		`css_vpcep_permissions{` + labels + where + `} 1`,
		`css_vpcep_permissions_wildcard{` + labels + where + `} 0`,
		`css_vpcep_unlisted_connections{` + labels + where + `} 0`,
		`css_vpcep_connection_max_sessions{` + labels + first + where + `} 3000`,
		`css_vpcep_connection_max_sessions{` + labels + second + where + `} 3000`,
		`css_vpcep_connection_created_timestamp_seconds{` + labels + first + where + `} 1.718098584e+09`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="cn-north-4"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	requests := cloud.Requests()
	if len(requests) != 1 || requests[0].Query != "limit=1000" {
		t.Errorf("%d requests: %+v", len(requests), requests)
	}
}

func TestWithoutConnections(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{
		ID: "c1", Status: "200", Connections: []simulator.Connection{{ID: "x", Status: "accepted", DomainID: "a"}},
	})
	path := file("[{id: c1}]")
	for _, tc := range []struct {
		args []string
		want bool
	}{{nil, true}, {[]string{"--no-collector.connections"}, false}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append(tc.args, "--once", "--config.file="+path), noEnv, &stdout, &stderr); code != 0 {
			t.Fatalf("exit %d: %s", code, &stderr)
		}
		if got := strings.Contains(stdout.String(), "css_vpcep_connection_info{"); got != tc.want {
			t.Errorf("%v: per-connection series: %t", tc.args, got)
		}
		if !strings.Contains(stdout.String(), `status="accepted"} 1`) {
			t.Errorf("%v: no counts:\n%s", tc.args, &stdout)
		}
	}
}

// TestExit checks the exit code and the output of invocations that do not serve.
func TestExit(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "valid", Status: "200"})
	cloud.AddCluster("p1", simulator.Cluster{ID: "failing", Status: "200"})
	cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: "failing"}, simulator.Fault{Status: 500})
	broken := filepath.Join(t.TempDir(), "broken.yml")
	content := "projects:\n  - region: cn-north-4\n    projekt_id: p1\n    credentials: {access_key: AK-of-the-test}\n"
	if err := os.WriteFile(broken, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string // expected substrings
	}{
		"help":                {[]string{"--help"}, 0, "--config.file=\"css_vpcep.yml\"", ""},
		"version":             {[]string{"--version"}, 0, "css_vpcep_exporter, version", ""},
		"unknown flag":        {[]string{"--colector.connections"}, 1, "", "css_vpcep_exporter: unknown long flag '--colector.connections', try --help\n"},
		"invalid flag value":  {[]string{"--scrape.timeout=0s"}, 1, "", "--scrape.timeout=0s: it must be more than 0s"},
		"once":                {[]string{"--once", "--config.file=" + file("[{id: valid}]")}, 0, `css_vpcep_up{cluster_id="valid",cluster_name="",project_id="p1",region="cn-north-4"} 1`, ""},
		"once, one fails":     {[]string{"--once", "--config.file=" + file("[{id: valid}, {id: failing}]")}, 1, `css_vpcep_up{cluster_id="failing",cluster_name="",project_id="p1",region="cn-north-4"} 0`, "reason=server"},
		"once, in JSON":       {[]string{"--once", "--log.format=json", "--config.file=" + file("[{id: failing}]")}, 1, "css_vpcep_up", `"reason":"server"`},
		"check":               {[]string{"--config.check", "--config.file=" + file("[{id: valid}]")}, 0, "css_vpcep.yml: configuration OK: 1 project\n", ""},
		"check, invalid file": {[]string{"--config.check", "--config.file=" + broken}, 1, broken + ":3: projects[0].projekt_id: ", ""},
		"check, no file":      {[]string{"--config.check", "--config.file=/nonexistent.yml"}, 1, "/nonexistent.yml: cannot read the file", ""},
		"invalid file":        {[]string{"--config.file=" + broken}, 1, "", "projects[0].credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append(tc.args, "--log.level=debug"), noEnv, &stdout, &stderr)
			if code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			if !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("standard output:\n%s\nstandard error:\n%s", &stdout, &stderr)
			}
			if out := stdout.String() + stderr.String(); strings.Contains(out, "SK-of-the-test") || strings.Contains(out, "AK-of-the-test") {
				t.Errorf("the output contains a secret:\n%s", out)
			}
		})
	}
	if requests := cloud.Requests(); slices.ContainsFunc(requests, func(r simulator.Request) bool { return r.Status == http.StatusUnauthorized }) {
		t.Error("a request was rejected")
	}
}

// TestFlags checks that the README documents exactly the flags of the program.
func TestFlags(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var written, known []string
	for _, match := range regexp.MustCompile("(?m)^\\| `--(?:\\[no-\\])?([a-z.-]+)").FindAllStringSubmatch(string(readme), -1) {
		written = append(written, match[1])
	}
	for _, flag := range newCommandLine(&flags{}).Model().Flags {
		if !flag.Hidden {
			known = append(known, flag.Name)
		}
	}
	slices.Sort(written)
	slices.Sort(known)
	if diff := cmp.Diff(known, written); diff != "" {
		t.Errorf("command line (-) and README.md (+) differ:\n%s", diff)
	}
}

// TestBasicAuth checks basic authentication with a web configuration file.
func TestBasicAuth(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "c1", Status: "200"})
	web := filepath.Join(t.TempDir(), "web.yml")
	const hash = "$2a$04$ZNVM.GqBFHMBQRulhoLus./13wX8OxFGU9E5hLvovjtq4R3Qpk7Am" // of the password below
	if err := os.WriteFile(web, []byte("basic_auth_users:\n  prometheus: "+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := begin(t, "--config.file="+file("[{id: c1}]"), "--web.config.file="+web)
	for password, want := range map[string]int{"only-for-this-test": http.StatusOK, "another": http.StatusUnauthorized} {
		p.eventually(t, "the status is as expected", func() bool {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("prometheus", password)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return resp.StatusCode == want
		})
	}
	if status, _ := p.get(t, "/metrics"); status != http.StatusUnauthorized {
		t.Errorf("status %d without a password", status)
	}
}

// TestReload checks that a reload applies the whole file or nothing.
func TestReload(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "c1", Status: "200"})
	cloud.AddCluster("p1", simulator.Cluster{ID: "c2", Status: "200"})
	path := file("[{id: c1}]")
	original, err := os.ReadFile(path) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "--config.file="+path, "--web.enable-lifecycle")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // of the test
			t.Fatal(err)
		}
	}
	reload := func(want int, substring string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/-/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || !strings.Contains(string(body), substring) {
			t.Errorf("status %d, %v: %s", resp.StatusCode, err, body)
		}
	}
	shows := func(clusters, successful string) bool {
		t.Helper()
		_, metrics := p.get(t, "/metrics")
		var up []string
		for _, match := range regexp.MustCompile(`(?m)^css_vpcep_up\{cluster_id="(\w+)".* 1$`).FindAllStringSubmatch(metrics, -1) {
			up = append(up, match[1])
		}
		return strings.Join(up, " ") == clusters &&
			strings.Contains(metrics, "\ncss_vpcep_exporter_config_last_reload_successful "+successful+"\n")
	}

	if !shows("c1", "1") {
		t.Error("the first file is not in use")
	}
	write(strings.Replace(string(original), "region:", "regoin:", 1))
	reload(http.StatusInternalServerError, path+":2: projects[0].regoin: ")
	if !shows("c1", "0") {
		t.Error("an invalid file was applied, or the metric does not show it")
	}
	write(strings.Replace(string(original), "[{id: c1}]", "[{id: c1}, {id: c2}]", 1))
	reload(http.StatusOK, "loaded")
	if !shows("c1 c2", "1") {
		t.Error("a valid file did not add a cluster")
	}
	write(strings.Replace(string(original), "[{id: c1}]", "[{id: c2}]", 1))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.eventually(t, "SIGHUP reloads the file", func() bool { return shows("c2", "1") })
	if log := p.log.String(); strings.Contains(log, "SK-of-the-test") {
		t.Errorf("the log contains a secret:\n%s", log)
	}
}

// TestProjectsAreComparable checks that reflect.DeepEqual finds unchanged projects. It compares regular expressions
// too.
func TestProjectsAreComparable(t *testing.T) {
	const text = `projects: [{region: cn-north-4, project_id: p1, discovery: {name: "a.*", tags: {a: b}}, ` +
		`clusters: [{id: c1, labels: {x: y}}], proxy_url: "http://127.0.0.1:1"}]`
	parse := func(text string) config.Project {
		t.Helper()
		cfg, err := config.Parse("test.yml", []byte(text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Projects[0]
	}
	if !reflect.DeepEqual(parse(text), parse("scrape: {concurrency: 3}\n"+text)) {
		t.Error("unchanged project is not equal")
	}
	for _, change := range [][2]string{
		{"cn-north-4", "cn-north-9"}, {"p1", "p2"}, {"a.*", "b.*"}, {"a: b", "a: c"}, {"c1", "c2"}, {"x: y", "x: z"}, {"a: b", "a: b, c: d"},
		{"127.0.0.1:1", "127.0.0.1:2"}, {"discovery: {name: \"a.*\", tags: {a: b}}, ", ""}, {`name: "a.*", `, ""},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatal("not in the text: " + change[0])
		}
		if reflect.DeepEqual(parse(text), parse(changed)) {
			t.Errorf("%s and %s are equal", change[1], change[0])
		}
	}

	// Certificates are not part of the configuration: the transport reloads them.
	ca, err := os.ReadFile("../../config/testdata/tls/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	trusting := strings.Replace(text, "clusters:", "tls_config: {ca_file: "+file+"}, clusters:", 1)
	var projects []config.Project
	for _, content := range []string{string(ca), "another one\n" + string(ca)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil { //nolint:gosec // in a folder of the test
			t.Fatal(err)
		}
		projects = append(projects, parse(trusting))
	}
	if !reflect.DeepEqual(projects[0], projects[1]) {
		t.Error("a changed certificate authority makes the project unequal")
	}
}

// TestShutdown checks that a running scrape may finish.
func TestShutdown(t *testing.T) {
	cloud, file := newCloud(t)
	cloud.AddCluster("p1", simulator.Cluster{ID: "slow", Status: "200"})
	cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: "slow"}, simulator.Fault{Latency: 300 * time.Millisecond})
	p := start(t, "--config.file="+file("[{id: slow}]"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, metrics := p.get(t, "/metrics"); !strings.Contains(metrics, `css_vpcep_up{cluster_id="slow",cluster_name="",project_id="p1",region="cn-north-4"} 1`) {
			t.Errorf("the running scrape was cancelled:\n%s", metrics)
		}
	})
	p.eventually(t, "the request is in flight", func() bool { return cloud.InFlight() == 1 })
	p.stop(t)
	wg.Wait()
}

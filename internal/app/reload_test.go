// SPDX-License-Identifier: Apache-2.0

package app

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"
)

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

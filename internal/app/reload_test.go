// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"
)

// reloadable is a program that reads c1, over a cloud with c1 and c2.
type reloadable struct {
	*program
	cloud *testCloud
	path  string
}

func startReloadable(t *testing.T) reloadable {
	t.Helper()
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1", "c2"}})
	path := c.file(t, project{clusters: []string{"c1"}})
	return reloadable{start(t, "--config.file="+path, "--web.enable-lifecycle"), c, path}
}

// shows reports whether a scrape shows that these clusters are up and whether the last reload succeeded.
func (r reloadable) shows(t *testing.T, clusters []string, reloaded bool) bool {
	t.Helper()
	e := r.scrape(t, 10*time.Second)
	want := "css_vpcep_exporter_config_last_reload_successful 0\n"
	if reloaded {
		want = "css_vpcep_exporter_config_last_reload_successful 1\n"
	}
	return slices.Equal(e.labelValues("css_vpcep_up", "cluster_id", 1), clusters) && strings.Contains(e.text, "\n"+want)
}

func TestReloadAppliesAValidFile(t *testing.T) {
	r := startReloadable(t)
	if !r.shows(t, []string{"c1"}, true) {
		t.Error("the first file is not in use")
	}
	status, body := r.reload(t, r.path, r.cloud.config(project{clusters: []string{"c1", "c2"}}))
	if status != http.StatusOK || !strings.Contains(body, "reloaded") {
		t.Errorf("got status %d, want 200: %s", status, body)
	}
	if !r.shows(t, []string{"c1", "c2"}, true) {
		t.Error("the second file is not in use")
	}
	r.cloud.checkSecrets(t, "the log", r.log.String())
}

func TestReloadIgnoresAnInvalidFile(t *testing.T) {
	r := startReloadable(t)
	invalid := strings.Replace(r.cloud.config(project{clusters: []string{"c1", "c2"}}), "region:", "regoin:", 1)
	status, body := r.reload(t, r.path, invalid)
	if status != http.StatusInternalServerError {
		t.Errorf("got status %d, want 500", status)
	}
	if want := r.path + ":2: projects[0].regoin: "; !strings.Contains(body, want) {
		t.Errorf("got %q, want %q in it", body, want)
	}
	if !r.shows(t, []string{"c1"}, false) {
		t.Error("the invalid file is in use, or the metric does not show that it is invalid")
	}
	if status, body := r.reload(t, r.path, r.cloud.config(project{clusters: []string{"c2"}})); status != http.StatusOK {
		t.Errorf("a valid file after it: got status %d, want 200: %s", status, body)
	}
	if !r.shows(t, []string{"c2"}, true) {
		t.Error("the valid file is not in use")
	}
	r.cloud.checkSecrets(t, "the log", r.log.String())
}

func TestSIGHUPReloads(t *testing.T) {
	r := startReloadable(t)
	writeFile(t, r.path, r.cloud.config(project{clusters: []string{"c2"}}))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.eventually(t, "the second file is in use", func() bool { return r.shows(t, []string{"c2"}, true) })
	r.cloud.checkSecrets(t, "the log", r.log.String())
}

const comparedProject = `projects: [{region: cn-north-4, project_id: p1, discovery: {name: "a.*", tags: {a: b}}, ` +
	`clusters: [{id: c1, labels: {x: y}}], proxy_url: "http://127.0.0.1:1"}]`

func parseProject(t *testing.T, text string) config.Project {
	t.Helper()
	cfg, err := config.Parse("test.yml", []byte(text), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Projects[0]
}

// TestDeepEqualFindsChangedProjects includes changed regular expressions.
func TestDeepEqualFindsChangedProjects(t *testing.T) {
	before := parseProject(t, comparedProject)
	if !reflect.DeepEqual(before, parseProject(t, "scrape: {concurrency: 3}\n"+comparedProject)) {
		t.Error("an unchanged project is not equal")
	}
	for _, change := range []struct{ from, to string }{
		{"cn-north-4", "cn-north-9"}, {"p1", "p2"}, {"a.*", "b.*"}, {"a: b", "a: c"}, {"c1", "c2"}, {"x: y", "x: z"},
		{"a: b", "a: b, c: d"}, {"127.0.0.1:1", "127.0.0.1:2"},
		{`discovery: {name: "a.*", tags: {a: b}}, `, ""}, {`name: "a.*", `, ""},
	} {
		changed := strings.Replace(comparedProject, change.from, change.to, 1)
		if changed == comparedProject {
			t.Fatalf("the project does not contain %q", change.from)
		}
		if reflect.DeepEqual(before, parseProject(t, changed)) {
			t.Errorf("the project is equal with %q instead of %q", change.to, change.from)
		}
	}
}

// TestDeepEqualIgnoresCertificates changes a CA file, which the project's transport reads again by itself.
func TestDeepEqualIgnoresCertificates(t *testing.T) {
	ca, err := os.ReadFile("../../config/testdata/tls/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := strings.Replace(comparedProject, "clusters:", "tls_config: {ca_file: "+file+"}, clusters:", 1)
	writeFile(t, file, string(ca))
	before := parseProject(t, text)
	writeFile(t, file, "another one\n"+string(ca))
	if !reflect.DeepEqual(before, parseProject(t, text)) {
		t.Error("the project is not equal")
	}
}

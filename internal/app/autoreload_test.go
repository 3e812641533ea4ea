// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/commandline"
	"css_vpcep_exporter/internal/server"
	"css_vpcep_exporter/internal/simulator"
)

// watched is an exporter in virtual time that watches a configuration file but does not serve.
type watched struct {
	exporter *exporter
	log      *buffer
	path     string
	interval time.Duration
	hangup   chan os.Signal
	reads    atomic.Int64 // of the file
	loads    int          // expected lines "Configuration loaded"
	failures int          // expected lines "Invalid configuration"
}

// watch calls test for an exporter with the project a, for several intervals. The first check is one interval later.
func watch(t *testing.T, test func(t *testing.T, w *watched)) {
	t.Helper()
	for _, interval := range []time.Duration{200 * time.Millisecond, time.Second, 30 * time.Second} {
		t.Run(interval.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				f := &commandline.Flags{
					ConfigFile: filepath.Join(t.TempDir(), "css_vpcep.yml"), AutoReload: interval,
					Server: server.Options{TelemetryPath: "/metrics", Timeout: time.Second},
				}
				w := &watched{
					log: &buffer{}, path: f.ConfigFile, interval: interval, hangup: make(chan os.Signal, 1), loads: 1,
				}
				writeFile(t, w.path, watchedConfig("a"))
				env := environment(nil)
				file := newSource(ctx, f, env)
				w.exporter = newExporter(f, source{parse: file.parse, read: func() snapshot {
					defer w.reads.Add(1)
					return file.read()
				}}, env, newLogger(w.log, "info", "logfmt"))
				defer w.exporter.close()
				if err := w.exporter.reload(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error)
				go func() { ended <- w.exporter.wait(ctx, w.hangup, nil) }()
				test(t, w)
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// watchedConfig returns a configuration with these projects, each on lines of its own, in block style, so that many a
// part of it is valid.
func watchedConfig(names ...string) string {
	var text strings.Builder
	text.WriteString("projects:\n")
	for _, name := range names {
		fmt.Fprintf(&text, "  - name: %s\n    region: cn-north-4\n    project_id: id-of-%s\n"+
			"    credentials: {access_key: AK, secret_key: SK}\n    clusters: [{id: cluster-of-%s}]\n", name, name, name)
	}
	return text.String()
}

// withSecretIn returns the configuration of project b with a secret key in a file.
func withSecretIn(file string) string {
	return strings.Replace(watchedConfig("b"), "secret_key: SK", "secret_key_file: "+file, 1)
}

// pass lets virtual time pass.
func (w *watched) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// passUntilRead lets the time pass until the file is read, at the latest at the next check.
func (w *watched) passUntilRead() {
	for before := w.reads.Load(); w.reads.Load() == before; {
		w.pass(10 * time.Millisecond)
	}
}

// checkTwice lets the time pass after which a changed file must be in use, and twice more.
func (w *watched) checkTwice() { w.pass(3 * (w.interval + settleTime)) }

// check compares the projects in use, the metric and the number of log lines.
func (w *watched) check(t *testing.T, when string, projects ...string) {
	t.Helper()
	w.exporter.mu.Lock()
	var names []string
	for _, p := range w.exporter.projects {
		names = append(names, p.settings.Name)
	}
	failed := w.exporter.failure != ""
	w.exporter.mu.Unlock()
	if got, want := strings.Join(names, " "), strings.Join(projects, " "); got != want {
		t.Errorf("%s: got the projects %q, want %q\n%s", when, got, want, w.log)
	}
	if ok, _ := w.exporter.metrics.ConfigState(); ok == failed {
		t.Errorf("%s: the last reload failed: %t, but the metric shows %t", when, failed, !ok)
	}
	for message, want := range map[string]int{"Configuration loaded": w.loads, "Invalid configuration": w.failures} {
		if got := strings.Count(w.log.String(), `msg="`+message+`"`); got != want {
			t.Errorf("%s: got %d lines %q, want %d\n%s", when, got, message, want, w.log)
		}
	}
}

// checkFailed checks that the last reload failed.
func (w *watched) checkFailed(t *testing.T, when string, projects ...string) {
	t.Helper()
	w.check(t, when, projects...)
	if ok, _ := w.exporter.metrics.ConfigState(); ok {
		t.Errorf("%s: the metric shows that the last reload was successful", when)
	}
}

// checkLoaded checks that the last reload was successful.
func (w *watched) checkLoaded(t *testing.T, when string, projects ...string) {
	t.Helper()
	w.check(t, when, projects...)
	if ok, _ := w.exporter.metrics.ConfigState(); !ok {
		t.Errorf("%s: the metric shows that the last reload failed", when)
	}
}

func TestAutoReloadLoadsAChangedFile(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		for i, name := range []string{"b", "c", "a"} {
			writeFile(t, w.path, watchedConfig(name))
			w.loads++
			w.pass(w.interval + settleTime)
			w.checkLoaded(t, fmt.Sprintf("change %d", i+1), name)
		}
		w.pass(100 * w.interval)
		w.checkLoaded(t, "later", "a")
	})
}

func TestAutoReloadIgnoresAnUnchangedFile(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		_, before := w.exporter.metrics.ConfigState()
		w.pass(time.Minute)
		for what, change := range map[string]func() error{
			"touched":   func() error { return os.Chtimes(w.path, time.Now(), time.Now()) },
			"rewritten": func() error { return os.WriteFile(w.path, []byte(watchedConfig("a")), 0o600) },
			"replaced": func() error {
				replacement := w.path + ".new"
				writeFile(t, replacement, watchedConfig("a"))
				return os.Rename(replacement, w.path)
			},
			"changed and changed back": func() error {
				writeFile(t, w.path, watchedConfig("b"))
				w.passUntilRead()
				return os.WriteFile(w.path, []byte(watchedConfig("a")), 0o600)
			},
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			w.checkTwice()
			w.checkLoaded(t, what, "a")
		}
		if _, at := w.exporter.metrics.ConfigState(); !at.Equal(before) {
			t.Errorf("got the last success at %s, want %s as before", at, before)
		}
	})
}

// TestAutoReloadIgnoresHalfWrittenFiles writes in steps of less than a second, at different times before a check.
func TestAutoReloadIgnoresHalfWrittenFiles(t *testing.T) {
	full := watchedConfig("b", "c", "d")
	for name, test := range map[string]struct {
		parts []string
		step  time.Duration
	}{
		"truncated first": {[]string{"", full}, 900 * time.Millisecond},
		"invalid part":    {[]string{full[:len(full)-3], full}, 900 * time.Millisecond},
		"valid part":      {[]string{watchedConfig("b"), full}, 900 * time.Millisecond},
		"slow copy": {
			[]string{"", "projects:\n", watchedConfig("b"), full[:200], watchedConfig("b", "c"), full}, 900 * time.Millisecond,
		},
		"truncated once a second": {
			[]string{"", watchedConfig("b"), "", watchedConfig("c"), "", full}, 500 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			watch(t, func(t *testing.T, w *watched) {
				for _, before := range []time.Duration{0, 10, 150, 500, 990} {
					w.passUntilRead()
					w.pass(w.interval - min(before*time.Millisecond, w.interval))
					for _, part := range test.parts {
						writeFile(t, w.path, part)
						w.pass(test.step)
					}
					w.loads++
					w.checkTwice()
					w.checkLoaded(t, "complete", "b", "c", "d")
					writeFile(t, w.path, watchedConfig("a"))
					w.loads++
					w.checkTwice()
					w.checkLoaded(t, "another file", "a")
				}
			})
		})
	}
}

// TestAutoReloadForgetsAChangeThatWasUndone shows the same part of a file to two checks, and the old file between them.
func TestAutoReloadForgetsAChangeThatWasUndone(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		for range 3 {
			writeFile(t, w.path, watchedConfig("b"))
			w.passUntilRead()
			writeFile(t, w.path, watchedConfig("a"))
			w.passUntilRead()
		}
		w.checkTwice()
		w.checkLoaded(t, "undone", "a")
	})
}

// TestAutoReloadFollowsSymbolicLinks swaps directories as the kubelet does for a ConfigMap.
func TestAutoReloadFollowsSymbolicLinks(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		dir := filepath.Dir(w.path)
		data := filepath.Join(dir, "..data")
		version := func(name string) {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, name, "css_vpcep.yml"), watchedConfig(name))
			if err := os.Symlink(name, data+"_tmp"); err != nil {
				t.Fatal(err)
			}
		}
		swap := func() {
			if err := os.Rename(data+"_tmp", data); err != nil {
				t.Fatal(err)
			}
		}
		version("a")
		swap()
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", "css_vpcep.yml"), w.path); err != nil {
			t.Fatal(err)
		}
		w.checkTwice()
		w.checkLoaded(t, "a link to the same content", "a")

		version("b")
		swap()
		w.loads++
		w.checkTwice()
		w.checkLoaded(t, "swapped", "b")

		version("c")
		w.passUntilRead()
		w.pass(w.interval - 100*time.Millisecond)
		if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
			t.Fatal(err)
		}
		w.pass(900 * time.Millisecond)
		swap()
		w.loads++
		w.checkTwice()
		w.checkLoaded(t, "swapped after a moment without the file", "c")
	})
}

// TestAutoReloadReportsAnInvalidFileOnce replaces the file, waits, and restores it.
func TestAutoReloadReportsAnInvalidFileOnce(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"missing":   func(string) error { return nil },
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"invalid":   func(path string) error { return os.WriteFile(path, []byte("projects: 1\n"), 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"dead link": func(path string) error { return os.Symlink("none", path) },
	} {
		t.Run(name, func(t *testing.T) {
			watch(t, func(t *testing.T, w *watched) {
				for _, back := range []string{"a", "b"} {
					if err := os.Remove(w.path); err != nil {
						t.Fatal(err)
					}
					if err := replace(w.path); err != nil {
						t.Fatal(err)
					}
					w.failures++
					w.checkTwice()
					w.checkFailed(t, "replaced", "a")
					w.pass(10 * w.interval)
					w.checkFailed(t, "later", "a")
					if err := os.RemoveAll(w.path); err != nil {
						t.Fatal(err)
					}
					writeFile(t, w.path, watchedConfig(back))
					w.loads++
					w.checkTwice()
					w.checkLoaded(t, "restored", back)
				}
			})
		})
	}
}

func TestAutoReloadReportsOtherErrors(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		for i, content := range []string{"projects: 1\n", "projects: [{}]\n", "# \nprojects: [{}]\n", "projects: 1\n"} {
			writeFile(t, w.path, content)
			w.failures++
			w.checkTwice()
			w.checkFailed(t, fmt.Sprintf("content %d", i+1), "a")
		}
		writeFile(t, w.path, "projects: 1 # the same error\n")
		w.checkTwice()
		w.checkFailed(t, "other content with the same error", "a")
	})
}

// TestAutoReloadNoticesOtherFiles has a Secret that is mounted after the ConfigMap.
func TestAutoReloadNoticesOtherFiles(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		secret := filepath.Join(t.TempDir(), "secret")
		writeFile(t, w.path, withSecretIn(secret))
		w.failures++
		w.checkTwice()
		w.checkFailed(t, "without the secret", "a")
		writeFile(t, secret, "SK-in-a-file\n")
		w.loads++
		w.checkTwice()
		w.checkLoaded(t, "with the secret", "b")
		if err := os.Remove(secret); err != nil {
			t.Fatal(err)
		}
		w.checkTwice()
		w.checkLoaded(t, "a secret that disappears changes no configuration", "b")
	})
}

func TestAutoReloadAndSIGHUP(t *testing.T) {
	watch(t, func(t *testing.T, w *watched) {
		hangUp := func() {
			w.hangup <- syscall.SIGHUP
			synctest.Wait()
		}
		writeFile(t, w.path, watchedConfig("b"))
		hangUp()
		w.loads++
		w.checkLoaded(t, "SIGHUP", "b")
		w.checkTwice()
		w.checkLoaded(t, "checked after SIGHUP", "b")

		writeFile(t, w.path, watchedConfig("c"))
		w.passUntilRead()
		hangUp() // after a check has found the change
		w.loads++
		w.checkTwice()
		w.checkLoaded(t, "SIGHUP before the change is loaded", "c")

		writeFile(t, w.path, "projects: 1\n")
		hangUp()
		w.failures++
		w.checkTwice()
		w.checkFailed(t, "SIGHUP, invalid file", "c")
		hangUp()
		w.failures++
		w.checkTwice()
		w.checkFailed(t, "SIGHUP again", "c")
		writeFile(t, w.path, watchedConfig("c"))
		w.loads++
		w.checkTwice()
		w.checkLoaded(t, "restored", "c")
	})
}

// TestAutoReloadKeepsThePause changes the file again and again, which must not lock a wrong key.
func TestAutoReloadKeepsThePause(t *testing.T) {
	slow(t)
	wrong := project{accessKey: "AK-wrong", secretKey: "another one", clusters: clusterIDs("c", 20)}
	c := newCloud(t, simulator.Options{}, wrong)
	path := c.file(t, wrong)
	p := start(t, "--config.file="+path, "--config.auto-reload-interval=10ms")
	for n := range 3 {
		p.scrape(t, 5*time.Second)
		wrong.rate = 1001 + n
		writeFile(t, path, c.config(wrong))
		p.eventually(t, "the file is loaded", func() bool {
			return strings.Count(p.log.String(), `msg="Configuration loaded"`) == n+2
		})
	}
	p.scrape(t, 5*time.Second)
	c.checkRejections(t, wrong.accessKey, maxRejections)
}

// TestAutoReloadKeepsDiscoveredClusters changes the file while the cluster list cannot be read.
func TestAutoReloadKeepsDiscoveredClusters(t *testing.T) {
	slow(t)
	s := startSurviving(t, "{max_staleness: 1h}", project{settings: "discovery: {}"}, "--config.auto-reload-interval=10ms")
	s.fail(simulator.Clusters)
	s.project.name = "renamed"
	writeFile(t, s.path, s.cloud.config(s.project))
	s.eventually(t, "the file is loaded", func() bool {
		return strings.Contains(s.scrape(t, 10*time.Second).text, `project="renamed"`)
	})
	s.checkClusters(t, "renamed", "a1", "a2", "b1")
}

// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
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
)

const (
	processLife  = 5 * time.Minute  // maximum life of a child process
	processGrace = 15 * time.Second // time limit to exit
	waitLimit    = time.Minute      // time limit of a condition, for a busy machine
)

// output is the output of a child process. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// tail returns the end of the output.
func (o *output) tail() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// process is a child process that serves HTTP.
type process struct {
	name    string
	address string // host:port
	cmd     *exec.Cmd
	output  *output
	ended   chan struct{}
	killed  bool // by the test
}

// build builds the exporter and returns its path.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "css_vpcep_exporter")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "../..") //nolint:gosec // the path is from the test
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %s\n%s", err, out)
	}
	return path
}

// writeFiles writes files into a new directory and returns its path.
func writeFiles(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tool returns the path of a program that must be in PATH.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s must be in PATH (Debian: packages prometheus, prometheus-alertmanager, chromium): %s", name, err)
	}
	return path
}

// launch starts a program and waits until it listens. When the test ends, the program gets SIGTERM and
// must exit with 0.
func launch(t *testing.T, name, path string, args ...string) *process {
	t.Helper()
	p := start(t, name, path, args...)
	if !p.listens(t) {
		t.Fatalf("%s does not listen:\n%s", p.name, p.output.tail())
	}
	return p
}

// start starts a program.
func start(t *testing.T, name, path string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), processLife)
	p := &process{name: name, output: &output{}, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // the test names the program
	p.cmd.Env = []string{"HOME=" + t.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = processGrace // then it is killed
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the test checks ProcessState
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
		if code := p.cmd.ProcessState.ExitCode(); code != 0 && !p.killed {
			t.Errorf("%s: exit status %d:\n%s", p.name, code, p.output.tail())
		}
		if t.Failed() {
			t.Logf("end of the output of %s:\n%s", p.name, p.output.tail())
		}
	})
	return p
}

// listens waits until the program listens or has exited, and reports whether it listens.
func (p *process) listens(t *testing.T) bool {
	t.Helper()
	said := regexp.MustCompile(`msg="Listening on" (?:component=web )?address=(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); {
		if found := said.FindStringSubmatch(p.output.String()); found != nil {
			p.address = found[1]
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// kill kills the process and returns the time.
func (p *process) kill(t *testing.T) time.Time {
	t.Helper()
	p.killed = true
	at := time.Now()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	return at
}

// newClient returns a client whose connections are closed when the test ends.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

// get returns status 0 if the request fails.
func get(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// eventually polls check until it returns "". Until then it returns the current state for the failure message.
func eventually(t *testing.T, what string, check func() (instead string)) {
	t.Helper()
	eventuallyWithin(t, waitLimit, what, check)
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, check func() (instead string)) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		instead := check()
		if instead == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("timeout after %s: %s: %s", limit, what, instead)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

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

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Generous limits, which only stop a test that hangs.
const (
	processLimit = 8 * time.Minute  // of a child process
	exitLimit    = 15 * time.Second // after SIGTERM
	waitLimit    = time.Minute      // for a condition
)

// output is safe for concurrent use.
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

func (o *output) lastLines() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

type process struct {
	name    string
	address string // host:port
	cmd     *exec.Cmd
	output  *output
	exited  chan struct{}
	killed  bool // by the test
}

func buildExporter(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "css_vpcep_exporter")
	ctx, cancel := context.WithTimeout(t.Context(), processLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "../..") //nolint:gosec // the test's path
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %s\n%s", err, out)
	}
	return path
}

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

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s must be in PATH (Debian packages: prometheus, prometheus-alertmanager, chromium): %s", name, err)
	}
	return path
}

// startServer waits until the program listens. At the end of the test the program gets SIGTERM and must exit with 0.
func startServer(t *testing.T, name, path string, args ...string) *process {
	t.Helper()
	p := startProcess(t, name, path, args...)
	if !p.waitUntilListening(t) {
		t.Fatalf("%s does not listen:\n%s", p.name, p.output.lastLines())
	}
	return p
}

func startProcess(t *testing.T, name, path string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), processLimit)
	p := &process{name: name, output: &output{}, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // the test's program
	p.cmd.Env = []string{"HOME=" + t.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = exitLimit // until it is killed
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the cleanup checks ProcessState
	}()
	t.Cleanup(func() {
		cancel()
		<-p.exited
		if code := p.cmd.ProcessState.ExitCode(); code != 0 && !p.killed {
			t.Errorf("%s: got exit status %d, want 0:\n%s", p.name, code, p.output.lastLines())
		}
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", p.name, p.output.lastLines())
		}
	})
	return p
}

// waitUntilListening returns false if the program exits.
func (p *process) waitUntilListening(t *testing.T) bool {
	t.Helper()
	listening := regexp.MustCompile(`msg="Listening on" (?:component=web )?address=(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); {
		if found := listening.FindStringSubmatch(p.output.String()); found != nil {
			p.address = found[1]
			return true
		}
		select {
		case <-p.exited:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

func (p *process) kill(t *testing.T) (killed time.Time) {
	t.Helper()
	p.killed = true
	killed = time.Now()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	return killed
}

func runProgram(t *testing.T, input, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the test's program
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

// get returns status 0 and the error if the request fails.
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

// eventually polls check, which returns the current state, or "" once it is as wanted.
func eventually(t *testing.T, want string, check func() (got string)) {
	t.Helper()
	eventuallyWithin(t, waitLimit, want, check)
}

func eventuallyWithin(t *testing.T, limit time.Duration, want string, check func() (got string)) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		got := check()
		if got == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: got %s, want: %s", limit, got, want)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

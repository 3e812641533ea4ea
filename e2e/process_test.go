// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
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
	processLife  = 80 * time.Second // how long a child process lives at most, whatever happens
	processGrace = 15 * time.Second // how long it may take to end
	startLimit   = 15 * time.Second // how long it may take to listen
)

// output is what a child process writes, and may be read while it does.
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

// tail is the end of the output.
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

// build makes the exporter.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "css_vpcep_exporter")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "..") //nolint:gosec // the path is the test's own
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %s\n%s", err, out)
	}
	return path
}

// tool is a program that must be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("these tests need a %s in PATH (Debian's packages: prometheus, chromium): %s", name, err)
	}
	return path
}

// launch starts a program for at most life and waits until it says where it listens. It gets a SIGTERM when the test
// ends, and must end by that.
func launch(t *testing.T, life time.Duration, name, path string, args ...string) *process {
	t.Helper()
	p := begin(t, life, name, path, args...)
	if !p.listens(t) {
		t.Fatalf("%s does not listen:\n%s", p.name, p.output.tail())
	}
	return p
}

// begin starts a program.
func begin(t *testing.T, life time.Duration, name, path string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), life)
	p := &process{name: name, output: &output{}, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // the test says what runs
	p.cmd.Env = []string{"HOME=" + t.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = processGrace // and then it is killed
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in its state
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
		if code := p.cmd.ProcessState.ExitCode(); code != 0 && !p.killed {
			t.Errorf("%s ended with %d:\n%s", p.name, code, p.output.tail())
		}
		if t.Failed() {
			t.Logf("%s said at last:\n%s", p.name, p.output.tail())
		}
	})
	return p
}

// listens waits until the program has said where it listens, or has ended.
func (p *process) listens(t *testing.T) bool {
	t.Helper()
	said := regexp.MustCompile(`msg="Listening on" (?:component=web )?address=(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); {
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

// kill ends the process as a crash would, and says when.
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

// newClient makes a client of the test's own, whose connections end with it.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

// get gives status 0 if there is no answer.
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

// eventually polls until what is wanted is so; is says what there is instead while it is not.
func eventually(t *testing.T, limit time.Duration, what string, is func() (instead string)) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		instead := is()
		if instead == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %s", limit, what, instead)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// runMain is a variable that lets the test binary run the program.
const runMain = "CSS_VPCEP_EXPORTER_TEST_MAIN"

// child is the program in a process of its own.
type child struct {
	program
	stdout  *buffer
	process *os.Process
	ended   chan struct{}
	state   *os.ProcessState // once ended
}

// startChild starts the program. The test stops it at the end.
func startChild(t *testing.T, args ...string) *child {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	cmd := exec.CommandContext(ctx, path, append(args, "--log.level=debug")...) //nolint:gosec // this test binary
	cmd.Env = []string{runMain + "=1", "HOME=" + t.TempDir()}
	c := &child{program: program{log: &buffer{}}, stdout: &buffer{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c.stdout, c.log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	c.process = cmd.Process
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // the tests check the state
		c.state = cmd.ProcessState
	}()
	t.Cleanup(func() {
		cancel() // kills it
		<-c.ended
		http.DefaultClient.CloseIdleConnections()
	})
	return c
}

// serveChild starts the program with this configuration file and waits until it listens.
func serveChild(t *testing.T, path string, args ...string) *child {
	t.Helper()
	c := startChild(t, append(args, "--config.file="+path, "--web.listen-address=127.0.0.1:0")...)
	c.waitUntilListening(t)
	return c
}

func (c *child) waitUntilListening(t *testing.T) {
	t.Helper()
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	c.eventually(t, "the program listens", func() bool {
		c.checkRuns(t)
		match := listening.FindStringSubmatch(c.log.String())
		if match != nil {
			c.url = "http://" + match[1]
		}
		return match != nil
	})
}

func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *child) checkRuns(t *testing.T) {
	t.Helper()
	if c.hasEnded() {
		t.Fatalf("the process ended: %s\n%s", c.state, c.log)
	}
}

func (c *child) signal(t *testing.T, signals ...syscall.Signal) {
	t.Helper()
	for _, s := range signals {
		if err := c.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
}

// waitForExit fails unless the process ends with this exit code.
func (c *child) waitForExit(t *testing.T, code int) {
	t.Helper()
	c.eventually(t, "the process ended", c.hasEnded)
	if got := c.state.ExitCode(); got != code {
		t.Errorf("got %s, want exit status %d:\n%s", c.state, code, c.log)
	}
}

// hangUp sends SIGHUP several times.
func (c *child) hangUp(t *testing.T) {
	t.Helper()
	c.signal(t, syscall.SIGHUP, syscall.SIGHUP, syscall.SIGHUP, syscall.SIGHUP, syscall.SIGHUP)
}

// pipe is a configuration file that blocks the program that reads it.
type pipe struct{ path string }

func newPipe(t *testing.T) pipe {
	t.Helper()
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return pipe{path}
}

// waitForReader returns the pipe's end for writing once the program reads the file.
func (p pipe) waitForReader(t *testing.T, c *child) *os.File {
	t.Helper()
	var f *os.File
	c.eventually(t, "the program reads the configuration file", func() bool {
		c.checkRuns(t)
		var err error
		f, err = os.OpenFile(p.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func finish(t *testing.T, f *os.File, content string) {
	t.Helper()
	if _, err := f.WriteString(content); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestSIGHUPWhileLoadingReloadsLater replaces the configuration file while the program reads it.
func TestSIGHUPWhileLoadingReloadsLater(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1", "c2"}})
	file := newPipe(t)
	c := startChild(t, "--config.file="+file.path, "--web.listen-address=127.0.0.1:0")
	writer := file.waitForReader(t, c)
	if err := os.Rename(cloud.file(t, project{clusters: []string{"c2"}}), file.path); err != nil {
		t.Fatal(err)
	}
	c.hangUp(t)
	finish(t, writer, cloud.config(project{clusters: []string{"c1"}}))
	c.waitUntilListening(t)
	c.eventually(t, "the second file is in use", func() bool {
		return c.scrape(t, 5*time.Second).countUp([]string{"c2"}) == 1
	})
	c.signal(t, syscall.SIGTERM)
	c.waitForExit(t, 0)
}

// TestSIGHUPIsCaughtBeforeOtherPackagesAreInitialized reads the order from the trace of Go's runtime.
func TestSIGHUPIsCaughtBeforeOtherPackagesAreInitialized(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--version") //nolint:gosec // this test binary
	cmd.Env = []string{runMain + "=1", "GODEBUG=inittrace=1"}
	trace, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(trace), "init css_vpcep_exporter/internal/hangup ")
	if !found || strings.Contains(before, "init net") || strings.Contains(before, "init github.com/prometheus") {
		t.Errorf("SIGHUP is caught late:\n%s", trace)
	}
}

func TestSIGHUPDoesNotEndACheck(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	file := newPipe(t)
	c := startChild(t, "--config.check", "--config.file="+file.path)
	writer := file.waitForReader(t, c)
	c.hangUp(t)
	finish(t, writer, cloud.config(cloud.projects...))
	c.waitForExit(t, 0)
}

// startHanging starts the program over a cluster that does not answer, and a request that waits for it.
func startHanging(t *testing.T) (c *child, cloud *testCloud) {
	t.Helper()
	cloud = newCloud(t, simulator.Options{}, project{clusters: []string{"slow"}})
	cloud.FailReads("slow", simulator.Fault{Latency: patience})
	c = serveChild(t, cloud.file(t, cloud.projects...))
	scraped := make(chan struct{})
	go func() {
		defer close(scraped)
		_, _ = c.request(t, http.MethodGet, "/metrics", http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"60"}})
	}()
	t.Cleanup(func() {
		_ = c.process.Kill()
		<-scraped
	})
	c.eventually(t, "the request is in flight", func() bool { return cloud.InFlight() == 1 })
	return c, cloud
}

func (c *child) waitForLine(t *testing.T, line string) {
	t.Helper()
	c.eventually(t, "the log contains "+line, func() bool { return strings.Contains(c.log.String(), line) })
}

func TestSIGHUPDoesNotEndOnce(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	gate := newGate()
	cloud.serveHeld(t, gate)
	c := startChild(t, "--once", "--config.file="+cloud.file(t, cloud.projects...))
	c.eventually(t, "the request is in flight", func() bool { return gate.held.Load() == 1 })
	c.hangUp(t)
	close(gate.release)
	c.waitForExit(t, 0)
	if !strings.Contains(c.stdout.String(), "css_vpcep_up{") {
		t.Errorf("no metrics:\n%s", c.stdout)
	}
}

// TestInterruptedOnceWritesNoMetrics: a cluster whose request was interrupted has not failed.
func TestInterruptedOnceWritesNoMetrics(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	cloud.FailReads("c1", simulator.Fault{Latency: patience})
	c := startChild(t, "--once", "--scrape.timeout=50s", "--config.file="+cloud.file(t, cloud.projects...))
	c.eventually(t, "the request is in flight", func() bool { return cloud.InFlight() == 1 })
	c.signal(t, syscall.SIGINT)
	c.waitForExit(t, 1)
	if c.stdout.String() != "" {
		t.Errorf("got metrics:\n%s", c.stdout)
	}
}

func TestSIGHUPDuringShutdownIsIgnored(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	gate := newGate()
	cloud.serveHeld(t, gate)
	c := serveChild(t, cloud.file(t, cloud.projects...))
	up := make(chan int, 1)
	go func() { up <- c.scrape(t, patience).countUp([]string{"c1"}) }()
	c.eventually(t, "the request is in flight", func() bool { return gate.held.Load() == 1 })
	c.signal(t, syscall.SIGTERM)
	c.waitForLine(t, `msg="Shutting down" grace=8s`)
	c.hangUp(t)
	close(gate.release)
	if <-up != 1 {
		t.Error("the running scrape was cancelled")
	}
	c.waitForExit(t, 0)
	if n := strings.Count(c.log.String(), `msg="Configuration loaded"`); n != 1 {
		t.Errorf("the configuration was loaded %d times, want once:\n%s", n, c.log)
	}
}

// TestSIGHUPStorm sends SIGHUP without a pause from the start of serving to the end of the process.
func TestSIGHUPStorm(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	file := newPipe(t)
	c := startChild(t, "--config.file="+file.path, "--web.listen-address=127.0.0.1:0")
	writer := file.waitForReader(t, c)
	text := cloud.config(cloud.projects...)
	if err := os.Rename(cloud.file(t, cloud.projects...), file.path); err != nil {
		t.Fatal(err)
	}
	storm := make(chan struct{})
	go func() {
		defer close(storm)
		for c.process.Signal(syscall.SIGHUP) == nil {
			time.Sleep(100 * time.Microsecond)
		}
	}()
	finish(t, writer, text)
	c.waitUntilListening(t)
	if c.scrape(t, 10*time.Second).countUp([]string{"c1"}) != 1 {
		t.Error("the cluster is down")
	}
	c.signal(t, syscall.SIGTERM)
	c.waitForExit(t, 0)
	<-storm
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	for _, test := range []struct {
		first, second syscall.Signal
		code          int
	}{
		{syscall.SIGINT, syscall.SIGINT, 130},
		{syscall.SIGTERM, syscall.SIGTERM, 143},
		{syscall.SIGTERM, syscall.SIGINT, 130},
	} {
		c, _ := startHanging(t)
		c.signal(t, test.first)
		c.waitForLine(t, `msg="Shutting down"`)
		c.signal(t, test.second)
		c.waitForExit(t, test.code)
		if strings.Contains(c.log.String(), "Shutdown timed out") {
			t.Errorf("%s, %s: the process waited for the running scrape", test.first, test.second)
		}
	}
}

// TestSignalWhileLoadingEndsTheProcess uses a configuration file that never ends.
func TestSignalWhileLoadingEndsTheProcess(t *testing.T) {
	for _, test := range []struct {
		arg  string
		code int
	}{{"--once", 1}, {"--config.check", 1}, {"--web.listen-address=127.0.0.1:0", 0}} {
		file := newPipe(t)
		c := startChild(t, test.arg, "--config.file="+file.path)
		file.waitForReader(t, c)
		c.signal(t, syscall.SIGTERM)
		c.waitForExit(t, test.code)
		if c.stdout.String()+c.log.String() == "" {
			t.Errorf("%s: no message", test.arg)
		}
	}
}

func TestSIGTERMDuringAReloadThatBlocks(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	path := cloud.file(t, cloud.projects...)
	c := serveChild(t, path)
	file := newPipe(t)
	if err := os.Rename(file.path, path); err != nil {
		t.Fatal(err)
	}
	file.path = path
	c.signal(t, syscall.SIGHUP)
	file.waitForReader(t, c)
	if c.scrape(t, 10*time.Second).countUp([]string{"c1"}) != 1 {
		t.Error("the cluster is down")
	}
	c.signal(t, syscall.SIGTERM)
	c.waitForExit(t, 0)
}

// TestTheReaderOfTheLogGoesAway: writing to a pipe without a reader ends a Go program, unless it ignores SIGPIPE.
func TestTheReaderOfTheLogGoesAway(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	c := serveChild(t, cloud.file(t, cloud.projects...))
	c.log.close()
	for range 5 { // each writes log lines
		if c.scrape(t, 10*time.Second).countUp([]string{"c1"}) != 1 {
			t.Error("the cluster is down")
		}
		c.hangUp(t)
		time.Sleep(20 * time.Millisecond)
	}
	c.checkRuns(t)
	c.signal(t, syscall.SIGTERM)
	c.waitForExit(t, 0)
}

func TestShutdownCancelsScrapesAfterTheGrace(t *testing.T) {
	slow(t)
	c, cloud := startHanging(t)
	c.signal(t, syscall.SIGTERM)
	c.waitForExit(t, 0)
	if want := `msg="Shutdown timed out; cancelling running scrapes"`; !strings.Contains(c.log.String(), want) {
		t.Errorf("got no line with %s:\n%s", want, c.log)
	}
	cloud.checkSecrets(t, "the log", c.log.String())
}

// TestShutdownShowsNoClusterDown cuts off scrapes: a cluster whose request was cancelled has not failed.
func TestShutdownShowsNoClusterDown(t *testing.T) {
	slow(t)
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"slow"}})
	cloud.FailReads("slow", simulator.Fault{Latency: patience})
	c := serveChild(t, cloud.file(t, cloud.projects...), "--web.config.file="+webTLS(t))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a certificate of this test
	}
	t.Cleanup(transport.CloseIdleConnections)
	get := func(path string) string {
		address := "https" + strings.TrimPrefix(c.url, "http") + path
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Error(err)
			return ""
		}
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
		req.Header.Set("Accept-Encoding", "identity")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body) // of a connection that breaks
		return string(body)
	}
	responses := make(chan string, 50)
	for range cap(responses) {
		go func() { responses <- get("/metrics") }()
	}
	inFlight := fmt.Sprintf("\npromhttp_metric_handler_requests_in_flight %d\n", cap(responses)+1)
	c.eventually(t, "all requests are in flight", func() bool {
		return strings.Contains(get("/metrics?collect[]=exporter"), inFlight)
	})
	c.signal(t, syscall.SIGTERM)
	c.waitForExit(t, 0)
	for range cap(responses) {
		if body := <-responses; strings.Contains(body, "css_vpcep_up{") {
			t.Errorf("a scrape that was cut off got a response:\n%s", body)
			return
		}
	}
}

// TestSignalDuringStartUpExitsCleanly runs the program as if SIGTERM had come before anything else.
func TestSignalDuringStartUpExitsCleanly(t *testing.T) {
	cloud := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, arg := range []string{"--demo", "--config.file=" + cloud.file(t, cloud.projects...)} {
		var log buffer
		if code := run(ctx, []string{arg, "--web.listen-address=127.0.0.1:0"}, environment(nil), io.Discard, &log); code != 0 {
			t.Errorf("%s: got exit code %d, want 0:\n%s", arg, code, log.String())
		}
	}
}

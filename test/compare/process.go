// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child process that serves HTTP.
type process struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	announced string // the address or, for the cloud, JSON
	output    *outputTail
	exited    chan struct{}
}

// startProcess runs a program until stop is called or ctx is done. It returns when a line of output matches readyLine,
// and stores the first group in announced.
func startProcess(ctx context.Context, readyLine *regexp.Regexp, path string, args ...string) (*process, error) {
	p := &process{output: &outputTail{}, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // from the command line
	p.cmd.Env = []string{"HOME=" + os.TempDir()}    // no credentials, no proxy
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 15 * time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // any exit status will do
		_ = writer.Close()
	}()
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			p.output.add(lines.Text())
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, reader)
	}()
	select {
	case p.announced = <-found:
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("%s exited early:\n%s", filepath.Base(path), p.output)
	case <-time.After(30 * time.Second):
		p.stop()
		return nil, fmt.Errorf("%s not ready after 30s:\n%s", filepath.Base(path), p.output)
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.exited
}

// cpuTime returns the CPU time of all threads. No time is lost, because a Go program keeps its threads.
func (p *process) cpuTime() (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(paths) == 0 {
		return 0, errors.New("no CPU time of the process in /proc; run on Linux")
	}
	var sum time.Duration
	for _, path := range paths {
		content, err := os.ReadFile(path) //nolint:gosec // in /proc
		if err != nil {
			continue // the thread has exited
		}
		running, _, _ := strings.Cut(string(content), " ")
		nanoseconds, err := strconv.ParseInt(running, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(nanoseconds)
	}
	return sum, nil
}

// peakMemory returns the peak resident memory in bytes.
func (p *process) peakMemory() (int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(content)
	if found == nil {
		return 0, errors.New("no VmHWM in /proc; run on Linux")
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	return kilobytes << 10, err
}

type outputTail struct {
	mu    sync.Mutex
	lines []string
}

func (t *outputTail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	t.lines = t.lines[max(0, len(t.lines)-20):]
}

func (t *outputTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

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

// process is a child that serves HTTP.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	said   string // what it was waited for
	output *tail
	ended  chan struct{}
}

// start runs a program until stop, or at most until ctx ends. It returns when the program has written a line that matches
// until, whose first group is kept.
func start(ctx context.Context, until *regexp.Regexp, path string, args ...string) (*process, error) {
	p := &process{output: &tail{}, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // what the command line names, and this program itself
	p.cmd.Env = []string{"HOME=" + os.TempDir()}    // nobody's credentials, and no proxy
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 15 * time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	read, write := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = write, write
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended does not matter here
		_ = write.Close()
	}()
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			p.output.add(lines.Text())
			if m := until.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, read)
	}()
	select {
	case p.said = <-found:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s ended:\n%s", filepath.Base(path), p.output)
	case <-time.After(30 * time.Second):
		p.stop()
		return nil, fmt.Errorf("%s does not say that it is ready:\n%s", filepath.Base(path), p.output)
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

// stop ends the process and waits for that.
func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
}

// cpu is what the process has used so far: Linux tells it by thread and in nanoseconds. Threads of Go stay.
func (p *process) cpu() (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(paths) == 0 {
		return 0, errors.New("/proc does not tell the CPU time of a process: this needs Linux")
	}
	var sum time.Duration
	for _, path := range paths {
		content, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			continue // a thread that has just ended
		}
		used, _, _ := strings.Cut(string(content), " ")
		n, err := strconv.ParseInt(used, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// memory is the largest resident memory that the process has had, in bytes.
func (p *process) memory() (int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(content)
	if found == nil {
		return 0, errors.New("/proc says nothing of memory")
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	return kilobytes << 10, err
}

// tail is the last lines of what a process wrote.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	t.lines = t.lines[max(0, len(t.lines)-20):]
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

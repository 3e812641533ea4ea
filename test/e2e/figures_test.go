// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestScalingFigures measures the figures in docs/scaling.md if CSS_VPCEP_FIGURES=1. The exporter is a process of its own
// and the cloud responds at once unless a test sets a latency. It takes a few minutes and 10 GB of memory.
func TestScalingFigures(t *testing.T) {
	if os.Getenv("CSS_VPCEP_FIGURES") != "1" {
		t.Skip("set CSS_VPCEP_FIGURES=1 to run it")
	}
	program := build(t)
	t.Logf("%d cores, %s, %s/%s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, size := range []struct {
		clusters, connections, scrapes int
		args                           []string
	}{
		{10, 10, 500, nil}, {10, 50, 200, nil},
		{1000, 10, 10, nil}, {1000, 50, 5, nil}, {1000, 50, 10, []string{"--no-collector.connections"}},
		{10_000, 10, 3, nil}, {10_000, 50, 3, nil}, {10_000, 50, 3, []string{"--no-collector.connections"}},
	} {
		t.Run(fmt.Sprintf("Metrics/%dx%d%s", size.clusters, size.connections, strings.Join(size.args, "")), func(t *testing.T) {
			c := newCloud(t, size.clusters, size.connections)
			measureMetrics(t, c.figuresExporter(t, program, size.args...), size.scrapes)
		})
	}
	for _, size := range []struct{ clusters, connections int }{{10, 10}, {10, 50}, {1000, 10}, {1000, 50}, {10_000, 10}, {10_000, 50}} {
		t.Run(fmt.Sprintf("Probe/%dx%d", size.clusters, size.connections), func(t *testing.T) {
			c := newCloud(t, size.clusters, size.connections)
			measureProbes(t, c, c.figuresExporter(t, program))
		})
	}
	for _, clusters := range []int{160, 1600} {
		const latency = 100 * time.Millisecond
		t.Run(fmt.Sprintf("Latency/%s/%d", latency, clusters), func(t *testing.T) {
			c := newCloud(t, clusters, 10)
			c.FailReads("", simulator.Fault{Latency: latency})
			measureMetrics(t, c.figuresExporter(t, program), 2)
		})
	}
	for _, size := range []struct{ clusters, connections int }{{10, 10}, {1000, 10}, {1000, 50}} {
		t.Run(fmt.Sprintf("Deadline/%dx%d", size.clusters, size.connections), func(t *testing.T) {
			c := newCloud(t, size.clusters, size.connections)
			measureDeadline(t, c, c.figuresExporter(t, program))
		})
	}
	for _, connections := range []int{10, 50} {
		t.Run(fmt.Sprintf("Prometheus/1000x%d", connections), func(t *testing.T) {
			c := newCloud(t, 1000, connections)
			exporter := c.figuresExporter(t, program)
			measurePrometheus(t, "css_vpcep", replace(t, examples(t)["1"], "localhost:10247", exporter.address,
				"scrape_interval: 1m", "scrape_interval: 5s", "scrape_timeout: 30s", "scrape_timeout: 5s"))
			measurePrometheus(t, "css_vpcep_probe", replace(t, examples(t)["2"], "css-vpcep-exporter:10247", exporter.address,
				"scrape_interval: 1m", "scrape_interval: 5s", "scrape_timeout: 10s", "scrape_timeout: 5s"))
		})
	}
}

// figuresExporter starts an exporter with a very large request budget.
func (c *cloud) figuresExporter(t *testing.T, program string, args ...string) *process {
	t.Helper()
	return c.exporter(t, program, 0, options{
		requestsPerSecond: 10_000, args: args,
	})
}

// measureMetrics scrapes all clusters repeatedly.
func measureMetrics(t *testing.T, exporter *process, scrapes int) {
	t.Helper()
	client := newClient(t)
	t.Logf("idle: %s", exporter.memory(t))
	size := scrape(t, client, exporter, "/metrics") // opens the connections
	before := exporter.cpu(t)
	var took []time.Duration
	for range scrapes {
		begun := time.Now()
		scrape(t, client, exporter, "/metrics")
		took = append(took, time.Since(begun))
	}
	cpu := (exporter.cpu(t) - before) / time.Duration(scrapes)
	slices.Sort(took)
	t.Logf("%d scrapes of /metrics: median %s, longest %s, CPU %s each; %s; %s",
		scrapes, took[scrapes/2].Round(time.Microsecond), took[scrapes-1].Round(time.Microsecond), cpu, size, exporter.memory(t))
}

// measureProbes requests a thousand probes, one after the other, and /sd.
func measureProbes(t *testing.T, c *cloud, exporter *process) {
	t.Helper()
	probes := max(1000, len(c.clusters))
	client := newClient(t)
	var ids []string
	for id := range c.clusters {
		ids = append(ids, id)
	}
	probe := func(i int) exposition { return scrape(t, client, exporter, "/probe?target="+ids[i%len(ids)]) }
	t.Logf("the cluster lists took %d requests", c.Requested(simulator.Clusters))
	size := probe(0)
	before := exporter.cpu(t)
	begun := time.Now()
	for i := range probes {
		probe(i)
	}
	took := time.Since(begun)
	cpu := exporter.cpu(t) - before
	t.Logf("%d probes: %s each, CPU %s each; %s; %s", probes, (took / time.Duration(probes)).Round(time.Microsecond), cpu/time.Duration(probes), size, exporter.memory(t))

	const lists = 20
	before, begun = exporter.cpu(t), time.Now()
	for range lists {
		size = scrape(t, client, exporter, "/sd")
	}
	t.Logf("/sd: %s, CPU %s, %s", (time.Since(begun) / lists).Round(time.Microsecond), (exporter.cpu(t)-before)/lists, size)
}

// measureDeadline scrapes a fleet in which one cluster hangs until the deadline.
func measureDeadline(t *testing.T, c *cloud, exporter *process) {
	t.Helper()
	const timeout = 15 * time.Second
	for id := range c.clusters {
		c.FailReads(id, simulator.Fault{Hang: true})
		break
	}
	client := newClient(t)
	for range 3 {
		size := scrapeWithin(t, client, exporter, "/metrics", timeout)
		if size.failed != 1 {
			t.Errorf("%d clusters failed, want 1", size.failed)
		}
		t.Logf("the answer was complete %s before the timeout; %s", (timeout - size.took).Round(time.Millisecond), size)
	}
}

// measurePrometheus measures a Prometheus that scrapes all clusters a few times.
func measurePrometheus(t *testing.T, name, job string) {
	t.Helper()
	prom := startPrometheus(t, scrapeConfigs(job), nil)
	empty := prom.memory(t)
	eventuallyWithin(t, 2*time.Minute, "it has scraped", func() string {
		if n := prom.number(t, fmt.Sprintf(`min(count_over_time(up{job=%q}[10m]))`, name)); n < 12 {
			return fmt.Sprintf("%g times", n)
		}
		return ""
	})
	if n := prom.number(t, fmt.Sprintf(`count(up{job=%q} == 0)`, name)); n > 0 {
		t.Errorf("%g targets could not be scraped", n)
	}
	memory := prom.memory(t) // before the query, which needs memory
	t.Logf("Prometheus with %g series of %s after 12 scrapes: %s; at its start: %s",
		prom.number(t, fmt.Sprintf(`count({job=%q})`, name)), name, memory, empty)
}

// exposition describes a response to a scrape.
type exposition struct {
	series, bytes, compressed, failed int
	took                              time.Duration // until the last byte
}

func (e exposition) String() string {
	return fmt.Sprintf("%d series, %d bytes, compressed %d", e.series, e.bytes, e.compressed)
}

// scrape requests a page on which every cluster must have been read.
func scrape(t *testing.T, client *http.Client, p *process, path string) exposition {
	t.Helper()
	size := scrapeWithin(t, client, p, path, time.Minute)
	if size.failed > 0 {
		t.Fatalf("%d clusters could not be read", size.failed)
	}
	return size
}

// scrapeWithin requests a compressed page with a timeout header, as Prometheus does.
func scrapeWithin(t *testing.T, client *http.Client, p *process, path string, timeout time.Duration) exposition {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	size := exposition{compressed: len(body), took: time.Since(begun)}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err = io.ReadAll(unpacked); err != nil {
			t.Fatal(err)
		}
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d", path, resp.StatusCode)
	}
	size.failed = len(regexp.MustCompile(`(?m)^css_vpcep_up\{.*\} 0$`).FindAll(body, -1))
	size.bytes = len(body)
	size.series = bytes.Count(body, []byte("\ncss_vpcep_")) - bytes.Count(body, []byte("\ncss_vpcep_exporter_"))
	return size
}

// cpu returns the CPU time of the process from /proc.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	const perSecond = 100 // clock ticks in /proc
	stat := p.proc(t, "stat")
	_, rest, _ := strings.Cut(stat, ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, field := range fields[11:13] { // user and system
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / perSecond
}

// memory returns the current and peak resident memory of the process.
func (p *process) memory(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)VmHWM:\s*(\d+ kB).*VmRSS:\s*(\d+ kB)`).FindStringSubmatch(p.proc(t, "status"))
	if found == nil {
		t.Fatal("/proc/PID/status has no memory figures")
	}
	return fmt.Sprintf("resident %s, at most %s", found[2], found[1])
}

func (p *process) proc(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

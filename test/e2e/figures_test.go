// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
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

type fleetShape struct{ clusters, connections int }

// TestScalingFigures measures the figures in docs/scaling.md. It takes minutes and 10 GB of memory.
func TestScalingFigures(t *testing.T) {
	if os.Getenv("CSS_VPCEP_FIGURES") != "1" {
		t.Skip("set CSS_VPCEP_FIGURES=1 to run it")
	}
	program := buildExporter(t)
	t.Logf("%d cores, %s, %s/%s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, size := range []struct {
		fleetShape
		scrapes int
		args    []string
	}{
		{fleetShape{10, 10}, 500, nil}, {fleetShape{10, 50}, 200, nil},
		{fleetShape{1000, 10}, 10, nil}, {fleetShape{1000, 50}, 5, nil},
		{fleetShape{1000, 50}, 10, []string{"--no-collector.connections"}},
		{fleetShape{10_000, 10}, 3, nil}, {fleetShape{10_000, 50}, 3, nil},
		{fleetShape{10_000, 50}, 3, []string{"--no-collector.connections"}},
	} {
		name := fmt.Sprintf("Metrics/%dx%d%s", size.clusters, size.connections, strings.Join(size.args, ""))
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, size.clusters, size.connections)
			measureMetrics(t, c.startFastExporter(t, program, size.args...), size.scrapes)
		})
	}
	for _, size := range []fleetShape{{10, 10}, {10, 50}, {1000, 10}, {1000, 50}, {10_000, 10}, {10_000, 50}} {
		t.Run(fmt.Sprintf("Probe/%dx%d", size.clusters, size.connections), func(t *testing.T) {
			c := newCloud(t, size.clusters, size.connections)
			measureProbes(t, c, c.startFastExporter(t, program))
		})
	}
	for _, clusters := range []int{160, 1600} {
		const latency = 100 * time.Millisecond
		t.Run(fmt.Sprintf("Latency/%s/%d", latency, clusters), func(t *testing.T) {
			c := newCloud(t, clusters, 10)
			c.FailReads("", simulator.Fault{Latency: latency})
			measureMetrics(t, c.startFastExporter(t, program), 2)
		})
	}
	for _, size := range []fleetShape{{10, 10}, {1000, 10}, {1000, 50}} {
		t.Run(fmt.Sprintf("Deadline/%dx%d", size.clusters, size.connections), func(t *testing.T) {
			c := newCloud(t, size.clusters, size.connections)
			measureDeadline(t, c, c.startFastExporter(t, program))
		})
	}
	for _, connections := range []int{10, 50} {
		t.Run(fmt.Sprintf("Prometheus/1000x%d", connections), func(t *testing.T) {
			c := newCloud(t, 1000, connections)
			exporter := c.startFastExporter(t, program)
			sections := scrapeSections(t)
			measurePrometheus(t, "css_vpcep", replace(t, sections["1"], "localhost:10247", exporter.address,
				"scrape_interval: 1m", "scrape_interval: 5s", "scrape_timeout: 30s", "scrape_timeout: 5s"))
			measurePrometheus(t, "css_vpcep_probe", replace(t, sections["2"], "css-vpcep-exporter:10247", exporter.address,
				"scrape_interval: 1m", "scrape_interval: 5s", "scrape_timeout: 10s", "scrape_timeout: 5s"))
		})
	}
}

func (c *cloud) startFastExporter(t *testing.T, program string, args ...string) *process {
	t.Helper()
	return c.startExporter(t, program, 0, exporterOptions{requestsPerSecond: 10_000, args: args})
}

func measureMetrics(t *testing.T, exporter *process, scrapes int) {
	t.Helper()
	client := newClient(t)
	t.Logf("idle: %s", exporter.memory(t))
	size := scrape(t, client, exporter, "/metrics") // opens the connections
	cpuBefore := exporter.cpu(t)
	var durations []time.Duration
	for range scrapes {
		start := time.Now()
		scrape(t, client, exporter, "/metrics")
		durations = append(durations, time.Since(start))
	}
	cpu := (exporter.cpu(t) - cpuBefore) / time.Duration(scrapes)
	slices.Sort(durations)
	median, longest := durations[scrapes/2].Round(time.Microsecond), durations[scrapes-1].Round(time.Microsecond)
	t.Logf("%d scrapes of /metrics: median %s, longest %s, CPU %s each; %s; %s",
		scrapes, median, longest, cpu, size, exporter.memory(t))
}

func measureProbes(t *testing.T, c *cloud, exporter *process) {
	t.Helper()
	t.Logf("requests for the cluster lists: %d", c.Requested(simulator.Clusters))
	client := newClient(t)
	ids := slices.Collect(maps.Keys(c.clusters))
	probe := func(i int) scrapeSize { return scrape(t, client, exporter, "/probe?target="+ids[i%len(ids)]) }
	probes := max(1000, len(ids))
	size := probe(0) // opens the connection
	cpuBefore, start := exporter.cpu(t), time.Now()
	for i := range probes {
		probe(i)
	}
	each := (time.Since(start) / time.Duration(probes)).Round(time.Microsecond)
	cpu := (exporter.cpu(t) - cpuBefore) / time.Duration(probes)
	t.Logf("%d probes: %s each, CPU %s each; %s; %s", probes, each, cpu, size, exporter.memory(t))

	const lists = 20
	cpuBefore, start = exporter.cpu(t), time.Now()
	for range lists {
		size = scrape(t, client, exporter, "/sd")
	}
	each = (time.Since(start) / lists).Round(time.Microsecond)
	t.Logf("/sd: %s, CPU %s, %s", each, (exporter.cpu(t)-cpuBefore)/lists, size)
}

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
			t.Errorf("got %d failed clusters, want 1", size.failed)
		}
		t.Logf("complete %s before the timeout; %s", (timeout - size.duration).Round(time.Millisecond), size)
	}
}

func measurePrometheus(t *testing.T, jobName, job string) {
	t.Helper()
	prom := startPrometheus(t, scrapeConfigs(job), nil)
	memoryAtStart := prom.memory(t)
	const scrapes = 12
	eventuallyWithin(t, 2*waitLimit, fmt.Sprintf("%d scrapes", scrapes), func() string {
		if n := prom.number(t, fmt.Sprintf(`min(count_over_time(up{job=%q}[10m]))`, jobName)); n < scrapes {
			return fmt.Sprintf("%g scrapes", n)
		}
		return ""
	})
	if n := prom.number(t, fmt.Sprintf(`count(up{job=%q} == 0)`, jobName)); n > 0 {
		t.Errorf("got %g targets with up 0, want 0", n)
	}
	memory := prom.memory(t) // before a query that needs memory
	t.Logf("Prometheus with %g series of %s after %d scrapes: %s; at its start: %s",
		prom.number(t, fmt.Sprintf(`count({job=%q})`, jobName)), jobName, scrapes, memory, memoryAtStart)
}

type scrapeSize struct {
	series, bytes, compressed int
	failed                    int           // clusters
	duration                  time.Duration // until the last byte
}

func (s scrapeSize) String() string {
	return fmt.Sprintf("%d series, %d bytes, compressed %d", s.series, s.bytes, s.compressed)
}

// scrape fails the test if a cluster failed.
func scrape(t *testing.T, client *http.Client, p *process, path string) scrapeSize {
	t.Helper()
	size := scrapeWithin(t, client, p, path, time.Minute)
	if size.failed > 0 {
		t.Fatalf("%s: got %d failed clusters, want 0", path, size.failed)
	}
	return size
}

// scrapeWithin sends the headers of Prometheus.
func scrapeWithin(t *testing.T, client *http.Client, p *process, path string, timeout time.Duration) scrapeSize {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	size := scrapeSize{compressed: len(body), duration: time.Since(start)}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got status %d, want 200", path, resp.StatusCode)
	}
	size.failed = len(regexp.MustCompile(`(?m)^css_vpcep_up\{.*\} 0$`).FindAll(body, -1))
	size.bytes = len(body)
	size.series = bytes.Count(body, []byte("\ncss_vpcep_")) - bytes.Count(body, []byte("\ncss_vpcep_exporter_"))
	return size
}

func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	const ticksPerSecond = 100
	_, stat, _ := strings.Cut(p.readProc(t, "stat"), ") ") // after the name
	fields := strings.Fields(stat)
	ticks := 0
	for _, field := range fields[11:13] { // user and system
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

func (p *process) memory(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)VmHWM:\s*(\d+ kB).*VmRSS:\s*(\d+ kB)`).FindStringSubmatch(p.readProc(t, "status"))
	if found == nil {
		t.Fatalf("%s: no VmHWM and VmRSS in /proc/PID/status", p.name)
	}
	return fmt.Sprintf("resident %s, at most %s", found[2], found[1])
}

func (p *process) readProc(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

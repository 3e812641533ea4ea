// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const interval = 2 * time.Second // of scrapes

type prometheus struct {
	*process
	client *http.Client
}

// startPrometheus starts the Prometheus in PATH.
func startPrometheus(t *testing.T, config string, files map[string]string) *prometheus {
	t.Helper()
	return startRelease(t, lookPath(t, "prometheus"), config, files)
}

func startRelease(t *testing.T, program, config string, files map[string]string, args ...string) *prometheus {
	t.Helper()
	all := map[string]string{"prometheus.yml": config}
	maps.Copy(all, files)
	dir := writeFiles(t, all)
	args = append([]string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0",
	}, args...)
	p := &prometheus{client: newClient(t), process: startServer(t, "prometheus", program, args...)}
	eventually(t, "Prometheus is ready", func() string {
		if status, body := get(t, p.client, "http://"+p.address+"/-/ready"); status != http.StatusOK {
			return fmt.Sprintf("status %d: %s", status, body)
		}
		return ""
	})
	return p
}

type sample struct {
	at    time.Time
	value float64
}

// UnmarshalJSON reads [seconds, "value"].
func (s *sample) UnmarshalJSON(b []byte) error {
	var seconds float64
	var text string
	if err := json.Unmarshal(b, &[]any{&seconds, &text}); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(text, 64)
	s.at, s.value = time.UnixMilli(int64(math.Round(seconds*1000))), value
	return err
}

// firstSince returns the index of the first sample that is not before start.
func firstSince(samples []sample, start time.Time) int {
	i, _ := slices.BinarySearchFunc(samples, start, func(s sample, at time.Time) int { return s.at.Compare(at) })
	return i
}

func longestGap(samples []sample) time.Duration {
	gap := time.Duration(0)
	for i := 1; i < len(samples); i++ {
		gap = max(gap, samples[i].at.Sub(samples[i-1].at))
	}
	return gap
}

// countMissing returns the number of scrapes without a sample.
func countMissing(scrapes, samples []sample) (missing int) {
	for _, scrape := range scrapes {
		if !slices.ContainsFunc(samples, func(s sample) bool { return s.at.Equal(scrape.at) }) {
			missing++
		}
	}
	return missing
}

// series has one value in a vector and several in a matrix.
type series struct {
	Labels    map[string]string `json:"metric"`
	Value     sample            `json:"value"`
	Values    []sample          `json:"values"`
	Histogram *histogram        `json:"histogram"` // instead of the value
}

func (p *prometheus) query(t *testing.T, expr string) []series {
	t.Helper()
	return p.queryAt(t, expr, time.Time{})
}

// queryAt evaluates expr now if at is zero.
func (p *prometheus) queryAt(t *testing.T, expr string, at time.Time) []series {
	t.Helper()
	var data struct {
		Result []series `json:"result"`
	}
	form := url.Values{"query": {expr}}
	if !at.IsZero() {
		form.Set("time", at.UTC().Format(time.RFC3339Nano))
	}
	p.getAPI(t, "query?"+form.Encode(), &data)
	return data.Result
}

// number returns 0 if expr has no value.
func (p *prometheus) number(t *testing.T, expr string) float64 {
	t.Helper()
	return p.numberAt(t, expr, time.Time{})
}

func (p *prometheus) numberAt(t *testing.T, expr string, at time.Time) float64 {
	t.Helper()
	result := p.queryAt(t, expr, at)
	switch len(result) {
	case 0:
		return 0
	case 1:
		return result[0].Value.value
	}
	t.Fatalf("%s: got %d values, want 1", expr, len(result))
	return 0
}

// samples returns all samples of the only series that matches.
func (p *prometheus) samples(t *testing.T, selector string) []sample {
	t.Helper()
	result := p.query(t, selector+"[10m]")
	if len(result) != 1 {
		t.Fatalf("%s: got %d series, want 1", selector, len(result))
	}
	return result[0].Values
}

// probeHistory returns all samples by instance.
func (p *prometheus) probeHistory(t *testing.T, metric string) map[string][]sample {
	t.Helper()
	history := make(map[string][]sample)
	for _, s := range p.query(t, metric+`{job="css_vpcep_probe"}[10m]`) {
		instance := s.Labels["instance"]
		if _, ok := history[instance]; ok {
			t.Fatalf("%s: got several series for instance %s, want 1", metric, instance)
		}
		history[instance] = s.Values
	}
	return history
}

type target struct {
	Labels    map[string]string `json:"labels"`
	ScrapeURL string            `json:"scrapeUrl"`
}

// targets returns active targets by instance.
func (p *prometheus) targets(t *testing.T) map[string]target {
	t.Helper()
	var data struct {
		Active []target `json:"activeTargets"`
	}
	p.getAPI(t, "targets?state=active", &data)
	targets := make(map[string]target)
	for _, active := range data.Active {
		instance := active.Labels["instance"]
		if _, ok := targets[instance]; ok {
			t.Fatalf("got two targets with instance %s, want 1", instance)
		}
		targets[instance] = active
	}
	return targets
}

func (p *prometheus) getAPI(t *testing.T, path string, data any) {
	t.Helper()
	status, body := get(t, p.client, "http://"+p.address+"/api/v1/"+path)
	if status != http.StatusOK {
		t.Fatalf("/api/v1/%s: got status %d, want 200: %s\n%s", path, status, body, p.output.lastLines())
	}
	if err := json.Unmarshal([]byte(body), &struct{ Data any }{data}); err != nil {
		t.Fatal(err)
	}
}

func (p *prometheus) waitForProbes(t *testing.T, clusters, times int) {
	t.Helper()
	p.waitForProbesSince(t, time.Now().Add(-processLimit), clusters, times)
}

func (p *prometheus) waitForProbesSince(t *testing.T, start time.Time, clusters, times int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d clusters probed %d times", clusters, times), func() string {
		now := time.Now()
		window := max(1, now.Sub(start).Milliseconds()) // 0 is invalid
		count := fmt.Sprintf(`count(count_over_time(up{job="css_vpcep_probe"}[%dms]) >= %d)`, window, times)
		if n := p.numberAt(t, count, now); int(n) != clusters {
			return fmt.Sprintf("%g clusters", n)
		}
		return ""
	})
}

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
	"strconv"
	"testing"
	"time"
)

// interval is the scrape interval.
const interval = 2 * time.Second

// prometheus is a running Prometheus.
type prometheus struct {
	*process
	client *http.Client
}

// startPrometheus starts the Prometheus in PATH. The files are written to the directory of the configuration.
func startPrometheus(t *testing.T, config string, files map[string]string) *prometheus {
	t.Helper()
	return startEdition(t, tool(t, "prometheus"), config, files)
}

// startEdition starts a Prometheus with further arguments.
func startEdition(t *testing.T, program string, config string, files map[string]string, args ...string) *prometheus {
	t.Helper()
	all := map[string]string{"prometheus.yml": config}
	maps.Copy(all, files)
	dir := writeFiles(t, all)
	args = append([]string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0",
	}, args...)
	p := &prometheus{client: newClient(t), process: launch(t, "prometheus", program, args...)}
	eventually(t, "Prometheus is ready", func() string {
		if status, body := get(t, p.client, "http://"+p.address+"/-/ready"); status != http.StatusOK {
			return body
		}
		return ""
	})
	return p
}

// sample is a value at a time.
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

// series is an element of a query result: one value of a vector or the values of a matrix.
type series struct {
	Labels    map[string]string `json:"metric"`
	Value     sample            `json:"value"`
	Values    []sample          `json:"values"`
	Histogram *histogram        `json:"histogram"` // replaces the value
}

// query evaluates an expression now.
func (p *prometheus) query(t *testing.T, expr string) []series {
	t.Helper()
	return p.queryAt(t, expr, time.Time{})
}

// queryAt evaluates an expression at a time; zero means now.
func (p *prometheus) queryAt(t *testing.T, expr string, at time.Time) []series {
	t.Helper()
	var answer struct {
		Result []series `json:"result"`
	}
	form := url.Values{"query": {expr}}
	if !at.IsZero() {
		form.Set("time", at.UTC().Format(time.RFC3339Nano))
	}
	p.ask(t, "query?"+form.Encode(), &answer)
	return answer.Result
}

// number returns the only value of an expression, or 0 if it is empty.
func (p *prometheus) number(t *testing.T, expr string) float64 {
	t.Helper()
	result := p.query(t, expr)
	switch len(result) {
	case 0:
		return 0
	case 1:
		return result[0].Value.value
	}
	t.Fatalf("%s has %d values", expr, len(result))
	return 0
}

// history returns all samples of a metric of the probes by instance.
func (p *prometheus) history(t *testing.T, metric string) map[string][]sample {
	t.Helper()
	history := make(map[string][]sample)
	for _, s := range p.query(t, metric+`{job="css_vpcep_probe"}[10m]`) {
		instance := s.Labels["instance"]
		if _, twice := history[instance]; twice {
			t.Fatalf("%s has several series for instance %s", metric, instance)
		}
		history[instance] = s.Values
	}
	return history
}

// target is a target in the API.
type target struct {
	Labels    map[string]string `json:"labels"`
	ScrapeURL string            `json:"scrapeUrl"`
}

// targets returns the active targets by instance.
func (p *prometheus) targets(t *testing.T) map[string]target {
	t.Helper()
	var answer struct {
		Active []target `json:"activeTargets"`
	}
	p.ask(t, "targets?state=active", &answer)
	targets := make(map[string]target)
	for _, a := range answer.Active {
		instance := a.Labels["instance"]
		if _, twice := targets[instance]; twice {
			t.Fatalf("two targets are instance %s", instance)
		}
		targets[instance] = a
	}
	return targets
}

// ask calls the API and decodes data.
func (p *prometheus) ask(t *testing.T, call string, data any) {
	t.Helper()
	status, body := get(t, p.client, "http://"+p.address+"/api/v1/"+call)
	if status != http.StatusOK {
		t.Fatalf("Prometheus: status %d: %s\n%s", status, body, p.output.tail())
	}
	if err := json.Unmarshal([]byte(body), &struct{ Data any }{data}); err != nil {
		t.Fatal(err)
	}
}

// scraped waits until this number of clusters has been scraped this number of times.
func (p *prometheus) scraped(t *testing.T, clusters, times int) {
	t.Helper()
	p.scrapedSince(t, clusters, time.Now().Add(-10*time.Minute), times)
}

// scrapedSince waits until this number of clusters has been scraped this number of times since a time.
func (p *prometheus) scrapedSince(t *testing.T, clusters int, since time.Time, times int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d clusters have been scraped %d times", clusters, times), func() string {
		now := time.Now()
		span := max(1, now.Sub(since).Milliseconds()) // not 0, which is invalid
		count := fmt.Sprintf(`count(count_over_time(up{job="css_vpcep_probe"}[%dms]) >= %d)`, span, times)
		switch result := p.queryAt(t, count, now); {
		case len(result) == 0:
			return "none"
		case int(result[0].Value.value) != clusters:
			return fmt.Sprintf("%g clusters", result[0].Value.value)
		}
		return ""
	})
}

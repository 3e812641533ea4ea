// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/config"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnv(string) (string, bool) { return "", false }

func environment(variables map[string]string) config.Environment {
	return func(key string) (string, bool) { value, ok := variables[key]; return value, ok }
}

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = bytes.Buffer{}
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// program is the exporter serving on a loopback port.
type program struct {
	url    string
	log    *buffer
	cancel context.CancelFunc
	exit   chan int
}

// start starts the program and waits until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := begin(t, args...)
	p.waitUntilReady(t)
	return p
}

func (p *program) waitUntilReady(t *testing.T) {
	t.Helper()
	p.eventually(t, "the program is ready", func() bool {
		status, _ := p.get(t, "/-/ready")
		return status == http.StatusOK
	})
}

func begin(t *testing.T, args ...string) *program {
	t.Helper()
	return beginIn(t, noEnv, args...)
}

// beginIn starts the program in an environment and waits until it listens or exits.
func beginIn(t *testing.T, env config.Environment, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &program{log: &buffer{}, cancel: cancel, exit: make(chan int, 1)}
	go func() {
		p.exit <- run(ctx, append(args, "--web.listen-address=127.0.0.1:0", "--log.level=debug"), env, io.Discard, p.log)
	}()
	t.Cleanup(func() { p.stop(t) })
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	p.eventually(t, "the program listens", func() bool {
		if match := listening.FindStringSubmatch(p.log.String()); match != nil {
			p.url = "http://" + match[1]
		}
		return p.url != "" || len(p.exit) > 0
	})
	return p
}

// stop stops the program like SIGTERM.
func (p *program) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	select {
	case code := <-p.exit:
		if code != 0 {
			t.Errorf("exit %d:\n%s", code, p.log)
		}
		p.exit <- code
	case <-time.After(20 * time.Second):
		t.Error("the program does not exit")
	}
	http.DefaultClient.CloseIdleConnections()
}

func (p *program) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s\n%s", what, p.log)
		}
	}
}

// get returns status 0 if the request fails.
func (p *program) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// scrape sends a request like Prometheus, and fails if the response is malformed.
func (p *program) scrape(t *testing.T, timeout string) (clusters shown, own map[string]*dto.MetricFamily, took time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		t.Error(err)
		return nil, nil, 0
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	req.Header.Set("Accept-Encoding", "identity") // compression is slow under -race
	begun := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return nil, nil, 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	took = time.Since(begun)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %v: %.2000s", resp.StatusCode, err, body)
		return nil, nil, took
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	own, err = parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Errorf("malformed exposition: %v", err)
		return nil, nil, took
	}
	clusters = make(shown)
	for name, family := range own {
		for _, m := range family.GetMetric() {
			var cluster string
			series := []string{strings.TrimPrefix(name, "css_vpcep_")}
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "cluster_id":
					cluster = l.GetValue()
				case "status", "connection_id":
					series = append(series, l.GetValue())
				}
			}
			if cluster == "" {
				continue
			}
			if clusters[cluster] == nil {
				clusters[cluster] = make(map[string]float64)
			}
			key := strings.Join(series, " ")
			if _, twice := clusters[cluster][key]; twice {
				t.Errorf("%s: duplicate series %s", cluster, key)
			}
			clusters[cluster][key] = m.GetGauge().GetValue()
		}
	}
	return clusters, own, took
}

// probe probes one cluster with a timeout of 5 s, and reports whether it is up.
func (p *program) probe(t *testing.T, id string) (up bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/probe?target="+id, nil)
	if err != nil {
		t.Error(err)
		return false
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "5")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("probe of %s: status %d, %v: %.200s", id, resp.StatusCode, err, body)
	}
	return slices.Equal(labelled(string(body), "css_vpcep_up", "cluster_id", "1"), []string{id})
}

// reload writes text to the file and reloads it.
func (p *program) reload(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // of the test
		t.Error(err)
		return
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/-/reload", nil)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("reload: status %d", resp.StatusCode)
	}
}

// shown holds the series of a scrape: by cluster ID, the values by name and distinguishing label values, such as
// "connections accepted".
type shown map[string]map[string]float64

// up returns how many of the clusters are up.
func (s shown) up(ids []string) int {
	n := 0
	for _, id := range ids {
		if s[id]["up"] == 1 {
			n++
		}
	}
	return n
}

// down returns how many of the clusters are down.
func (s shown) down(ids []string) int {
	n := 0
	for _, id := range ids {
		if up, ok := s[id]["up"]; ok && up == 0 {
			n++
		}
	}
	return n
}

// failures returns the failure counters that are not 0, by reason.
func failures(own map[string]*dto.MetricFamily) map[string]int {
	out := make(map[string]int)
	for _, m := range own["css_vpcep_exporter_scrape_failures_total"].GetMetric() {
		if n := int(m.GetCounter().GetValue()); n > 0 {
			out[m.GetLabel()[0].GetValue()] = n
		}
	}
	return out
}

// labelled returns the sorted values of a label in the series of a metric that have the value.
func labelled(exposition, metric, label, value string) []string {
	var values []string
	for line := range strings.Lines(exposition) {
		labels, ok := strings.CutPrefix(line, metric+"{")
		if !ok || !strings.HasSuffix(line, "} "+value+"\n") {
			continue
		}
		if _, rest, ok := strings.Cut(","+labels, ","+label+`="`); ok {
			value, _, _ := strings.Cut(rest, `"`)
			values = append(values, value)
		}
	}
	slices.Sort(values)
	return values
}

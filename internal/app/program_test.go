// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"flag"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
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

// patience bounds the wait for anything. Only a hang takes that long.
const patience = time.Minute

// TestMain lets more tests run in parallel than there are CPUs, because they mostly wait. In a child process it runs the
// program.
func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		os.Exit(Main())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// slow skips a test in short mode and otherwise runs it in parallel. Shorter tests are not parallel, because some of
// them need prompt responses.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
}

// alone skips a test in short mode and otherwise runs it without others beside it: it uses all CPUs, or needs a prompt
// answer.
func alone(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}

// environment returns an environment with only these variables.
func environment(variables map[string]string) config.Environment {
	return func(key string) (string, bool) { value, ok := variables[key]; return value, ok }
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Error(err)
	}
}

// program is the exporter, serving on a loopback port.
type program struct {
	url    string
	log    *buffer
	cancel context.CancelFunc
	exit   chan int
}

// start starts the program in an empty environment and waits until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	return startIn(t, environment(nil), args...)
}

// startIn starts the program in an environment and waits until it is ready.
func startIn(t *testing.T, env config.Environment, args ...string) *program {
	t.Helper()
	p := launch(t, env, args...)
	p.eventually(t, "the program is ready", func() bool {
		status, _ := p.get(t, "/-/ready")
		return status == http.StatusOK
	})
	return p
}

// launch starts the program and waits until it listens.
func launch(t *testing.T, env config.Environment, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &program{log: &buffer{}, cancel: cancel, exit: make(chan int, 1)}
	go func() {
		p.exit <- run(ctx, append(args, "--web.listen-address=127.0.0.1:0", "--log.level=debug"), env, io.Discard, p.log)
	}()
	t.Cleanup(func() { p.stop(t) })
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	p.eventually(t, "the program listens or exits", func() bool {
		if match := listening.FindStringSubmatch(p.log.String()); match != nil {
			p.url = "http://" + match[1]
		}
		return p.url != "" || len(p.exit) > 0
	})
	if p.url == "" {
		t.Fatalf("the program exited:\n%s", p.log)
	}
	return p
}

// stop stops the program like SIGTERM.
func (p *program) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	select {
	case code := <-p.exit:
		if code != 0 {
			t.Errorf("got exit code %d, want 0:\n%s", code, p.log)
		}
		p.exit <- code
	case <-time.After(patience):
		t.Error("the program does not exit")
	}
	http.DefaultClient.CloseIdleConnections()
}

func (p *program) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not true after %s: %s\n%s", patience, what, p.log)
		}
	}
}

func (p *program) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	return p.request(t, http.MethodGet, path, nil)
}

// reload writes a configuration file and reloads it.
func (p *program) reload(t *testing.T, path, content string) (status int, body string) {
	t.Helper()
	writeFile(t, path, content)
	return p.request(t, http.MethodPost, "/-/reload", nil)
}

// request returns status 0 and the error instead of the body if there is no response.
func (p *program) request(t *testing.T, method, path string, header http.Header) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, nil)
	if err != nil {
		t.Error(err)
		return 0, err.Error()
	}
	maps.Copy(req.Header, header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(content)
}

// scrape requests /metrics like Prometheus.
func (p *program) scrape(t *testing.T, timeout time.Duration) exposition {
	t.Helper()
	return p.exposition(t, "/metrics", timeout)
}

// probe reports whether a probe shows the cluster, and no other, up.
func (p *program) probe(t *testing.T, id string, timeout time.Duration) (up bool) {
	t.Helper()
	e := p.exposition(t, "/probe?target="+id, timeout)
	return slices.Equal(e.labelValues("css_vpcep_up", "cluster_id", 1), []string{id})
}

// exposition requests a path and parses the response.
func (p *program) exposition(t *testing.T, path string, timeout time.Duration) exposition {
	t.Helper()
	status, body := p.request(t, http.MethodGet, path, http.Header{
		"X-Prometheus-Scrape-Timeout-Seconds": {strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64)},
		"Accept-Encoding":                     {"identity"}, // compression is slow under -race
	})
	if status != http.StatusOK {
		t.Errorf("%s: got status %d, want 200: %.2000s", path, status, body)
		return exposition{}
	}
	return parse(t, body)
}

// exposition is a response of /metrics or /probe.
type exposition struct {
	text     string
	families map[string]*dto.MetricFamily
	clusters map[string]series // by ID
}

// series are the values of a cluster by metric and distinguishing labels, such as "connections accepted".
type series map[string]float64

// parse fails if the text is malformed or repeats a series.
func parse(t *testing.T, text string) exposition {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Errorf("malformed exposition: %v", err)
	}
	e := exposition{text: text, families: families, clusters: make(map[string]series)}
	seen := make(map[[3]string]bool)
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var cluster, region string
			parts := []string{strings.TrimPrefix(name, "css_vpcep_")}
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "cluster_id":
					cluster = l.GetValue()
				case "region":
					region = l.GetValue()
				case "status", "connection_id", "permission_id":
					parts = append(parts, l.GetValue())
				}
			}
			if cluster == "" {
				continue
			}
			key := strings.Join(parts, " ")
			if seen[[3]string{region, cluster, key}] {
				t.Errorf("cluster %s has the series %q twice", cluster, key)
			}
			seen[[3]string{region, cluster, key}] = true
			if e.clusters[cluster] == nil {
				e.clusters[cluster] = make(series)
			}
			e.clusters[cluster][key] = m.GetGauge().GetValue()
		}
	}
	return e
}

func (e exposition) countUp(ids []string) (n int) {
	for _, id := range ids {
		if e.clusters[id]["up"] == 1 {
			n++
		}
	}
	return n
}

func (e exposition) countDown(ids []string) (n int) {
	for _, id := range ids {
		if up, ok := e.clusters[id]["up"]; ok && up == 0 {
			n++
		}
	}
	return n
}

// failures returns the failure counters that are not 0, by reason.
func (e exposition) failures() map[string]int {
	failures := make(map[string]int)
	for _, m := range e.families["css_vpcep_exporter_scrape_failures_total"].GetMetric() {
		if n := int(m.GetCounter().GetValue()); n > 0 {
			failures[m.GetLabel()[0].GetValue()] = n
		}
	}
	return failures
}

// labelValues returns the sorted values of a label in those series of a gauge that have the value.
func (e exposition) labelValues(metric, label string, value float64) (values []string) {
	for _, m := range e.families[metric].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && m.GetGauge().GetValue() == value {
				values = append(values, l.GetValue())
			}
		}
	}
	slices.Sort(values)
	return values
}

func (e exposition) checkLines(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+e.text, "\n"+line+"\n") {
			t.Errorf("missing line: %s", line)
		}
	}
}

// checkDurations checks the durations that the exporter reports.
func (e exposition) checkDurations(t *testing.T, limit time.Duration) {
	t.Helper()
	for id, s := range e.clusters {
		if d := time.Duration(s["scrape_duration_seconds"] * float64(time.Second)); d > limit {
			t.Errorf("cluster %s: got a scrape duration of %s, want at most %s", id, d, limit)
		}
	}
}

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu     sync.Mutex
	b      bytes.Buffer
	closed bool
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	return b.b.Write(p)
}

// close makes later writes fail.
func (b *buffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
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

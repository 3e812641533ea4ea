// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type bench struct {
	options  *options
	dir      string // temporary files
	compare  string // path of this program
	exporter string // path of the exporter built from this tree
	client   *http.Client
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	compare, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return nil, err
	}
	b := &bench{
		options: o, dir: dir, compare: compare, exporter: filepath.Join(dir, "css_vpcep_exporter"),
		client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}},
	}
	build := exec.CommandContext(ctx, //nolint:gosec // our own path
		"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.exporter, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return b, nil
}

func (b *bench) close() {
	b.client.CloseIdleConnections()
	_ = os.RemoveAll(b.dir)
}

// cloud is the simulator's process.
type cloud struct {
	*process
	cloudAccess
	caFile string
	client *http.Client
}

func (b *bench) startCloud(ctx context.Context, clusters, connections int, latency time.Duration) (*cloud, error) {
	c := &cloud{caFile: filepath.Join(b.dir, "ca.pem")}
	p, err := startProcess(ctx, regexp.MustCompile(`^(\{.*\})$`), b.compare,
		"cloud", "--ca="+c.caFile, "--latency="+latency.String(),
		"--clusters="+strconv.Itoa(clusters), "--connections="+strconv.Itoa(connections))
	if err != nil {
		return nil, err
	}
	c.process = p
	if err := json.Unmarshal([]byte(p.announced), &c.cloudAccess); err != nil {
		p.stop()
		return nil, err
	}
	if c.client, err = (&upstream{caFile: c.caFile}).client(); err != nil {
		p.stop()
		return nil, err
	}
	return c, nil
}

func (c *cloud) stop() {
	c.client.CloseIdleConnections()
	c.process.stop()
}

func (c *cloud) counts(ctx context.Context) (cloudCounts, error) {
	var counts cloudCounts
	body, err := fetch(ctx, c.client, c.URL+pathCounts, nil)
	if err == nil {
		err = json.Unmarshal(body, &counts)
	}
	return counts, err
}

// usage is the CPU time of a process and its requests and connections to the cloud.
type usage struct {
	cpu                time.Duration
	calls, connections int
}

// measure returns the usage of p while work runs.
func (c *cloud) measure(ctx context.Context, p *process, work func() error) (usage, error) {
	countsBefore, err := c.counts(ctx)
	if err != nil {
		return usage{}, err
	}
	cpuBefore, err := p.cpuTime()
	if err != nil {
		return usage{}, err
	}
	if err := work(); err != nil {
		return usage{}, err
	}
	cpuAfter, err := p.cpuTime()
	if err != nil {
		return usage{}, err
	}
	countsAfter, err := c.counts(ctx)
	return usage{
		cpuAfter - cpuBefore, countsAfter.Calls - countsBefore.Calls, countsAfter.Connections - countsBefore.Connections,
	}, err
}

func connectionsPath(id string) string {
	return "/v1.0/" + projectID + "/clusters/" + id + "/vpcepservice/connections"
}

const (
	floorName = "the floor"
	jsonName  = "json_exporter"
)

// contender is a process that serves the metrics of one cluster.
type contender struct {
	*process
	name     string
	fromTree bool           // the exporter built from this tree
	url      string         // to scrape
	series   *regexp.Regexp // matches per-connection series
}

func newContender(name, seriesName, path string, p *process) *contender {
	return &contender{
		process: p, name: name, url: "http://" + p.announced + path,
		series: regexp.MustCompile(`(?m)^` + seriesName + `\{`),
	}
}

// exporterSeries matches the names of per-connection series.
const exporterSeries = "css_vpcep_connection_[a-z_]+"

type exporterBuild struct{ name, path string }

func (b *bench) exporterBuilds() []exporterBuild {
	builds := []exporterBuild{{"this exporter", b.exporter}}
	for _, name := range slices.Sorted(maps.Keys(b.options.also)) {
		builds = append(builds, exporterBuild{name, b.options.also[name]})
	}
	return builds
}

func answersLabel(id string) string {
	if strings.HasPrefix(id, changingID) {
		return ", changed answers"
	}
	return ", unchanged answers"
}

var listeningAddress = regexp.MustCompile(`address=(127\.0\.0\.1:\d+)`)

func (b *bench) startExporter(
	ctx context.Context, c *cloud, path string, sessions bool, ids ...string,
) (*process, error) {
	var file strings.Builder
	fmt.Fprintf(&file, "projects:\n  - region: %s\n    project_id: %s\n    endpoint: %s\n    requests_per_second: 10000\n"+
		"    credentials: {access_key: %s, secret_key: %s}\n    tls_config: {ca_file: %s}\n",
		region, projectID, c.URL, accessKey, secretKey, c.caFile)
	if sessions {
		fmt.Fprintf(&file, "    sessions: {endpoint: %s}\n", c.URL)
	}
	file.WriteString("    clusters:\n")
	for _, id := range ids {
		fmt.Fprintf(&file, "      - {id: %s, name: %s}\n", id, clusterName(id))
	}
	config := filepath.Join(b.dir, "css_vpcep.yml")
	if err := os.WriteFile(config, []byte(file.String()), 0o600); err != nil {
		return nil, err
	}
	return startProcess(ctx, listeningAddress, path, "--config.file="+config, "--web.listen-address=127.0.0.1:0")
}

const jsonConfig = `modules:
  default:
    headers: {X-Auth-Token: %s}
    http_client_config: {tls_config: {ca_file: %s}}
    metrics:
      - name: connection
        type: object
        help: A connection.
        path: '{ .connections[*] }'
        labels:
          id: '{.id}'
          status: '{.status}'
          specification: '{.specificationName}'
          ip: '{.vpcepIp}'
          domain: '{.domain_id}'
          created: '{.created_at}'
        values: {max_sessions: '{.maxSession}'}
`

// startContenders starts each build of the exporter with a stable and with a changing cluster, and the others with a
// stable one.
func (b *bench) startContenders(ctx context.Context, c *cloud) (contenders []*contender, err error) {
	defer func() {
		if err != nil {
			stopAll(contenders)
		}
	}()
	for _, build := range b.exporterBuilds() {
		for _, id := range []string{stableID, changingID} {
			p, err := b.startExporter(ctx, c, build.path, false, id)
			if err != nil {
				return contenders, err
			}
			started := newContender(build.name+answersLabel(id), exporterSeries, "/probe?target="+id, p)
			started.fromTree = build.path == b.exporter
			contenders = append(contenders, started)
		}
	}
	exposition, err := fetch(ctx, b.client, contenders[0].url, nil)
	if err != nil {
		return contenders, err
	}

	path, err := exec.LookPath(b.options.jsonExporter)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare: skipping json_exporter:", err)
	} else {
		started, err := b.startJSONExporter(ctx, c, path)
		if err != nil {
			return contenders, err
		}
		contenders = append(contenders, started)
	}

	expositionFile := filepath.Join(b.dir, "exposition")
	if err := os.WriteFile(expositionFile, exposition, 0o600); err != nil {
		return contenders, err
	}
	upstreamFlags := []string{"--upstream=" + c.URL + connectionsPath(stableID), "--token=" + c.Token, "--ca=" + c.caFile}
	floorArgs := append([]string{"floor", "--exposition=" + expositionFile}, upstreamFlags...)
	p, err := startProcess(ctx, listeningAddress, b.compare, floorArgs...)
	if err != nil {
		return contenders, err
	}
	contenders = append(contenders, newContender(floorName, exporterSeries, "/metrics", p))
	sampleArgs := append([]string{"sample"}, upstreamFlags...)
	if p, err = startProcess(ctx, listeningAddress, b.compare, sampleArgs...); err != nil {
		return contenders, err
	}
	return append(contenders, newContender("the sample loop", "sample_connection_[a-z_]+", "/metrics", p)), nil
}

func (b *bench) startJSONExporter(ctx context.Context, c *cloud, path string) (*contender, error) {
	config := filepath.Join(b.dir, "json_exporter.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, jsonConfig, c.Token, c.caFile), 0o600); err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, listeningAddress, path, "--config.file="+config, "--web.listen-address=127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	target := url.QueryEscape(c.URL + connectionsPath(stableID) + "?limit=1000")
	return newContender(jsonName, "connection_max_sessions", "/probe?target="+target, p), nil
}

func stopAll(contenders []*contender) {
	for _, c := range contenders {
		c.stop()
	}
}

// fetch returns the body of a response with status 200.
func fetch(ctx context.Context, client *http.Client, address string, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.500s", address, resp.Status, body)
	}
	return body, nil
}

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

// bench is shared by all measurements.
type bench struct {
	options *options
	dir     string
	self    string // path of this program
	ours    string // path of the exporter built from this tree
	client  *http.Client
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return nil, err
	}
	b := &bench{
		options: o, dir: dir, self: self, ours: filepath.Join(dir, "css_vpcep_exporter"),
		client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}},
	}
	build := exec.CommandContext(ctx, //nolint:gosec // our own path
		"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.ours, ".")
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
	ready
	bench  *bench
	ca     string
	client *http.Client
}

func (b *bench) cloud(ctx context.Context, clusters, connections int, latency string) (*cloud, error) {
	c := &cloud{bench: b, ca: filepath.Join(b.dir, "ca.pem")}
	p, err := start(ctx, regexp.MustCompile(`^(\{.*\})$`), b.self, "cloud", "--ca="+c.ca, "--latency="+latency,
		"--clusters="+strconv.Itoa(clusters), "--connections="+strconv.Itoa(connections))
	if err != nil {
		return nil, err
	}
	c.process = p
	if err := json.Unmarshal([]byte(p.announced), &c.ready); err != nil {
		p.stop()
		return nil, err
	}
	if c.client, err = (&upstream{ca: c.ca}).client(); err != nil {
		p.stop()
		return nil, err
	}
	return c, nil
}

func (c *cloud) stop() {
	c.client.CloseIdleConnections()
	c.process.stop()
}

func (c *cloud) counts(ctx context.Context) (counts, error) {
	var n counts
	body, err := fetch(ctx, c.client, c.URL+pathCounts, nil)
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	return n, err
}

// usage is what a process used, and what it requested from the cloud.
type usage struct {
	cpu                time.Duration
	calls, connections int
}

// measure returns the usage of p while do runs.
func (c *cloud) measure(ctx context.Context, p *process, do func() error) (usage, error) {
	before, err := c.counts(ctx)
	if err != nil {
		return usage{}, err
	}
	cpu, err := p.cpu()
	if err != nil {
		return usage{}, err
	}
	if err := do(); err != nil {
		return usage{}, err
	}
	used, err := p.cpu()
	if err != nil {
		return usage{}, err
	}
	after, err := c.counts(ctx)
	return usage{used - cpu, after.Calls - before.Calls, after.Connections - before.Connections}, err
}

func connectionsPath(id string) string {
	return "/v1.0/" + projectID + "/clusters/" + id + "/vpcepservice/connections"
}

const (
	floorName = "the floor"
	jsonName  = "json_exporter"
)

type contender struct {
	*process
	name   string
	ours   bool           // built from this tree
	url    string         // to scrape
	series *regexp.Regexp // matches series of single connections
}

// build is a binary of this exporter.
type build struct{ name, path string }

func (b *bench) builds() []build {
	builds := []build{{"this exporter", b.ours}}
	for _, name := range slices.Sorted(maps.Keys(b.options.also)) {
		builds = append(builds, build{name, b.options.also[name]})
	}
	return builds
}

func answersLabel(id string) string {
	if strings.HasPrefix(id, restless) {
		return ", changed answers"
	}
	return ", unchanged answers"
}

var listening = regexp.MustCompile(`address=(127\.0\.0\.1:\d+)`)

// exporter starts a build of the exporter with the given cluster IDs.
func (b *bench) exporter(ctx context.Context, c *cloud, path string, ids ...string) (*process, error) {
	var file strings.Builder
	fmt.Fprintf(&file, "projects:\n  - region: %s\n    project_id: %s\n    endpoint: %s\n    requests_per_second: 10000\n"+
		"    credentials: {access_key: %s, secret_key: %s}\n    tls_config: {ca_file: %s}\n    clusters:\n",
		region, projectID, c.URL, accessKey, secretKey, c.ca)
	for _, id := range ids {
		fmt.Fprintf(&file, "      - {id: %s, name: search-%s}\n", id, id[max(0, len(id)-6):])
	}
	config := filepath.Join(b.dir, "css_vpcep.yml")
	if err := os.WriteFile(config, []byte(file.String()), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, listening, path, "--config.file="+config, "--web.listen-address=127.0.0.1:0")
}

// jsonConfig configures one series with six labels for each connection.
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

// contenders starts all contenders, for a still and a restless cluster.
func (b *bench) contenders(ctx context.Context, c *cloud) (all []*contender, err error) {
	defer func() {
		if err != nil {
			stopAll(all)
		}
	}()
	add := func(name, series, path string, p *process) {
		all = append(all, &contender{
			process: p, name: name, url: "http://" + p.announced + path, series: regexp.MustCompile(`(?m)^` + series + `\{`),
		})
	}
	const single = "css_vpcep_connection_[a-z_]+"
	for _, build := range b.builds() {
		for _, id := range []string{still, restless} {
			p, err := b.exporter(ctx, c, build.path, id)
			if err != nil {
				return all, err
			}
			add(build.name+answersLabel(id), single, "/probe?target="+id, p)
			all[len(all)-1].ours = build.path == b.ours
		}
	}
	exposition, err := fetch(ctx, b.client, all[0].url, nil)
	if err != nil {
		return all, err
	}

	path, err := exec.LookPath(b.options.jsonExporter)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare: skipping json_exporter:", err)
	} else {
		config := filepath.Join(b.dir, "json_exporter.yml")
		if err := os.WriteFile(config, fmt.Appendf(nil, jsonConfig, c.Token, c.ca), 0o600); err != nil {
			return all, err
		}
		p, err := start(ctx, listening, path, "--config.file="+config, "--web.listen-address=127.0.0.1:0")
		if err != nil {
			return all, err
		}
		target := c.URL + connectionsPath(still) + "?limit=1000"
		add(jsonName, "connection_max_sessions", "/probe?target="+url.QueryEscape(target), p)
	}

	ready := filepath.Join(b.dir, "exposition")
	if err := os.WriteFile(ready, exposition, 0o600); err != nil {
		return all, err
	}
	from := []string{"--upstream=" + c.URL + connectionsPath(still), "--token=" + c.Token, "--ca=" + c.ca}
	p, err := start(ctx, listening, b.self, append([]string{"floor", "--exposition=" + ready}, from...)...)
	if err != nil {
		return all, err
	}
	add(floorName, single, "/metrics", p)
	if p, err = start(ctx, listening, b.self, append([]string{"sample"}, from...)...); err != nil {
		return all, err
	}
	add("the sample loop", "sample_connection_[a-z_]+", "/metrics", p)
	return all, nil
}

func stopAll(all []*contender) {
	for _, c := range all {
		c.stop()
	}
}

// fetch returns the body of a 200.
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

// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

type clusterLabels struct{ Name, Region, ProjectID, Project string }

// cloud has three projects in two regions. Each exporter has its own access keys, which identify its requests.
type cloud struct {
	*simtest.Cloud
	clusters map[string]clusterLabels // by ID
}

const maxExporters = 3

func newCloud(t *testing.T, clusters, connections int) *cloud {
	t.Helper()
	c := &cloud{
		Cloud:    simtest.New(t, simulator.Options{KeepRequests: 200_000}),
		clusters: make(map[string]clusterLabels),
	}
	projects := []simulator.Project{
		{Name: "search", Region: simtest.Region, ID: simtest.ProjectID}, // replaces simtest's project
		{Name: "orders", Region: simtest.Region, ID: "project-of-orders"},
		{Name: "logs", Region: "ap-southeast-3", ID: "project-of-logs"},
	}
	for _, p := range projects {
		for i := range maxExporters {
			p.Keys = append(p.Keys, simulator.Key{Access: accessKey(p.Name, i), Secret: simtest.SecretKey})
		}
		c.AddProject(p)
	}
	for i := range clusters {
		c.addCluster(projects[i%len(projects)], fmt.Sprintf("cluster-%05d", i), connections)
	}
	return c
}

func accessKey(project string, exporter int) string {
	return fmt.Sprintf("AK-%d-%s", exporter, project)
}

func exporterOf(accessKey string) (number int) {
	if _, err := fmt.Sscanf(accessKey, "AK-%d-", &number); err != nil {
		return -1
	}
	return number
}

func (c *cloud) addCluster(p simulator.Project, name string, connections int) (id string) {
	const account = "5bda5b0b5f0c4c5b9d3f4a5c6b7d8e9f"
	const created, updated = simulator.JSON(`"2024-06-11T09:36:24Z"`), simulator.JSON(`"2024-06-12T09:36:24Z"`)
	id = uuid("cluster " + name)
	cluster := simulator.Cluster{
		ID: id, Name: name, Status: "200", Engine: "elasticsearch", Version: "7.10.2", EnterpriseProjectID: "0",
		VPCID: uuid("vpc of " + name), Tags: []simulator.Tag{{Key: "team", Value: "search"}}, Still: true,
		ServiceName: simulator.Text(p.Region + "." + name + "." + uuid("service of "+name)), UpdateSwitch: "false",
		Permissions: []simulator.Permission{{
			ID: uuid("permission of " + name), Permission: "iam:domain::" + account, Type: "domainId", CreatedAt: created,
		}},
	}
	for i := range connections {
		dnsName := fmt.Sprintf("vpcep-%s.%s.example.internal", uuid(fmt.Sprint("name ", i, name)), p.Region)
		cluster.Connections = append(cluster.Connections, simulator.Connection{
			ID: uuid(fmt.Sprintf("connection %d of %s", i, name)), Status: "accepted", MaxSession: simulator.Text("3000"),
			Specification: "default", IP: fmt.Sprintf("192.168.%d.%d", i/250, 2+i%250), DomainID: account,
			DNSName: simulator.Text(dnsName), CreatedAt: created, UpdatedAt: updated,
		})
	}
	c.AddCluster(p.ID, cluster)
	c.clusters[id] = clusterLabels{Name: name, Region: p.Region, ProjectID: p.ID, Project: p.Name}
	return id
}

func uuid(name string) string {
	sum := sha256.Sum256([]byte(name))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

func (c *cloud) readsSince(start time.Time) []simulator.Request {
	var reads []simulator.Request
	for _, r := range c.Requests() {
		if r.Endpoint == simulator.Connections && !r.Start.Before(start) {
			reads = append(reads, r)
		}
	}
	return reads
}

type exporterOptions struct {
	scrape            string        // keys of the section
	requestsPerSecond int           // default: 1,000
	refresh           time.Duration // of discovery; default: 10m
	discovery         string        // more keys of the section
	sessions          bool          // are read
	tls               keyPair       // with basic authentication
	args              []string
}

func (o exporterOptions) config(projects []simulator.Project, endpoint string, number int) string {
	if o.requestsPerSecond == 0 {
		o.requestsPerSecond = 1000
	}
	if o.refresh == 0 {
		o.refresh = 10 * time.Minute
	}
	var b strings.Builder
	fmt.Fprintf(&b, "scrape: {%s}\nprojects:\n", o.scrape)
	for _, p := range projects {
		fmt.Fprintf(&b, "  - name: %s\n    region: %s\n    project_id: %s\n    endpoint: %s\n    requests_per_second: %d\n"+
			"    credentials: {access_key: %s, secret_key: %s}\n    discovery: {refresh_interval: %s, %s}\n",
			p.Name, p.Region, p.ID, endpoint, o.requestsPerSecond,
			p.Keys[number].Access, p.Keys[number].Secret, o.refresh, o.discovery)
		if o.sessions {
			fmt.Fprintf(&b, "    sessions: {endpoint: %s}\n", endpoint)
		}
	}
	return b.String()
}

func (c *cloud) startExporters(t *testing.T, program string, count int, o exporterOptions) []*process {
	t.Helper()
	var exporters []*process
	for i := range count {
		exporters = append(exporters, c.startExporter(t, program, i, o))
	}
	return exporters
}

func (c *cloud) startExporter(t *testing.T, program string, number int, o exporterOptions) *process {
	t.Helper()
	return startExporter(t, program, c.Simulator, c.URL, number, o)
}

// startExporter starts an exporter and waits until it has found its clusters. number selects its access keys.
func startExporter(
	t *testing.T, program string, sim *simulator.Simulator, endpoint string, number int, o exporterOptions,
) *process {
	t.Helper()
	projects := sim.Projects()
	dir := writeFiles(t, map[string]string{"css_vpcep.yml": o.config(projects, endpoint, number)})
	args := append([]string{
		"--config.file=" + filepath.Join(dir, "css_vpcep.yml"), "--web.listen-address=127.0.0.1:0",
	}, o.args...)
	if o.tls != (keyPair{}) {
		args = append(args, "--web.config.file="+filepath.Join(writeFiles(t, o.tls.serverFiles()), "web.yml"))
	}
	p := startServer(t, fmt.Sprint("exporter ", number), program, args...)
	waitForDiscovery(t, p, len(projects))
	return p
}

// waitForDiscovery reads the log, because /-/ready does not wait for discoveries to succeed.
func waitForDiscovery(t *testing.T, p *process, projects int) {
	t.Helper()
	eventually(t, p.name+" has found its clusters", func() string {
		if strings.Count(p.output.String(), `msg="Discovery succeeded"`) == projects {
			return ""
		}
		return p.output.lastLines()
	})
}

// restart starts an exporter on its previous port. It retries, as another process may use the port.
func (c *cloud) restart(t *testing.T, old *process) *process {
	t.Helper()
	args := old.cmd.Args[1:]
	for i, arg := range args {
		if strings.HasPrefix(arg, "--web.listen-address=") {
			args[i] = "--web.listen-address=" + old.address
		}
	}
	var p *process
	eventually(t, old.name+" listens on its previous port", func() string {
		p = startProcess(t, old.name, old.cmd.Path, args...)
		if p.waitUntilListening(t) {
			return ""
		}
		p.killed = true // its exit status does not matter
		return p.output.lastLines()
	})
	waitForDiscovery(t, p, len(c.Projects()))
	return p
}

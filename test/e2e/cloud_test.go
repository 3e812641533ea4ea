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

// shown has the expected labels of a cluster.
type shown struct{ Name, Region, ProjectID, Project string }

// cloud is a simulator with three projects in two regions. Each exporter has its own key, so that requests can be
// attributed to exporters.
type cloud struct {
	*simtest.Cloud
	clusters map[string]shown // by id
}

const maxExporters = 3

// newCloud returns a cloud with this number of clusters and of connections in each.
func newCloud(t *testing.T, clusters, connections int) *cloud {
	t.Helper()
	c := &cloud{
		Cloud:    simtest.New(t, simulator.Options{KeepRequests: 200_000}),
		clusters: make(map[string]shown),
	}
	projects := []simulator.Project{
		{Name: "search", Region: simtest.Region, ID: simtest.ProjectID}, // replaces that of simtest
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
		c.add(projects[i%len(projects)], fmt.Sprintf("cluster-%05d", i), connections)
	}
	return c
}

// accessKey returns the access key of an exporter in a project.
func accessKey(project string, exporter int) string {
	return fmt.Sprintf("AK-%d-%s", exporter, project)
}

// exporterOf returns the number of the exporter with an access key.
func exporterOf(key string) (number int) {
	if _, err := fmt.Sscanf(key, "AK-%d-", &number); err != nil {
		return -1
	}
	return number
}

// add creates a cluster.
func (c *cloud) add(p simulator.Project, name string, connections int) (id string) {
	id = uuid("cluster " + name)
	cluster := simulator.Cluster{
		ID: id, Name: name, Status: "200", Engine: "elasticsearch", Version: "7.10.2", EnterpriseProjectID: "0",
		VPCID: uuid("vpc of " + name), Tags: []simulator.Tag{{Key: "team", Value: "search"}}, Still: true,
		ServiceName: simulator.Text(p.Region + "." + name + "." + uuid("service of "+name)), UpdateSwitch: "false",
		Permissions: []simulator.Permission{{
			ID: uuid("permission of " + name), Permission: "iam:domain::" + account, Type: "domainId",
			CreatedAt: simulator.Text("2024-06-11T09:36:24Z"),
		}},
	}
	for i := range connections {
		cluster.Connections = append(cluster.Connections, simulator.Connection{
			ID: uuid(fmt.Sprintf("connection %d of %s", i, name)), Status: "accepted", MaxSession: simulator.Text("3000"),
			Specification: "default", IP: fmt.Sprintf("192.168.%d.%d", i/250, 2+i%250), DomainID: account,
			DNSName:   simulator.Text(fmt.Sprintf("vpcep-%s.%s.example.internal", uuid(fmt.Sprint("name ", i, name)), p.Region)),
			CreatedAt: simulator.Text("2024-06-11T09:36:24Z"), UpdatedAt: simulator.Text("2024-06-12T09:36:24Z"),
		})
	}
	c.AddCluster(p.ID, cluster)
	c.clusters[id] = shown{Name: name, Region: p.Region, ProjectID: p.ID, Project: p.Name}
	return id
}

const account = "5bda5b0b5f0c4c5b9d3f4a5c6b7d8e9f"

// uuid returns a UUID derived from a name.
func uuid(name string) string {
	sum := sha256.Sum256([]byte(name))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// options configure an exporter.
type options struct {
	scrape            string        // contents of the section
	requestsPerSecond int           // default: no limit in practice
	refresh           time.Duration // default: no refresh during the tests
	discovery         string        // further keys of the section
	tls               certificate   // with the password "test"; default: neither
	args              []string
}

// file returns the configuration of an exporter.
func (o options) file(projects []simulator.Project, endpoint string, number int) string {
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
			"    credentials: {access_key: %s, secret_key: %s}\n    discovery: {refresh_interval: %s, %s}\n", p.Name, p.Region, p.ID,
			endpoint, o.requestsPerSecond, p.Keys[number].Access, p.Keys[number].Secret, o.refresh, o.discovery)
	}
	return b.String()
}

// exporter starts an exporter of the cloud.
func (c *cloud) exporter(t *testing.T, program string, number int, o options) *process {
	t.Helper()
	return startExporter(t, program, c.Simulator, c.URL, number, o)
}

// startExporter starts an exporter on a free port and waits until it has found its clusters. In each project it has the
// key with its number.
func startExporter(t *testing.T, program string, sim *simulator.Simulator, endpoint string, number int, o options) *process {
	t.Helper()
	projects := sim.Projects()
	dir := writeFiles(t, map[string]string{"css_vpcep.yml": o.file(projects, endpoint, number)})
	args := append([]string{
		"--config.file=" + filepath.Join(dir, "css_vpcep.yml"), "--web.listen-address=127.0.0.1:0",
	}, o.args...)
	if o.tls != (certificate{}) {
		args = append(args, "--web.config.file="+filepath.Join(writeFiles(t, o.tls.webFiles()), "web.yml"))
	}
	p := launch(t, fmt.Sprint("exporter ", number), program, args...)
	ready(t, p, len(projects))
	return p
}

// ready waits until the log says that an exporter has found its clusters; /-/ready may need a password.
func ready(t *testing.T, p *process, projects int) {
	t.Helper()
	eventually(t, p.name+" has found its clusters", func() string {
		if strings.Count(p.output.String(), `msg="Discovery succeeded"`) == projects {
			return ""
		}
		return p.output.tail()
	})
}

// restart starts an exporter on its previous port and retries while another process uses the port.
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
		p = start(t, old.name, old.cmd.Path, args...)
		if p.listens(t) {
			return ""
		}
		p.killed = true // its exit status does not matter
		return p.output.tail()
	})
	ready(t, p, len(c.Projects()))
	return p
}

// reads returns the requests for connection lists since a time, in order.
func (c *cloud) reads(since time.Time) []simulator.Request {
	var reads []simulator.Request
	for _, r := range c.Requests() {
		if r.Endpoint == simulator.Connections && !r.Start.Before(since) {
			reads = append(reads, r)
		}
	}
	return reads
}

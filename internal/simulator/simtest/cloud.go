// SPDX-License-Identifier: Apache-2.0

// Package simtest has a simulated cloud with a project, and a transport without a network for tests in virtual time.
package simtest

import (
	"testing"

	"css_vpcep_exporter/internal/simulator"
)

// The project of a Cloud and its access key.
const (
	Region    = "cn-north-4"
	ProjectID = "p1"
	AccessKey = "AK-of-the-test"
	SecretKey = "SK-of-the-test" //nolint:gosec // opens nothing but the simulator
)

// Cloud is a simulated cloud with one project.
type Cloud struct {
	*simulator.Simulator
	URL string // of all services; empty if the cloud is not served
}

// New returns a cloud that is served on loopback until the test ends.
func New(t testing.TB, options simulator.Options) *Cloud {
	t.Helper()
	c := NewUnserved(options)
	c.URL = c.Serve(t)
	return c
}

// NewUnserved returns a cloud without a network, for a RoundTripper.
func NewUnserved(options simulator.Options) *Cloud {
	c := &Cloud{Simulator: simulator.New(options)}
	c.AddProject(simulator.Project{
		Name: "production", Region: Region, ID: ProjectID, Keys: []simulator.Key{{Access: AccessKey, Secret: SecretKey}},
	})
	return c
}

// Add adds an available Elasticsearch cluster to the project after applying the changes to it.
func (c *Cloud) Add(id string, changes ...func(*simulator.Cluster)) {
	cluster := simulator.Cluster{
		ID: id, Name: "name of " + id, Status: "200", Engine: "elasticsearch", Version: "7.10.2",
		EnterpriseProjectID: "0", VPCID: "vpc",
	}
	for _, change := range changes {
		change(&cluster)
	}
	c.AddCluster(ProjectID, cluster)
}

// FailReads sets the faults of reads of a cluster, or of all if the ID is empty.
func (c *Cloud) FailReads(clusterID string, faults ...simulator.Fault) {
	c.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: clusterID}, faults...)
}

// Reads returns the number of requests for connections of a cluster, or of all if the ID is empty.
func (c *Cloud) Reads(clusterID string) int {
	return c.Count(simulator.Target{Endpoint: simulator.Connections, ID: clusterID})
}

// Requested returns the number of requests for an endpoint.
func (c *Cloud) Requested(endpoint simulator.Endpoint) int {
	return c.Count(simulator.Target{Endpoint: endpoint})
}

// SPDX-License-Identifier: Apache-2.0

// Package fleet provides the simulated fleet, whose responses are all as the vendor documents them.
package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// The projects. Requests to Tokenless and those after it are rejected.
const (
	Permanent   = "project-of-permanent-keys"
	Temporary   = "project-of-temporary-keys"
	OlderRegion = "project-of-an-older-region" // pages connections by start
	Tokenless   = "project-without-its-token"
	OtherToken  = "project-with-another-token"
	WrongSecret = "project-with-a-wrong-secret"
	UnknownKey  = "project-with-an-unknown-key"
	Foreign     = "project-of-somebody-else"
)

// Clusters of Permanent.
const (
	VendorExample    = "5c77b71c-5b35-4f50-8984-76387e42451a"
	Pages            = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f01" // 23 connections
	ManyConnections  = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f02" // 1,203
	Empty            = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f03"
	NoOptionalFields = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f04"
	ServiceOff       = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f05"
	EscapedID        = "an odd ~id+1*(ü)"
	Missing          = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1fff" // does not exist
)

// Clusters of OlderRegion.
const (
	OlderPages = "c5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f01" // 23 connections
	OlderMany  = "c5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f02" // 1,203
)

// PermanentClusters is the number of clusters of Permanent, which is more than a default page.
const PermanentClusters = 13

// New returns a simulator with the fleet.
func New(o simulator.Options) *simulator.Simulator {
	s := simulator.New(o)
	for _, id := range Projects() {
		key := ValidKey(id)
		if id == Foreign {
			key.Access = "AKOFSOMEBODYELSE"
		}
		s.AddProject(simulator.Project{Name: id, Region: "cn-north-4", ID: id, Keys: []simulator.Key{key}})
	}
	for _, c := range permanentClusters() {
		s.AddCluster(Permanent, c)
	}
	for i, id := range Projects()[1:] {
		s.AddCluster(id, newCluster(ClusterOf(id), fmt.Sprint("cluster-", i), 3))
	}
	s.AddCluster(OlderRegion, newCluster(OlderPages, "older-pages", 23))
	s.AddCluster(OlderRegion, newCluster(OlderMany, "older-many", 1203))
	return s
}

// Projects returns all projects, Permanent first.
func Projects() []string {
	return []string{Permanent, Temporary, OlderRegion, Tokenless, OtherToken, WrongSecret, UnknownKey, Foreign}
}

// ValidKey returns the key of a project that the simulator accepts.
func ValidKey(project string) simulator.Key {
	name := hash(project)[:16]
	key := simulator.Key{Access: "AK" + name, Secret: "sk-that-opens-nothing-" + name}
	switch project {
	case Temporary, Tokenless, OtherToken:
		key.SecurityToken = "token+that/opens nothing=" + name
	case OlderRegion, Foreign:
		return ValidKey(Permanent)
	}
	return key
}

// ClientKey returns the key that clients use, which some projects reject.
func ClientKey(project string) simulator.Key {
	key := ValidKey(project)
	switch project {
	case Tokenless:
		key.SecurityToken = ""
	case OtherToken:
		key.SecurityToken += "x"
	case WrongSecret:
		key.Secret += "x"
	case UnknownKey:
		key.Access += "X"
	}
	return key
}

// ClusterOf returns the first cluster of a project other than Permanent.
func ClusterOf(project string) string { return uuid("cluster of " + project) }

func permanentClusters() []simulator.Cluster {
	pages := newCluster(Pages, "pages", 23)
	for i, status := range []string{
		"accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting", "frozen",
	} {
		pages.Connections[i].Status = status
	}
	first := &pages.Connections[0]
	first.MaxSession = simulator.Text("1000000")
	first.Specification = "professional"
	first.IPv6 = simulator.Text("2001:db8:5c77::7a")
	first.DNSName = simulator.Text("vpcep-54b7f739.cn-north-4.example.internal")
	first.UpdatedAt = simulator.Text("2024-06-12T09:36:24Z")
	pages.Connections[1].UpdatedAt = "null"
	pages.Connections[2].CreatedAt = simulator.Text("2024-06-11T09:36:24") // no zone
	pages.Connections[3].IP = "<&>\u2028\"\\ü"
	pages.Unlisted = 2

	empty := newCluster(Empty, "empty", 0)
	empty.UpdateSwitch = "true"
	empty.Permissions = append(empty.Permissions, simulator.Permission{
		ID: uuid("wildcard"), Permission: "iam:domain::*", Type: "domainId",
		CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
	})

	plain := simulator.Cluster{
		ID: NoOptionalFields, Name: "plain", Status: "200", Engine: "elasticsearch", Version: "6.8.23",
	}
	plain.Connections = []simulator.Connection{{ID: uuid("plain"), Status: "accepted"}}

	off := newCluster(ServiceOff, "off", 0)
	off.ServiceOff = true

	all := []simulator.Cluster{
		vendorExample(), pages, newCluster(ManyConnections, "many", 1203), empty, plain, off,
		newCluster(EscapedID, "odd", 2),
	}
	for i := len(all); i < PermanentClusters; i++ {
		all = append(all, newCluster(uuid(fmt.Sprint("cluster ", i)), fmt.Sprint("small-", i), i))
	}
	return all
}

func vendorExample() simulator.Cluster {
	const account = "db9b76a0d9ae431f8e85e89da2ca867c"
	c := newCluster(VendorExample, "sample", 2)
	c.ServiceName = simulator.Text("cn-north-4.css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd")
	c.Connections = []simulator.Connection{{
		ID: "54b7f739-31a1-40d0-862b-ac85b83ab2da", Status: "accepted", MaxSession: simulator.Text("3000"),
		Specification: "default", IP: "192.168.0.122", CreatedAt: simulator.Text("2024-06-11T09:36:24Z"), DomainID: account,
	}, {
		ID: "e88ad0bc-c2c7-419c-bd9b-a961111f0a42", Status: "accepted", MaxSession: simulator.Text("3000"),
		Specification: "default", IP: "192.168.0.133", CreatedAt: simulator.Text("2023-10-12T07:33:16Z"), DomainID: account,
	}}
	c.Permissions = []simulator.Permission{{
		ID: "432a6429-f377-4168-8b24-feb5885af08c", Permission: "iam:domain::" + account, Type: "domainId",
		CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
	}}
	return c
}

// newCluster returns a cluster with accepted connections.
func newCluster(id, name string, connections int) simulator.Cluster {
	account := hash("account")
	c := simulator.Cluster{
		ID: id, Name: name, Status: "200", Engine: "opensearch", Version: "2.19.0", EnterpriseProjectID: "0",
		VPCID: uuid("vpc of " + name), Tags: []simulator.Tag{{Key: "team", Value: "search"}},
		Created: time.Date(2023, 10, 12, 7, 33, 11, 0, time.UTC), Endpoint: simulator.Text("192.168.0.10:9200"),
		ServiceName:  simulator.Text("cn-north-4.css-" + name + "." + uuid("service of "+name)),
		UpdateSwitch: "false", Still: true, Connections: []simulator.Connection{},
		Permissions: []simulator.Permission{{
			ID: uuid("permission of " + name), Permission: "iam:domain::" + account, Type: "domainId",
			CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
		}},
	}
	for i := range connections {
		c.Connections = append(c.Connections, simulator.Connection{
			ID: uuid(fmt.Sprintf("connection %d of %s", i, name)), Status: "accepted",
			MaxSession: simulator.Text("3000"), Specification: "default",
			IP: fmt.Sprintf("192.168.%d.%d", 1+i/250, 2+i%250), DomainID: account,
			CreatedAt: simulator.Text("2024-06-11T09:36:24Z"),
		})
	}
	return c
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func uuid(name string) string {
	h := hash(name)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

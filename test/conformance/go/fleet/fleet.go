// SPDX-License-Identifier: Apache-2.0

// Package fleet provides the simulated fleet that all clients read. It has only responses that the vendor's page
// documents, with cases for each paging and each rejection.
package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// The projects. Requests to those from Tokenless on are rejected.
const (
	Permanent   = "project-of-permanent-keys"
	Temporary   = "project-of-temporary-keys"
	Older       = "project-of-an-older-region" // connections paged by start
	Tokenless   = "project-without-its-token"
	OtherToken  = "project-with-another-token"
	WrongSecret = "project-with-a-wrong-secret"
	UnknownKey  = "project-with-an-unknown-key"
	Foreign     = "project-of-somebody-else"
)

// Clusters of Permanent with a special case.
const (
	Sample  = "5c77b71c-5b35-4f50-8984-76387e42451a" // the vendor's example
	Pages   = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f01" // 23 connections
	Many    = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f02" // 1,203 connections
	Empty   = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f03" // none
	Plain   = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f04" // no optional fields
	Off     = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f05" // the VPC endpoint service is off
	OddID   = "an odd ~id+1*(ü)"                     // needs escaping
	Missing = "b5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1fff" // does not exist
)

// Clusters of Older with less and more connections than a page.
const (
	OlderPages = "c5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f01"
	OlderMany  = "c5b8fe7c-0c8e-4c3a-a4be-2f0f8a0f1f02"
)

// Clusters is the number of clusters of Permanent, more than a default page of the list.
const Clusters = 13

// New returns the fleet, which does not change.
func New(o simulator.Options) *simulator.Simulator {
	s := simulator.New(o)
	for _, id := range Projects() {
		key := Key(id)
		if id == Foreign {
			key.Access = "AKOFSOMEBODYELSE"
		}
		s.AddProject(simulator.Project{Name: id, Region: "cn-north-4", ID: id, Keys: []simulator.Key{key}})
	}
	for _, c := range clusters() {
		s.AddCluster(Permanent, c)
	}
	for i, id := range Projects()[1:] {
		s.AddCluster(id, small(Of(id), fmt.Sprint("cluster-", i), 3))
	}
	s.AddCluster(Older, small(OlderPages, "older-pages", 23))
	s.AddCluster(Older, small(OlderMany, "older-many", 1203))
	return s
}

// Projects returns all projects, Permanent first.
func Projects() []string {
	return []string{Permanent, Temporary, Older, Tokenless, OtherToken, WrongSecret, UnknownKey, Foreign}
}

// Key returns the valid key of a project, for the simulator only.
func Key(project string) simulator.Key {
	name := hash(project)[:16]
	key := simulator.Key{Access: "AK" + name, Secret: "sk-that-opens-nothing-" + name}
	switch project {
	case Temporary, Tokenless, OtherToken:
		key.SecurityToken = "token+that/opens nothing=" + name
	case Older, Foreign:
		return Key(Permanent)
	}
	return key
}

// Given returns the key that clients use, which is invalid in some projects.
func Given(project string) simulator.Key {
	key := Key(project)
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

// Of returns the only cluster of a project.
func Of(project string) string { return uuid("cluster of " + project) }

func clusters() []simulator.Cluster {
	pages := small(Pages, "pages", 23)
	for i, status := range []string{"accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting", "frozen"} {
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

	empty := small(Empty, "empty", 0)
	empty.UpdateSwitch = "true"
	empty.Permissions = append(empty.Permissions, simulator.Permission{
		ID: uuid("wildcard"), Permission: "iam:domain::*", Type: "domainId", CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
	})

	plain := simulator.Cluster{ID: Plain, Name: "plain", Status: "200", Engine: "elasticsearch", Version: "6.8.23"}
	plain.Connections = []simulator.Connection{{ID: uuid("plain"), Status: "accepted"}}

	off := small(Off, "off", 0)
	off.ServiceOff = true

	all := []simulator.Cluster{sample(), pages, small(Many, "many", 1203), empty, plain, off, small(OddID, "odd", 2)}
	for i := len(all); i < Clusters; i++ {
		all = append(all, small(uuid(fmt.Sprint("cluster ", i)), fmt.Sprint("small-", i), i))
	}
	return all
}

// sample returns the vendor's example.
func sample() simulator.Cluster {
	const account = "db9b76a0d9ae431f8e85e89da2ca867c"
	c := small(Sample, "sample", 2)
	c.ServiceName = simulator.Text("cn-north-4.css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd")
	c.Connections = []simulator.Connection{{
		ID: "54b7f739-31a1-40d0-862b-ac85b83ab2da", Status: "accepted", MaxSession: simulator.Text("3000"), Specification: "default",
		IP: "192.168.0.122", CreatedAt: simulator.Text("2024-06-11T09:36:24Z"), DomainID: account,
	}, {
		ID: "e88ad0bc-c2c7-419c-bd9b-a961111f0a42", Status: "accepted", MaxSession: simulator.Text("3000"), Specification: "default",
		IP: "192.168.0.133", CreatedAt: simulator.Text("2023-10-12T07:33:16Z"), DomainID: account,
	}}
	c.Permissions = []simulator.Permission{{
		ID: "432a6429-f377-4168-8b24-feb5885af08c", Permission: "iam:domain::" + account, Type: "domainId",
		CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
	}}
	return c
}

// small returns a cluster with accepted connections.
func small(id, name string, connections int) simulator.Cluster {
	account := hash("account")
	c := simulator.Cluster{
		ID: id, Name: name, Status: "200", Engine: "opensearch", Version: "2.19.0", EnterpriseProjectID: "0",
		VPCID: uuid("vpc of " + name), Tags: []simulator.Tag{{Key: "team", Value: "search"}},
		Created:  time.Date(2023, 10, 12, 7, 33, 11, 0, time.UTC),
		Endpoint: simulator.Text("192.168.0.10:9200"), ServiceName: simulator.Text("cn-north-4.css-" + name + "." + uuid("service of "+name)),
		UpdateSwitch: "false", Still: true, Connections: []simulator.Connection{},
		Permissions: []simulator.Permission{{
			ID: uuid("permission of " + name), Permission: "iam:domain::" + account, Type: "domainId",
			CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
		}},
	}
	for i := range connections {
		c.Connections = append(c.Connections, simulator.Connection{
			ID: uuid(fmt.Sprintf("connection %d of %s", i, name)), Status: "accepted", MaxSession: simulator.Text("3000"),
			Specification: "default", IP: fmt.Sprintf("192.168.%d.%d", 1+i/250, 2+i%250), DomainID: account,
			CreatedAt: simulator.Text("2024-06-11T09:36:24Z"),
		})
	}
	return c
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// uuid returns a UUID derived from a name.
func uuid(name string) string {
	h := hash(name)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// SPDX-License-Identifier: Apache-2.0

// Package css reads a project's clusters and their VPC endpoint connections from the API of Huawei Cloud CSS. It
// touches only the network, through a cloud.Client.
package css

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"css_vpcep_exporter/internal/cloud"
)

const maxKept = 1 << 20 // bytes of a buffer that is used again

// Project knows the ID of a project.
type Project interface {
	ID(ctx context.Context) (string, error)
	KnownID() string // "" if not known yet
}

// Client reads one project. It is safe for concurrent use.
type Client struct {
	cloud    *cloud.Client
	endpoint string
	project  Project
	count    func(unparsable map[string]int)
	buffers  sync.Pool // of *bytes.Buffer
}

// NewClient returns a Client. The endpoint is a scheme and a host. After each response, count is called with the number of
// values that could not be parsed, by field; calls may be concurrent.
func NewClient(client *cloud.Client, endpoint string, project Project, count func(unparsable map[string]int)) *Client {
	return &Client{
		cloud: client, endpoint: endpoint, project: project, count: count,
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// Close closes connections as soon as they are idle. Calls in flight complete.
func (c *Client) Close() { c.cloud.Close() }

// ProjectID returns the project's ID. Errors are of the type *cloud.Error.
func (c *Client) ProjectID(ctx context.Context) (string, error) { return c.project.ID(ctx) }

// KnownProjectID returns the project's ID, or "" if it is not known yet.
func (c *Client) KnownProjectID() string { return c.project.KnownID() }

// Fields returns the fields of the API whose values may be unparsable, sorted.
func Fields() []string {
	return []string{
		"clusters", "created_at", "datastore", "domain_id", "enterpriseProjectId", "id", "key", "maxSession", "name",
		"permission", "permission_type", "permissions", "specificationName", "status", "tags", "totalSize", "total_count",
		"type", "update_at", "value", "version", "vpcId", "vpcServiceName", "vpcepDnsName", "vpcepIp", "vpcepIpv6Address",
		"vpcepUpdateSwitch",
	}
}

func (c *Client) call(ctx context.Context, r cloud.Request) (cloud.Response, error) {
	id, err := c.project.ID(ctx)
	if err != nil {
		return cloud.Response{}, err
	}
	r.Service, r.Endpoint, r.ProjectID = service{}, c.endpoint, id
	r.Path = slices.Concat([]string{"v1.0", id}, r.Path)
	return c.cloud.Call(ctx, r)
}

const (
	codeServiceOff    = "CSS.5182" // service disabled
	codeNoSuchCluster = "CSS.0015" // the cluster is missing or belongs to another account
)

type service struct{}

func (service) Hint(e *cloud.Error) string {
	switch {
	case e.Reason == cloud.ReasonAuth:
		return ""
	case e.Code == codeNoSuchCluster:
		return "check the cluster ID and the project; if the cluster exists, allow css:VPCEndpoint:listConnection on it"
	case e.Reason == cloud.ReasonDenied && e.Code == "":
		return "the response has no error code, so a proxy or a firewall may have refused the request; if not, allow " +
			"css:cluster:list, css:VPCEndpoint:listConnection and vpcep:endpoints:get"
	case e.Reason == cloud.ReasonDenied && e.Operation == OpClusters:
		return "allow css:cluster:list, and for the connections css:VPCEndpoint:listConnection and vpcep:endpoints:get"
	case e.Reason == cloud.ReasonDenied:
		return "allow css:cluster:list, css:VPCEndpoint:listConnection and vpcep:endpoints:get"
	case e.Reason == cloud.ReasonTimeout && e.Operation == OpClusters:
		return "check for a slow network or proxy between this machine and the endpoint"
	case e.Reason == cloud.ReasonNotFound:
		return "check endpoint, project_id and the cluster ID"
	case e.Reason == cloud.ReasonDecode:
		return "the response is not from the CSS API: check endpoint and proxy"
	}
	return ""
}

func decodeError(operation string, err error) error {
	e := cloud.NewDecodeError(operation, err.Error())
	return e.WithHint(service{}.Hint(e))
}

// SPDX-License-Identifier: Apache-2.0

// Command client reads connections of clusters and clusters of projects with the vendor's SDK for Go, as the vendor's page
// shows. Keys come from the environment. It reads one call per line from standard input, as JSON, and writes one result
// per line, in the form that all clients share.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	css "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/css/v1"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/css/v1/model"
)

const sdk = "github.com/huaweicloud/huaweicloud-sdk-go-v3"

// request is a call. Skip and limit are not sent if they are nil.
type request struct {
	Call     string `json:"call"` // version, connections, clusters
	Endpoint string `json:"endpoint"`
	Project  string `json:"project"`
	Cluster  string `json:"cluster"`
	Skip     *int32 `json:"skip"`
	Limit    *int32 `json:"limit"`
}

// object is a JSON object; its keys are sorted in the output.
type object map[string]any

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		answer, err := r.do()
		if err != nil {
			answer = failure(err)
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r request) do() (object, error) {
	if r.Call == "version" {
		return object{"version": version()}, nil
	}
	client, err := r.client()
	if err != nil {
		return nil, err
	}
	if r.Call == "clusters" {
		return r.clusters(client)
	}
	return r.connections(client)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == sdk {
			return m.Version
		}
	}
	return ""
}

// client sets the endpoint and the project, so that the SDK does not look them up.
func (r request) client() (*css.CssClient, error) {
	keys := basic.NewCredentialsBuilder().
		WithAk(os.Getenv("CLOUD_SDK_AK")).
		WithSk(os.Getenv("CLOUD_SDK_SK")).
		WithProjectId(r.Project)
	if token := os.Getenv("CLOUD_SDK_SECURITY_TOKEN"); token != "" {
		keys.WithSecurityToken(token)
	}
	credentials, err := keys.SafeBuild()
	if err != nil {
		return nil, err
	}
	client, err := css.CssClientBuilder().
		WithEndpoints([]string{r.Endpoint}).
		WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithTimeout(30 * time.Second)).
		SafeBuild()
	if err != nil {
		return nil, err
	}
	return css.NewCssClient(client), nil
}

// connections pages by offset, which counts from 0, although the comment of the SDK says from 1.
func (r request) connections(client *css.CssClient) (object, error) {
	page, err := client.ShowVpcepConnection(&model.ShowVpcepConnectionRequest{ClusterId: r.Cluster, Offset: r.Skip, Limit: r.Limit})
	if err != nil {
		return nil, err
	}
	return object{
		"connections": each(page.Connections, func(c model.Connections) object {
			return object{
				"id": c.Id, "status": c.Status, "maxSession": c.MaxSession, "specificationName": c.SpecificationName,
				"created_at": c.CreatedAt, "update_at": c.UpdateAt, "domain_id": c.DomainId, "vpcepIp": c.VpcepIp,
				"vpcepIpv6Address": c.VpcepIpv6Address, "vpcepDnsName": c.VpcepDnsName,
			}
		}),
		"permissions": each(page.Permissions, func(p model.PermissionInfo) object {
			return object{"id": p.Id, "permission": p.Permission, "permission_type": p.PermissionType, "created_at": p.CreatedAt}
		}),
		"total_count": page.TotalCount, "vpcServiceName": page.VpcServiceName, "vpcepUpdateSwitch": page.VpcepUpdateSwitch,
	}, nil
}

// clusters pages by offset, which counts from 1 here.
func (r request) clusters(client *css.CssClient) (object, error) {
	ask := &model.ListClustersDetailsRequest{Limit: r.Limit}
	if r.Skip != nil {
		ask.Offset = new(*r.Skip + 1)
	}
	page, err := client.ListClustersDetails(ask)
	if err != nil {
		return nil, err
	}
	return object{
		"clusters": each(page.Clusters, func(c model.ClusterList) object {
			datastore := object(nil)
			if c.Datastore != nil {
				datastore = object{"type": c.Datastore.Type, "version": c.Datastore.Version}
			}
			return object{
				"id": c.Id, "name": c.Name, "status": c.Status, "datastore": datastore, "created": c.Created, "endpoint": c.Endpoint,
				"enterpriseProjectId": c.EnterpriseProjectId, "vpcId": c.VpcId,
				"tags": each(c.Tags, func(t model.ClusterListTags) object { return object{"key": t.Key, "value": t.Value} }),
			}
		}),
		"totalSize": page.TotalSize,
	}, nil
}

// each returns nil for a missing list, but not for an empty one.
func each[T any](list *[]T, form func(T) object) []object {
	if list == nil {
		return nil
	}
	forms := make([]object, 0, len(*list))
	for _, item := range *list {
		forms = append(forms, form(item))
	}
	return forms
}

// failure omits the message, because a gateway echoes the signed request.
func failure(err error) object {
	var refused *sdkerr.ServiceResponseError
	if !errors.As(err, &refused) {
		return object{"error": object{"status": nil, "code": nil}}
	}
	return object{"error": object{"status": refused.StatusCode, "code": refused.ErrorCode}}
}

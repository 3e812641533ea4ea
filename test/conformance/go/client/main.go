// SPDX-License-Identifier: Apache-2.0

// Command client calls the API with the vendor's SDK for Go. It reads one call per line of standard input, as JSON, and
// writes the result of each as a line.
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

// request is a call. Parameters that are nil are not sent.
type request struct {
	Call     string `json:"call"` // version, connections, clusters
	Endpoint string `json:"endpoint"`
	Project  string `json:"project"`
	Cluster  string `json:"cluster"`
	Skip     *int32 `json:"skip"`
	Limit    *int32 `json:"limit"`
}

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
		result, err := r.call()
		if err != nil {
			result = errorObject(err)
		}
		if err := out.Encode(result); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r request) call() (object, error) {
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

// client returns a client with endpoint and project, so that the SDK does not look them up.
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

// connections sends an offset that starts at 0, although the SDK documents 1.
func (r request) connections(client *css.CssClient) (object, error) {
	page, err := client.ShowVpcepConnection(&model.ShowVpcepConnectionRequest{
		ClusterId: r.Cluster, Offset: r.Skip, Limit: r.Limit,
	})
	if err != nil {
		return nil, err
	}
	return object{
		"connections": convert(page.Connections, func(c model.Connections) object {
			return object{
				"id": c.Id, "status": c.Status, "maxSession": c.MaxSession, "specificationName": c.SpecificationName,
				"created_at": c.CreatedAt, "update_at": c.UpdateAt, "domain_id": c.DomainId, "vpcepIp": c.VpcepIp,
				"vpcepIpv6Address": c.VpcepIpv6Address, "vpcepDnsName": c.VpcepDnsName,
			}
		}),
		"permissions": convert(page.Permissions, func(p model.PermissionInfo) object {
			return object{
				"id": p.Id, "permission": p.Permission, "permission_type": p.PermissionType, "created_at": p.CreatedAt,
			}
		}),
		"total_count": page.TotalCount, "vpcServiceName": page.VpcServiceName,
		"vpcepUpdateSwitch": page.VpcepUpdateSwitch,
	}, nil
}

// clusters sends an offset that starts at 1.
func (r request) clusters(client *css.CssClient) (object, error) {
	params := &model.ListClustersDetailsRequest{Limit: r.Limit}
	if r.Skip != nil {
		params.Offset = new(*r.Skip + 1)
	}
	page, err := client.ListClustersDetails(params)
	if err != nil {
		return nil, err
	}
	return object{
		"clusters": convert(page.Clusters, func(c model.ClusterList) object {
			datastore := object(nil)
			if c.Datastore != nil {
				datastore = object{"type": c.Datastore.Type, "version": c.Datastore.Version}
			}
			return object{
				"id": c.Id, "name": c.Name, "status": c.Status, "datastore": datastore, "created": c.Created,
				"endpoint":            c.Endpoint,
				"enterpriseProjectId": c.EnterpriseProjectId, "vpcId": c.VpcId,
				"tags": convert(c.Tags, func(t model.ClusterListTags) object {
					return object{"key": t.Key, "value": t.Value}
				}),
			}
		}),
		"totalSize": page.TotalSize,
	}, nil
}

// convert returns nil for a missing list, but not for an empty one.
func convert[T any](list *[]T, toObject func(T) object) []object {
	if list == nil {
		return nil
	}
	objects := make([]object, 0, len(*list))
	for _, item := range *list {
		objects = append(objects, toObject(item))
	}
	return objects
}

// errorObject omits the message, in which a gateway may repeat the signed request.
func errorObject(err error) object {
	var apiError *sdkerr.ServiceResponseError
	if !errors.As(err, &apiError) {
		return object{"error": object{"status": nil, "code": nil}}
	}
	return object{"error": object{"status": apiError.StatusCode, "code": apiError.ErrorCode}}
}

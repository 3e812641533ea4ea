// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Cluster is a cluster of the cluster list. Texts are valid UTF-8 of at most 1,024 bytes, and empty if the API sent none.
type Cluster struct {
	ID                  string
	Name                string
	Status              string // "100" being created, "200" available, "303" unavailable
	Engine              string // datastore.type: "elasticsearch", "opensearch", "logstash"
	EngineVersion       string // datastore.version
	EnterpriseProjectID string
	VPCID               string
	Tags                map[string]string
}

// The states of a cluster.
const (
	ClusterCreating    = "100"
	ClusterAvailable   = "200"
	ClusterUnavailable = "303"
)

// ErrIncomplete is returned if the API listed fewer clusters than it reports.
var ErrIncomplete = errors.New("the cluster list is incomplete")

const (
	opClusters  = "clusters"
	maxClusters = 100_000
)

// Clusters reads all pages of the project's cluster list (GET /v1.0/{project_id}/clusters). The first page is requested
// without an offset; further ones with both names of the parameter and the same value, which counts from one. If the API lists
// fewer clusters than it reports, they are returned with ErrIncomplete. Other errors are of the type *Error.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	var clusters []Cluster
	seen := make(map[string]struct{})
	for received := 0; ; {
		query := url.Values{"limit": {strconv.Itoa(pageLimit)}}
		if received > 0 {
			query.Set("start", strconv.Itoa(received+1))
			query.Set("offset", strconv.Itoa(received+1))
		}
		bounded, cancel := background(ctx)
		answer, err := c.call(bounded, request{operation: opClusters, path: []string{"clusters"}, query: query})
		cancel()
		if err != nil {
			return nil, err
		}
		page, total, err := parseClusters(answer.body)
		if err != nil {
			return nil, decodeError(opClusters, err.Error())
		}
		fresh := 0
		for i := range page {
			if _, known := seen[page[i].ID]; known || page[i].ID == "" {
				continue
			}
			seen[page[i].ID] = struct{}{}
			clusters = append(clusters, page[i])
			fresh++
		}
		received += len(page)
		switch {
		case total.Set && float64(len(clusters)) >= total.Value, fresh == 0 && !total.Set: // older regions report no number
			return clusters, nil
		case fresh == 0, len(clusters) > maxClusters:
			return clusters, fmt.Errorf("%w: %d of %.0f", ErrIncomplete, len(clusters), total.Value)
		}
	}
}

// parseClusters decodes one page. total is not set if the page has no valid totalSize.
func parseClusters(body []byte) (clusters []Cluster, total Optional[float64], err error) {
	var c Cluster
	var key, value string
	tag := object{"key": text(&key), "value": text(&value)}
	cluster := object{
		"id":                  text(&c.ID),
		"name":                text(&c.Name),
		"status":              text(&c.Status),
		"datastore":           object{"type": text(&c.Engine), "version": text(&c.EngineVersion)}.decode,
		"enterpriseProjectId": text(&c.EnterpriseProjectID),
		"vpcId":               text(&c.VPCID),
		"tags": list(func(d *decoder) error {
			key, value = "", ""
			err := tag.decode(d)
			if key != "" {
				if c.Tags == nil {
					c.Tags = make(map[string]string)
				}
				c.Tags[key] = value
			}
			return err
		}),
	}
	listed := false
	list := list(func(d *decoder) error {
		c = Cluster{}
		err := cluster.decode(d)
		clusters = append(clusters, c)
		return err
	})
	_, err = decode(body, object{
		"totalSize": optional(&total, parseCount),
		"clusters": func(d *decoder) error {
			kind := d.PeekKind()
			listed, clusters = kind == jsontext.KindBeginArray || kind == jsontext.KindNull, nil
			return list(d)
		},
	})
	if err == nil && !listed {
		err = errors.New("the body has no list of clusters")
	}
	return clusters, total, err
}

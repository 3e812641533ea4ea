// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Cluster is what the cluster list says of a cluster, as far as it is used. Texts are valid UTF-8 of at most 1,024
// bytes, and empty where the API sent none.
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

// ErrIncomplete says that the API listed fewer clusters than it reports.
var ErrIncomplete = errors.New("the cluster list is incomplete")

const (
	opClusters  = "clusters"
	maxClusters = 100_000
)

// Clusters reads the project's cluster list (GET /v1.0/{project_id}/clusters), all pages. The list's first page is
// asked for without an offset; for a further one both of the names that the parameter has had are sent, with the same
// value, which counts from one. If the API lists fewer than it reports, what was listed comes with ErrIncomplete. Other
// errors are of the type *Error.
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
		body, err := c.get(bounded, request{operation: opClusters, path: []string{"clusters"}, query: query})
		cancel()
		if err != nil {
			return nil, err
		}
		page, total, err := parseClusters(body)
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
		enough := total.Set && float64(len(clusters)) >= total.Value
		switch {
		case enough:
			return clusters, nil
		case fresh == 0 && !total.Set: // older regions do not say how many there are
			return clusters, nil
		case fresh == 0, len(clusters) > maxClusters:
			return clusters, fmt.Errorf("%w: %d of %.0f", ErrIncomplete, len(clusters), total.Value)
		}
	}
}

// parseClusters reads one page. One odd field does not lose the list; total is not set where the page has no totalSize.
func parseClusters(body []byte) (page []Cluster, total Optional[float64], err error) {
	r := newReader(body)
	listed := false
	err = r.document(func(name []byte) error {
		switch string(name) {
		case "clusters":
			if r.json.PeekKind() != jsontext.KindBeginArray {
				listed = r.json.PeekKind() == jsontext.KindNull
				return r.odd("clusters")
			}
			listed = true
			return r.array(func() error {
				var c Cluster
				err := r.objectOr("clusters", r.cluster(&c))
				page = append(page, c)
				return err
			})
		case "totalSize":
			return r.number("totalSize", &total)
		}
		return r.skip()
	})
	if total.Value < 0 || total.Value != math.Trunc(total.Value) {
		total = Optional[float64]{} // no count of anything
	}
	if err == nil && !listed {
		err = errors.New("the body has no list of clusters")
	}
	return page, total, err
}

func (r *reader) cluster(c *Cluster) func(name []byte) error {
	return func(name []byte) error {
		switch string(name) {
		case "id":
			return r.text("id", &c.ID)
		case "name":
			return r.text("name", &c.Name)
		case "status":
			return r.text("status", &c.Status)
		case "datastore":
			return r.objectOr("datastore", func(name []byte) error {
				switch string(name) {
				case "type":
					return r.text("type", &c.Engine)
				case "version":
					return r.text("version", &c.EngineVersion)
				}
				return r.skip()
			})
		case "enterpriseProjectId":
			return r.text("enterpriseProjectId", &c.EnterpriseProjectID)
		case "vpcId":
			return r.text("vpcId", &c.VPCID)
		case "tags":
			return r.tags(c)
		}
		return r.skip()
	}
}

func (r *reader) tags(c *Cluster) error {
	if r.json.PeekKind() != jsontext.KindBeginArray {
		return r.odd("tags")
	}
	return r.array(func() error {
		var key, value string
		err := r.objectOr("tags", func(name []byte) error {
			switch string(name) {
			case "key":
				return r.text("key", &key)
			case "value":
				return r.text("value", &value)
			}
			return r.skip()
		})
		if err == nil && key != "" {
			if c.Tags == nil {
				c.Tags = make(map[string]string)
			}
			c.Tags[key] = value
		}
		return err
	})
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"

	"github.com/go-json-experiment/json/jsontext"
)

// Cluster is a cluster. Strings are valid UTF-8 of at most clean.MaxLength bytes, or empty.
type Cluster struct {
	ID                  string
	Name                string
	Status              string
	Engine              string // "elasticsearch", "opensearch", "logstash"
	EngineVersion       string
	EnterpriseProjectID string
	VPCID               string
	Tags                map[string]string
}

// The states.
const (
	ClusterCreating    = "100"
	ClusterAvailable   = "200"
	ClusterUnavailable = "303"
)

// ErrIncomplete is returned if the API lists fewer clusters than it reports, or some without an ID, or the list reaches
// a limit.
var ErrIncomplete = errors.New("the cluster list is incomplete")

// IncompleteHint explains ErrIncomplete to a person.
const IncompleteHint = "clusters may be missing; those found before are kept until three lists in a row lack them"

// OpClusters is the operation of Clusters.
const OpClusters = "clusters"

// Clusters reads all pages of the cluster list (GET /v1.0/{project_id}/clusters). The offset is sent under both of
// its names and counts from 1. Clusters may come with ErrIncomplete; other errors are of the type *cloud.Error.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	var clusters []Cluster
	var total lenient.Optional[float64]
	seen := make(map[string]struct{})
	received, size, end, unidentified := 0, 0, time.Now().Add(maxListTime), ""
	incomplete := func(why string) ([]Cluster, error) {
		listed := strconv.Itoa(len(clusters))
		if total.Set {
			listed += fmt.Sprintf(" of %.0f", total.Value)
		}
		return clusters, fmt.Errorf("%w: %s%s", ErrIncomplete, listed, why)
	}
	for pages := 1; ; pages++ {
		query := url.Values{"limit": {pageLimitText}}
		if received > 0 {
			query.Set("start", strconv.Itoa(received+1))
			query.Set("offset", strconv.Itoa(received+1))
		}
		response, last, err := c.readClusters(ctx, query, end)
		switch {
		case err != nil && last && received > 0 && ctx.Err() == nil && cloud.ReasonOf(err) == cloud.ReasonTimeout:
			return incomplete(fmt.Sprintf("; it took longer than %s", maxListTime))
		case err != nil:
			return nil, err
		}
		page, err := parseClusters(response.Body)
		if err != nil {
			return nil, decodeError(OpClusters, err)
		}
		c.count(page.unparsable)
		if page.total.Set {
			total = page.total
		}
		fresh := 0
		for i := range page.clusters {
			id := page.clusters[i].ID
			if id == "" {
				unidentified = "; some have no ID"
				continue
			}
			if _, known := seen[id]; known {
				continue
			}
			seen[id] = struct{}{}
			clusters = append(clusters, page.clusters[i])
			fresh++
		}
		received += len(page.clusters)
		size += len(response.Body)
		switch {
		case total.Set && float64(len(clusters)) >= total.Value:
			return clusters, nil
		case fresh == 0 && !total.Set && unidentified == "": // older regions report no total
			return clusters, nil
		case fresh == 0:
			return incomplete(unidentified)
		case full(pages, len(clusters), size):
			return incomplete(fmt.Sprintf("; the limit is %d clusters, %d pages or %d MiB", maxItems, maxPages, maxListBytes>>20))
		}
	}
}

// readClusters requests a page. It reports whether less time was left than for other pages.
func (c *Client) readClusters(ctx context.Context, query url.Values, end time.Time) (cloud.Response, bool, error) {
	ctx, cancel := cloud.Background(ctx)
	defer cancel()
	deadline, _ := ctx.Deadline()
	bounded, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	response, err := c.call(bounded, cloud.Request{Operation: OpClusters, Path: []string{"clusters"}, Query: query})
	return response, end.Before(deadline), err
}

type clusterPage struct {
	clusters   []Cluster
	total      lenient.Optional[float64]
	unparsable map[string]int
}

func parseClusters(body []byte) (*clusterPage, error) {
	var page clusterPage
	var c Cluster
	var key, value string
	tag := lenient.Object{"key": lenient.Text(&key), "value": lenient.Text(&value)}
	cluster := lenient.Object{
		"id":     lenient.Text(&c.ID),
		"name":   lenient.Text(&c.Name),
		"status": lenient.Text(&c.Status),
		"datastore": lenient.Object{
			"type": lenient.Text(&c.Engine), "version": lenient.Text(&c.EngineVersion),
		}.Decode,
		"enterpriseProjectId": lenient.Text(&c.EnterpriseProjectID),
		"vpcId":               lenient.Text(&c.VPCID),
		"tags": lenient.List(func(d *lenient.Decoder) error {
			key, value = "", ""
			err := tag.Decode(d)
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
	list := lenient.List(func(d *lenient.Decoder) error {
		c = Cluster{}
		err := cluster.Decode(d)
		page.clusters = append(page.clusters, c)
		return err
	})
	var err error
	page.unparsable, err = lenient.Decode(body, lenient.Object{
		"totalSize": lenient.Optionally(&page.total, lenient.ParseCount),
		"clusters": func(d *lenient.Decoder) error {
			kind := d.PeekKind()
			listed, page.clusters = kind == jsontext.KindBeginArray || kind == jsontext.KindNull, nil
			return list(d)
		},
	})
	switch {
	case err != nil:
		return nil, err
	case !listed:
		return nil, errors.New("the body has no list of clusters")
	}
	return &page, nil
}

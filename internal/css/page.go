// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"net/url"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"
)

// ConnectionsPage requests one page of a cluster's list with this query, and returns its body too. It is for diagnoses;
// Connections reads the whole list.
func (c *Client) ConnectionsPage(
	ctx context.Context, clusterID string, query url.Values,
) (page *ConnectionList, body []byte, err error) {
	r := connectionsRequest(clusterID)
	r.Query = query
	response, err := c.call(ctx, r)
	switch {
	case isServiceOff(err):
		return &ConnectionList{}, nil, nil
	case err != nil:
		return nil, nil, err
	}
	if page, err = parseConnections(response.Body); err != nil {
		return nil, nil, decodeError(OpConnections, err)
	}
	return page, response.Body, nil
}

// ClusterPage is a page of a project's clusters.
type ClusterPage struct {
	Clusters []Cluster
	Total    lenient.Optional[float64] // totalSize
	Body     []byte
}

// ClustersPage requests one page of the cluster list with this query. It is for diagnoses; Clusters reads the whole list.
func (c *Client) ClustersPage(ctx context.Context, query url.Values) (*ClusterPage, error) {
	response, err := c.call(ctx, cloud.Request{Operation: OpClusters, Path: []string{"clusters"}, Query: query})
	if err != nil {
		return nil, err
	}
	page, err := parseClusters(response.Body)
	if err != nil {
		return nil, decodeError(OpClusters, err)
	}
	return &ClusterPage{Clusters: page.clusters, Total: page.total, Body: response.Body}, nil
}

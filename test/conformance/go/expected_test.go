// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// wantConnections returns the expected page of connections.
func wantConnections(c simulator.Cluster, skip, limit int) answer {
	connections := []connection{}
	for _, x := range slicePage(c.Connections, skip, limit) {
		connections = append(connections, connection{
			ID: &x.ID, Status: &x.Status, MaxSession: decode[string](x.MaxSession), Specification: &x.Specification,
			CreatedAt: decode[string](x.CreatedAt), UpdatedAt: decode[string](x.UpdatedAt), DomainID: &x.DomainID,
			IP: &x.IP, IPv6: decode[string](x.IPv6), DNSName: decode[string](x.DNSName),
		})
	}
	a := answer{
		Connections: &connections, TotalCount: new(len(c.Connections) + c.Unlisted),
		ServiceName: decode[string](c.ServiceName), UpdateSwitch: decode[bool](c.UpdateSwitch),
	}
	if c.Permissions != nil {
		permissions := []permission{}
		for _, x := range c.Permissions {
			permissions = append(permissions, permission{&x.ID, &x.Permission, &x.Type, decode[string](x.CreatedAt)})
		}
		a.Permissions = &permissions
	}
	return a
}

// wantClusters returns the expected page of clusters.
func wantClusters(all []simulator.Cluster, skip, limit int) answer {
	clusters := []cluster{}
	for _, x := range slicePage(all, skip, limit) {
		tags := []tag{}
		for _, t := range x.Tags {
			tags = append(tags, tag{&t.Key, &t.Value})
		}
		clusters = append(clusters, cluster{
			ID: &x.ID, Name: &x.Name, Status: &x.Status, Datastore: &datastore{&x.Engine, &x.Version},
			Created: new(x.Created.UTC().Format("2006-01-02T15:04:05")), Endpoint: decode[string](x.Endpoint),
			EnterpriseProjectID: &x.EnterpriseProjectID, VPCID: &x.VPCID, Tags: &tags,
		})
	}
	return answer{Clusters: &clusters, TotalClusters: new(len(all))}
}

func slicePage[T any](items []T, skip, limit int) []T {
	skip = min(skip, len(items))
	return items[skip:min(skip+limit, len(items))]
}

// decode returns nil for a value that is not sent or null.
func decode[T any](j simulator.JSON) *T {
	var v *T
	if j == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(j), &v); err != nil {
		panic(fmt.Sprintf("invalid value %s in the fleet: %s", j, err))
	}
	return v
}

// summary returns the cell of a table.
func (a answer) summary() string {
	switch {
	case a.Error != nil:
		return a.Error.String()
	case a.Clusters != nil:
		return fmt.Sprintf("%d of %s clusters", len(*a.Clusters), count(a.TotalClusters))
	case a.Connections != nil:
		return fmt.Sprintf("%d of %s", len(*a.Connections), count(a.TotalCount))
	case a.TotalCount != nil:
		return "none of " + count(a.TotalCount)
	}
	return "nothing, no error"
}

func count(n *int) string {
	if n == nil {
		return "?"
	}
	return strconv.Itoa(*n)
}

// String omits codes that the API does not use: some SDKs return the status as code.
func (e apiError) String() string {
	if e.Status == nil || *e.Status < 300 {
		return "error"
	}
	if e.Code == nil || !strings.Contains(*e.Code, ".") {
		return fmt.Sprintf("%d", *e.Status)
	}
	return fmt.Sprintf("%d %s", *e.Status, *e.Code)
}

// clusterMetrics has the values of a cluster in /metrics. A missing number is nil, a missing string empty.
type clusterMetrics struct {
	Reported, Truncated, Switch, Permissions, Wildcard *float64
	ServiceName                                        string
	ByStatus                                           map[string]float64
	Connections                                        map[string]connectionMetrics // by ID
}

type connectionMetrics struct {
	Status, Domain, Specification, IP, IPv6, DNSName string
	MaxSessions, Created, Updated                    *float64
}

// wantMetrics returns the expected metrics of connections that a client has read.
func wantMetrics(a answer) clusterMetrics {
	m := clusterMetrics{
		ByStatus: map[string]float64{"unknown": 0}, Connections: map[string]connectionMetrics{},
		ServiceName: text(a.ServiceName),
	}
	documented := []string{"accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting"}
	for _, status := range documented {
		m.ByStatus[status] = 0
	}
	for _, c := range *a.Connections {
		status := text(c.Status)
		if !slices.Contains(documented, status) {
			status = "unknown"
		}
		m.ByStatus[status]++
		m.Connections[text(c.ID)] = connectionMetrics{
			Status: status, Domain: text(c.DomainID), Specification: text(c.Specification),
			IP: text(c.IP), IPv6: text(c.IPv6), DNSName: text(c.DNSName),
			MaxSessions: parseNumber(text(c.MaxSession)),
			Created:     parseTime(text(c.CreatedAt)), Updated: parseTime(text(c.UpdatedAt)),
		}
	}
	if a.TotalCount != nil {
		m.Reported = new(float64(*a.TotalCount))
	}
	m.Truncated = gauge(a.TotalCount != nil && *a.TotalCount > len(*a.Connections))
	if a.UpdateSwitch != nil {
		m.Switch = gauge(*a.UpdateSwitch)
	}
	if a.Permissions != nil {
		m.Permissions = new(float64(len(*a.Permissions)))
		m.Wildcard = gauge(slices.ContainsFunc(*a.Permissions, func(p permission) bool {
			return text(p.Permission) == "*" || text(p.Permission) == "iam:domain::*"
		}))
	}
	return m
}

// gauge returns the value of a boolean metric.
func gauge(value bool) *float64 {
	if value {
		return new(1.0)
	}
	return new(0.0)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// parseNumber returns nil if the text is not a whole number from 0 to 2^53.
func parseNumber(s string) *float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || n < 0 || n > 1<<53 || n != math.Trunc(n) {
		return nil
	}
	return &n
}

// parseTime returns a time in seconds since 1970, or nil. A time without a zone is in UTC.
func parseTime(s string) *float64 {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, s); err == nil {
			return new(float64(at.UnixMilli()) / 1000)
		}
	}
	return nil
}

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

// page returns the expected page of connections from the values of the fleet.
func page(c simulator.Cluster, skip, limit int) answer {
	connections := []connection{}
	for _, x := range between(c.Connections, skip, limit) {
		connections = append(connections, connection{
			ID: &x.ID, Status: &x.Status, MaxSession: value[string](x.MaxSession), Specification: &x.Specification,
			CreatedAt: value[string](x.CreatedAt), UpdatedAt: value[string](x.UpdatedAt), DomainID: &x.DomainID, IP: &x.IP,
			IPv6: value[string](x.IPv6), DNSName: value[string](x.DNSName),
		})
	}
	a := answer{
		Connections: &connections, TotalCount: new(len(c.Connections) + c.Unlisted),
		ServiceName: value[string](c.ServiceName), UpdateSwitch: value[bool](c.UpdateSwitch),
	}
	if c.Permissions != nil {
		permissions := []permission{}
		for _, x := range c.Permissions {
			permissions = append(permissions, permission{&x.ID, &x.Permission, &x.Type, value[string](x.CreatedAt)})
		}
		a.Permissions = &permissions
	}
	return a
}

// clusterPage returns the expected page of clusters.
func clusterPage(all []simulator.Cluster, skip, limit int) answer {
	clusters := []cluster{}
	for _, x := range between(all, skip, limit) {
		tags := []tag{}
		for _, t := range x.Tags {
			tags = append(tags, tag{&t.Key, &t.Value})
		}
		clusters = append(clusters, cluster{
			ID: &x.ID, Name: &x.Name, Status: &x.Status, Datastore: &datastore{&x.Engine, &x.Version},
			Created: new(x.Created.UTC().Format("2006-01-02T15:04:05")), Endpoint: value[string](x.Endpoint),
			EnterpriseProjectID: &x.EnterpriseProjectID, VPCID: &x.VPCID, Tags: &tags,
		})
	}
	return answer{Clusters: &clusters, TotalClusters: new(len(all))}
}

func between[T any](items []T, skip, limit int) []T {
	skip = min(skip, len(items))
	return items[skip:min(skip+limit, len(items))]
}

// value returns nil if the fleet sends nothing or null.
func value[T any](j simulator.JSON) *T {
	var v *T
	if j == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(j), &v); err != nil {
		panic(fmt.Sprintf("the fleet has %s: %s", j, err))
	}
	return v
}

// summary returns a cell of a table.
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

// String omits codes that are not of the API: some SDKs use the status as code.
func (r refusal) String() string {
	if r.Status == nil || *r.Status < 300 {
		return "error"
	}
	if r.Code == nil || !strings.Contains(*r.Code, ".") {
		return fmt.Sprintf("%d", *r.Status)
	}
	return fmt.Sprintf("%d %s", *r.Status, *r.Code)
}

// shown is a cluster as the exporter shows it. Missing numbers are nil, missing strings empty.
type shown struct {
	Reported, Truncated, Switch, Permissions, Wildcard *float64
	ServiceName                                        string
	ByStatus                                           map[string]float64
	Connections                                        map[string]shownConnection
}

type shownConnection struct {
	Status, Domain, Specification, IP, IPv6, DNSName string
	MaxSessions, Created, Updated                    *float64
}

// show returns the expected metrics for a list that a client has read.
func show(a answer) shown {
	s := shown{ByStatus: map[string]float64{"unknown": 0}, Connections: map[string]shownConnection{}, ServiceName: text(a.ServiceName)}
	documented := []string{"accepted", "rejected", "pendingAcceptance", "creating", "failed", "deleting"}
	for _, status := range documented {
		s.ByStatus[status] = 0
	}
	for _, c := range *a.Connections {
		status := text(c.Status)
		if !slices.Contains(documented, status) {
			status = "unknown"
		}
		s.ByStatus[status]++
		s.Connections[text(c.ID)] = shownConnection{
			Status: status, Domain: text(c.DomainID), Specification: text(c.Specification), IP: text(c.IP), IPv6: text(c.IPv6),
			DNSName: text(c.DNSName), MaxSessions: numberIn(c.MaxSession), Created: moment(c.CreatedAt), Updated: moment(c.UpdatedAt),
		}
	}
	if a.TotalCount != nil {
		s.Reported = new(float64(*a.TotalCount))
	}
	s.Truncated = new(flag(a.TotalCount != nil && *a.TotalCount > len(*a.Connections)))
	if a.UpdateSwitch != nil {
		s.Switch = new(flag(*a.UpdateSwitch))
	}
	if a.Permissions != nil {
		s.Permissions = new(float64(len(*a.Permissions)))
		s.Wildcard = new(flag(slices.ContainsFunc(*a.Permissions, func(p permission) bool {
			return text(p.Permission) == "*" || text(p.Permission) == "iam:domain::*"
		})))
	}
	return s
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// numberIn returns the number in a string of digits.
func numberIn(s *string) *float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(text(s)), 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		return nil
	}
	return &n
}

// moment returns a time in seconds since 1970. No zone means UTC.
func moment(s *string) *float64 {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text(s)); err == nil {
			return new(float64(at.UnixMilli()) / 1000)
		}
	}
	return nil
}

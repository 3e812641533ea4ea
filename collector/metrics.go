// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"
	"slices"
	"time"

	"css_vpcep_exporter/css"
)

// maxLabelValue is the length in bytes at which label values end.
const maxLabelValue = 1024

// metric is one of the metrics of clusters and connections, all of which are gauges.
type metric struct {
	name, help string
	labels     []string // beside those of the cluster
	series     series
}

// series calls add for each series that a metric has of a cluster. A value that the API did not send has none.
type series func(v *view, add sink)

// sink takes a series: its value, and the values of the metric's own labels, which it must not keep.
type sink func(value float64, labels []string)

// metrics are all of them, in the order of their names, in which they are written out. Of cluster_info, further labels are
// configured.
func metrics(configured []string) []metric {
	connection := []string{"connection_id"}
	return []metric{
		{"cluster_info", "What is known of the cluster; always 1.", append(infoLabels(), configured...),
			func(v *view, add sink) { add(1, v.info) }},
		{"connection_created_timestamp_seconds", "When the connection was created, as Unix time.", connection,
			ofConnections(func(c *css.Connection) (float64, bool) { return unix(c.CreatedAt.Value), c.CreatedAt.Set })},
		{"connection_info", "What is known of the connection; always 1.",
			[]string{"connection_id", "domain_id", "specification_name", "ip", "ipv6", "dns_name"},
			func(v *view, add sink) {
				for i := range v.connections {
					c := &v.connections[i]
					add(1, v.row(c.ID, c.DomainID, c.SpecificationName, c.IP, c.IPv6, c.DNSName))
				}
			}},
		{"connection_max_sessions", "Sessions that the connection allows at most (maxSession).", connection,
			ofConnections(func(c *css.Connection) (float64, bool) { return c.MaxSessions.Value, c.MaxSessions.Set })},
		{"connection_status", "The connection's present status; always 1.", []string{"connection_id", "status"},
			func(v *view, add sink) {
				for i := range v.connections {
					if c := &v.connections[i]; c.Status != "" {
						add(1, v.row(c.ID, string(c.Status)))
					}
				}
			}},
		{"connection_updated_timestamp_seconds", "When the connection was last updated, as Unix time.", connection,
			ofConnections(func(c *css.Connection) (float64, bool) { return unix(c.UpdatedAt.Value), c.UpdatedAt.Set })},
		{"connections", "Listed connections by status; unknown is any status that is not documented.", []string{"status"},
			func(v *view, add sink) {
				if v.list != nil {
					for _, status := range css.Statuses() {
						add(float64(v.byStatus[status]), v.row(string(status)))
					}
				}
			}},
		{"connections_limited",
			"Whether the series of single connections are left out because there are more than max_connections (1) or not (0).", nil,
			ofList(func(v *view) (float64, bool) { return boolean(v.limited), true })},
		{"connections_truncated", "Whether fewer connections were listed than the API reports (1) or not (0).", nil,
			ofList(func(v *view) (float64, bool) { return boolean(v.list.Truncated()), true })},
		{"enabled", "Whether the cluster's VPC endpoint service is on (1) or off (0).", nil,
			one(func(v *view) (float64, bool) { return boolean(v.list != nil), v.List != nil })},
		{"last_success_timestamp_seconds", "When the list that is shown was read, as Unix time.", nil,
			one(func(v *view) (float64, bool) { return unix(v.ReadAt), v.List != nil })},
		{"permissions", "Entries of the whitelist of accounts that may connect.", nil,
			ofList(func(v *view) (float64, bool) {
				return float64(len(v.list.Permissions.Value)), v.list.Permissions.Set
			})},
		{"permissions_wildcard", "Whether an entry of the whitelist lets every account in (1) or none does (0).", nil,
			ofList(func(v *view) (float64, bool) {
				return boolean(wildcard(v.list.Permissions.Value)), v.list.Permissions.Set
			})},
		{"reported_connections", "VPC endpoints of the cluster as the API counts them (total_count).", nil,
			ofList(func(v *view) (float64, bool) { return v.list.Reported.Value, v.list.Reported.Set })},
		{"scrape_duration_seconds", "Time that this scrape spent on the cluster.", nil,
			one(func(v *view) (float64, bool) { return v.Duration.Seconds(), true })},
		{"service_info", "The name of the cluster's VPC endpoint service; always 1.", []string{"service_name"},
			func(v *view, add sink) {
				if v.list != nil && v.list.ServiceName != "" {
					add(1, v.row(v.list.ServiceName))
				}
			}},
		{"unlisted_connections",
			"Accepted connections whose owner no entry of the whitelist names; absent where that cannot be judged.", nil,
			ofList(func(v *view) (float64, bool) {
				count, ok := Unlisted(v.list)
				return float64(count), ok
			})},
		{"up", "Whether this scrape got the cluster's full answer from the API (1), or one younger than min_interval, or not (0).", nil,
			one(func(v *view) (float64, bool) { return boolean(v.Err == nil), true })},
		{"update_switch", "The API's vpcepUpdateSwitch as it is (true: 1, false: 0); its meaning is not clear.", nil,
			ofList(func(v *view) (float64, bool) { return boolean(v.list.UpdateSwitch.Value), v.list.UpdateSwitch.Set })},
	}
}

// one is the series of a metric that has one of each cluster, if the value is there.
func one(of func(*view) (value float64, there bool)) series {
	return func(v *view, add sink) {
		if value, there := of(v); there {
			add(value, nil)
		}
	}
}

// ofList is one for clusters whose VPC endpoint service has a list that is shown.
func ofList(of func(*view) (value float64, there bool)) series {
	return one(func(v *view) (float64, bool) {
		if v.list == nil {
			return 0, false
		}
		return of(v)
	})
}

// ofConnections is the series of a metric that has one of each connection, if the value is there.
func ofConnections(of func(*css.Connection) (value float64, there bool)) series {
	return func(v *view, add sink) {
		for i := range v.connections {
			if value, there := of(&v.connections[i]); there {
				add(value, v.row(v.connections[i].ID))
			}
		}
	}
}

// clusterLabels are the labels that every series has.
func clusterLabels() []string { return []string{"region", "project_id", "cluster_id", "cluster_name"} }

// infoLabels are those that cluster_info always has beside them.
func infoLabels() []string {
	return []string{"project", "engine", "engine_version", "enterprise_project_id", "vpc_id"}
}

// view is what is shown of one cluster.
type view struct {
	Outcome
	cluster     [4]string           // the values of clusterLabels, fit for labels
	info        []string            // the values of cluster_info's own labels
	list        *css.ConnectionList // nil if there is none to be shown, or its service is off
	byStatus    map[css.Status]int  // of list
	connections []css.Connection    // those of list that are shown one by one
	limited     bool                // there are too many for that
	own         [maxOwn]string      // see row
}

// maxOwn is how many own labels a metric has at most, but for cluster_info.
const maxOwn = 6

func newView(o *Outcome, configured []string, options Options) view {
	t := &o.Target
	v := view{
		Outcome: *o,
		cluster: [4]string{
			labelValue(t.Region), labelValue(t.ProjectID), labelValue(t.Cluster.ID), labelValue(t.Cluster.Name),
		},
		info: []string{t.Project, t.Cluster.Engine, t.Cluster.EngineVersion, t.Cluster.EnterpriseProjectID, t.Cluster.VPCID},
	}
	for _, name := range configured {
		v.info = append(v.info, t.Labels[name])
	}
	if o.List == nil || !o.List.Enabled {
		return v
	}
	v.list = o.List
	v.byStatus = CountByStatus(v.list.Connections)
	v.limited = options.Connections && len(v.list.Connections) > options.MaxConnections
	if options.Connections && !v.limited {
		v.connections = distinct(v.list.Connections)
	}
	return v
}

// row makes the values of labels, good until the next one is made.
func (v *view) row(values ...string) []string { return v.own[:copy(v.own[:], values)] }

// id is what tells clusters apart, whatever they are called.
func (v *view) id() [3]string { return [3]string(v.cluster[:3]) }

// distinct leaves out connections that have no id, or one that another has too. The API's are distinct, but ids may differ
// only beyond the end of a label's value.
func distinct(connections []css.Connection) []css.Connection {
	shown := make(map[string]struct{}, len(connections))
	again := func(c css.Connection) bool {
		id := labelValue(c.ID)
		_, twice := shown[id]
		shown[id] = struct{}{}
		return twice || id == ""
	}
	if !slices.ContainsFunc(connections, again) {
		return connections
	}
	clear(shown)
	return slices.DeleteFunc(slices.Clone(connections), again)
}

// CountByStatus counts connections as the metric css_vpcep_connections does. One without a status counts as unknown: it is
// there. A status that none has is not in the result.
func CountByStatus(connections []css.Connection) map[css.Status]int {
	counts := make(map[css.Status]int)
	for i := range connections {
		status := connections[i].Status
		if status == "" {
			status = css.StatusUnknown
		}
		counts[status]++
	}
	return counts
}

func wildcard(permissions []css.Permission) bool {
	for _, p := range permissions {
		if p.Wildcard() {
			return true
		}
	}
	return false
}

// Unlisted counts the accepted connections whose owner no entry of the whitelist names, as the metric
// css_vpcep_unlisted_connections does. That cannot be judged (ok is false) from an empty whitelist, whose meaning is not
// clear, from entries that name no account, or of connections that name no owner.
func Unlisted(list *css.ConnectionList) (count int, ok bool) {
	permissions := list.Permissions.Value
	switch {
	case len(permissions) == 0:
		return 0, false
	case wildcard(permissions):
		return 0, true
	}
	listed := make(map[string]struct{}, len(permissions))
	for _, p := range permissions {
		id, ok := p.Domain()
		if !ok {
			return 0, false
		}
		listed[id] = struct{}{}
	}
	for i := range list.Connections {
		c := &list.Connections[i]
		if c.Status != css.StatusAccepted {
			continue
		}
		if c.DomainID == "" {
			return 0, false
		}
		if _, named := listed[c.DomainID]; !named {
			count++
		}
	}
	return count, true
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix is t as seconds since 1970, to the millisecond.
func unix(t time.Time) float64 {
	return math.Round(float64(t.Unix())*1e3+float64(t.Nanosecond())/1e6) / 1e3
}

// labelValue makes s fit for a label. What comes from the API is already so; what stands in the file need not be.
func labelValue(s string) string { return css.Clean(s, maxLabelValue) }

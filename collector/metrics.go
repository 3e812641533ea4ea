// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"math"
	"slices"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/sessions"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is a row of the metrics table. One of perScrape, perList and sessions is set.
type metric struct {
	name, help string
	labels     []string                                // without clusterLabels
	positions  []int                                   // after sorting all labels
	perScrape  func(o *Outcome) []sample               // not cached
	perList    func(v *view) []sample                  // cached by Series
	sessions   func(sessions.InUse) (c sessions.Count) // of a connection; cached by Series
}

type sample struct {
	value  float64
	labels []string
}

// metrics returns the metrics table, sorted by name.
func metrics(configured []string) []metric {
	table := slices.Concat(
		scrapeMetrics(), clusterMetrics(configured), listMetrics(), connectionMetrics(), sessionMetrics(),
		permissionMetrics(),
	)
	slices.SortFunc(table, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	for i := range table {
		names := append(clusterLabels(), table[i].labels...)
		sorted := slices.Sorted(slices.Values(names))
		for _, name := range names {
			position, _ := slices.BinarySearch(sorted, name)
			table[i].positions = append(table[i].positions, position)
		}
	}
	return table
}

func scrapeMetrics() []metric {
	return []metric{
		{
			name:      "up",
			help:      "Whether the cluster's connections were read successfully (1) or not (0).",
			perScrape: func(o *Outcome) []sample { return []sample{{value: boolean(o.Err == nil)}} },
		},
		{
			name:   "failure_info",
			help:   "Why the cluster could not be read: reason, and error code of the API; always 1.",
			labels: []string{"reason", "code"},
			perScrape: func(o *Outcome) []sample {
				if o.Err == nil {
					return nil
				}
				return []sample{{1, []string{string(cloud.ReasonOf(o.Err)), cloud.CodeOf(o.Err)}}}
			},
		},
		{
			name: "scrape_duration_seconds", help: "Time that this scrape spent on the cluster.",
			perScrape: func(o *Outcome) []sample { return []sample{{value: o.Duration.Seconds()}} },
		},
		{
			name: "last_success_timestamp_seconds", help: "Unix time at which the connections shown were read.",
			perScrape: func(o *Outcome) []sample {
				if o.List == nil {
					return nil
				}
				return []sample{{value: unix(o.ReadAt)}}
			},
		},
	}
}

func clusterMetrics(configured []string) []metric {
	return []metric{
		{
			name: "cluster_info", help: "Information about the cluster; always 1.",
			labels:  append(infoLabels(), configured...),
			perList: func(v *view) []sample { return []sample{{1, v.info}} },
		},
		{
			name: "enabled", help: "Whether the cluster's VPC endpoint service is enabled (1) or not (0).",
			perList: func(v *view) []sample {
				if v.list == nil {
					return nil
				}
				return []sample{{value: boolean(v.list.Enabled)}}
			},
		},
		{
			name: "service_info", help: "Name of the cluster's VPC endpoint service; always 1.",
			labels: []string{"service_name"},
			perList: func(v *view) []sample {
				if v.shown == nil || v.shown.ServiceName == "" {
					return nil
				}
				return []sample{{1, []string{v.shown.ServiceName}}}
			},
		},
		{
			name: "update_switch",
			help: "Value of vpcepUpdateSwitch (1 for true, 0 for false); the API does not document its meaning.",
			perList: perCluster(func(v *view) (float64, bool) {
				return boolean(v.shown.UpdateSwitch.Value), v.shown.UpdateSwitch.Set
			}),
		},
	}
}

func listMetrics() []metric {
	return []metric{
		{
			name: "reported_connections", help: "Number of connections that the API reports (total_count).",
			perList: perCluster(func(v *view) (float64, bool) { return v.shown.Reported.Value, v.shown.Reported.Set }),
		},
		{
			name: "connections", help: "Number of listed connections by status; unknown counts undocumented statuses.",
			labels: []string{"status"},
			perList: func(v *view) []sample {
				if v.shown == nil {
					return nil
				}
				counts := CountByStatus(v.shown.Connections)
				var samples []sample
				for _, status := range css.Statuses() {
					samples = append(samples, sample{float64(counts[status]), []string{string(status)}})
				}
				return samples
			},
		},
		{
			name: "connections_truncated", help: "Whether the API listed fewer connections than it reports (1) or not (0).",
			perList: perCluster(func(v *view) (float64, bool) { return boolean(v.shown.Truncated()), true }),
		},
		{
			name:    "connections_limited",
			help:    "Whether series of each connection or permission are omitted because of max_connections (1) or not (0).",
			perList: perCluster(func(v *view) (float64, bool) { return boolean(v.limited), true }),
		},
	}
}

func connectionMetrics() []metric {
	return []metric{
		{
			name: "connection_info", help: "Information about the connection; always 1.",
			labels: []string{"connection_id", "domain_id", "specification_name", "ip", "ipv6", "dns_name"},
			perList: func(v *view) []sample {
				samples := make([]sample, len(v.connections))
				for i, c := range v.connections {
					samples[i] = sample{1, []string{c.id, c.DomainID, c.SpecificationName, c.IP, c.IPv6, c.DNSName}}
				}
				return samples
			},
		},
		{
			name: "connection_status", help: "Current status of the connection; always 1.",
			labels: []string{"connection_id", "status"},
			perList: func(v *view) []sample {
				samples := make([]sample, 0, len(v.connections))
				for _, c := range v.connections {
					if c.Status != "" {
						samples = append(samples, sample{1, []string{c.id, string(c.Status)}})
					}
				}
				return samples
			},
		},
		{
			name: "connection_unlisted", help: "An accepted connection whose account no permission names; always 1.",
			labels: []string{"connection_id", "domain_id"},
			perList: func(v *view) []sample {
				unlisted := make(map[*css.Connection]bool, len(v.unlisted))
				for _, c := range v.unlisted {
					unlisted[c] = true
				}
				var samples []sample
				for _, c := range v.connections {
					if unlisted[c.Connection] {
						samples = append(samples, sample{1, []string{c.id, c.DomainID}})
					}
				}
				return samples
			},
		},
		{
			name: "connection_max_sessions", help: "Maximum number of sessions that the connection allows (maxSession).",
			labels:  []string{"connection_id"},
			perList: perConnection(func(c *css.Connection) (float64, bool) { return c.MaxSessions.Value, c.MaxSessions.Set }),
		},
		{
			name: "connection_created_timestamp_seconds", help: "Unix time at which the connection was created.",
			labels:  []string{"connection_id"},
			perList: perConnection(func(c *css.Connection) (float64, bool) { return unix(c.CreatedAt.Value), c.CreatedAt.Set }),
		},
		{
			name: "connection_updated_timestamp_seconds", help: "Unix time at which the connection was last updated.",
			labels:  []string{"connection_id"},
			perList: perConnection(func(c *css.Connection) (float64, bool) { return unix(c.UpdatedAt.Value), c.UpdatedAt.Set }),
		},
	}
}

func sessionMetrics() []metric {
	return []metric{
		{
			name: "connection_sessions", help: "Sessions of the connection, by Cloud Eye (vpcep_connections).",
			labels:   []string{connectionLabel},
			sessions: func(s sessions.InUse) sessions.Count { return s.Sessions },
		},
		{
			name: "connection_active_sessions", help: "Active sessions of the connection, by Cloud Eye (vpcep_act_connections).",
			labels:   []string{connectionLabel},
			sessions: func(s sessions.InUse) sessions.Count { return s.Active },
		},
	}
}

func permissionMetrics() []metric {
	return []metric{
		{
			name: "permissions", help: "Number of permissions, the entries of the service's allowlist.",
			perList: perCluster(func(v *view) (float64, bool) {
				return float64(len(v.shown.Permissions.Value)), v.shown.Permissions.Set
			}),
		},
		{
			name: "permissions_wildcard", help: "Whether a permission allows every account to connect (1) or not (0).",
			perList: perCluster(func(v *view) (float64, bool) {
				return boolean(wildcard(v.shown.Permissions.Value)), v.shown.Permissions.Set
			}),
		},
		{
			name: "unlisted_connections",
			help: "Number of accepted connections whose account no permission names; absent if unknown.",
			perList: perCluster(func(v *view) (float64, bool) {
				return float64(len(v.unlisted)), v.judged
			}),
		},
		{
			name: "permission_info", help: "Information about the permission; always 1.",
			labels: []string{"permission_id", "permission_type", "permission", "domain_id"},
			perList: func(v *view) []sample {
				samples := make([]sample, len(v.permissions))
				for i, p := range v.permissions {
					domain, _ := p.Domain()
					samples[i] = sample{1, []string{p.ID, p.Type, p.Text, domain}}
				}
				return samples
			},
		},
		{
			name: "permission_created_timestamp_seconds", help: "Unix time at which the permission was created.",
			labels: []string{"permission_id"},
			perList: func(v *view) []sample {
				var samples []sample
				for _, p := range v.permissions {
					if p.ID != "" && p.CreatedAt.Set {
						samples = append(samples, sample{unix(p.CreatedAt.Value), []string{p.ID}})
					}
				}
				return samples
			},
		},
	}
}

func (m *metric) fullName() string { return namespace + "_" + m.name }

func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.fullName(), m.help, append(clusterLabels(), m.labels...), nil)
}

func perCluster(value func(*view) (float64, bool)) func(*view) []sample {
	return func(v *view) []sample {
		if v.shown == nil {
			return nil
		}
		if value, ok := value(v); ok {
			return []sample{{value: value}}
		}
		return nil
	}
}

func perConnection(value func(*css.Connection) (float64, bool)) func(*view) []sample {
	return func(v *view) []sample {
		samples := make([]sample, 0, len(v.connections))
		for _, c := range v.connections {
			if value, ok := value(c.Connection); ok {
				samples = append(samples, sample{value, []string{c.id}})
			}
		}
		return samples
	}
}

// clusterLabels are sorted.
func clusterLabels() []string { return []string{"cluster_id", "cluster_name", "project_id", "region"} }

// connectionLabel is the only other label of sessionMetrics.
const connectionLabel = "connection_id"

// infoLabels returns the other labels of cluster_info, without the configured ones.
func infoLabels() []string {
	return []string{"project", "engine", "engine_version", "enterprise_project_id", "vpc_id"}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix rounds to milliseconds.
func unix(t time.Time) float64 {
	return math.Round(float64(t.Unix())*1e3+float64(t.Nanosecond())/1e6) / 1e3
}

func labelValue(s string) string { return clean.Text(s, clean.MaxLength) }

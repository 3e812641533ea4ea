// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"
	"time"

	"css_vpcep_exporter/css"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// maxLabelValue is the length in bytes at which label values end.
const maxLabelValue = 1024

// metric is one of the metrics of clusters and connections, all of which are gauges. They are in the order of their
// names, in which they are written out.
type metric int

const (
	metricClusterInfo metric = iota
	metricCreated
	metricConnectionInfo
	metricMaxSessions
	metricConnectionStatus
	metricUpdated
	metricConnections
	metricLimited
	metricTruncated
	metricEnabled
	metricLastSuccess
	metricPermissions
	metricWildcard
	metricReported
	metricScrapeDuration
	metricServiceInfo
	metricUnlisted
	metricUp
	metricUpdateSwitch
	metricCount // how many there are
)

// description is what is said of a metric.
type description struct {
	name, help string
	labels     []string // beside those of the cluster
}

func descriptions() [metricCount]description {
	return [metricCount]description{
		metricClusterInfo: {"cluster_info",
			"What is known of the cluster; always 1.",
			[]string{"project", "engine", "engine_version", "enterprise_project_id", "vpc_id"}},
		metricCreated: {"connection_created_timestamp_seconds",
			"When the connection was created, as Unix time.", []string{"connection_id"}},
		metricConnectionInfo: {"connection_info",
			"What is known of the connection; always 1.",
			[]string{"connection_id", "domain_id", "specification_name", "ip", "ipv6", "dns_name"}},
		metricMaxSessions: {"connection_max_sessions",
			"Sessions that the connection allows at most (maxSession).", []string{"connection_id"}},
		metricConnectionStatus: {"connection_status",
			"The connection's present status; always 1.", []string{"connection_id", "status"}},
		metricUpdated: {"connection_updated_timestamp_seconds",
			"When the connection was last updated, as Unix time.", []string{"connection_id"}},
		metricConnections: {"connections",
			"Listed connections by status; unknown is any status that is not documented.", []string{"status"}},
		metricLimited: {"connections_limited",
			"Whether the series of single connections are left out because there are more than max_connections (1) or not (0).", nil},
		metricTruncated: {"connections_truncated",
			"Whether fewer connections were listed than the API reports (1) or not (0).", nil},
		metricEnabled: {"enabled",
			"Whether the cluster's VPC endpoint service is on (1) or off (0).", nil},
		metricLastSuccess: {"last_success_timestamp_seconds",
			"When the list that is shown was read, as Unix time.", nil},
		metricPermissions: {"permissions",
			"Entries of the whitelist of accounts that may connect.", nil},
		metricWildcard: {"permissions_wildcard",
			"Whether an entry of the whitelist lets every account in (1) or none does (0).", nil},
		metricReported: {"reported_connections",
			"VPC endpoints of the cluster as the API counts them (total_count).", nil},
		metricScrapeDuration: {"scrape_duration_seconds",
			"Time that this scrape spent on the cluster.", nil},
		metricServiceInfo: {"service_info",
			"The name of the cluster's VPC endpoint service; always 1.", []string{"service_name"}},
		metricUnlisted: {"unlisted_connections",
			"Accepted connections whose owner no entry of the whitelist names; absent where that cannot be judged.", nil},
		metricUp: {"up",
			"Whether this scrape got the cluster's full answer from the API (1), or one younger than min_interval, or not (0).", nil},
		metricUpdateSwitch: {"update_switch",
			"The API's vpcepUpdateSwitch as it is (true: 1, false: 0); its meaning is not clear.", nil},
	}
}

func (d *description) fullName() string { return prometheus.BuildFQName(namespace, "", d.name) }

// descs are the descriptions as a registry wants them. Of cluster_info, further labels are configured.
func descs(configured []string) (descs [metricCount]*prometheus.Desc) {
	for metric, d := range descriptions() {
		labels := append(clusterLabels(), d.labels...)
		if metric == int(metricClusterInfo) {
			labels = append(labels, configured...)
		}
		descs[metric] = prometheus.NewDesc(d.fullName(), d.help, labels, nil)
	}
	return descs
}

// clusterLabels are the labels that every series has, sorted.
func clusterLabels() []string { return []string{"cluster_id", "cluster_name", "project_id", "region"} }

// identity is the values of the clusterLabels.
type identity [4]string

func identityOf(t *Target) identity {
	return identity{labelValue(t.Cluster.ID), labelValue(t.Cluster.Name), labelValue(t.ProjectID), labelValue(t.Region)}
}

// cluster is what tells clusters apart, whatever they are called.
func (i identity) cluster() [3]string { return [3]string{i[0], i[2], i[3]} }

// addCluster adds the series of a cluster. A value that the API did not send has none.
func (s *samples) addCluster(o *Outcome, info *infoLabels, options Options) {
	id := identityOf(&o.Target)
	cluster := s.row(clusterLabels(), id[:])
	s.add(metricUp, boolean(o.Err == nil), cluster)
	s.add(metricScrapeDuration, o.Duration.Seconds(), cluster)
	s.add(metricClusterInfo, 1, s.row(info.names, info.of(&o.Target)))
	if o.List == nil {
		return
	}
	s.add(metricLastSuccess, unix(o.ReadAt), cluster)
	s.addList(o.List, cluster, options)
}

// addList adds the series of a list.
func (s *samples) addList(list *css.ConnectionList, cluster []*dto.LabelPair, options Options) {
	s.add(metricEnabled, boolean(list.Enabled), cluster)
	if !list.Enabled {
		return
	}
	if list.Reported.Set {
		s.add(metricReported, list.Reported.Value, cluster)
	}
	byStatus := CountByStatus(list.Connections)
	status := column{name: "status"}
	for _, each := range css.Statuses() {
		s.add(metricConnections, float64(byStatus[each]), s.with(cluster, status.pair(s, (*string)(&each))))
	}
	s.add(metricTruncated, boolean(list.Truncated()), cluster)
	if list.UpdateSwitch.Set {
		s.add(metricUpdateSwitch, boolean(list.UpdateSwitch.Value), cluster)
	}
	if list.ServiceName != "" {
		s.add(metricServiceInfo, 1, s.with(cluster, s.pair(new("service_name"), fit(&list.ServiceName))))
	}
	if list.Permissions.Set {
		s.add(metricPermissions, float64(len(list.Permissions.Value)), cluster)
		s.add(metricWildcard, boolean(wildcard(list.Permissions.Value)), cluster)
	}
	if count, ok := Unlisted(list); ok {
		s.add(metricUnlisted, float64(count), cluster)
	}

	tooMany := options.Connections && len(list.Connections) > options.MaxConnections
	s.add(metricLimited, boolean(tooMany), cluster)
	if options.Connections && !tooMany {
		s.addConnections(list.Connections, cluster)
	}
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

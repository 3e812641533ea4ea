// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"
	"time"

	"css_vpcep_exporter/css"

	"github.com/prometheus/client_golang/prometheus"
)

// maxLabelValue is the length in bytes at which label values end.
const maxLabelValue = 1024

// gauge is a metric's description, with what makes its series.
type gauge struct{ desc *prometheus.Desc }

func newGauge(name, help string, labels ...string) gauge {
	return gauge{prometheus.NewDesc(
		prometheus.BuildFQName(namespace, "", name), help,
		append([]string{"region", "project_id", "cluster_id", "cluster_name"}, labels...), nil)}
}

// series makes one series; a value that no metric can be made of shows as an error of the whole scrape.
func (g gauge) series(value float64, cluster [4]string, labels ...string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(g.desc, prometheus.GaugeValue, value, append(cluster[:], labels...)...)
	if err != nil {
		return prometheus.NewInvalidMetric(g.desc, err)
	}
	return m
}

// descs are all metrics of clusters and connections.
type descs struct {
	infoLabels []string // the names of the configured labels, as they stand in clusterInfo

	up, scrapeDuration, lastSuccess, clusterInfo        gauge
	enabled, reported, connections, truncated           gauge
	updateSwitch, serviceInfo                           gauge
	permissions, permissionsWildcard, unlisted, limited gauge
	connectionInfo, connectionStatus, maxSessions       gauge
	created, updated                                    gauge
}

func newDescs(infoLabels []string) descs {
	info := append([]string{"project", "engine", "engine_version", "enterprise_project_id", "vpc_id"}, infoLabels...)
	return descs{
		infoLabels: infoLabels,

		up: newGauge("up",
			"Whether this scrape got the cluster's full answer from the API (1), or one younger than min_interval, or not (0)."),
		scrapeDuration: newGauge("scrape_duration_seconds",
			"Time that this scrape spent on the cluster."),
		lastSuccess: newGauge("last_success_timestamp_seconds",
			"When the list that is shown was read, as Unix time."),
		clusterInfo: newGauge("cluster_info",
			"What is known of the cluster; always 1.", info...),
		enabled: newGauge("enabled",
			"Whether the cluster's VPC endpoint service is on (1) or off (0)."),
		reported: newGauge("reported_connections",
			"VPC endpoints of the cluster as the API counts them (total_count)."),
		connections: newGauge("connections",
			"Listed connections by status; unknown is any status that is not documented.", "status"),
		truncated: newGauge("connections_truncated",
			"Whether fewer connections were listed than the API reports (1) or not (0)."),
		updateSwitch: newGauge("update_switch",
			"The API's vpcepUpdateSwitch as it is (true: 1, false: 0); its meaning is not clear."),
		serviceInfo: newGauge("service_info",
			"The name of the cluster's VPC endpoint service; always 1.", "service_name"),
		permissions: newGauge("permissions",
			"Entries of the whitelist of accounts that may connect."),
		permissionsWildcard: newGauge("permissions_wildcard",
			"Whether an entry of the whitelist lets every account in (1) or none does (0)."),
		unlisted: newGauge("unlisted_connections",
			"Accepted connections whose owner no entry of the whitelist names; absent where that cannot be judged."),
		limited: newGauge("connections_limited",
			"Whether the series of single connections are left out because there are more than max_connections (1) or not (0)."),
		connectionInfo: newGauge("connection_info",
			"What is known of the connection; always 1.",
			"connection_id", "domain_id", "specification_name", "ip", "ipv6", "dns_name"),
		connectionStatus: newGauge("connection_status",
			"The connection's present status; always 1.", "connection_id", "status"),
		maxSessions: newGauge("connection_max_sessions",
			"Sessions that the connection allows at most (maxSession).", "connection_id"),
		created: newGauge("connection_created_timestamp_seconds",
			"When the connection was created, as Unix time.", "connection_id"),
		updated: newGauge("connection_updated_timestamp_seconds",
			"When the connection was last updated, as Unix time.", "connection_id"),
	}
}

func (d *descs) all() []gauge {
	return []gauge{
		d.up, d.scrapeDuration, d.lastSuccess, d.clusterInfo, d.enabled, d.reported, d.connections, d.truncated,
		d.updateSwitch, d.serviceInfo, d.permissions, d.permissionsWildcard, d.unlisted, d.limited, d.connectionInfo,
		d.connectionStatus, d.maxSessions, d.created, d.updated,
	}
}

// clusterLabels are the values of the labels that every series has.
func clusterLabels(t *Target) [4]string {
	return [4]string{
		labelValue(t.Region), labelValue(t.ProjectID), labelValue(t.Cluster.ID), labelValue(t.Cluster.Name),
	}
}

// emit sends the series of one cluster. A value that the API did not send has none.
func (d *descs) emit(o *Outcome, options Options, send func(prometheus.Metric)) {
	cluster := clusterLabels(&o.Target)
	send(d.up.series(boolean(o.Err == nil), cluster))
	send(d.scrapeDuration.series(o.Duration.Seconds(), cluster))
	send(d.clusterInfo.series(1, cluster, d.info(&o.Target)...))

	list := o.List
	if list == nil {
		return
	}
	send(d.lastSuccess.series(unix(o.ReadAt), cluster))
	send(d.enabled.series(boolean(list.Enabled), cluster))
	if !list.Enabled {
		return
	}
	if list.Reported.Set {
		send(d.reported.series(list.Reported.Value, cluster))
	}
	byStatus := CountByStatus(list.Connections)
	for _, status := range css.Statuses() {
		send(d.connections.series(float64(byStatus[status]), cluster, string(status)))
	}
	send(d.truncated.series(boolean(list.Truncated()), cluster))
	if list.UpdateSwitch.Set {
		send(d.updateSwitch.series(boolean(list.UpdateSwitch.Value), cluster))
	}
	if list.ServiceName != "" {
		send(d.serviceInfo.series(1, cluster, labelValue(list.ServiceName)))
	}
	if list.Permissions.Set {
		send(d.permissions.series(float64(len(list.Permissions.Value)), cluster))
		send(d.permissionsWildcard.series(boolean(wildcard(list.Permissions.Value)), cluster))
	}
	if count, ok := Unlisted(list); ok {
		send(d.unlisted.series(float64(count), cluster))
	}

	tooMany := options.Connections && len(list.Connections) > options.MaxConnections
	send(d.limited.series(boolean(tooMany), cluster))
	if options.Connections && !tooMany {
		d.emitConnections(list.Connections, cluster, send)
	}
}

// emitConnections sends the series of each connection that has an id.
func (d *descs) emitConnections(connections []css.Connection, cluster [4]string, send func(prometheus.Metric)) {
	shown := make(map[string]struct{}, len(connections))
	for i := range connections {
		c := &connections[i]
		id := labelValue(c.ID)
		if _, twice := shown[id]; twice || id == "" { // ids may differ only beyond the end of a label's value
			continue
		}
		shown[id] = struct{}{}
		send(d.connectionInfo.series(1, cluster, id, labelValue(c.DomainID), labelValue(c.SpecificationName),
			labelValue(c.IP), labelValue(c.IPv6), labelValue(c.DNSName)))
		if c.Status != "" {
			send(d.connectionStatus.series(1, cluster, id, string(c.Status)))
		}
		if c.MaxSessions.Set {
			send(d.maxSessions.series(c.MaxSessions.Value, cluster, id))
		}
		if c.CreatedAt.Set {
			send(d.created.series(unix(c.CreatedAt.Value), cluster, id))
		}
		if c.UpdatedAt.Set {
			send(d.updated.series(unix(c.UpdatedAt.Value), cluster, id))
		}
	}
}

func (d *descs) info(t *Target) []string {
	values := []string{
		labelValue(t.Project), labelValue(t.Cluster.Engine), labelValue(t.Cluster.EngineVersion),
		labelValue(t.Cluster.EnterpriseProjectID), labelValue(t.Cluster.VPCID),
	}
	for _, name := range d.infoLabels {
		values = append(values, labelValue(t.Labels[name]))
	}
	return values
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

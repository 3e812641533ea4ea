// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"slices"

	"css_vpcep_exporter/css"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// samples are the series of one scrape, in the form in which they are written out: making prometheus.Metrics of lists, and
// having a registry turn them into this form, costs several times as much as all the rest.
//
// The labels of each series are sorted. What series point to may be part of a list, and of other series.
type samples struct {
	byMetric [metricCount][]*dto.Metric

	gauges slab[gauge]
	pairs  slab[dto.LabelPair]
	labels slab[*dto.LabelPair]
	shown  map[string]struct{} // connections of one cluster
}

// gauge is a series with what its protobuf message points to.
type gauge struct {
	metric dto.Metric
	gauge  dto.Gauge
	value  float64
}

// add adds a series whose labels are sorted.
func (s *samples) add(m metric, value float64, labels []*dto.LabelPair) {
	g := s.gauges.next()
	g.value = value
	g.gauge.Value = &g.value
	g.metric.Gauge, g.metric.Label = &g.gauge, labels
	s.byMetric[m] = append(s.byMetric[m], &g.metric)
}

// pair makes a label of a name and a value that do not change any more.
func (s *samples) pair(name, value *string) *dto.LabelPair {
	p := s.pairs.next()
	p.Name, p.Value = name, value
	return p
}

// row makes labels of names, which must be sorted, and their values.
func (s *samples) row(names, values []string) []*dto.LabelPair {
	labels := s.labels.take(len(names))
	for i := range names {
		labels[i] = s.pair(&names[i], &values[i])
	}
	return labels
}

// with makes a cluster's labels and a further one, whose name must come after theirs.
func (s *samples) with(cluster []*dto.LabelPair, further *dto.LabelPair) []*dto.LabelPair {
	labels := s.labels.take(len(cluster) + 1)
	labels[copy(labels, cluster)] = further
	return labels
}

func newSamples() *samples { return &samples{shown: make(map[string]struct{})} }

// families are the samples by family, in the order of their names.
func (s *samples) families() []*dto.MetricFamily {
	families := make([]*dto.MetricFamily, 0, metricCount)
	for metric, d := range descriptions() {
		if series := s.byMetric[metric]; len(series) > 0 {
			families = append(families, &dto.MetricFamily{
				Name: new(d.fullName()), Help: new(d.help), Type: dto.MetricType_GAUGE.Enum(), Metric: series,
			})
		}
	}
	return families
}

// collect sends the samples as a registry wants them. Of cluster_info, further labels are configured.
func (s *samples) collect(configured []string, ch chan<- prometheus.Metric) {
	descs := descs(configured)
	for metric, series := range s.byMetric {
		for _, message := range series {
			ch <- constMetric{descs[metric], message}
		}
	}
}

// constMetric is a series as a registry wants it.
type constMetric struct {
	desc    *prometheus.Desc
	message *dto.Metric
}

// Desc implements prometheus.Metric.
func (m constMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m constMetric) Write(to *dto.Metric) error {
	to.Label, to.Gauge = m.message.Label, m.message.Gauge
	return nil
}

// infoLabels are the labels of cluster_info, with the configured ones among them.
type infoLabels struct {
	names  []string // sorted
	values []func(*Target) string
}

func newInfoLabels(configured []string) infoLabels {
	known := map[string]func(*Target) string{
		"cluster_id":            func(t *Target) string { return t.Cluster.ID },
		"cluster_name":          func(t *Target) string { return t.Cluster.Name },
		"engine":                func(t *Target) string { return t.Cluster.Engine },
		"engine_version":        func(t *Target) string { return t.Cluster.EngineVersion },
		"enterprise_project_id": func(t *Target) string { return t.Cluster.EnterpriseProjectID },
		"project":               func(t *Target) string { return t.Project },
		"project_id":            func(t *Target) string { return t.ProjectID },
		"region":                func(t *Target) string { return t.Region },
		"vpc_id":                func(t *Target) string { return t.Cluster.VPCID },
	}
	for _, name := range configured {
		known[name] = func(t *Target) string { return t.Labels[name] }
	}
	var l infoLabels
	for _, name := range slices.Sorted(maps.Keys(known)) {
		l.names = append(l.names, name)
		l.values = append(l.values, known[name])
	}
	return l
}

// of gives the labels' values.
func (l *infoLabels) of(t *Target) []string {
	values := make([]string, len(l.values))
	for i, value := range l.values {
		values[i] = labelValue(value(t))
	}
	return values
}

// addConnections adds the series of each connection that has an id.
func (s *samples) addConnections(connections []css.Connection, cluster []*dto.LabelPair) {
	var (
		dnsNames       = column{name: "dns_name"}
		domains        = column{name: "domain_id"}
		ids            = column{name: "connection_id"}
		ips            = column{name: "ip"}
		ipv6s          = column{name: "ipv6"}
		specifications = column{name: "specification_name"}
		statuses       = column{name: "status"}
	)
	clusterID, clusterName, projectID, region := cluster[0], cluster[1], cluster[2], cluster[3]
	clear(s.shown)
	for i := range connections {
		c := &connections[i]
		id := fit(&c.ID)
		if _, twice := s.shown[*id]; twice || *id == "" { // ids may differ only beyond the end of a label's value
			continue
		}
		s.shown[*id] = struct{}{}
		connection := ids.pair(s, id)
		plain := s.labels.list(clusterID, clusterName, connection, projectID, region)

		s.add(metricConnectionInfo, 1, s.labels.list(clusterID, clusterName, connection,
			dnsNames.pair(s, fit(&c.DNSName)), domains.pair(s, fit(&c.DomainID)),
			ips.pair(s, fit(&c.IP)), ipv6s.pair(s, fit(&c.IPv6)),
			projectID, region, specifications.pair(s, fit(&c.SpecificationName))))
		if c.Status != "" {
			status := statuses.pair(s, (*string)(&c.Status))
			s.add(metricConnectionStatus, 1, s.labels.list(clusterID, clusterName, connection, projectID, region, status))
		}
		if c.MaxSessions.Set {
			s.add(metricMaxSessions, c.MaxSessions.Value, plain)
		}
		if c.CreatedAt.Set {
			s.add(metricCreated, unix(c.CreatedAt.Value), plain)
		}
		if c.UpdatedAt.Set {
			s.add(metricUpdated, unix(c.UpdatedAt.Value), plain)
		}
	}
}

// column is a label of many series. Where one has the same value as the one before, they share the pair.
type column struct {
	name string
	last *dto.LabelPair
}

func (c *column) pair(s *samples, value *string) *dto.LabelPair {
	if c.last == nil || *c.last.Value != *value {
		c.last = s.pair(&c.name, value)
	}
	return c.last
}

// fit gives s itself if it is fit for a label, as texts of the API are.
func fit(s *string) *string {
	if labelValue(*s) == *s {
		return s
	}
	return new(labelValue(*s))
}

// slab hands out values of T, which are allocated many at a time.
type slab[T any] struct {
	free []T
	size int // of the last allocation
}

func (s *slab[T]) take(n int) []T {
	if len(s.free) < n {
		s.size = max(min(2*s.size, 64), 16, n)
		s.free = make([]T, s.size)
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// next hands out one.
func (s *slab[T]) next() *T { return &s.take(1)[0] }

// list hands out a copy of values.
func (s *slab[T]) list(values ...T) []T {
	list := s.take(len(values))
	copy(list, values)
	return list
}

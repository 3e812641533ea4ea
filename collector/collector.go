// SPDX-License-Identifier: Apache-2.0

// Package collector reads the connection lists of clusters and turns them into metrics.
package collector

import (
	"context"
	"iter"
	"slices"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/sessions"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const namespace = "css_vpcep"

// Options configure the metrics of each connection and each permission.
type Options struct {
	Connections    bool
	Permissions    bool
	MaxConnections int // a cluster with more connections, or permissions, has none of those
}

// Limits reports whether series of a list are omitted because of MaxConnections.
func (o Options) Limits(list *css.ConnectionList) bool {
	return o.Connections && len(list.Connections) > o.MaxConnections ||
		o.Permissions && len(list.Permissions.Value) > o.MaxConnections
}

// Collector is the prometheus.Collector of one scrape.
type Collector struct {
	outcomes iter.Seq[Outcome]
	series   *Series
	labels   []string
	options  Options

	Each  func(*Outcome) // called with each outcome; may be nil
	Ready func()         // called once all targets are read, before the metrics are made; may be nil
}

// New returns a Collector. labels are the names of the targets' labels in cluster_info.
func New(
	ctx context.Context, scraper *Scraper, series *Series, targets []Target, labels []string, options Options,
) *Collector {
	return &Collector{outcomes: scraper.Scrape(ctx, targets), series: series, labels: labels, options: options}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	table := metrics(c.labels)
	for i := range table {
		ch <- table[i].desc()
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	table := metrics(c.labels)
	for i, series := range c.scrape(table) {
		desc := table[i].desc()
		for _, m := range series {
			ch <- constMetric{desc, m}
		}
	}
}

// Families scrapes and returns what a registry would gather. It must not be modified.
func (c *Collector) Families() []*dto.MetricFamily {
	table := metrics(c.labels)
	var families []*dto.MetricFamily
	for i, series := range c.scrape(table) {
		if len(series) > 0 {
			families = append(families, &dto.MetricFamily{
				Name: new(table[i].fullName()), Help: new(table[i].help), Type: dto.MetricType_GAUGE.Enum(), Metric: series,
			})
		}
	}
	return families
}

// scrape returns the metrics by table row, in registry order.
func (c *Collector) scrape(table []metric) [][]*dto.Metric {
	type cluster struct {
		labels [4]string
		rows   [][]*dto.Metric
	}
	var clusters []cluster
	shown := make(map[[3]string]bool)
	outcomes := c.outcomes
	if c.Ready != nil {
		outcomes = slices.Values(slices.Collect(outcomes))
		c.Ready()
	}
	for o := range outcomes {
		if c.Each != nil {
			c.Each(&o)
		}
		// Two configured projects may have the same ID and clusters.
		src := newSource(&o, c.labels, c.options)
		if !shown[src.id()] {
			shown[src.id()] = true
			var values *sessions.Values
			if o.Target.Sessions != nil {
				values = o.Target.Sessions.Values()
			}
			cached, rows := c.series.get(keyOf(o.Target), &src, values, table)
			cached.addScrape(rows, &o, table)
			clusters = append(clusters, cluster{src.cluster, rows})
		}
	}
	slices.SortFunc(clusters, func(a, b cluster) int { return slices.Compare(a.labels[:], b.labels[:]) })
	sameID := func(a, b cluster) bool { return a.labels[0] == b.labels[0] }
	repeatedIDs := len(slices.CompactFunc(slices.Clone(clusters), sameID)) < len(clusters)
	rows := make([][]*dto.Metric, len(table))
	for i := range rows {
		parts := make([][]*dto.Metric, len(clusters))
		for j := range clusters {
			parts[j] = clusters[j].rows[i]
		}
		rows[i] = slices.Concat(parts...)
		if repeatedIDs || table[i].positions[0] > 0 { // others are sorted
			slices.SortFunc(rows[i], compareLabels)
		}
	}
	return rows
}

type constMetric struct {
	desc   *prometheus.Desc
	metric *dto.Metric
}

func (m constMetric) Desc() *prometheus.Desc { return m.desc }

func (m constMetric) Write(to *dto.Metric) error {
	to.Label, to.Gauge = m.metric.Label, m.metric.Gauge
	return nil
}

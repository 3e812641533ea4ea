// SPDX-License-Identifier: Apache-2.0

// Package collector turns the connection lists of clusters into metrics.
//
// Scraper reads the lists, Collector makes the metrics of one request, and Series caches them until a list changes. The
// table in metrics.go defines the metrics.
package collector

import (
	"context"
	"iter"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const namespace = "css_vpcep"

// Options select the per-connection metrics.
type Options struct {
	Connections    bool // whether there are any
	MaxConnections int  // above this number a cluster has none
}

// Collector scrapes targets when it is collected. It serves one request.
type Collector struct {
	outcomes iter.Seq[Outcome]
	series   *Series
	labels   []string
	options  Options

	// Each, if not nil, is called with each outcome as soon as it is known.
	Each func(*Outcome)
}

// New returns the Collector of one request, whose scrape ends with ctx. The targets' labels of these names are added to
// cluster_info.
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

// Families scrapes the targets and returns the families that a registry would gather. The caller must not change them.
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

// scrape scrapes the targets and returns the metrics of each table row, distinct and ordered as in a registry.
func (c *Collector) scrape(table []metric) [][]*dto.Metric {
	type cluster struct {
		labels [4]string
		rows   [][]*dto.Metric
	}
	var clusters []cluster
	shown := make(map[[3]string]bool)
	for o := range c.outcomes {
		if c.Each != nil {
			c.Each(&o)
		}
		// Two configured projects may have the same project ID, and so the same clusters.
		src := newSource(&o, c.labels, c.options)
		if !shown[src.id()] {
			shown[src.id()] = true
			clusters = append(clusters, cluster{src.cluster, c.series.of(keyOf(o.Target), &src, table).scraped(&o, table)})
		}
	}
	slices.SortFunc(clusters, func(a, b cluster) int { return slices.Compare(a.labels[:], b.labels[:]) })
	sameID := len(slices.CompactFunc(slices.Clone(clusters), func(a, b cluster) bool { return a.labels[0] == b.labels[0] })) < len(clusters)
	rows := make([][]*dto.Metric, len(table))
	for i := range rows {
		parts := make([][]*dto.Metric, len(clusters))
		for j := range clusters {
			parts[j] = clusters[j].rows[i]
		}
		rows[i] = slices.Concat(parts...)
		if sameID || table[i].places[0] > 0 { // otherwise they are sorted by cluster_id already
			slices.SortFunc(rows[i], compareLabels)
		}
	}
	return rows
}

type constMetric struct {
	desc   *prometheus.Desc
	metric *dto.Metric
}

// Desc implements prometheus.Metric.
func (m constMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m constMetric) Write(to *dto.Metric) error {
	to.Label, to.Gauge = m.metric.Label, m.metric.Gauge
	return nil
}

// SPDX-License-Identifier: Apache-2.0

// Package collector turns clusters' connection lists into metrics.
//
// Scraper reads the lists, through the Reader of each Target; it is the only part that waits. Collector is the
// prometheus.Collector of one request. Which series a list has is decided by a function of values alone (metrics.go), and
// how a series is made by samples.go. The package touches neither the network nor the configuration.
package collector

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const namespace = "css_vpcep"

// Options say what is shown of a list.
type Options struct {
	// Connections turns the series of each connection on.
	Connections bool
	// MaxConnections is how many connections of a cluster are shown one by one; of a cluster with more, none is.
	MaxConnections int
}

// Collector scrapes targets when it is collected, or gathered. It is made for one request and lives as long as that.
//
// As a prometheus.Gatherer it gives what a registry would make of it as a prometheus.Collector, many times as fast: each
// series is there once and as it should be, and no registry has to find that out.
type Collector struct {
	ctx     context.Context //nolint:containedctx // prometheus.Collector takes none, and a Collector serves one request
	scraper *Scraper
	targets []Target
	labels  []string
	options Options

	// Each, if not nil, is called with what the scrape got of each target, as soon as that is known.
	Each func(*Outcome)
}

// New makes the Collector of one request, which ends with ctx. Of the targets' labels, those named by labels are labels
// of cluster_info.
func New(ctx context.Context, scraper *Scraper, targets []Target, labels []string, options Options) *Collector {
	return &Collector{ctx: ctx, scraper: scraper, targets: targets, labels: labels, options: options}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range descs(c.labels) {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.scrape().collect(c.labels, ch)
}

// Gather implements prometheus.Gatherer. There is never an error: a cluster that cannot be read is a sample.
func (c *Collector) Gather() ([]*dto.MetricFamily, error) {
	return c.scrape().families(), nil
}

// scrape reads the targets, and makes the series of each while others are still being read.
func (c *Collector) scrape() *samples {
	all := newSamples()
	info := newInfoLabels(c.labels)
	shown := make(map[[3]string]bool, len(c.targets))
	for o := range c.scraper.Scrape(c.ctx, c.targets) {
		if c.Each != nil {
			c.Each(&o)
		}
		// Two projects of the file may turn out to be one, and two clusters to be the same, whatever the file calls them.
		if cluster := identityOf(&o.Target).cluster(); !shown[cluster] {
			shown[cluster] = true
			all.addCluster(&o, &info, c.options)
		}
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

// Package collector turns clusters' connection lists into metrics.
//
// Scraper reads the lists, through the Reader of each Target; it is the only part that waits. Collector is the
// prometheus.Collector of one request. Which series a list has is decided by functions of values alone (metrics.go), and
// family.go writes them out. The package touches neither the network nor the configuration.
package collector

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "css_vpcep"

// Options say what is shown of a list.
type Options struct {
	// Connections turns the series of each connection on.
	Connections bool
	// MaxConnections is how many connections of a cluster are shown one by one; of a cluster with more, none is.
	MaxConnections int
}

// Collector scrapes targets when it is collected. It is made for one request and lives as long as that.
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
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { describe(ch, c.labels) }

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { collect(ch, c.Families()) }

// Families scrapes the targets, and gives what a registry would make of the Collector: each series is there once and as it
// should be, so that no registry has to find that out.
func (c *Collector) Families() []Family {
	views := make([]view, 0, len(c.targets))
	shown := make(map[[3]string]bool, len(c.targets))
	for o := range c.scraper.Scrape(c.ctx, c.targets) {
		if c.Each != nil {
			c.Each(&o)
		}
		// Two projects of the file may turn out to be one, and two clusters to be the same, whatever the file calls them.
		v := newView(&o, c.labels, c.options)
		if !shown[v.id()] {
			shown[v.id()] = true
			views = append(views, v)
		}
	}
	return families(views, c.labels)
}

func describe(ch chan<- *prometheus.Desc, configured []string) {
	for _, m := range metrics(configured) {
		ch <- m.desc()
	}
}

func collect(ch chan<- prometheus.Metric, families []Family) {
	for i := range families {
		f := &families[i]
		desc := f.metric.desc()
		if message := f.Message(); message != nil {
			for _, series := range message.GetMetric() {
				ch <- constMetric{desc, series}
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package collector turns clusters' connection lists into metrics.
//
// Scraper reads the lists, through the Reader of each Target; it is the only part that waits. Collector is the
// prometheus.Collector of one request. What becomes of a list is decided by a function of values alone (metrics.go).
// The package touches neither the network nor the configuration.
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
	descs   descs
	options Options

	// Outcomes, if not nil, is called with what the scrape got.
	Outcomes func([]Outcome)
}

// New makes the Collector of one request, which ends with ctx. Of the targets' labels, those named by labels are labels
// of cluster_info.
func New(ctx context.Context, scraper *Scraper, targets []Target, labels []string, options Options) *Collector {
	return &Collector{ctx: ctx, scraper: scraper, targets: targets, options: options, descs: newDescs(labels)}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs.all() {
		ch <- d.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	outcomes := c.scraper.Scrape(c.ctx, c.targets)
	if c.Outcomes != nil {
		c.Outcomes(outcomes)
	}
	shown := make(map[[3]string]bool, len(outcomes))
	for i := range outcomes {
		// Two projects of the file may turn out to be one, and two clusters to be the same, whatever the file calls them.
		labels := clusterLabels(&outcomes[i].Target)
		cluster := [3]string(labels[:3])
		if shown[cluster] {
			continue
		}
		shown[cluster] = true
		c.descs.emit(&outcomes[i], c.options, func(m prometheus.Metric) { ch <- m })
	}
}

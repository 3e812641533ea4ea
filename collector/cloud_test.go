// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/prometheus/client_golang/prometheus"
)

type fault = simulator.Fault

// testCloud is a simulated cloud and a client of it.
type testCloud struct {
	*simtest.Cloud
	client *css.Client
}

// newCloud returns a cloud with clusters of these IDs, each with one connection.
func newCloud(ids ...string) *testCloud {
	cloud := simtest.NewUnserved(simulator.Options{})
	for _, id := range ids {
		cloud.Add(id, withConnections(1))
	}
	return &testCloud{cloud, csstest.InMemory(cloud)}
}

// withConnections gives a cluster accepted connections and an update switch.
func withConnections(n int) func(*simulator.Cluster) {
	return func(c *simulator.Cluster) {
		c.UpdateSwitch = "false"
		for i := range n {
			c.Connections = append(c.Connections, simulator.Connection{
				ID: fmt.Sprintf("connection-%04d", i), Status: "accepted", MaxSession: simulator.Text("3000"),
				Specification: "default", IP: "192.168.0.1", DomainID: "a1",
				CreatedAt: simulator.Text("2024-06-11T09:36:24Z"),
			})
		}
	}
}

func (c *testCloud) target(id string) Target {
	return Target{
		Key: "production", Project: "production", Region: simtest.Region, ProjectID: simtest.ProjectID, Reader: c.client,
		Cluster: css.Cluster{ID: id, Name: "name of " + id},
	}
}

func (c *testCloud) targets(ids ...string) []Target {
	targets := make([]Target, len(ids))
	for i, id := range ids {
		targets[i] = c.target(id)
	}
	return targets
}

// numberedIDs returns n IDs.
func numberedIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("c", i)
	}
	return ids
}

func newScraper(options ScrapeOptions) *Scraper {
	return NewScraper(options, NewExporterMetrics(prometheus.NewRegistry()), discardLogger())
}

// scrapeAll returns the outcomes of a scrape.
func scrapeAll(ctx context.Context, scraper *Scraper, targets []Target) []Outcome {
	return slices.Collect(scraper.Scrape(ctx, targets))
}

func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

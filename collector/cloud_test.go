// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"css_vpcep_exporter/css"
	"css_vpcep_exporter/simulator"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

type fault = simulator.Fault

// cloud is a simulated one with one project, and the real client that reads it.
type cloud struct {
	*simulator.Simulator
	url       string
	client    *css.Client
	transport http.RoundTripper
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	sim := simulator.New(simulator.Options{})
	sim.AddProject(simulator.Project{
		Name: "production", Region: "cn-north-4", ID: "p1", Keys: []simulator.Key{{Access: "AK", Secret: "SK"}},
	})
	url := sim.Serve(t)
	transport := css.NewTransport(nil, nil)
	t.Cleanup(transport.CloseIdleConnections)
	c := &cloud{Simulator: sim, url: url, transport: transport}
	c.limit(nil)
	return c
}

// limit makes a client whose requests have a budget.
func (c *cloud) limit(budget *rate.Limiter) {
	c.client = css.NewClient(css.Options{
		Region: "cn-north-4", ProjectID: "p1", Endpoint: c.url, UserAgent: "test/1",
		Credentials: css.NewStatic(css.Credentials{AccessKey: "AK", SecretKey: "SK"}), Keys: css.NewKeys(), Transport: c.transport,
		Budget: budget, Retry: css.Retry{Tries: 1},
	})
}

// simulated is a cluster with that many accepted connections.
func simulated(connections int) simulator.Cluster {
	c := simulator.Cluster{Status: "200", Engine: "elasticsearch", Version: "7.10.2", UpdateSwitch: "false"}
	for i := range connections {
		c.Connections = append(c.Connections, simulator.Connection{
			ID: fmt.Sprintf("connection-%04d", i), Status: "accepted", MaxSession: simulator.Text("3000"),
			Specification: "default", IP: "192.168.0.1", DomainID: "a1", CreatedAt: simulator.Text("2024-06-11T09:36:24Z"),
		})
	}
	return c
}

func (c *cloud) add(id string, cluster simulator.Cluster) {
	cluster.ID, cluster.Name = id, "name of "+id
	c.AddCluster("p1", cluster)
}

func (c *cloud) fault(id string, faults ...fault) {
	c.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, faults...)
}

func (c *cloud) calls(id string) int {
	return c.Count(simulator.Target{Endpoint: simulator.Connections, ID: id})
}

func (c *cloud) target(id string) Target {
	return Target{
		Project: "production", Region: "cn-north-4", ProjectID: "p1", Reader: c.client,
		Cluster: css.Cluster{ID: id, Name: "name of " + id},
	}
}

func (c *cloud) targets(ids ...string) []Target {
	targets := make([]Target, len(ids))
	for i, id := range ids {
		targets[i] = c.target(id)
	}
	return targets
}

func (c *cloud) scraper(options ScrapeOptions) *Scraper {
	return NewScraper(options, NewExporterMetrics(prometheus.NewRegistry()), discard())
}

// collected are all outcomes of a scrape.
func collected(outcomes iter.Seq[Outcome]) []Outcome { return slices.Collect(outcomes) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually polls for what another goroutine or the server does soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

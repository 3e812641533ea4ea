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

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

type fault = simulator.Fault

// testCloud is a simulated cloud with one project, and a real client for it.
type testCloud struct {
	*simulator.Simulator
	url       string
	client    *css.Client
	transport http.RoundTripper
}

func newCloud(t *testing.T) *testCloud {
	t.Helper()
	sim := simulator.New(simulator.Options{})
	sim.AddProject(simulator.Project{
		Name: "production", Region: "cn-north-4", ID: "p1", Keys: []simulator.Key{{Access: "AK", Secret: "SK"}},
	})
	url := sim.Serve(t)
	transport := css.NewTransport(nil, nil)
	t.Cleanup(transport.CloseIdleConnections)
	c := &testCloud{Simulator: sim, url: url, transport: transport}
	c.limit(nil)
	return c
}

// limit replaces the client by one with that request budget.
func (c *testCloud) limit(budget *rate.Limiter) {
	c.client = css.NewClient(css.Options{
		Region: "cn-north-4", ProjectID: "p1", Endpoint: c.url, UserAgent: "test/1",
		Credentials: css.NewFiles(css.Credentials{AccessKey: "AK", SecretKey: "SK"}, css.Credentials{}), Keys: css.NewKeys(),
		Transport: c.transport, Budget: budget, Retry: css.Retry{Tries: 1},
	})
}

// simulated returns a cluster with that many accepted connections.
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

func (c *testCloud) add(id string, cluster simulator.Cluster) {
	cluster.ID, cluster.Name = id, "name of "+id
	c.AddCluster("p1", cluster)
}

func (c *testCloud) fault(id string, faults ...fault) {
	c.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, faults...)
}

func (c *testCloud) calls(id string) int {
	return c.Count(simulator.Target{Endpoint: simulator.Connections, ID: id})
}

func (c *testCloud) target(id string) Target {
	return Target{
		Project: "production", Region: "cn-north-4", ProjectID: "p1", Reader: c.client,
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

func (c *testCloud) scraper(options ScrapeOptions) *Scraper {
	return NewScraper(options, NewExporterMetrics(prometheus.NewRegistry()), discard())
}

// collect returns the outcomes of a scrape.
func collect(outcomes iter.Seq[Outcome]) []Outcome { return slices.Collect(outcomes) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

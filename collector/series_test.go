// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// metricsByName returns the metrics by family name.
func metricsByName(c *Collector) map[string][]*dto.Metric {
	byName := make(map[string][]*dto.Metric)
	for _, family := range c.Families() {
		byName[family.GetName()] = family.GetMetric()
	}
	return byName
}

// TestSeriesCachesUntilChange checks that the metrics of a list are cached while it and the labels are unchanged, and
// that those of a scrape are not cached.
func TestSeriesCachesUntilChange(t *testing.T) {
	options := Options{Connections: true, MaxConnections: 10}
	outcome := newOutcomes(1, 3)[0]
	c := newCollector([]Outcome{outcome}, options)
	before := metricsByName(c)
	cached := func(o Outcome, configured []string, options Options) bool {
		t.Helper()
		after := metricsByName(&Collector{
			outcomes: slices.Values([]Outcome{o}), series: c.series, labels: configured, options: options,
		})
		if after["css_vpcep_up"][0] == before["css_vpcep_up"][0] {
			t.Error("css_vpcep_up is cached")
		}
		same := slices.Equal(after["css_vpcep_connection_info"], before["css_vpcep_connection_info"])
		if info := slices.Equal(after["css_vpcep_cluster_info"], before["css_vpcep_cluster_info"]); info != same {
			t.Errorf("connection_info is cached: %t; cluster_info is cached: %t", same, info)
		}
		return same
	}
	for name, change := range map[string]func(o *Outcome, configured *[]string, options *Options){
		"list":           func(o *Outcome, _ *[]string, _ *Options) { o.List = newList(3) },
		"name":           func(o *Outcome, _ *[]string, _ *Options) { o.Target.Cluster.Name = "renamed" },
		"engine version": func(o *Outcome, _ *[]string, _ *Options) { o.Target.Cluster.EngineVersion = "9" },
		"label's value":  func(o *Outcome, _ *[]string, _ *Options) { o.Target.Labels = map[string]string{"team": "x"} },
		"label's name": func(o *Outcome, configured *[]string, _ *Options) {
			*configured, o.Target.Labels = []string{"stage"}, map[string]string{"stage": o.Target.Labels["team"]}
		},
		"options": func(_ *Outcome, _ *[]string, options *Options) { options.MaxConnections = 11 },
	} {
		o, configured, changed := outcome, c.labels, options
		change(&o, &configured, &changed)
		if cached(o, configured, changed) {
			t.Errorf("another %s: got the cached metrics, want new ones", name)
		}
		if cached(outcome, c.labels, options) {
			t.Errorf("the old %s again: got the cached metrics, want new ones", name)
		}
		before = metricsByName(c)
	}
	later := outcome
	later.ReadAt, later.Duration, later.Err = readAt.Add(time.Hour), time.Second, &cloud.Error{}
	if !cached(later, c.labels, options) {
		t.Error("unchanged list: got new metrics, want the cached ones")
	}
	c.outcomes = slices.Values([]Outcome{later})
	text := encode(t, c.Families(), formats()["text"])
	if want := exposition(t, newCollector([]Outcome{later}, options)); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestSeriesRetainDropsOtherClusters(t *testing.T) {
	outcomes := newOutcomes(3, 1)
	c := newCollector(outcomes, Options{Connections: true, MaxConnections: 10})
	before := metricsByName(c)
	c.series.Retain([]Target{outcomes[1].Target})
	if len(c.series.clusters) != 1 {
		t.Errorf("got %d cached clusters, want 1", len(c.series.clusters))
	}
	after := metricsByName(c)
	for i := range outcomes {
		const name = "css_vpcep_connection_info"
		if cached := before[name][i] == after[name][i]; cached != (i == 1) {
			t.Errorf("cluster %d: got cached metrics: %t, want %t", i, cached, i == 1)
		}
	}
}

// TestSeriesServesConcurrentScrapes encodes the families of concurrent scrapes in all formats while lists change and
// clusters are removed. It is meant for the race detector.
func TestSeriesServesConcurrentScrapes(t *testing.T) {
	options := Options{Connections: true, MaxConnections: 100}
	lists := []*css.ConnectionList{newList(20), newList(30)}
	series := NewSeries()
	var wg sync.WaitGroup
	for name, format := range formats() {
		for scraper := range 2 {
			wg.Go(func() {
				for round := range 30 {
					outcomes, want := newOutcomes(3, 0), 0
					for i := range outcomes {
						outcomes[i].List = lists[(round+i+scraper)%2]
						want += len(outcomes[i].List.Connections)
					}
					c := &Collector{outcomes: slices.Values(outcomes), series: series, options: options}
					encoder := expfmt.NewEncoder(io.Discard, format)
					for _, family := range c.Families() {
						if err := encoder.Encode(family); err != nil {
							t.Error(name, err)
						}
						if got := len(family.GetMetric()); family.GetName() == "css_vpcep_connection_info" && got != want {
							t.Errorf("%s: got %d connections, want %d", name, got, want)
						}
					}
					series.Retain([]Target{outcomes[round%3].Target})
				}
			})
		}
	}
	wg.Wait()
}

// TestSeriesFollowsFailures checks a cluster that fails, with and without its last list, and recovers.
func TestSeriesFollowsFailures(t *testing.T) {
	options := Options{Connections: true, MaxConnections: 10}
	read := newOutcomes(1, 3)[0]
	failed, stale := read, read
	failed.List, failed.Err = nil, &cloud.Error{}
	stale.Err = &cloud.Error{}
	series := NewSeries()
	for i, step := range []struct {
		outcome     Outcome
		connections int
		up          float64
	}{{read, 3, 1}, {stale, 3, 0}, {failed, 0, 0}, {stale, 3, 0}, {read, 3, 1}} {
		outcomes := slices.Values([]Outcome{step.outcome})
		byName := metricsByName(&Collector{outcomes: outcomes, series: series, options: options})
		got := fmt.Sprint(len(byName["css_vpcep_connection_info"]), byName["css_vpcep_up"][0].GetGauge().GetValue())
		if want := fmt.Sprint(step.connections, step.up); got != want {
			t.Errorf("step %d: got connections and up %s, want %s", i, got, want)
		}
	}
}

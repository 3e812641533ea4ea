// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/css"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// metricsOf returns the metrics by family name.
func metricsOf(c *Collector) map[string][]*dto.Metric {
	all := make(map[string][]*dto.Metric)
	for _, family := range c.Families() {
		all[family.GetName()] = family.GetMetric()
	}
	return all
}

// TestSeriesCache checks that the metrics of a list are cached while it and the labels are unchanged, and that those of
// a scrape are not cached.
func TestSeriesCache(t *testing.T) {
	options := Options{Connections: true, MaxConnections: 10}
	outcome := outcomesOf(1, 3)[0]
	c := collectorOf([]Outcome{outcome}, options)
	before := metricsOf(c)
	kept := func(o Outcome, configured []string, options Options) bool {
		t.Helper()
		after := metricsOf(&Collector{
			outcomes: slices.Values([]Outcome{o}), series: c.series, labels: configured, options: options,
		})
		if after["css_vpcep_up"][0] == before["css_vpcep_up"][0] {
			t.Error("css_vpcep_up of the last scrape is shown again")
		}
		same := slices.Equal(after["css_vpcep_connection_info"], before["css_vpcep_connection_info"])
		if info := slices.Equal(after["css_vpcep_cluster_info"], before["css_vpcep_cluster_info"]); info != same {
			t.Errorf("connection_info kept: %t, cluster_info kept: %t", same, info)
		}
		return same
	}
	for name, change := range map[string]func(o *Outcome, configured *[]string, options *Options){
		"list":           func(o *Outcome, _ *[]string, _ *Options) { o.List = listOf(3) },
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
		if kept(o, configured, changed) {
			t.Errorf("another %s: the old metrics are shown", name)
		}
		if kept(outcome, c.labels, options) {
			t.Errorf("after another %s: the metrics before that are shown", name)
		}
		before = metricsOf(c)
	}
	later := outcome
	later.ReadAt, later.Duration, later.Err = readAt.Add(time.Hour), time.Second, &css.Error{}
	if !kept(later, c.labels, options) {
		t.Error("metrics of an unchanged list were made again")
	}
	c.outcomes = slices.Values([]Outcome{later})
	text := encoded(t, c.Families(), formats()["text"])
	if want := exposition(t, collectorOf([]Outcome{later}, options)); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestSeriesRetain(t *testing.T) {
	outcomes := outcomesOf(3, 1)
	c := collectorOf(outcomes, Options{Connections: true, MaxConnections: 10})
	before := metricsOf(c)
	c.series.Retain([]Target{outcomes[1].Target})
	if len(c.series.clusters) != 1 {
		t.Errorf("%d clusters are kept, want 1", len(c.series.clusters))
	}
	after := metricsOf(c)
	for i := range outcomes {
		const name = "css_vpcep_connection_info"
		if kept := before[name][i] == after[name][i]; kept != (i == 1) {
			t.Errorf("cluster %d: kept %t", i, kept)
		}
	}
}

// TestConcurrentScrapes encodes the families of concurrent scrapes in all formats while lists change and clusters are
// removed. It is meant for the race detector.
func TestConcurrentScrapes(t *testing.T) {
	options := Options{Connections: true, MaxConnections: 100}
	lists := []*css.ConnectionList{listOf(20), listOf(30)}
	series := NewSeries()
	var wg sync.WaitGroup
	for name, format := range formats() {
		for scraper := range 2 {
			wg.Go(func() {
				for round := range 30 {
					outcomes, want := outcomesOf(3, 0), 0
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
							t.Errorf("%s: %d connections, want %d", name, got, want)
						}
					}
					series.Retain([]Target{outcomes[round%3].Target})
				}
			})
		}
	}
	wg.Wait()
}

// TestSeriesFailures checks a cluster that fails, with and without its last list, and recovers.
func TestSeriesFailures(t *testing.T) {
	options := Options{Connections: true, MaxConnections: 10}
	read := outcomesOf(1, 3)[0]
	failed, stale := read, read
	failed.List, failed.Err = nil, &css.Error{}
	stale.Err = &css.Error{}
	series := NewSeries()
	for i, step := range []struct {
		outcome     Outcome
		connections int
		up          float64
	}{{read, 3, 1}, {stale, 3, 0}, {failed, 0, 0}, {stale, 3, 0}, {read, 3, 1}} {
		all := metricsOf(&Collector{outcomes: slices.Values([]Outcome{step.outcome}), series: series, options: options})
		got := fmt.Sprint(len(all["css_vpcep_connection_info"]), all["css_vpcep_up"][0].GetGauge().GetValue())
		if want := fmt.Sprint(step.connections, step.up); got != want {
			t.Errorf("step %d: connections and up are %s, want %s", i, got, want)
		}
	}
}

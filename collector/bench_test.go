// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"time"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/lenient"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// newList returns a typical list, with distinct values where the API has them.
func newList(connections int) *css.ConnectionList {
	at := lenient.Optional[time.Time]{Value: time.Date(2024, 6, 11, 9, 36, 24, 0, time.UTC), Set: true}
	list := &css.ConnectionList{
		Enabled: true, Reported: lenient.Optional[float64]{Value: float64(connections), Set: true},
		ServiceName: "cn-north-4.css", UpdateSwitch: lenient.Optional[bool]{Set: true},
		Permissions: lenient.Optional[[]css.Permission]{Value: []css.Permission{{Text: "iam:domain::account"}}, Set: true},
	}
	for i := range connections {
		c := css.Connection{
			ID: fmt.Sprintf("54b7f739-31a1-40d0-862b-%012x", i), Status: css.StatusAccepted,
			MaxSessions: lenient.Optional[float64]{Value: 3000, Set: true}, SpecificationName: "default",
			CreatedAt: at, DomainID: "account", IP: fmt.Sprintf("192.168.%d.%d", i/250, i%250),
		}
		if i%2 == 0 {
			c.UpdatedAt = at
		}
		list.Connections = append(list.Connections, c)
	}
	return list
}

func newOutcomes(clusters, connections int) []Outcome {
	outcomes := make([]Outcome, clusters)
	for i := range outcomes {
		outcomes[i] = Outcome{Target: newTarget(), List: newList(connections), ReadAt: readAt}
		outcomes[i].Target.Cluster.ID = fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012x", i)
	}
	return outcomes
}

// newBenchCollector returns a Collector of n clusters with m connections each.
func newBenchCollector(n, m int) *Collector {
	return newCollector(newOutcomes(n, m), Options{Connections: true, MaxConnections: 2000})
}

func countSeries(c *Collector) (series int) {
	for _, family := range c.Families() {
		series += len(family.GetMetric())
	}
	return series
}

func reportTimePerSeries(b *testing.B, series int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series), "ns/series")
}

// BenchmarkFamilies builds the families of n clusters with m connections each, from unchanged or new lists.
func BenchmarkFamilies(b *testing.B) {
	for _, size := range [][2]int{{1, 10}, {1, 100}, {1, 1000}, {100, 10}, {100, 100}, {1000, 10}, {1000, 50}} {
		for _, lists := range []string{"unchanged", "changed"} {
			b.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], lists), func(b *testing.B) {
				c := newBenchCollector(size[0], size[1])
				series := countSeries(c)
				b.ReportAllocs()
				for b.Loop() {
					if lists == "changed" {
						c.series = NewSeries()
					}
					c.Families()
				}
				reportTimePerSeries(b, series)
			})
		}
	}
}

// BenchmarkEncode builds the families of an unchanged list and encodes them.
func BenchmarkEncode(b *testing.B) {
	c := newBenchCollector(1, 1000)
	series := countSeries(c)
	for name, format := range formats() {
		b.Run(name, func(b *testing.B) {
			encoder := expfmt.NewEncoder(bufio.NewWriterSize(io.Discard, 64<<10), format)
			b.ReportAllocs()
			for b.Loop() {
				for _, family := range c.Families() {
					if err := encoder.Encode(family); err != nil {
						b.Fatal(err)
					}
				}
			}
			reportTimePerSeries(b, series)
		})
	}
}

// BenchmarkRegistry gathers the families of an unchanged list from a registry and encodes them as text.
func BenchmarkRegistry(b *testing.B) {
	c := newBenchCollector(1, 1000)
	series := countSeries(c)
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	encoder := expfmt.NewEncoder(bufio.NewWriterSize(io.Discard, 64<<10), expfmt.NewFormat(expfmt.TypeTextPlain))
	b.ReportAllocs()
	for b.Loop() {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, family := range families {
			if err := encoder.Encode(family); err != nil {
				b.Fatal(err)
			}
		}
	}
	reportTimePerSeries(b, series)
}

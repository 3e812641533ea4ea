// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"io"
	"testing"
	"time"

	"css_vpcep_exporter/css"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// listOf is a list as most are: texts that are all different where the API's are.
func listOf(connections int) *css.ConnectionList {
	at := css.Optional[time.Time]{Value: time.Date(2024, 6, 11, 9, 36, 24, 0, time.UTC), Set: true}
	list := &css.ConnectionList{
		Enabled: true, Reported: css.Optional[float64]{Value: float64(connections), Set: true},
		ServiceName: "cn-north-4.css", UpdateSwitch: css.Optional[bool]{Set: true},
		Permissions: css.Optional[[]css.Permission]{Value: []css.Permission{{Text: "iam:domain::account"}}, Set: true},
	}
	for i := range connections {
		c := css.Connection{
			ID: fmt.Sprintf("54b7f739-31a1-40d0-862b-%012x", i), Status: css.StatusAccepted,
			MaxSessions: css.Optional[float64]{Value: 3000, Set: true}, SpecificationName: "default",
			CreatedAt: at, DomainID: "account", IP: fmt.Sprintf("192.168.%d.%d", i/250, i%250),
		}
		if i%2 == 0 {
			c.UpdatedAt = at
		}
		list.Connections = append(list.Connections, c)
	}
	return list
}

func outcomesOf(clusters, connections int) []Outcome {
	outcomes := make([]Outcome, clusters)
	for i := range outcomes {
		outcomes[i] = Outcome{Target: plainTarget(), List: listOf(connections), ReadAt: readAt}
		outcomes[i].Target.Cluster.ID = fmt.Sprintf("5c77b71c-5b35-4f50-8984-%012x", i)
	}
	return outcomes
}

func seriesOf(outcomes []Outcome) []*dto.MetricFamily {
	all := newSamples()
	info := newInfoLabels([]string{"team"})
	for i := range outcomes {
		all.addCluster(&outcomes[i], &info, Options{Connections: true, MaxConnections: 2000})
	}
	return all.families()
}

func count(families []*dto.MetricFamily) (series int) {
	for _, f := range families {
		series += len(f.Metric)
	}
	return series
}

// sizes are clusters and connections of each.
func sizes() [][2]int {
	return [][2]int{{1, 10}, {1, 100}, {1, 1000}, {100, 10}, {100, 100}, {1000, 10}, {1000, 50}}
}

func BenchmarkSamples(b *testing.B) {
	for _, size := range sizes() {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			outcomes := outcomesOf(size[0], size[1])
			series := count(seriesOf(outcomes))
			b.ReportAllocs()
			for b.Loop() {
				seriesOf(outcomes)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series), "ns/series")
		})
	}
}

// BenchmarkRegistry is what a registry needs for the same.
func BenchmarkRegistry(b *testing.B) {
	outcomes := outcomesOf(1, 1000)
	registry := prometheus.NewRegistry()
	registry.MustRegister(values{outcomes, Options{Connections: true, MaxConnections: 2000}})
	series := count(seriesOf(outcomes))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series), "ns/series")
}

func BenchmarkEncode(b *testing.B) {
	families := seriesOf(outcomesOf(1, 1000))
	series := count(families)
	for _, format := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeOpenMetrics, expfmt.TypeProtoDelim} {
		b.Run(fmt.Sprint(format), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(format))
				for _, f := range families {
					if err := e.Encode(f); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series), "ns/series")
		})
	}
}

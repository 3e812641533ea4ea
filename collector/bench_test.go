// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"time"

	"css_vpcep_exporter/css"

	"github.com/prometheus/client_golang/prometheus"
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

func shown(outcomes []Outcome) values {
	return values{outcomes, Options{Connections: true, MaxConnections: 2000}}
}

// count is how many series there are.
func (v values) count() (series int) {
	for _, f := range v.families() {
		series += len(f.Message().GetMetric())
	}
	return series
}

// sizes are clusters and connections of each.
func sizes() [][2]int {
	return [][2]int{{1, 10}, {1, 100}, {1, 1000}, {100, 10}, {100, 100}, {1000, 10}, {1000, 50}}
}

// perSeries reports what each of so many series takes.
func perSeries(b *testing.B, series int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series), "ns/series")
}

// BenchmarkText makes the series of lists and writes them out.
func BenchmarkText(b *testing.B) {
	for _, size := range sizes() {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			v := shown(outcomesOf(size[0], size[1]))
			series := v.count()
			w := bufio.NewWriterSize(io.Discard, 64<<10)
			b.ReportAllocs()
			for b.Loop() {
				for _, f := range v.families() {
					if err := f.WriteText(w, false); err != nil {
						b.Fatal(err)
					}
				}
			}
			perSeries(b, series)
		})
	}
}

// BenchmarkFormats does so in each format; protobuf goes through the client library.
func BenchmarkFormats(b *testing.B) {
	v := shown(outcomesOf(1, 1000))
	series := v.count()
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	for name, write := range map[string]func(f *Family) error{
		"text":        func(f *Family) error { return f.WriteText(w, false) },
		"openmetrics": func(f *Family) error { return f.WriteText(w, true) },
		"protobuf": func(f *Family) error {
			message := f.Message()
			if message == nil {
				return nil
			}
			return expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeProtoDelim)).Encode(message)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, f := range v.families() {
					if err := write(&f); err != nil {
						b.Fatal(err)
					}
				}
			}
			perSeries(b, series)
		})
	}
}

// BenchmarkRegistry is what the same takes through a registry and the client library's encoder.
func BenchmarkRegistry(b *testing.B) {
	v := shown(outcomesOf(1, 1000))
	registry := prometheus.NewRegistry()
	registry.MustRegister(v)
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	encoder := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	b.ReportAllocs()
	for b.Loop() {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range families {
			if err := encoder.Encode(f); err != nil {
				b.Fatal(err)
			}
		}
	}
	perSeries(b, v.count())
}

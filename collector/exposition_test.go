// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/css"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// readAt is 2026-01-02T03:04:05.678Z.
var readAt = time.UnixMilli(1767323045678) //nolint:gochecknoglobals // a constant

// newCollector returns a Collector of the outcomes, which may be collected repeatedly.
func newCollector(outcomes []Outcome, options Options) *Collector {
	names := make(map[string]struct{})
	for i := range outcomes {
		for name := range outcomes[i].Target.Labels {
			names[name] = struct{}{}
		}
	}
	labels := slices.Sorted(maps.Keys(names))
	return &Collector{outcomes: slices.Values(outcomes), series: NewSeries(), labels: labels, options: options}
}

// formats returns the exposition formats by name.
func formats() map[string]expfmt.Format {
	return map[string]expfmt.Format{
		"text":        expfmt.NewFormat(expfmt.TypeTextPlain),
		"OpenMetrics": expfmt.NewFormat(expfmt.TypeOpenMetrics),
		"protobuf":    expfmt.NewFormat(expfmt.TypeProtoDelim),
	}
}

// exposition returns the text exposition of c. It fails the test if a pedantic registry rejects it, or if the result of
// Families, new or cached, differs from the registry's in any format.
func exposition(t *testing.T, c *Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	want, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	c.series = NewSeries()
	for _, families := range [][]*dto.MetricFamily{c.Families(), c.Families()} {
		for name, format := range formats() {
			if diff := gocmp.Diff(encode(t, want, format), encode(t, families, format)); diff != "" {
				t.Errorf("%s (-registry +Families)\n%s", name, diff)
			}
		}
	}
	return encode(t, want, expfmt.NewFormat(expfmt.TypeTextPlain))
}

func encode(t *testing.T, families []*dto.MetricFamily, format expfmt.Format) string {
	t.Helper()
	var b bytes.Buffer
	encoder := expfmt.NewEncoder(&b, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// withoutComments removes the HELP and TYPE lines.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func newTarget() Target {
	return Target{
		Project: "production", Region: "cn-north-4", ProjectID: "p1",
		Cluster: css.Cluster{ID: "c1", Name: "search"}, Labels: map[string]string{"team": "search"},
	}
}

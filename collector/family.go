// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Family is one of the metrics with its series of all clusters of a scrape, which are made while they are written out.
//
// WriteText is what nearly all scrapes go through, and what most of their time goes into. That is why it is here, though a
// registry and the client library's encoder do the same: they cost ten times as much. Tests hold it to what those write.
type Family struct {
	name   string // the full one
	metric metric
	views  []view
	labels []label // of each series, sorted by name
}

// label is where the value of one comes from: the cluster's if that is not negative, or else the metric's own.
type label struct {
	name         string
	cluster, own int
}

// of is the label's value, fit for a label.
func (l *label) of(v *view, own []string) string {
	if l.cluster >= 0 {
		return v.cluster[l.cluster] // it is so already
	}
	return labelValue(own[l.own])
}

// families are what was scraped, by metric; they are in the order of their names.
func families(views []view, configured []string) []Family {
	all := metrics(configured)
	families := make([]Family, len(all))
	for i, m := range all {
		families[i] = Family{name: m.fullName(), metric: m, views: views, labels: labelsOf(&m)}
	}
	return families
}

// labelsOf are the labels of a metric's series.
func labelsOf(m *metric) []label {
	labels := make([]label, 0, 4+len(m.labels))
	for i, name := range clusterLabels() {
		labels = append(labels, label{name: name, cluster: i})
	}
	for i, name := range m.labels {
		labels = append(labels, label{name: name, cluster: -1, own: i})
	}
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	return labels
}

// Name is the full name of the metric.
func (f *Family) Name() string { return f.name }

// each calls add for each series.
func (f *Family) each(add func(v *view, value float64, own []string)) {
	for i := range f.views {
		v := &f.views[i]
		f.metric.series(v, func(value float64, own []string) { add(v, value, own) })
	}
}

// WriteText writes the family in the text format, version 0.0.4 or that of OpenMetrics; nothing if it has no series. Errors
// are those of w.
func (f *Family) WriteText(w *bufio.Writer, openMetrics bool) error {
	around := frame{text: make([]byte, 0, 512), gaps: make([]gap, 0, len(f.metric.labels))}
	var of *view // which cluster's the frame is
	f.each(func(v *view, value float64, own []string) {
		if of == nil {
			_, _ = fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n", f.name, f.metric.help, f.name)
		}
		if of != v {
			of = v
			around.make(f, v)
		}
		line := w.AvailableBuffer()
		start := 0
		for _, gap := range around.gaps {
			line = append(line, around.text[start:gap.at]...)
			line = appendEscaped(line, own[gap.own])
			start = gap.at
		}
		line = append(line, around.text[start:]...)
		line = appendValue(line, value, openMetrics)
		_, _ = w.Write(append(line, '\n')) // it keeps its first error
	})
	_, err := w.Write(nil)
	return err
}

// frame is what all series of a family and a cluster have in common, up to the number.
type frame struct {
	text []byte
	gaps []gap // where the values of the metric's own labels go
}

type gap struct{ at, own int }

func (r *frame) make(f *Family, v *view) {
	r.text, r.gaps = append(r.text[:0], f.Name()...), r.gaps[:0]
	separator := "{"
	for i := range f.labels {
		l := &f.labels[i]
		r.text = append(append(append(r.text, separator...), l.name...), `="`...)
		separator = `",`
		if l.cluster >= 0 {
			r.text = appendEscaped(r.text, v.cluster[l.cluster])
		} else {
			r.gaps = append(r.gaps, gap{len(r.text), l.own})
		}
	}
	r.text = append(r.text, `"} `...)
}

// appendEscaped appends a label's value as it stands between quotes.
func appendEscaped(to []byte, value string) []byte {
	if len(value) <= maxLabelValue && plain(value) {
		return append(to, value...)
	}
	for _, c := range []byte(labelValue(value)) {
		switch c {
		case '\\', '"':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, '\\', 'n')
		default:
			to = append(to, c)
		}
	}
	return to
}

// plain says whether a text is of printable ASCII that nobody escapes, as nearly all texts are.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendValue appends a number, which in OpenMetrics always looks like a float.
func appendValue(to []byte, value float64, openMetrics bool) []byte {
	start := len(to)
	switch {
	case math.IsInf(value, 1):
		return append(to, "+Inf"...)
	case math.IsInf(value, -1):
		return append(to, "-Inf"...)
	case math.IsNaN(value):
		return append(to, "NaN"...)
	case value == 0:
		to = append(to, '0') // without the sign
	default:
		to = strconv.AppendFloat(to, value, 'g', -1, 64)
	}
	if openMetrics && !strings.ContainsAny(string(to[start:]), "e.") {
		to = append(to, ".0"...)
	}
	return to
}

// Message gives the family as the client library has it; nil if it has no series.
func (f *Family) Message() *dto.MetricFamily {
	m := message{
		family: &dto.MetricFamily{Name: new(f.Name()), Help: new(f.metric.help), Type: dto.MetricType_GAUGE.Enum()},
		last:   make([]*dto.LabelPair, len(f.labels)),
	}
	f.each(func(v *view, value float64, own []string) {
		labels := m.labels.take(len(f.labels))
		for i := range f.labels {
			l := &f.labels[i]
			labels[i] = m.pair(i, &l.name, l.of(v, own))
		}
		m.add(value, labels)
	})
	if len(m.family.Metric) == 0 {
		return nil
	}
	return m.family
}

// message is a family that is being made. What its series point to is allocated many at a time.
type message struct {
	family *dto.MetricFamily
	last   []*dto.LabelPair // the one before, by label: often it is the same

	series slab[gauge]
	pairs  slab[pair]
	labels slab[*dto.LabelPair]
}

// gauge is a series with what it points to.
type gauge struct {
	metric dto.Metric
	gauge  dto.Gauge
	value  float64
}

func (m *message) add(value float64, labels []*dto.LabelPair) {
	g := &m.series.take(1)[0]
	g.value = value
	g.gauge.Value = &g.value
	g.metric.Gauge, g.metric.Label = &g.gauge, labels
	m.family.Metric = append(m.family.Metric, &g.metric)
}

// pair is a label with the value that it points to.
type pair struct {
	pair  dto.LabelPair
	value string
}

func (m *message) pair(i int, name *string, value string) *dto.LabelPair {
	if m.last[i] == nil || m.last[i].GetValue() != value {
		p := &m.pairs.take(1)[0]
		p.value = value
		p.pair.Name, p.pair.Value = name, &p.value
		m.last[i] = &p.pair
	}
	return m.last[i]
}

// slab hands out values of T, of which it allocates many at a time.
type slab[T any] struct {
	free []T
	size int // of the last allocation
}

func (s *slab[T]) take(n int) []T {
	if len(s.free) < n {
		s.size = max(min(2*s.size, 64), 8, n) // larger ones would be zeroed and swept at a higher price
		s.free = make([]T, s.size)
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

func (m *metric) fullName() string { return namespace + "_" + m.name }

// desc describes a metric to a registry.
func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.fullName(), m.help, append(clusterLabels(), m.labels...), nil)
}

// constMetric is a series as a registry wants it.
type constMetric struct {
	desc    *prometheus.Desc
	message *dto.Metric
}

// Desc implements prometheus.Metric.
func (m constMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m constMetric) Write(to *dto.Metric) error {
	to.Label, to.Gauge = m.message.Label, m.message.Gauge
	return nil
}

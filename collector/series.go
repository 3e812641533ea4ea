// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"css_vpcep_exporter/internal/sessions"

	dto "github.com/prometheus/client_model/go"
)

// Series caches the metrics of each cluster until its list or labels change, and those of its sessions until they change.
type Series struct {
	mu       sync.Mutex
	clusters map[clusterKey]*entry
}

type entry struct {
	mu       sync.Mutex
	cached   *cached
	sessions cachedSessions
}

// cached is immutable, because scrapes may still be encoding it.
type cached struct {
	source      source
	labels      []*dto.LabelPair
	rows        [][]*dto.Metric
	connections []connection
}

// cachedSessions are the rows of sessionMetrics.
type cachedSessions struct {
	of     *cached
	values *sessions.Values
	labels [][]*dto.LabelPair // of each connection
	rows   [][]*dto.Metric
}

// NewSeries returns an empty Series.
func NewSeries() *Series { return &Series{clusters: make(map[clusterKey]*entry)} }

// Retain drops all other clusters.
func (s *Series) Retain(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	retain(s.clusters, targets)
}

// get returns the rows of the table, without the perScrape metrics. values may be nil.
func (s *Series) get(
	key clusterKey, src *source, values *sessions.Values, table []metric,
) (c *cached, rows [][]*dto.Metric) {
	s.mu.Lock()
	e := s.clusters[key]
	if e == nil {
		e = &entry{}
		s.clusters[key] = e
	}
	s.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cached == nil || !e.cached.source.equal(src) {
		e.cached = newCached(src, table)
	}
	rows = slices.Clone(e.cached.rows)
	if values == nil {
		e.sessions = cachedSessions{}
		return e.cached, rows
	}
	e.sessions.update(e.cached, values, table)
	for i := range table {
		if table[i].sessions != nil {
			rows[i] = e.sessions.rows[i]
		}
	}
	return e.cached, rows
}

func (s *cachedSessions) update(of *cached, values *sessions.Values, table []metric) {
	if s.of != of {
		*s = cachedSessions{of: of}
	}
	if s.values == values {
		return
	}
	s.values, s.rows = values, make([][]*dto.Metric, len(table))
	for i := range table {
		if m := &table[i]; m.sessions != nil {
			if s.labels == nil {
				s.labels = connectionLabels(of, m)
			}
			s.rows[i] = s.metrics(m)
		}
	}
}

// connectionLabels returns the labels that all sessionMetrics of a connection have.
func connectionLabels(of *cached, m *metric) [][]*dto.LabelPair {
	b := builder{cluster: of.labels, pairs: make(map[[2]string]*dto.LabelPair, len(of.connections))}
	samples := make([]sample, len(of.connections))
	for i, c := range of.connections {
		samples[i].labels = []string{c.id}
	}
	labels := make([][]*dto.LabelPair, len(samples))
	for i, metric := range b.metrics(m, samples) { // sorted by ID, like the connections
		labels[i] = metric.Label
	}
	return labels
}

func (s *cachedSessions) metrics(m *metric) []*dto.Metric {
	metrics, block := make([]*dto.Metric, 0, len(s.labels)), make([]dto.Metric, len(s.labels))
	gauges, numbers := make([]dto.Gauge, len(s.labels)), make([]float64, len(s.labels)) // few garbage-collected objects
	for i, c := range s.of.connections {
		if count := m.sessions(s.values.Of(c.id)); count.Known {
			numbers[i], gauges[i].Value, block[i].Label, block[i].Gauge = count.Value, &numbers[i], s.labels[i], &gauges[i]
			metrics = append(metrics, &block[i])
		}
	}
	return metrics
}

func newCached(src *source, table []metric) *cached {
	v := newView(src)
	b := builder{pairs: make(map[[2]string]*dto.LabelPair, 2*len(v.connections))}
	for i, name := range clusterLabels() {
		b.cluster = append(b.cluster, b.pair(name, src.cluster[i]))
	}
	c := &cached{source: *src, labels: b.cluster, rows: make([][]*dto.Metric, len(table)), connections: v.connections}
	for i := range table {
		if m := &table[i]; m.perList != nil {
			c.rows[i] = b.metrics(m, m.perList(v))
		}
	}
	return c
}

// addScrape adds the perScrape metrics of o to the rows.
func (c *cached) addScrape(rows [][]*dto.Metric, o *Outcome, table []metric) {
	b := builder{cluster: c.labels, pairs: make(map[[2]string]*dto.LabelPair)}
	for i := range table {
		if m := &table[i]; m.perScrape != nil {
			rows[i] = b.metrics(m, m.perScrape(o))
		}
	}
}

// builder builds the metrics of one cluster. Equal labels and values share memory.
type builder struct {
	cluster []*dto.LabelPair
	pairs   map[[2]string]*dto.LabelPair
	last    *dto.Gauge
}

// metrics returns the samples as metrics, in registry order.
func (b *builder) metrics(m *metric, samples []sample) []*dto.Metric {
	metrics := make([]*dto.Metric, len(samples))
	block := make([]dto.Metric, len(samples))
	width := len(m.positions)
	pairs := make([]*dto.LabelPair, len(samples)*width)
	for i, s := range samples {
		labels := pairs[i*width : (i+1)*width]
		for j, pair := range b.cluster {
			labels[m.positions[j]] = pair
		}
		for j, value := range s.labels {
			labels[m.positions[len(b.cluster)+j]] = b.pair(m.labels[j], value)
		}
		block[i].Label, block[i].Gauge = labels, b.gauge(s.value)
		metrics[i] = &block[i]
	}
	slices.SortFunc(metrics, compareLabels)
	return metrics
}

func (b *builder) pair(name, value string) *dto.LabelPair {
	key := [2]string{name, labelValue(value)}
	pair := b.pairs[key]
	if pair == nil {
		pair = &dto.LabelPair{Name: new(key[0]), Value: new(key[1])}
		b.pairs[key] = pair
	}
	return pair
}

func (b *builder) gauge(value float64) *dto.Gauge {
	if b.last == nil || math.Float64bits(b.last.GetValue()) != math.Float64bits(value) {
		b.last = &dto.Gauge{Value: new(value)}
	}
	return b.last
}

func compareLabels(a, b *dto.Metric) int {
	return slices.CompareFunc(a.Label, b.Label, func(a, b *dto.LabelPair) int {
		if a == b {
			return 0
		}
		return cmp.Compare(a.GetValue(), b.GetValue())
	})
}

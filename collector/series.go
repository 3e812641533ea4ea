// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"math"
	"slices"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// Series caches the metrics of each cluster until its list or labels change.
type Series struct {
	mu       sync.Mutex
	clusters map[clusterKey]*entry
}

type entry struct {
	mu     sync.Mutex
	cached *cached
}

// cached is immutable, because scrapes may still be encoding it.
type cached struct {
	source source
	labels []*dto.LabelPair
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

func (s *Series) get(key clusterKey, src *source, table []metric) *cached {
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
	return e.cached
}

func newCached(src *source, table []metric) *cached {
	v := newView(src)
	b := builder{pairs: make(map[[2]string]*dto.LabelPair, 2*len(v.connections))}
	for i, name := range clusterLabels() {
		b.cluster = append(b.cluster, b.pair(name, src.cluster[i]))
	}
	c := &cached{source: *src, labels: b.cluster, rows: make([][]*dto.Metric, len(table))}
	for i := range table {
		if m := &table[i]; m.perList != nil {
			c.rows[i] = b.metrics(m, m.perList(v))
		}
	}
	return c
}

// withScrape returns the rows of the table, with the perScrape metrics of o.
func (c *cached) withScrape(o *Outcome, table []metric) [][]*dto.Metric {
	b := builder{cluster: c.labels, pairs: make(map[[2]string]*dto.LabelPair)}
	rows := slices.Clone(c.rows)
	for i := range table {
		if m := &table[i]; m.perScrape != nil {
			rows[i] = b.metrics(m, m.perScrape(o))
		}
	}
	return rows
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

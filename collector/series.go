// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"math"
	"slices"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// Series caches the metrics of each cluster until its list or labels change. It is safe for concurrent use.
type Series struct {
	mu       sync.Mutex
	clusters map[clusterKey]*entry
}

type entry struct {
	mu   sync.Mutex // held while metrics are made, so that concurrent scrapes make them once
	kept *kept
}

// kept holds the metrics of a source. It is immutable, because scrapes may still be encoding it.
type kept struct {
	source source
	labels []*dto.LabelPair // of the cluster, in the order of clusterLabels
	rows   [][]*dto.Metric  // by table row; nil for perScrape metrics
}

// NewSeries returns an empty Series.
func NewSeries() *Series { return &Series{clusters: make(map[clusterKey]*entry)} }

// Retain drops all clusters except those of targets.
func (s *Series) Retain(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	retain(s.clusters, targets)
}

// of returns the metrics of src, cached under key.
func (s *Series) of(key clusterKey, src *source, table []metric) *kept {
	s.mu.Lock()
	e := s.clusters[key]
	if e == nil {
		e = &entry{}
		s.clusters[key] = e
	}
	s.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept == nil || !e.kept.source.equal(src) {
		e.kept = newKept(src, table)
	}
	return e.kept
}

func newKept(src *source, table []metric) *kept {
	v := newView(src)
	b := builder{pairs: make(map[[2]string]*dto.LabelPair, 2*len(v.connections))} // ids and addresses
	for i, name := range clusterLabels() {
		b.cluster = append(b.cluster, b.pair(name, src.cluster[i]))
	}
	k := &kept{source: *src, labels: b.cluster, rows: make([][]*dto.Metric, len(table))}
	for i := range table {
		if m := &table[i]; m.perList != nil {
			k.rows[i] = b.metrics(m, m.perList(v))
		}
	}
	return k
}

// scraped returns the kept metrics and those of o, by table row.
func (k *kept) scraped(o *Outcome, table []metric) [][]*dto.Metric {
	b := builder{cluster: k.labels, pairs: make(map[[2]string]*dto.LabelPair)}
	rows := slices.Clone(k.rows)
	for i := range table {
		if m := &table[i]; m.perScrape != nil {
			rows[i] = b.metrics(m, m.perScrape(o))
		}
	}
	return rows
}

// builder builds the metrics of one cluster; equal label pairs and values are shared to save memory.
type builder struct {
	cluster []*dto.LabelPair             // in the order of clusterLabels
	pairs   map[[2]string]*dto.LabelPair // by name and value
	gauge   *dto.Gauge                   // the last one
}

// metrics returns the samples of m as metrics, in registry order.
func (b *builder) metrics(m *metric, samples []sample) []*dto.Metric {
	metrics := make([]*dto.Metric, len(samples))
	block := make([]dto.Metric, len(samples)) // one allocation
	width := len(m.places)
	pairs := make([]*dto.LabelPair, len(samples)*width)
	for i, s := range samples {
		labels := pairs[i*width : (i+1)*width]
		for j, pair := range b.cluster {
			labels[m.places[j]] = pair
		}
		for j, value := range s.labels {
			labels[m.places[len(b.cluster)+j]] = b.pair(m.labels[j], value)
		}
		block[i].Label, block[i].Gauge = labels, b.gaugeOf(s.value)
		metrics[i] = &block[i]
	}
	slices.SortFunc(metrics, compareLabels) // so that kept metrics are sorted once
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

func (b *builder) gaugeOf(value float64) *dto.Gauge {
	if b.gauge == nil || math.Float64bits(b.gauge.GetValue()) != math.Float64bits(value) {
		b.gauge = &dto.Gauge{Value: new(value)}
	}
	return b.gauge
}

// compareLabels compares metrics of one family in registry order.
func compareLabels(a, b *dto.Metric) int {
	return slices.CompareFunc(a.Label, b.Label, func(a, b *dto.LabelPair) int {
		if a == b {
			return 0
		}
		return cmp.Compare(a.GetValue(), b.GetValue())
	})
}

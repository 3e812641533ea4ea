// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"math"
	"slices"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// Series keeps the metrics of each cluster until its list or its labels change, so that a scrape of unchanged lists
// makes few. It lives as long as the process and is safe for use by several scrapes at once.
type Series struct {
	mu       sync.Mutex
	clusters map[clusterKey]*entry
}

// entry is a cluster's place in a Series.
type entry struct {
	mu   sync.Mutex // held while metrics are made, so that simultaneous scrapes make them once
	kept *kept
}

// kept holds the metrics made of a source. It is replaced but never changed, because scrapes may still be encoding it.
type kept struct {
	source source
	labels []*dto.LabelPair // of the cluster, in the order of clusterLabels
	rows   [][]*dto.Metric  // by row of the metrics table; nil for perScrape metrics
}

// NewSeries returns a Series that keeps nothing yet.
func NewSeries() *Series { return &Series{clusters: make(map[clusterKey]*entry)} }

// Retain forgets all clusters but those of targets.
func (s *Series) Retain(targets []Target) {
	keep := make(map[clusterKey]bool, len(targets))
	for i := range targets {
		keep[keyOf(targets[i])] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.clusters {
		if !keep[key] {
			delete(s.clusters, key)
		}
	}
}

// of returns the metrics of the cluster with that key, made of src now or before.
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

// scraped returns the cluster's metrics by row of the metrics table: the kept ones, and those of this scrape.
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

// builder makes the metrics of one cluster. To save memory they share equal label pairs and values.
type builder struct {
	cluster []*dto.LabelPair             // in the order of clusterLabels
	pairs   map[[2]string]*dto.LabelPair // by name and value
	gauge   *dto.Gauge                   // the last one
}

// metrics returns the samples of m as metrics, ordered as in a registry.
func (b *builder) metrics(m *metric, samples []sample) []*dto.Metric {
	metrics := make([]*dto.Metric, len(samples))
	block := make([]dto.Metric, len(samples)) // one allocation instead of many
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
	slices.SortFunc(metrics, compareLabels) // here, so that each scrape finds kept metrics sorted
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

// compareLabels compares metrics of one family in the order of a registry.
func compareLabels(a, b *dto.Metric) int {
	return slices.CompareFunc(a.Label, b.Label, func(a, b *dto.LabelPair) int {
		if a == b {
			return 0
		}
		return cmp.Compare(a.GetValue(), b.GetValue())
	})
}

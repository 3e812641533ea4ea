// SPDX-License-Identifier: Apache-2.0

package ces

import (
	"errors"
	"math"
	"time"

	"css_vpcep_exporter/internal/lenient"

	"github.com/go-json-experiment/json/jsontext"
)

// Fields returns the fields of the API whose values may be unparsable, sorted.
func Fields() []string {
	return []string{
		"average", "datapoints", "dimensions", "metric_name", "metrics", "name", "namespace", "timestamp", "value",
	}
}

type parser struct {
	values []Value
	asked  map[string][Kinds]int // indexes of values plus one, by endpoint ID
	now    time.Time

	nameless int // metrics with a value, but without an ID

	// The metric that is being decoded.
	space, name, id string
	average         float64 // of the newest datapoint
	timestamp       float64 // in milliseconds; 0 without a datapoint
}

// parse returns the newest value of each metric at the time of the read. Metrics that are missing in the body, and those
// without a recent datapoint, have none. It ignores metrics that were not asked for.
func parse(body []byte, metrics []Metric, now time.Time) (values []Value, unparsable map[string]int, err error) {
	p := newParser(metrics, now)
	if p.scan(body) && p.nameless == 0 {
		return p.values, nil, nil
	}
	p.forget()
	return p.decode(body)
}

// decode parses any answer.
func (p *parser) decode(body []byte) (values []Value, unparsable map[string]int, err error) {
	listed := false
	metric := p.metric()
	unparsable, err = lenient.Decode(body, lenient.Object{
		"metrics": func(d *lenient.Decoder) error {
			kind := d.PeekKind()
			listed = listed || kind == jsontext.KindBeginArray || kind == jsontext.KindNull
			return lenient.List(metric)(d)
		},
	})
	switch {
	case err != nil:
		return nil, nil, err
	case !listed:
		return nil, nil, errors.New("the body has no list of metrics")
	case p.nameless > 0:
		unparsable["dimensions"] += p.nameless
	}
	return p.values, unparsable, nil
}

func newParser(metrics []Metric, now time.Time) *parser {
	p := &parser{values: make([]Value, len(metrics)), asked: make(map[string][Kinds]int, len(metrics)/int(Kinds)+1), now: now}
	for i, m := range metrics {
		at := p.asked[m.EndpointID]
		at[m.Kind] = i + 1
		p.asked[m.EndpointID] = at
	}
	return p
}

// forget drops what was parsed.
func (p *parser) forget() {
	clear(p.values)
	p.nameless = 0
}

// reset begins a metric.
func (p *parser) reset() { p.space, p.name, p.id, p.average, p.timestamp = "", "", "", 0, 0 }

func (p *parser) metric() lenient.Value {
	var key, value string
	pair := lenient.Object{"name": lenient.Text(&key), "value": lenient.Text(&value)}
	var average, timestamp lenient.Optional[float64]
	datapoint := lenient.Object{
		"average":   lenient.Optionally(&average, parseAverage),
		"timestamp": lenient.Optionally(&timestamp, lenient.ParseNumber),
	}
	metric := lenient.Object{
		"namespace":   lenient.Text(&p.space),
		"metric_name": lenient.Text(&p.name),
		"dimensions": lenient.List(func(d *lenient.Decoder) error {
			key, value = "", ""
			err := pair.Decode(d)
			if key == dimension {
				p.id = value
			}
			return err
		}),
		"datapoints": lenient.List(func(d *lenient.Decoder) error {
			average, timestamp = lenient.Optional[float64]{}, lenient.Optional[float64]{}
			err := datapoint.Decode(d)
			if average.Set && timestamp.Set {
				p.addDatapoint(average.Value, timestamp.Value)
			}
			return err
		}),
	}
	return func(d *lenient.Decoder) error {
		p.reset()
		err := metric.Decode(d)
		p.add()
		return err
	}
}

// parseAverage parses a number of sessions.
func parseAverage(content []byte) (float64, bool) {
	value, ok := lenient.ParseNumber(content)
	return math.Abs(value), ok && value >= 0 // not -0
}

// addDatapoint keeps the newest datapoint. The clock of the cloud may be ahead, but a value from a future farther than
// MaxAge would never be too old.
func (p *parser) addDatapoint(average, timestamp float64) {
	if timestamp > 0 && timestamp >= p.timestamp && timestamp <= float64(p.now.Add(MaxAge).UnixMilli()) {
		p.average, p.timestamp = average, timestamp
	}
}

// add stores the newest datapoint of a metric, which may be repeated.
func (p *parser) add() {
	age := max(p.now.Sub(time.UnixMilli(int64(p.timestamp))), 0)
	if p.timestamp == 0 || age > MaxAge || p.space != namespace && p.space != "" {
		return
	}
	if p.id == "" {
		p.nameless++
	}
	newest, at := Value{p.average, p.now.Add(-age)}, p.asked[p.id] // monotonic, as now is
	for kind := range Kinds {
		if i := at[kind] - 1; i >= 0 && p.name == kind.metricName() && !newest.At.Before(p.values[i].At) {
			p.values[i] = newest
		}
	}
}

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

// parse returns the newest value of each metric at the time of the read. Metrics that are missing in the body, and those
// without a recent datapoint, have none. It ignores metrics that nobody asked for.
func parse(body []byte, metrics []Metric, now time.Time) (values []Value, unparsable map[string]int, err error) {
	p := parser{values: make([]Value, len(metrics)), asked: make(map[string][Kinds]int, len(metrics)), now: now}
	for i, m := range metrics {
		at := p.asked[m.EndpointID]
		at[m.Kind] = i + 1
		p.asked[m.EndpointID] = at
	}
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

type parser struct {
	values []Value
	asked  map[string][Kinds]int // indexes of values plus one, by endpoint ID
	now    time.Time

	nameless int // metrics with a value, but without an ID

	// The metric that is being decoded.
	space, name, id string
	newest          Value
}

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
		p.space, p.name, p.id, p.newest = "", "", "", Value{}
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

const maxMilliseconds = 1 << 52

// addDatapoint keeps the newest datapoint. The clock of the cloud may be ahead.
func (p *parser) addDatapoint(value, milliseconds float64) {
	if !(milliseconds > 0) {
		return
	}
	age := max(p.now.Sub(time.UnixMilli(int64(min(milliseconds, maxMilliseconds)))), 0)
	if at := p.now.Add(-age); age <= MaxAge && !at.Before(p.newest.At) { // monotonic, as now is
		p.newest = Value{value, at}
	}
}

// add stores the newest datapoint of a metric, which may be repeated.
func (p *parser) add() {
	if p.newest.At.IsZero() || p.space != namespace && p.space != "" {
		return
	}
	if p.id == "" {
		p.nameless++
	}
	at := p.asked[p.id]
	for kind := range Kinds {
		if i := at[kind] - 1; i >= 0 && p.name == kind.metricName() && !p.newest.At.Before(p.values[i].At) {
			p.values[i] = p.newest
		}
	}
}

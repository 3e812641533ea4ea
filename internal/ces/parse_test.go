// SPDX-License-Identifier: Apache-2.0

package ces

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// now is a time without fractions of milliseconds, which timestamps do not have.
func now() time.Time { return time.UnixMilli(1_767_323_045_000) }

func both(ids ...string) []Metric {
	var metrics []Metric
	for _, id := range ids {
		metrics = append(metrics, Metric{Sessions, id}, Metric{ActiveSessions, id})
	}
	return metrics
}

// answer returns a body with one metric. ago(n) in the datapoints is the timestamp n minutes before now.
func answer(metricName, id, datapoints string) string {
	return `{"metrics":[` + element(metricName, id, datapoints) + `]}`
}

func element(metricName, id, datapoints string) string {
	return fmt.Sprintf(`{"namespace":"SYS.VPCEP","metric_name":%q,"unit":"count",`+
		`"dimensions":[{"name":"ep_instance_id","value":%q}],"datapoints":%s}`, metricName, id, datapoints)
}

func ago(minutes float64) int64 {
	return now().Add(-time.Duration(minutes * float64(time.Minute))).UnixMilli()
}

func at(minutes, value float64) Value { return Value{value, time.UnixMilli(ago(minutes))} }

func point(minutes float64, average string) string {
	return fmt.Sprintf(`{"average":%s,"timestamp":%d}`, average, ago(minutes))
}

func TestDatapoints(t *testing.T) {
	for name, tt := range map[string]struct {
		datapoints string
		want       Value
		unparsable map[string]int
	}{
		"one":                  {"[" + point(1, "12.0") + "]", at(1, 12), nil},
		"none":                 {"[]", Value{}, nil},
		"null":                 {"null", Value{}, nil},
		"zero":                 {"[" + point(0, "0") + "]", at(0, 0), nil},
		"any order":            {"[" + point(2, "2") + "," + point(1, "1") + "," + point(3, "3") + "]", at(1, 1), nil},
		"the last of a minute": {"[" + point(1, "1") + "," + point(1, "2") + "]", at(1, 2), nil},
		"numbers as text":      {fmt.Sprintf(`[{"average":"7.5","timestamp":"%d"}]`, ago(2)), at(2, 7.5), nil},
		"exponents":            {fmt.Sprintf(`[{"average":1.2E1,"timestamp":%de0}]`, ago(2)), at(2, 12), nil},
		"ten minutes old":      {"[" + point(10, "1") + "]", at(10, 1), nil},
		"older":                {"[" + point(10.01, "1") + "]", Value{}, nil},
		"in the future":        {"[" + point(-3, "4") + "," + point(1, "1") + "]", at(0, 4), nil},
		"ten minutes ahead":    {"[" + point(-10, "4") + "]", at(0, 4), nil},
		"farther ahead":        {"[" + point(-10.01, "4") + "," + point(1, "1") + "]", at(1, 1), nil},
		"far in the future":    {`[{"average":4,"timestamp":1e300}]`, Value{}, nil},
		"before time":          {`[{"average":4,"timestamp":-1e300},{"average":4,"timestamp":0}]`, Value{}, nil},
		"null values":          {`[{"average":null,"timestamp":null},` + point(2, "null") + "," + point(3, "3") + "]", at(3, 3), nil},
		"negative": {
			"[" + point(1, "-1") + "," + point(2, "2") + "]", at(2, 2), map[string]int{"average": 1},
		},
		"no number": {
			"[" + point(1, `"NaN"`) + "," + point(2, `"x"`) + "," + point(3, "true") + "," + point(4, "[1]") + "," +
				point(5, `{"v":1}`) + "," + point(6, `"Inf"`) + "," + point(7, "1e999") + "]",
			Value{}, map[string]int{"average": 7},
		},
		"no time": {
			`[{"average":1,"timestamp":"yesterday"},{"average":1},{"timestamp":5}]`, Value{}, map[string]int{"timestamp": 1},
		},
		"no objects": {`[1,"x",null,[2],` + point(3, "3") + "]", at(3, 3), map[string]int{"datapoints": 3}},
		"no list":    {`"none"`, Value{}, map[string]int{"datapoints": 1}},
		"other members": {
			fmt.Sprintf(`[{"max":9,"average":2,"unit":"x","SampleCount":{},"timestamp":%d}]`, ago(1)), at(1, 2), nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			values, unparsable, err := parse([]byte(answer("vpcep_connections", "a", tt.datapoints)), both("a"), now())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]Value{tt.want, {}}, values); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if len(tt.unparsable)+len(unparsable) > 0 && !cmp.Equal(tt.unparsable, unparsable) {
				t.Errorf("got unparsable values %v, want %v", unparsable, tt.unparsable)
			}
		})
	}
}

func TestMetricsAreMatchedByNameAndEndpoint(t *testing.T) {
	one := "[" + point(1, "1") + "]"
	for name, tt := range map[string]struct {
		body string
		want []Value // sessions and active sessions of a and b
	}{
		"any order": {
			`{"metrics":[` + element("vpcep_act_connections", "b", "["+point(1, "4")+"]") + "," +
				element("vpcep_connections", "b", "["+point(1, "3")+"]") + "," + element("vpcep_connections", "a", one) + `]}`,
			[]Value{at(1, 1), {}, at(1, 3), at(1, 4)},
		},
		"repeated": {
			`{"metrics":[` + element("vpcep_connections", "a", one) + "," +
				element("vpcep_connections", "a", "["+point(2, "2")+"]") + "," + element("vpcep_connections", "a", "[]") + `]}`,
			[]Value{at(1, 1), {}, {}, {}},
		},
		"letter case of the ID":   {answer("vpcep_connections", "A", one), make([]Value, 4)},
		"letter case of the name": {answer("VPCEP_connections", "a", one), make([]Value, 4)},
		"unknown metric":          {answer("vpcep_bps", "a", one), make([]Value, 4)},
		"another endpoint":        {answer("vpcep_connections", "c", one), make([]Value, 4)},
		"other namespace": {
			strings.Replace(answer("vpcep_connections", "a", one), "SYS.VPCEP", "SYS.ELB", 1), make([]Value, 4),
		},
		"further dimension": {
			strings.Replace(answer("vpcep_connections", "a", one), `[{"name":"ep`, `[{"name":"x","value":"b"},{"name":"ep`, 1),
			[]Value{at(1, 1), {}, {}, {}},
		},
		"no dimensions": {
			`{"metrics":[{"namespace":"SYS.VPCEP","metric_name":"vpcep_connections","datapoints":` + one + `}]}`, make([]Value, 4),
		},
		"datapoints first": {
			`{"metrics":[{"datapoints":` + one + `,"dimensions":[{"value":"a","name":"ep_instance_id"}],` +
				`"metric_name":"vpcep_connections"}]}`, []Value{at(1, 1), {}, {}, {}},
		},
		"null":             {`{"metrics":null}`, make([]Value, 4)},
		"nothing":          {`{"metrics":[]}`, make([]Value, 4)},
		"no objects":       {`{"metrics":[1,null,"x",[]]}`, make([]Value, 4)},
		"null in a metric": {`{"metrics":[{"metric_name":null,"dimensions":null,"datapoints":null,"namespace":null}]}`, make([]Value, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			values, _, err := parse([]byte(tt.body), both("a", "b"), now())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, values); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBodiesThatAreNoAnswer(t *testing.T) {
	for _, body := range []string{
		"", "null", "[]", "{}", "<html>", `{"metrics":{}}`, `{"metrics":"x"}`, `{"metrics":[`, `{"metrics":[]}x`,
		`{"http_code":429,"message":{"details":"d","code":"ces.0429"}}`,
	} {
		if _, _, err := parse([]byte(body), both("a"), now()); err == nil {
			t.Errorf("%q: got no error", body)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(answer("vpcep_connections", "a", "["+point(1, "1")+"]")))
	f.Add([]byte(`{"metrics":[{"datapoints":[{"average":"1e400","timestamp":-9e18}]}]}`))
	full, _ := fullAnswer()
	f.Add(full[:2000])
	f.Add([]byte("{ \"metrics\" :\n[ " + element("vpcep_act_connections", "b", "[ "+point(1, "0.5")+" , "+point(2, "1")+"]") + " ] }"))
	f.Fuzz(func(t *testing.T, body []byte) {
		values, _, err := parse(body, both("a", "b"), now())
		decoded, unparsable, decodeErr := newParser(both("a", "b"), now()).decode(body)
		if diff := cmp.Diff(decoded, values); diff != "" || (err == nil) != (decodeErr == nil) {
			t.Errorf("the lenient decoder (-) and both (+): %v, %v\n%s", decodeErr, err, diff)
		}
		if fast := newParser(both("a", "b"), now()); fast.scan(body) && fast.nameless == 0 && len(unparsable) > 0 {
			t.Errorf("the scanner overlooks %v", unparsable)
		}
		if err != nil {
			return
		}
		for _, v := range values {
			age := now().Sub(v.At)
			if !v.At.IsZero() && (age < 0 || age > MaxAge || !(v.Value >= 0) || math.IsInf(v.Value, 0)) {
				t.Errorf("got %+v", v)
			}
		}
	})
}

// fullAnswer returns the answer to the largest query, of about 300 KB.
func fullAnswer() ([]byte, []Metric) {
	var ids []string
	for i := range MaxMetrics / 2 {
		ids = append(ids, fmt.Sprintf("%08d-5b35-4f50-8984-76387e42451a", i))
	}
	var body bytes.Buffer
	for i, m := range both(ids...) {
		var points []string
		for minute := range 6 {
			points = append(points, point(float64(minute), fmt.Sprintf("%d.0", i+minute)))
		}
		body.WriteString("," + element(m.Kind.metricName(), m.EndpointID, "["+strings.Join(points, ",")+"]"))
	}
	return append(append([]byte(`{"metrics":[`), body.Bytes()[1:]...), "]}"...), both(ids...)
}

func BenchmarkParse(b *testing.B) {
	body, metrics := fullAnswer()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		values, _, err := parse(body, metrics, now())
		if err != nil || values[0].Value != 0 || values[len(values)-1].At.IsZero() {
			b.Fatal(err, values[0])
		}
	}
}

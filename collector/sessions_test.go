// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/sessions"
)

// fixedSessions are values that a test changes.
type fixedSessions struct{ values *sessions.Values }

func (f *fixedSessions) Values() *sessions.Values { return f.values }

func known(n float64) sessions.Count { return sessions.Count{Value: n, Known: true} }

// someSessions returns values of a, which has only sessions, and of b. There are none of c.
func someSessions() *sessions.Values {
	return sessions.NewValues(map[string]sessions.InUse{
		"a": {Sessions: known(12.5)}, "b": {Sessions: known(0), Active: known(3)}, "x": {Sessions: known(1)},
	})
}

const (
	seriesOfA = `css_vpcep_connection_sessions{cluster_id="c1",cluster_name="search",connection_id="a",project_id="p1",` +
		`region="cn-north-4"} 12.5`
	seriesOfB = `css_vpcep_connection_sessions{cluster_id="c1",cluster_name="search",connection_id="b",project_id="p1",` +
		`region="cn-north-4"} 0`
	activeOfB = `css_vpcep_connection_active_sessions{cluster_id="c1",cluster_name="search",connection_id="b",` +
		`project_id="p1",region="cn-north-4"} 3`
)

func TestSessionsAreShownWithTheList(t *testing.T) {
	all := Options{Connections: true, MaxConnections: 3}
	for name, test := range map[string]struct {
		outcome Outcome
		options Options
		want    []string
	}{
		"list":                 {Outcome{List: threeConnections()}, all, []string{seriesOfA, seriesOfB, activeOfB}},
		"older list":           {Outcome{List: threeConnections(), Err: serverError()}, all, []string{seriesOfA, seriesOfB, activeOfB}},
		"no list":              {Outcome{Err: serverError()}, all, nil},
		"service off":          {Outcome{List: &css.ConnectionList{}}, all, nil},
		"no connections":       {Outcome{List: threeConnections()}, Options{MaxConnections: 3}, nil},
		"too many connections": {Outcome{List: threeConnections()}, Options{Connections: true, MaxConnections: 2}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.outcome.Target = newTarget()
			test.outcome.Target.Sessions = &fixedSessions{someSessions()}
			text := exposition(t, newCollector([]Outcome{test.outcome}, test.options))
			for _, line := range test.want {
				if !strings.Contains(text, line+"\n") {
					t.Errorf("missing line: %s", line)
				}
			}
			got := strings.Count(text, "\ncss_vpcep_connection_sessions{") +
				strings.Count(text, "\ncss_vpcep_connection_active_sessions{")
			if got != len(test.want) {
				t.Errorf("got %d series of sessions, want %d:\n%s", got, len(test.want), text)
			}
		})
	}
}

// TestSessionsAreCachedApartFromTheList shows that new values make no other metrics again.
func TestSessionsAreCachedApartFromTheList(t *testing.T) {
	const name, other = "css_vpcep_connection_sessions", "css_vpcep_connection_info"
	f := &fixedSessions{someSessions()}
	o := Outcome{Target: newTarget(), List: threeConnections()}
	o.Target.Sessions = f
	c := newCollector([]Outcome{o}, Options{Connections: true, MaxConnections: 3})
	before := metricsByName(c)
	if same := metricsByName(c); !slices.Equal(before[name], same[name]) {
		t.Error("unchanged values are made again")
	}
	f.values = sessions.NewValues(map[string]sessions.InUse{"c": {Sessions: known(7)}})
	after := metricsByName(c)
	if len(after[name]) != 1 || after[name][0].GetGauge().GetValue() != 7 {
		t.Errorf("got %v, want the new value alone", after[name])
	}
	if !slices.Equal(before[other], after[other]) {
		t.Error("the list's metrics are made again")
	}
	if before[name][0].GetGauge().GetValue() != 12.5 {
		t.Error("metrics of an earlier scrape have changed")
	}
	f.values = nil
	if n := len(metricsByName(c)[name]); n != 0 {
		t.Errorf("without values, got %d series", n)
	}
}

func TestConnectionIDs(t *testing.T) {
	list := threeConnections()
	list.Connections = append(list.Connections, css.Connection{ID: ""}, css.Connection{ID: "a"})
	for name, test := range map[string]struct {
		list    *css.ConnectionList
		options Options
		want    []string
	}{
		"shown":    {list, Options{Connections: true, MaxConnections: 5}, []string{"a", "b", "c"}},
		"too many": {list, Options{Connections: true, MaxConnections: 4}, nil},
		"off":      {list, Options{MaxConnections: 5}, nil},
		"no list":  {nil, Options{Connections: true, MaxConnections: 5}, nil},
	} {
		if got := test.options.ConnectionIDs(test.list); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

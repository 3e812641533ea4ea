// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The metrics of a VPC endpoint that have values.
const (
	MetricSessions       = "vpcep_connections"
	MetricActiveSessions = "vpcep_act_connections"
)

const (
	maxQueryBody    = 512 << 10 // in bytes
	maxQueryMetrics = 500
	maxQueryValues  = 3000 // metrics × minutes
	queriesAMinute  = 500  // of a project
)

// CloudEye is how Cloud Eye answers the queries of a project. The zero value answers as the vendor documents.
type CloudEye struct {
	Denied      bool          // the permission ces:metricData:list is missing
	MaxMetrics  int           // of a query; default: 500
	Lag         time.Duration // minimum age of a value
	OmitEmpty   bool          // omit metrics without values, instead of sending them with empty datapoints
	OmitDetails bool          // omit what the OpenAPI document does not require: unit, namespace and dimensions
	Reverse     bool          // the order of metrics and of datapoints

	Average   func(value float64) JSON // default: a number
	Timestamp func(ms int64) JSON      // default: a number
}

// Metric is a metric of the endpoint of a connection.
type Metric struct{ Name, ConnectionID string }

// sessionsFunc returns the sessions of an endpoint at a time, or false if Cloud Eye has no value.
type sessionsFunc = func(time.Time) (sessions, active float64, ok bool)

// SetCloudEye sets how Cloud Eye answers the queries of a project.
func (s *Simulator) SetCloudEye(projectID string, c CloudEye) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cloudEyes[projectID] = c
}

// SetSessions sets the sessions of the endpoint of a connection, which has no values otherwise. Cloud Eye has one value
// a minute; if at returns false for a minute, that minute has none. A project sees no values of an endpoint that only
// other projects list. A nil function removes all values.
func (s *Simulator) SetSessions(connectionID string, at func(time.Time) (sessions, active float64, ok bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at == nil {
		delete(s.sessions, connectionID)
		return
	}
	s.sessions[connectionID] = at
}

// MetricQueries returns how often each metric was queried, including by queries that failed.
func (s *Simulator) MetricQueries() map[Metric]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.record.metrics)
}

// query is a query of metrics. It is invalid if mistake is not empty.
type query struct {
	metrics  []queriedMetric
	from, to time.Time
	mistake  string
}

type queriedMetric struct {
	namespace, name string
	dimensions      []dimension
}

type dimension struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// The patterns of the vendor's OpenAPI document. namePattern is that of metrics and of dimensions.
var (
	namespacePattern      = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*$`)
	namePattern           = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	dimensionValuePattern = regexp.MustCompile(`^[A-Za-z0-9*_/#()][A-Za-z0-9_\-./#()]*$`)
)

// parseQuery decodes no structs, for the same reason as parseLogin.
func parseQuery(body []byte) query {
	if len(body) > maxQueryBody {
		return query{mistake: "the body is larger than 512 KB"}
	}
	var v any
	if json.Unmarshal(body, &v) != nil {
		return query{mistake: "the body is not JSON"}
	}
	var q query
	items, _ := valueAt(v, "metrics").([]any)
	if len(items) == 0 {
		return query{mistake: "[metrics]"}
	}
	for _, item := range items {
		m, ok := parseQueriedMetric(item)
		if !ok {
			return query{mistake: "[metrics]"}
		}
		q.metrics = append(q.metrics, m)
	}
	from, ok1 := milliseconds1970(valueAt(v, "from"))
	to, ok2 := milliseconds1970(valueAt(v, "to"))
	q.from, q.to = from, to
	switch period, filter := textAt(v, "period"), textAt(v, "filter"); {
	case !ok1 || !ok2 || !from.Before(to):
		q.mistake = "[from, to]"
	case !slices.Contains([]string{"1", "60", "300", "1200", "3600", "14400", "86400"}, period):
		q.mistake = "[period]"
	case !slices.Contains([]string{"average", "max", "min", "sum", "variance"}, filter):
		q.mistake = "[filter]"
	case period != "1" || filter != "average":
		q.mistake = "the simulator knows only period 1 with filter average"
	}
	return q
}

func parseQueriedMetric(v any) (queriedMetric, bool) {
	m := queriedMetric{namespace: textAt(v, "namespace"), name: textAt(v, "metric_name")}
	dimensions, _ := valueAt(v, "dimensions").([]any)
	for _, x := range dimensions {
		d := dimension{textAt(x, "name"), textAt(x, "value")}
		if len(d.Name) > 32 || len(d.Value) > 256 ||
			!namePattern.MatchString(d.Name) || !dimensionValuePattern.MatchString(d.Value) {
			return m, false
		}
		m.dimensions = append(m.dimensions, d)
	}
	return m, 1 <= len(m.dimensions) && len(m.dimensions) <= 4 && len(m.namespace) <= 32 && len(m.name) <= 96 &&
		namespacePattern.MatchString(m.namespace) && namePattern.MatchString(m.name)
}

// milliseconds1970 does not check the documented minimum, which is in 2005, because synctest's time starts in 2000.
func milliseconds1970(v any) (time.Time, bool) {
	n, ok := v.(float64)
	return time.UnixMilli(int64(n)).UTC(), ok && n == math.Trunc(n) && n > 0 && n <= 9999999999999
}

// connectionID returns "" for a metric that no VPC endpoint has.
func (m queriedMetric) connectionID() string {
	known := m.namespace == "SYS.VPCEP" && (m.name == MetricSessions || m.name == MetricActiveSessions)
	if !known || len(m.dimensions) != 1 || m.dimensions[0].Name != "ep_instance_id" {
		return ""
	}
	return m.dimensions[0].Value
}

// moveFrom returns the start of the range, which Cloud Eye moves without saying so if there would be too many values.
func (q query) moveFrom() (from time.Time, moved bool) {
	earliest := q.to.Add(-maxQueryValues * time.Minute / time.Duration(len(q.metrics)))
	if q.from.Before(earliest) {
		return earliest, true
	}
	return q.from, false
}

func (s *Simulator) recordQuery(rec *Request, q query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.Metrics = len(q.metrics)
	if len(q.metrics) > 0 {
		_, rec.FromMoved = q.moveFrom()
	}
	for _, m := range q.metrics {
		if id := m.connectionID(); id != "" {
			s.record.metrics[Metric{m.name, id}]++
		}
	}
}

type metricBody struct {
	Namespace  string      `json:"namespace,omitempty"`
	Name       string      `json:"metric_name"`
	Unit       string      `json:"unit,omitempty"`
	Dimensions []dimension `json:"dimensions,omitempty"`
	Datapoints JSON        `json:"datapoints"`
}

// queryMetrics answers POST /V1.0/{project_id}/batch-query-metric-data.
func (s *Simulator) queryMetrics(projectID string, q query, fault Fault) response {
	s.mu.Lock()
	eye := s.cloudEyes[projectID]
	endpoints := s.visibleEndpoints(projectID, q)
	s.mu.Unlock()

	maximum := eye.MaxMetrics
	if maximum <= 0 {
		maximum = maxQueryMetrics
	}
	if len(q.metrics) > maximum && q.mistake == "" {
		q.mistake = fmt.Sprintf("[metrics] has more than %d elements", maximum)
	}
	switch {
	case eye.Denied:
		// The vendor's example has strings here, and no code of Cloud Eye.
		return cloudEyeError(http.StatusForbidden, Text("403"), "403",
			"Policy doesn't allow [ces:metricData:list] to be performed")
	case q.mistake != "":
		return cloudEyeError(http.StatusBadRequest, "400", "ces.0014",
			"Some content in message body is not correct, error message: "+q.mistake)
	}
	bodies := make([]metricBody, 0, len(q.metrics))
	from, _ := q.moveFrom()
	for _, m := range q.metrics {
		points := eye.datapoints(m.name, endpoints[m.connectionID()], from, q.to, s.opts.Now().Add(-eye.Lag))
		if eye.OmitEmpty && len(points) == 0 {
			continue
		}
		body := metricBody{m.namespace, m.name, "Count", m.dimensions, JSON("[" + strings.Join(points, ",") + "]")}
		if eye.OmitDetails {
			body = metricBody{Name: m.name, Datapoints: body.Datapoints}
		}
		bodies = append(bodies, body)
	}
	if eye.Reverse {
		slices.Reverse(bodies)
	}
	start, end := fault.page(len(bodies), 0, len(bodies), 0)
	return jsonResponse(http.StatusOK, struct {
		Metrics []metricBody `json:"metrics"`
	}{repeatFirst(fault, bodies[start:end])})
}

// visibleEndpoints returns the queried endpoints with values that the project sees. The caller holds s.mu.
func (s *Simulator) visibleEndpoints(projectID string, q query) map[string]sessionsFunc {
	visible := make(map[string]sessionsFunc)
	for _, m := range q.metrics {
		if at := s.sessions[m.connectionID()]; at != nil {
			visible[m.connectionID()] = at
		}
	}
	remaining := make(map[string]bool, len(visible)) // whether another project lists them
	for id := range visible {
		remaining[id] = false
	}
	for _, p := range s.projects {
		for _, c := range p.clusters {
			for i := range c.Connections {
				id := c.Connections[i].ID
				if _, ok := remaining[id]; !ok {
					continue
				}
				remaining[id] = true
				if p.ID == projectID {
					delete(remaining, id)
				}
			}
			if len(remaining) == 0 {
				return visible
			}
		}
	}
	for id, elsewhere := range remaining {
		if elsewhere {
			delete(visible, id)
		}
	}
	return visible
}

// datapoints returns the values of whole minutes, oldest first.
func (c CloudEye) datapoints(metric string, at sessionsFunc, from, to, newest time.Time) []string {
	if at == nil {
		return nil
	}
	var points []string
	t := from.Truncate(time.Minute)
	if t.Before(from) {
		t = t.Add(time.Minute)
	}
	for ; !t.After(to) && !t.After(newest); t = t.Add(time.Minute) {
		sessions, active, ok := at(t)
		if !ok {
			continue
		}
		if metric == MetricActiveSessions {
			sessions = active
		}
		average, timestamp := decimal(sessions), JSON(strconv.FormatInt(t.UnixMilli(), 10))
		if c.Average != nil {
			average = c.Average(sessions)
		}
		if c.Timestamp != nil {
			timestamp = c.Timestamp(t.UnixMilli())
		}
		points = append(points, `{"average":`+string(average)+`,"timestamp":`+string(timestamp)+`}`)
	}
	if c.Reverse {
		slices.Reverse(points)
	}
	return points
}

// decimal returns a number that always has a fraction, as in the vendor's example.
func decimal(v float64) JSON {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return JSON(text)
}

func cloudEyeError(status int, httpCode JSON, code, details string) response {
	type message struct {
		Details string `json:"details"`
		Code    string `json:"code"`
	}
	return jsonResponse(status, struct {
		HTTPCode JSON    `json:"http_code"`
		Message  message `json:"message"`
	}{httpCode, message{details, code}})
}

func cloudEyeThrottled() response {
	return cloudEyeError(http.StatusTooManyRequests, "429", "ces.0429", "Too Many Requests")
}

// SPDX-License-Identifier: Apache-2.0

// Package ces reads the sessions of VPC endpoints from Cloud Eye. It touches only the network, through a cloud.Client.
package ces

import (
	"bytes"
	"context"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/cloud"
)

// OpSessions is the operation of Query.
const OpSessions = "sessions"

// MaxAge is the age at which a value is too old to be shown.
const MaxAge = 10 * time.Minute

// Limits of a query.
const (
	MaxMetrics    = 500
	maxDatapoints = 3000 // above this, the API silently looks at less time
	maxIDLength   = 256
	metricBytes   = 160 // of a query, with an ID of 36 bytes
)

const (
	namespace = "SYS.VPCEP"
	dimension = "ep_instance_id"
)

// Kind says what a value counts.
type Kind uint8

// The kinds. Kinds is their number.
const (
	Sessions       Kind = iota // vpcep_connections
	ActiveSessions             // vpcep_act_connections
	Kinds
)

func (k Kind) metricName() string {
	if k == Sessions {
		return "vpcep_connections"
	}
	return "vpcep_act_connections"
}

// Metric is what is asked for.
type Metric struct {
	Kind       Kind
	EndpointID string
}

// MetricsOf returns both metrics of each endpoint, in order.
func MetricsOf(endpointIDs []string) []Metric {
	metrics := make([]Metric, 0, len(endpointIDs)*int(Kinds))
	for _, id := range endpointIDs {
		for kind := range Kinds {
			metrics = append(metrics, Metric{Kind: kind, EndpointID: id})
		}
	}
	return metrics
}

// Value is the newest value of a metric, at most MaxAge old. Without one, At is zero.
type Value struct {
	Value float64
	At    time.Time
}

// Client reads one project. It is safe for concurrent use.
type Client struct {
	cloud    *cloud.Client
	endpoint string
	project  Project
	count    func(unparsable map[string]int)
	buffers  sync.Pool // of *bytes.Buffer
}

// Project knows the ID of a project.
type Project interface {
	KnownID() string // "" if not known yet
}

// NewClient returns a Client. The endpoint is a scheme and a host. After each response, count is called with the number of
// values that could not be parsed, by field.
func NewClient(client *cloud.Client, endpoint string, project Project, count func(unparsable map[string]int)) *Client {
	return &Client{
		cloud: client, endpoint: endpoint, project: project, count: count,
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// Close closes connections as soon as they are idle. Calls in flight complete.
func (c *Client) Close() { c.cloud.Close() }

// KnownProjectID returns the project's ID, or "" if it is not known yet.
func (c *Client) KnownProjectID() string { return c.project.KnownID() }

// Query returns the newest value of each of 1 to MaxMetrics metrics, in their order
// (POST /V1.0/{project_id}/batch-query-metric-data), and when it was sent, which is zero if it was not. The IDs must be
// Askable. With spare, it delays no other request of the project. Errors are of the type *cloud.Error.
func (c *Client) Query(ctx context.Context, metrics []Metric, spare bool) (values []Value, sent time.Time, err error) {
	var connected atomic.Pointer[time.Time] // a connection may be ready only after ctx has ended
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(new(time.Now())) },
	})
	id := c.project.KnownID()
	r := cloud.Request{
		Service: service{len(metrics), spare}, Operation: OpSessions, Endpoint: c.endpoint, ProjectID: id,
		Path: []string{"V1.0", id, "batch-query-metric-data"}, Spare: spare,
	}
	if err := c.cloud.Reserve(ctx, r); err != nil {
		return nil, time.Time{}, err
	}
	buffer, _ := c.buffers.Get().(*bytes.Buffer)
	defer c.buffers.Put(buffer)
	r.Reserved, r.Buffer, r.Body = true, buffer, requestBody(metrics, time.Now())
	response, err := c.cloud.Call(ctx, r)
	if at := connected.Load(); at != nil {
		sent = *at
	}
	if err != nil {
		return nil, sent, err
	}
	values, unparsable, err := parse(response.Body, metrics, time.Now())
	if err != nil {
		e := cloud.NewDecodeError(OpSessions, err.Error())
		return nil, sent, e.WithHint(r.Service.Hint(e))
	}
	c.count(unparsable)
	return values, sent, nil
}

// Askable reports whether an ID may be sent: Cloud Eye rejects a query with an ID that it takes for invalid. With this
// length, a query of MaxMetrics has less than the 512 KB that Cloud Eye accepts.
func Askable(endpointID string) bool {
	for i := range len(endpointID) {
		c := endpointID[i]
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("_/#()", c) >= 0:
		case i == 0 && c != '*', i > 0 && c != '-' && c != '.':
			return false
		}
	}
	return 1 <= len(endpointID) && len(endpointID) <= maxIDLength
}

// requestBody asks for as many minutes as Cloud Eye answers for that many metrics, because the newest value may be
// missing for some.
func requestBody(metrics []Metric, now time.Time) []byte {
	minutes := min(int(MaxAge/time.Minute), maxDatapoints/max(len(metrics), 1))
	b := make([]byte, 0, len(metrics)*metricBytes)
	b = append(b, `{"metrics":[`...)
	for i, m := range metrics {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"namespace":"`+namespace+`","metric_name":"`...)
		b = append(b, m.Kind.metricName()...)
		b = append(b, `","dimensions":[{"name":"`+dimension+`","value":"`...)
		b = append(b, m.EndpointID...) // Askable
		b = append(b, `"}]}`...)
	}
	b = append(b, `],"period":"1","filter":"average","from":`...)
	b = strconv.AppendInt(b, now.Add(-time.Duration(minutes)*time.Minute).UnixMilli(), 10)
	b = append(b, `,"to":`...)
	b = strconv.AppendInt(b, now.UnixMilli(), 10)
	return append(b, '}')
}

type service struct {
	metrics int  // in the call
	spare   bool // as in cloud.Request
}

func (s service) Hint(e *cloud.Error) string {
	switch e.Reason {
	case cloud.ReasonDenied:
		return "allow ces:metricData:list, or remove sessions from the project"
	case cloud.ReasonInvalid:
		if e.Status == 400 && s.metrics > 10 {
			return "some clouds allow fewer metrics in a call: lower sessions.batch_size, for example to 10"
		}
	case cloud.ReasonNotFound:
		return "check sessions.endpoint and project_id"
	case cloud.ReasonThrottled:
		return "Cloud Eye limits the calls of an account, which other programs share; the exporter backs off"
	case cloud.ReasonTimeout:
		switch {
		case e.Sent:
			return "check for a slow network or proxy between this machine and sessions.endpoint"
		case s.spare: // not within a scrape's timeout
			return "raise requests_per_second if scrapes use all of it, or fix what keeps clusters from being read"
		}
		return "raise --scrape.timeout or requests_per_second"
	case cloud.ReasonDecode:
		return "the response is not from Cloud Eye: check sessions.endpoint and proxy"
	}
	return ""
}

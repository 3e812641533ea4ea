// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"context"
	"fmt"
	"slices"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/diagnose/apifacts"
	"css_vpcep_exporter/internal/diagnose/report"
)

// maxAsked is the number of connections whose sessions are read. They have more than the 10 metrics that some clouds allow
// in a call.
const maxAsked = 10

// requestsForSessions are those to find out how far a request gets, and to read sessions.
const requestsForSessions = 2

// Sessions is what reads the sessions in use of a project.
type Sessions struct {
	Endpoint  string
	BatchSize int // metrics in a call
	Client    *ces.Client
}

// readSessions reads the sessions of a few of the connections that were read.
func (s *session) readSessions(ctx context.Context) report.Finding {
	f := &s.sessions
	if s.p.Sessions == nil {
		return report.Skippedf("%s", f.Result)
	}
	ids := s.askable()
	why := s.blockedFor(s.ces())
	switch {
	case why != "":
	case s.rejects():
		why = "the API rejects the credentials"
	case len(ids) == 0:
		why = "no connection was read"
	}
	if why != "" {
		f.Skip(why)
		return report.Skippedf("%s", why)
	}
	metrics := ces.MetricsOf(ids)
	metrics = metrics[:min(len(metrics), f.BatchSize)] // of one call
	var values []ces.Value
	start := time.Now()
	err := s.call(ctx, func(ctx context.Context) (err error) {
		start = time.Now()
		values, _, err = s.p.Sessions.Client.Query(ctx, metrics, false)
		return err
	})
	took := time.Since(start)
	if err != nil {
		s.sessionsErr = err
		if ctx.Err() != nil {
			f.Skip("interrupted")
		} else {
			f.Fail(err)
		}
		return s.stop(err)
	}
	f.Result = "HTTP 200"
	asked, found := make(map[string]bool), make(map[string]bool)
	var newest time.Time
	for i, v := range values {
		id := metrics[i].EndpointID
		asked[id] = true
		if !v.At.IsZero() {
			found[id] = true
		}
		if v.At.After(newest) {
			newest = v.At
		}
	}
	f.Asked, f.Found, f.Age = len(asked), len(found), time.Since(newest)
	return judgeSessions(f, len(metrics), took)
}

func judgeSessions(f *apifacts.Sessions, metrics int, took time.Duration) report.Finding {
	text := fmt.Sprintf("Cloud Eye has values for %d of %s", f.Found, report.Count(f.Asked, "connection", "connections"))
	if f.Found > 0 {
		text += fmt.Sprintf(", the newest of %s ago", f.Age.Round(time.Second))
	} else {
		text += "; docs/metrics.md says why it may have none"
	}
	return report.OKf("%s; asked for %s in one request (batch_size %d), in %s", text,
		report.Count(metrics, "metric", "metrics"), f.BatchSize, report.Took(took))
}

// askable returns the IDs of connections that were read, accepted ones first.
func (s *session) askable() (ids []string) {
	var others []string
	seen := make(map[string]bool)
	for _, r := range s.readings {
		for i := range r.connections {
			c := &r.connections[i]
			switch {
			case !ces.Askable(c.ID) || seen[c.ID]:
			case c.KnownStatus() == css.StatusAccepted:
				ids = append(ids, c.ID)
			default:
				others = append(others, c.ID)
			}
			seen[c.ID] = true
		}
	}
	ids = append(ids, others...)
	return ids[:min(len(ids), maxAsked)]
}

// rejects reports whether a request has shown that the credentials are rejected.
func (s *session) rejects() bool {
	return slices.ContainsFunc(s.errors(), func(err error) bool {
		return err != nil && cloud.ReasonOf(err) == cloud.ReasonAuth
	})
}

// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Endpoint is an API call.
type Endpoint string

// The endpoints.
const (
	Connections    Endpoint = "connections"      // CSS
	Clusters       Endpoint = "clusters"         // CSS
	Projects       Endpoint = "projects"         // IAM
	AccountList    Endpoint = "account-list"     // IAM: all projects of the caller's account
	Tokens         Endpoint = "tokens"           // IAM: logins
	AgencyByIAM    Endpoint = "agency-by-iam"    // IAM: temporary keys of an AccountAgency
	AgencyBySTS    Endpoint = "agency-by-sts"    // STS: the same
	MetadataToken  Endpoint = "metadata-token"   // ECS: token for SecurityKey
	SecurityKey    Endpoint = "security-key"     // ECS: temporary keys
	PodCredentials Endpoint = "pod-credentials"  // CCE: temporary keys
	AssumeWithOIDC Endpoint = "assume-with-oidc" // STS: ID token for temporary keys
	IDTokens       Endpoint = "id-tokens"        // IAM: ID token for a token
	SecurityTokens Endpoint = "security-tokens"  // IAM: token for temporary keys
	Sessions       Endpoint = "sessions"         // Cloud Eye: values of many metrics
	Unknown        Endpoint = "unknown"          // any other path or method

	// WholeProject means all endpoints of a project, in SetThrottle only.
	WholeProject Endpoint = "project"
)

// Target is an endpoint and the ID of a cluster (Connections) or project (Clusters, Sessions), or the region
// (Projects). An empty ID matches all.
type Target struct {
	Endpoint Endpoint
	ID       string
}

// Request is a recorded request.
type Request struct {
	Target
	ProjectID string
	Method    string
	Proto     string
	Path      string      // escaped
	Query     string      // raw
	Header    http.Header // without secrets
	AccessKey string      // empty until verified
	User      string      // domain/name
	Proxied   bool        // sent by a proxy or meant for one
	RequestID string
	Status    int // 0 without a response
	Start     time.Time
	Duration  time.Duration
	InFlight  bool
	Cancelled bool // the client disconnected before the end of the response

	Metrics   int  // number of metrics in a query of Sessions
	FromMoved bool // the query was for more values than Cloud Eye returns
}

// errClosing distinguishes Server.Close from a client's disconnect.
var errClosing = errors.New("simulator: server is closing")

type recorder struct {
	keep      int
	log       []*Request
	counts    map[Target]int
	metrics   map[Metric]int
	total     uint64
	inFlight  int
	peak      int
	cancelled int
}

// Requests returns copies of the recorded requests, oldest first.
func (s *Simulator) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.record.log))
	for i, r := range s.record.log {
		out[i] = *r
		out[i].Header = r.Header.Clone()
	}
	return out
}

// Count returns the number of requests for a target, including rejected ones.
func (s *Simulator) Count(t Target) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.ID != "" {
		return s.record.counts[t]
	}
	n := 0
	for k, v := range s.record.counts {
		if k.Endpoint == t.Endpoint {
			n += v
		}
	}
	return n
}

// InFlight returns the number of requests in flight.
func (s *Simulator) InFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.inFlight
}

// PeakInFlight returns the maximum number of requests in flight.
func (s *Simulator) PeakInFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.peak
}

// Cancelled returns the number of requests that clients cancelled.
func (s *Simulator) Cancelled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.cancelled
}

// ForgetRequests clears all records and counters except InFlight.
func (s *Simulator) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.log = nil
	clear(s.record.counts)
	clear(s.record.metrics)
	s.record.cancelled = 0
	s.record.peak = s.record.inFlight
}

func secretHeaders() []string {
	return []string{
		"Authorization", "X-Security-Token", "X-Auth-Token", "X-Metadata-Token", "X-Subject-Token",
		"Proxy-Authorization", "Cookie",
	}
}

// proxied detects requests meant for a proxy by their absolute URLs.
func proxied(r *http.Request) bool {
	for name := range r.Header {
		if name == "X-Forwarded-For" || name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "Proxy-") {
			return true
		}
	}
	return r.RequestURI != "" && r.URL.IsAbs()
}

func (s *Simulator) recordStart(r *http.Request, route route) *Request {
	header := r.Header.Clone()
	for _, name := range secretHeaders() {
		if len(header.Values(name)) > 0 {
			header.Set(name, "<secret>")
		}
	}
	rec := &Request{
		Target: route.target, ProjectID: route.projectID,
		Method: r.Method, Proto: r.Proto, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: header,
		Proxied: proxied(r),
		Start:   s.opts.Now(), InFlight: true,
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.total++
	rec.RequestID = fmt.Sprintf("%08x%024x", s.opts.Seed&0xffffffff, s.record.total)
	s.record.counts[route.target]++
	s.record.inFlight++
	s.record.peak = max(s.record.peak, s.record.inFlight)
	if len(s.record.log) >= s.record.keep {
		s.record.log = slices.Delete(s.record.log, 0, len(s.record.log)-s.record.keep+1)
	}
	s.record.log = append(s.record.log, rec)
	return rec
}

func (s *Simulator) recordEnd(ctx context.Context, rec *Request) {
	disconnected := ctx.Err() != nil && !errors.Is(context.Cause(ctx), errClosing)
	now := s.opts.Now()

	s.mu.Lock()
	defer s.mu.Unlock()
	rec.InFlight = false
	rec.Duration = now.Sub(rec.Start)
	s.record.inFlight--
	if disconnected || rec.Cancelled {
		rec.Cancelled = true
		s.record.cancelled++
	}
}

func (s *Simulator) updateRecord(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

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

// Endpoint is one of the calls that the simulator answers.
type Endpoint string

// The endpoints.
const (
	Connections    Endpoint = "connections"     // of one cluster
	Clusters       Endpoint = "clusters"        // of one project
	Projects       Endpoint = "projects"        // IAM's project list
	Tokens         Endpoint = "tokens"          // IAM's logins
	MetadataToken  Endpoint = "metadata-token"  // ECS: what SecurityKey wants
	SecurityKey    Endpoint = "security-key"    // ECS: the agency's temporary keys
	PodCredentials Endpoint = "pod-credentials" // CCE: the pod identity's
	Unknown        Endpoint = "unknown"         // any other path or method

	// WholeProject stands for all endpoints of one project, in SetThrottle.
	WholeProject Endpoint = "project"
)

// Target is an endpoint and what it is asked about: the cluster id for
// Connections, the project id for Clusters, the region for Projects, nothing
// for the others. An empty ID stands for all of that endpoint.
type Target struct {
	Endpoint Endpoint
	ID       string
}

// Request is what the simulator remembers of a request.
type Request struct {
	Target
	ProjectID string // from the path
	Method    string
	Proto     string // "HTTP/1.1", "HTTP/2.0"
	Path      string // escaped, as it came
	Query     string // raw
	// Header is as it came, but for the values that are secret: see
	// secretHeaders. Bodies are not remembered.
	Header    http.Header
	AccessKey string // once the signature was found good
	User      string // "domain/name", once the token or the password was
	Proxied   bool   // it came through a proxy, or was written for one
	RequestID string
	Status    int // 0 while in flight, or if no answer was sent
	Start     time.Time
	Duration  time.Duration // 0 while in flight
	InFlight  bool
	Cancelled bool // the client went away before its answer was complete
}

// errClosing is why requests end when a Server is closed; it is no
// cancellation by a client.
var errClosing = errors.New("simulator: server is closing")

type recorder struct {
	keep      int
	log       []*Request
	counts    map[Target]int
	total     uint64
	inFlight  int
	peak      int
	cancelled int
}

// Requests returns the newest requests, oldest first, at most
// Options.KeepRequests of them.
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

// Count is how many requests came for a target, in flight ones and refused
// ones included.
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

// InFlight is how many requests are being answered now.
func (s *Simulator) InFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.inFlight
}

// PeakInFlight is the most requests that were in flight at once.
func (s *Simulator) PeakInFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.peak
}

// Cancelled is how many requests the client gave up.
func (s *Simulator) Cancelled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.cancelled
}

// ForgetRequests starts the record afresh. Requests in flight stay counted as
// such, but are no longer listed.
func (s *Simulator) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.log = nil
	clear(s.record.counts)
	s.record.cancelled = 0
	s.record.peak = s.record.inFlight
}

// secretHeaders are the headers whose values the record leaves out.
func secretHeaders() []string {
	return []string{
		"Authorization", "X-Security-Token", "X-Auth-Token", "X-Metadata-Token", "X-Subject-Token",
		"Proxy-Authorization", "Cookie",
	}
}

// proxied says whether a request tells of a proxy: in its headers, or by an
// address with a host, which is how clients ask a proxy and nobody else.
func proxied(r *http.Request) bool {
	for name := range r.Header {
		if name == "X-Forwarded-For" || name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "Proxy-") {
			return true
		}
	}
	return r.RequestURI != "" && r.URL.IsAbs()
}

// begin records a request that has just come.
func (s *Simulator) begin(r *http.Request, route route) *Request {
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

// end records how a request ended.
func (s *Simulator) end(ctx context.Context, rec *Request) {
	gone := ctx.Err() != nil && !errors.Is(context.Cause(ctx), errClosing)
	now := s.opts.Now()

	s.mu.Lock()
	defer s.mu.Unlock()
	rec.InFlight = false
	rec.Duration = now.Sub(rec.Start)
	s.record.inFlight--
	if gone || rec.Cancelled {
		rec.Cancelled = true
		s.record.cancelled++
	}
}

// note changes a record under the lock that its readers take.
func (s *Simulator) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

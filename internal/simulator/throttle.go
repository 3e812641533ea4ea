// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"time"
)

// Throttle is a rate limit of the gateway. A window opens at the first request, and at the first after its end.
type Throttle struct {
	Limit      int           // requests per window
	Window     time.Duration // must be positive unless Limit is 0
	RetryAfter string        // omitted if empty
}

type window struct {
	Throttle
	opened  time.Time
	allowed int
}

// SetThrottle limits a target or WholeProject. Rejected requests do not count, and no Fault applies to throttled ones.
// Without it, a project has 500 requests a minute for Sessions, as documented.
func (s *Simulator) SetThrottle(t Target, limit Throttle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttles[t] = &window{Throttle: limit}
}

// RemoveThrottle undoes SetThrottle.
func (s *Simulator) RemoveThrottle(t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.throttles, t)
}

func (s *Simulator) throttle(route route, requestID string) *response {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if route.target.Endpoint == Sessions && s.throttles[route.target] == nil {
		s.throttles[route.target] = &window{Throttle: Throttle{Limit: queriesAMinute, Window: time.Minute}}
	}
	for _, t := range []Target{route.target, {Endpoint: route.target.Endpoint}, {WholeProject, route.projectID}} {
		w := s.throttles[t]
		if w == nil || w.allow(now) {
			continue
		}
		exceeded := rejection{http.StatusTooManyRequests, "APIGW.0308", "The throttling threshold has been reached."}
		resp := gatewayError(&exceeded, requestID)
		if t.Endpoint == Sessions {
			*resp = cloudEyeThrottled()
		}
		if w.RetryAfter != "" {
			resp.header.Set("Retry-After", w.RetryAfter)
		}
		return resp
	}
	return nil
}

func (w *window) allow(now time.Time) bool {
	if w.opened.IsZero() || now.Sub(w.opened) >= w.Window {
		w.opened, w.allowed = now, 0
	}
	if w.allowed >= w.Limit {
		return false
	}
	w.allowed++
	return true
}

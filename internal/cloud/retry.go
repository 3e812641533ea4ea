// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// Retry configures retries, after 502, 503, 504, broken connections and, once the back-off has passed, 429.
type Retry struct {
	Tries int           // including the first
	Base  time.Duration // before the second try; doubles, with jitter
	Limit time.Duration // unless the server asks for more
}

// DefaultRetry returns waits that fit into a scrape.
func DefaultRetry() Retry {
	return Retry{Tries: 4, Base: 200 * time.Millisecond, Limit: 2 * time.Second}
}

// after returns how long to wait before a retry, if any.
func (p Retry) after(ctx context.Context, try int, err error) (time.Duration, bool) {
	var e *Error
	if !errors.As(err, &e) || try >= p.Tries || ctx.Err() != nil {
		return 0, false
	}
	wait := min(p.Base<<(try-1), p.Limit)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter needs no secret randomness
	var asked time.Duration
	if e.retryAfter != nil {
		asked = *e.retryAfter
	}
	switch e.Status {
	case http.StatusTooManyRequests:
		wait = asked
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		wait = max(wait, asked)
	default:
		if !e.broken {
			return 0, false
		}
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return 0, false
	}
	return wait, true
}

// Sleep waits for d. It reports false if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

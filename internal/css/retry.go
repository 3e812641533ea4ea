// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// Retry says how requests are retried: after 502, 503, 504 and broken connections, and after a 429 once its back-off has
// passed; never after an answer that would be given again.
type Retry struct {
	Tries int           // at most, the first one included
	Base  time.Duration // the wait before the second try, doubled for each further one, and jittered
	Limit time.Duration // of one wait, unless the server asks for more
}

// DefaultRetry returns waits that are short enough for a scrape's deadline and long enough for a gateway to recover.
func DefaultRetry() Retry {
	return Retry{Tries: 4, Base: 200 * time.Millisecond, Limit: 2 * time.Second}
}

// after returns how long to wait after the given try failed, and whether another one is worth it before ctx's deadline.
func (p Retry) after(ctx context.Context, try int, err error) (time.Duration, bool) {
	var e *Error
	if !errors.As(err, &e) || try >= p.Tries || ctx.Err() != nil {
		return 0, false
	}
	wait := min(p.Base<<(try-1), p.Limit)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter needs no secret randomness
	switch e.Status {
	case http.StatusTooManyRequests:
		wait = e.retryAfter.Value // as throttle has it
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		wait = max(wait, e.retryAfter.Value)
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

// Sleep waits for d, and reports whether ctx has not ended meanwhile.
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

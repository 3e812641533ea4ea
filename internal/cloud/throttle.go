// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"maps"
	"sync"
	"time"
)

const (
	shortestRetryAfter = time.Second
	longestRetryAfter  = 15 * time.Minute
	longestBackOff     = time.Minute // without Retry-After; doubles from shortestRetryAfter
	maxThrottled       = 3           // targets in a row make the project suspected
)

// throttle backs off from throttled targets of a project. The gateway's limits are often those of the project: if one
// more request is throttled after three targets in a row, the whole project backs off.
type throttle struct {
	mu        sync.Mutex
	targets   map[throttled]*backOff
	row       map[throttled]struct{}
	suspected time.Time // when row reached maxThrottled
	project   backOff
}

type throttled struct{ operation, target string }

type backOff struct {
	until time.Time
	wait  time.Duration // without Retry-After
	cause *Error
}

func newThrottle() *throttle {
	return &throttle{targets: make(map[throttled]*backOff), row: make(map[throttled]struct{})}
}

// check returns an error with ReasonThrottled during a back-off.
func (t *throttle) check(r *Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	longest := t.project
	if b := t.targets[throttled{r.Operation, r.Target}]; b != nil && b.until.After(longest.until) {
		longest = *b
	}
	if !time.Now().Before(longest.until) {
		return nil
	}
	return &Error{
		Reason: ReasonThrottled, Operation: r.Operation, Code: longest.cause.Code, RequestID: longest.cause.RequestID,
		Message: "backing off until " + longest.until.UTC().Format(time.RFC3339) + " after HTTP 429",
	}
}

func (t *throttle) recordSuccess(r *Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.targets, throttled{r.Operation, r.Target})
	clear(t.row)
}

// recordThrottled records a 429 with its Retry-After, if any. It returns the back-off, and whether the project's next
// request should be a single try.
func (t *throttle) recordThrottled(r *Request, start time.Time, cause *Error) (wait time.Duration, suspected bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, target := time.Now(), throttled{r.Operation, r.Target}
	maps.DeleteFunc(t.targets, func(_ throttled, b *backOff) bool { return now.Sub(b.until) > time.Hour })
	b := t.targets[target]
	if b == nil {
		b = &backOff{}
		t.targets[target] = b
	}
	if after := cause.retryAfter; after != nil {
		wait = min(max(*after, shortestRetryAfter), longestRetryAfter)
	} else {
		b.wait = min(max(2*b.wait, shortestRetryAfter), longestBackOff)
		wait = b.wait
	}
	b.until, b.cause = now.Add(wait), cause
	before := len(t.row)
	t.row[target] = struct{}{}
	switch {
	case len(t.row) < maxThrottled:
		return wait, false
	case before < maxThrottled:
		t.suspected = now
	case start.After(t.suspected) && b.until.After(t.project.until):
		t.project = *b
	}
	return wait, true
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"maps"
	"sync"
	"time"
)

const (
	// A Retry-After is obeyed within these bounds.
	shortestRetryAfter = time.Second
	longestRetryAfter  = 15 * time.Minute
	// longestBackOff bounds the back-off from a target whose 429s have no Retry-After; it starts at shortestRetryAfter.
	longestBackOff = time.Minute
	maxThrottled   = 3 // targets in a row make the project suspect
)

// throttle remembers what the gateway throttled within one project: the connections of a cluster, the cluster list, a
// look-up. A target that got a 429 is not requested again until its Retry-After has passed. The limits of the gateway are
// often those of the project: after three throttled targets without a success in between the project is suspected, and if the
// next request is throttled as well, the whole project waits.
type throttle struct {
	mu        sync.Mutex
	targets   map[throttled]*backOff
	row       map[throttled]struct{} // targets throttled since the last success
	suspected time.Time              // when row became that long
	project   time.Time              // nothing is requested before
}

// throttled is what the gateway throttles on its own.
type throttled struct{ operation, target string }

// backOff is how long a target is not requested.
type backOff struct {
	until time.Time
	wait  time.Duration // the last one, if the gateway named none
}

func newThrottle() *throttle {
	return &throttle{targets: make(map[throttled]*backOff), row: make(map[throttled]struct{})}
}

// check returns an error with ReasonThrottled while r must not be sent.
func (t *throttle) check(r request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.project
	if b := t.targets[throttled{r.operation, r.target}]; b != nil && b.until.After(until) {
		until = b.until
	}
	if !time.Now().Before(until) {
		return nil
	}
	return &Error{
		Reason: ReasonThrottled, Operation: r.operation,
		Message: "backing off until " + until.UTC().Format(time.RFC3339) + " after HTTP 429",
	}
}

// recordSuccess forgets that r was throttled.
func (t *throttle) recordSuccess(r request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.targets, throttled{r.operation, r.target})
	clear(t.row)
}

// recordThrottled stores a 429 of a request that was sent at start. It returns how long it must not be sent again, and
// whether the project is suspected, so that its next request should be a single try. retryAfter is not set if the answer had
// no such header.
func (t *throttle) recordThrottled(r request, start time.Time, retryAfter Optional[time.Duration]) (wait time.Duration, suspected bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, target := time.Now(), throttled{r.operation, r.target}
	maps.DeleteFunc(t.targets, func(_ throttled, b *backOff) bool { return now.Sub(b.until) > time.Hour })
	b := t.targets[target]
	if b == nil {
		b = &backOff{}
		t.targets[target] = b
	}
	wait = min(max(retryAfter.Value, shortestRetryAfter), longestRetryAfter)
	if !retryAfter.Set {
		b.wait = min(max(2*b.wait, shortestRetryAfter), longestBackOff)
		wait = b.wait
	}
	b.until = now.Add(wait)
	before := len(t.row)
	t.row[target] = struct{}{}
	switch {
	case len(t.row) < maxThrottled:
		return wait, false
	case before < maxThrottled:
		t.suspected = now
	case start.After(t.suspected) && b.until.After(t.project):
		t.project = b.until
	}
	return wait, true
}

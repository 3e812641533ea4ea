// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// trustFor is how long an accepted request vouches for its key.
	trustFor = 3 * time.Second
	// tryPatience is how long other requests wait for a single try. The gateway rejects a key within milliseconds, so a
	// request without an answer after this time hangs behind it.
	tryPatience  = time.Second
	maxRefusals  = 3 // in a row pause a key; the cloud locks it after five
	firstPause   = time.Minute
	longestPause = 15 * time.Minute
	keyMemory    = 2 * time.Hour // of an unused key: temporary ones change every hour
	notSent      = -1            // the status of a request that was not sent after all
)

// Keys keeps the cloud from locking access keys, tokens and passwords. One Keys serves all clients of a process, because
// several projects may share a key.
//
// A burst of requests with one key starts with a single try; the others follow once it was accepted, or has had no answer for
// a second. After a refusal, requests are single tries again until one is accepted. The third refusal in a row pauses the key
// for a minute, doubling up to 15. The same holds within each project: one that is refused alone is paused alone.
type Keys struct {
	mu   sync.Mutex
	keys map[[sha256.Size]byte]*key
}

// NewKeys returns a Keys that has seen no key yet.
func NewKeys() *Keys { return &Keys{keys: make(map[[sha256.Size]byte]*key)} }

// key is what is known of one set of credentials.
type key struct {
	trust
	projects  map[string]*keyProject
	refusedAt time.Time
	proven    bool          // accepted at least once
	changed   chan struct{} // closed and replaced when a waiting request should look again
	usedAt    time.Time
}

// keyProject is the same within one project.
type keyProject struct {
	trust
	waiting int
}

// trust is whether requests may be sent concurrently.
type trust struct {
	acceptedAt time.Time // zero after a refusal
	try        *permit   // the single try under way, nil if there is none
	triesSince time.Time // when the first try without a verdict was sent

	refusals    int // in a row
	pause       time.Duration
	pausedUntil time.Time
	cause       *Error
}

// permit allows one request; release must be called with its outcome.
type permit struct {
	keys    *Keys
	key     *key
	project *keyProject
	start   time.Time
}

// acquire blocks until a request may be sent. Its error is an *Error: ReasonAuth while the key is paused, or ReasonTimeout.
func (k *Keys) acquire(ctx context.Context, operation, project string, c Credentials) (*permit, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, p := k.lookUp(c, project)
	for {
		now := time.Now()
		key.usedAt = now
		if err := key.paused(operation, p, now); err != nil {
			return nil, err
		}
		permit := &permit{keys: k, key: key, project: p, start: now}
		if p.open(now) {
			return permit, nil
		}
		if !p.trying(now) && key.allowsTry(p, now) {
			p.startTry(permit)
			if !key.open(now) {
				key.startTry(permit)
			}
			return permit, nil
		}
		if err := k.wait(ctx, key, p, now); err != nil {
			return nil, timeoutError(operation, "another request to verify the credentials", err)
		}
	}
}

// paused returns an error while requests with these credentials are not sent.
func (k *Keys) paused(operation, project string, c Credentials) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, p := k.lookUp(c, project)
	return key.paused(operation, p, time.Now())
}

// lost reports whether credentials that used to be accepted are paused: they have expired or were revoked.
func (k *Keys) lost(c Credentials) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.keys[c.fingerprint()]
	return key != nil && key.proven && time.Now().Before(key.pausedUntil)
}

func (k *Keys) lookUp(c Credentials, project string) (*key, *keyProject) {
	fingerprint := c.fingerprint()
	found := k.keys[fingerprint]
	if found == nil {
		for f, old := range k.keys {
			if time.Since(old.usedAt) > keyMemory {
				delete(k.keys, f)
			}
		}
		found = &key{projects: make(map[string]*keyProject), changed: make(chan struct{}), usedAt: time.Now()}
		k.keys[fingerprint] = found
	}
	p := found.projects[project]
	if p == nil {
		p = &keyProject{}
		found.projects[project] = p
	}
	return found, p
}

// open reports whether requests need no single try.
func (t *trust) open(now time.Time) bool {
	waited := now.Sub(t.triesSince)
	return now.Sub(t.acceptedAt) < trustFor || waited >= tryPatience && waited < tryPatience+trustFor
}

// trying reports whether a single try is under way that is still waited for.
func (t *trust) trying(now time.Time) bool {
	return t.try != nil && now.Sub(t.triesSince) < tryPatience+trustFor
}

// allowsTry reports whether a single try within p may start. Projects that were refused less often go first.
func (k *key) allowsTry(p *keyProject, now time.Time) bool {
	if k.open(now) || k.trying(now) {
		return k.open(now)
	}
	for _, other := range k.projects {
		if other.waiting > 0 && other.refusals < p.refusals {
			return false
		}
	}
	return true
}

// startTry makes p the single try. Until it has a connection, that may take as long as a dial.
func (t *trust) startTry(p *permit) {
	t.try = p
	if p.start.Sub(t.triesSince) >= tryPatience+trustFor {
		t.triesSince = p.start.Add(dialTimeout)
	}
}

// wait releases the lock until the key's state changes, time changes what is allowed, or ctx ends.
func (k *Keys) wait(ctx context.Context, key *key, p *keyProject, now time.Time) error {
	changed, timer := key.changed, time.NewTimer(min(key.nextChange(now), p.nextChange(now)))
	defer timer.Stop()
	p.waiting++
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		p.waiting--
	}()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// nextChange is when time changes what open and trying report; at most tryPatience, in case another request goes first.
func (t *trust) nextChange(now time.Time) time.Duration {
	waited := now.Sub(t.triesSince)
	if waited >= tryPatience {
		waited -= trustFor
	}
	if left := tryPatience - waited; left > 0 {
		return left
	}
	return tryPatience
}

// markSent is called when the request has a connection: from now on its answer is waited for.
func (p *permit) markSent() {
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	now := time.Now()
	for _, t := range []*trust{&p.key.trust, &p.project.trust} {
		if t.try == p && now.Before(t.triesSince) {
			t.triesSince = now
		}
	}
	p.key.wake()
}

// release ends a request with its answer's status, 0 if there was none, and its error, nil if it succeeded.
func (p *permit) release(status int, err *Error) {
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	k, now := p.key, time.Now()
	for _, t := range []*trust{&k.trust, &p.project.trust} {
		if t.try != p {
			continue
		}
		t.try = nil
		if status == 0 && now.Before(t.triesSince) { // without a connection nobody refuses the others either
			t.triesSince = now.Add(-tryPatience)
		}
	}
	switch accepted, refused := verdict(status, err); {
	case refused:
		k.refusedAt = now
		k.refuse(p.start, now, err)
		p.project.refuse(p.start, now, err)
		for _, other := range k.projects {
			other.acceptedAt, other.triesSince = time.Time{}, time.Time{}
		}
	case accepted && !p.start.Before(k.refusedAt): // an older request says nothing about the key as it is now
		k.trust = trust{acceptedAt: now, try: k.try}
		p.project.trust = trust{acceptedAt: now, try: p.project.try}
		k.proven = true
	case err != nil && err.suspicious:
		p.project.acceptedAt, p.project.triesSince = time.Time{}, time.Time{}
	}
	k.wake()
}

func (k *key) wake() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// refuse counts a refusal, except of a request that was sent before the last pause began.
func (t *trust) refuse(start, now time.Time, cause *Error) {
	t.acceptedAt, t.triesSince = time.Time{}, time.Time{}
	if start.Before(t.pausedUntil) {
		return
	}
	t.refusals++
	if t.refusals < maxRefusals {
		return
	}
	t.pause = min(max(2*t.pause, firstPause), longestPause)
	t.pausedUntil = now.Add(t.pause)
	t.cause = cause
}

// paused returns an error while the key is paused, altogether or within p.
func (k *key) paused(operation string, p *keyProject, now time.Time) error {
	for _, t := range []*trust{&k.trust, &p.trust} {
		if now.Before(t.pausedUntil) {
			return &Error{
				Reason: ReasonAuth, Operation: operation, Code: t.cause.Code, RequestID: t.cause.RequestID,
				Message: fmt.Sprintf("the credentials were rejected %d times in a row and are paused until %s",
					t.refusals, t.pausedUntil.UTC().Format(time.RFC3339)),
			}
		}
	}
	return nil
}

// verdict judges the credentials of a request by its answer, whose err is nil after a success. It is neither accepted nor
// refused if the answer may have been given before they were checked.
func verdict(status int, err *Error) (accepted, refused bool) {
	if err != nil && err.Reason == ReasonAuth {
		return false, true
	}
	return status >= 200 && status < 300 || status >= 400 && status < 500 && status != http.StatusTooManyRequests, false
}

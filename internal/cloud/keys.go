// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// The pause of rejected credentials doubles from FirstPause to LongestPause.
const (
	FirstPause   = time.Minute
	LongestPause = 15 * time.Minute
)

const (
	trustFor = 3 * time.Second // after a request was accepted
	// tryPatience is how long others wait for a single try. The gateway rejects a key within milliseconds.
	tryPatience   = time.Second
	maxRejections = 3             // the cloud locks a key after five
	keyMemory     = 2 * time.Hour // temporary keys change every hour
	notSent       = -1            // as a status
)

// Keys keeps the cloud from locking keys and passwords.
//
// A burst of requests with one key begins with a single try. The others follow once it is accepted, or has had no
// response for a second. After a rejection, requests are single tries until one is accepted. Three rejections in a row
// pause the key. The same holds within each project: one that is rejected alone is paused alone.
type Keys struct {
	mu   sync.Mutex
	keys map[[sha256.Size]byte]*key
}

// NewKeys returns an empty Keys.
func NewKeys() *Keys { return &Keys{keys: make(map[[sha256.Size]byte]*key)} }

type key struct {
	trust
	projects   map[string]*keyProject
	rejectedAt time.Time
	proven     bool
	changed    chan struct{} // closed and replaced to wake waiting requests
	usedAt     time.Time
}

type keyProject struct {
	trust
	waiting int
}

type trust struct {
	acceptedAt time.Time
	try        *permit   // in flight; may be nil
	triesSince time.Time // of the first try without a verdict

	rejections  int
	pause       time.Duration
	pausedUntil time.Time
	cause       *Error
}

// permit allows one request; release it with the outcome.
type permit struct {
	keys    *Keys
	key     *key
	project *keyProject
	start   time.Time
}

var errUntrusted = errors.New("no request has verified the credentials")

// acquire blocks until a request may be sent. It fails with ReasonAuth during a pause, or with ReasonTimeout. A spare
// request needs a key that was accepted at last; without one, it gets errUntrusted.
func (k *Keys) acquire(ctx context.Context, r *Request, project string, c Credentials) (*permit, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, p := k.lookUp(c, project)
	for {
		now := time.Now()
		key.usedAt = now
		if err := key.paused(r.Operation, p, now); err != nil {
			return nil, err
		}
		permit := &permit{keys: k, key: key, project: p, start: now}
		if p.open(now) {
			return permit, nil
		}
		if r.Spare && !key.open(now) && (!key.proven || key.rejections > 0) {
			return nil, errUntrusted
		}
		if !p.trying(now) && key.allowsTry(p, now) {
			p.startTry(permit)
			if !r.Spare && !key.open(now) {
				key.startTry(permit)
			}
			return permit, nil
		}
		if err := k.wait(ctx, key, p, r.Spare, now); err != nil {
			return nil, NewTimeoutError(r.Operation, "another request to verify the credentials", err)
		}
	}
}

func (k *Keys) paused(operation, project string, c Credentials) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, p := k.lookUp(c, project)
	return key.paused(operation, p, time.Now())
}

// lost reports whether credentials have expired or were revoked: they are paused, and were accepted before.
func (k *Keys) lost(c Credentials) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.keys[c.Fingerprint()]
	return key != nil && key.proven && time.Now().Before(key.pausedUntil)
}

func (k *Keys) lookUp(c Credentials, project string) (*key, *keyProject) {
	fingerprint := c.Fingerprint()
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

// open reports whether requests may be sent without a single try.
func (t *trust) open(now time.Time) bool {
	waited := now.Sub(t.triesSince)
	return now.Sub(t.acceptedAt) < trustFor || waited >= tryPatience && waited < tryPatience+trustFor
}

func (t *trust) trying(now time.Time) bool {
	return t.try != nil && now.Sub(t.triesSince) < tryPatience+trustFor
}

// allowsTry reports whether a single try within p may start. Projects with fewer rejections go first.
func (k *key) allowsTry(p *keyProject, now time.Time) bool {
	if k.open(now) || k.trying(now) {
		return k.open(now)
	}
	for _, other := range k.projects {
		if other.waiting > 0 && other.rejections < p.rejections {
			return false
		}
	}
	return true
}

// startTry makes p the single try. The others' patience begins once it has a connection.
func (t *trust) startTry(p *permit) {
	t.try = p
	if p.start.Sub(t.triesSince) >= tryPatience+trustFor {
		t.triesSince = p.start.Add(dialTimeout)
	}
}

// wait releases the lock until the key may have changed, or ctx ends. A spare request does not count as waiting.
func (k *Keys) wait(ctx context.Context, key *key, p *keyProject, spare bool, now time.Time) error {
	changed, timer := key.changed, time.NewTimer(min(key.nextChange(now), p.nextChange(now)))
	defer timer.Stop()
	if spare {
		p = &keyProject{}
	}
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

// nextChange returns when open or trying change by themselves, at most tryPatience.
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

func (p *permit) markSent() {
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	now := time.Now()
	for _, t := range p.key.trusts(p.project) {
		if t.try == p && now.Before(t.triesSince) {
			t.triesSince = now
		}
	}
	p.key.wake()
}

// release records the outcome.
func (p *permit) release(status int, err *Error) {
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	k, now := p.key, time.Now()
	for _, t := range k.trusts(p.project) {
		if t.try != p {
			continue
		}
		t.try = nil
		if status == 0 && now.Before(t.triesSince) { // hold back no others
			t.triesSince = now.Add(-tryPatience)
		}
	}
	switch accepted, rejected := verdict(status, err); {
	case rejected:
		k.rejectedAt = now
		k.reject(p.start, now, err)
		p.project.reject(p.start, now, err)
		for _, other := range k.projects {
			other.acceptedAt, other.triesSince = time.Time{}, time.Time{}
		}
	case accepted && !p.start.Before(k.rejectedAt): // an older one says nothing about now
		k.trust = trust{acceptedAt: now, try: k.try}
		p.project.trust = trust{acceptedAt: now, try: p.project.try}
		k.proven = true
	case err != nil && err.suspicious:
		p.project.acceptedAt, p.project.triesSince = time.Time{}, time.Time{}
	}
	k.wake()
}

func (k *key) trusts(p *keyProject) [2]*trust { return [2]*trust{&k.trust, &p.trust} }

func (k *key) wake() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// reject counts a rejection, except of a request that was sent before the last pause began.
func (t *trust) reject(start, now time.Time, cause *Error) {
	t.acceptedAt, t.triesSince = time.Time{}, time.Time{}
	if start.Before(t.pausedUntil) {
		return
	}
	t.rejections++
	if t.rejections < maxRejections {
		return
	}
	t.pause = min(max(2*t.pause, FirstPause), LongestPause)
	t.pausedUntil = now.Add(t.pause)
	t.cause = cause
}

func (k *key) paused(operation string, p *keyProject, now time.Time) error {
	for _, t := range k.trusts(p) {
		if now.Before(t.pausedUntil) {
			return &Error{
				Reason: ReasonAuth, Operation: operation, Code: t.cause.Code, RequestID: t.cause.RequestID,
				Message: fmt.Sprintf("the credentials were rejected %d times in a row and are paused until %s",
					t.rejections, t.pausedUntil.UTC().Format(time.RFC3339)),
			}
		}
	}
	return nil
}

func verdict(status int, err *Error) (accepted, rejected bool) {
	if err != nil && err.Reason == ReasonAuth {
		return false, true
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusProxyAuthRequired: // nobody looked at them
		return false, false
	}
	return status >= 200 && status < 300 || status >= 400 && status < 500, false
}

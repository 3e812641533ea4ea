// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

const (
	restAtFirst = time.Minute
	restAtMost  = 15 * time.Minute

	// A call that tries unproven credentials and gets no answer for this long makes room for one more, so that
	// hanging clusters do not hold up all others. There are no more than maxTrials of them: the cloud locks a key
	// after more than five refusals in a row.
	trialPatience  = time.Second
	maxTrials      = 4
	maxTrialsAgain = 2 // after a refusal that was believed

	// A login is a trial again if the last good one is older than this: the cloud locks a user after some wrong passwords,
	// and all projects of one user log in at once if their tokens are revoked.
	loginTrust = 5 * time.Second

	// Credentials that nobody used for this long are forgotten, since temporary ones change by the hour.
	guardMemory = 2 * time.Hour
)

// Guard keeps credentials from being locked by the cloud, which happens after more than five refusals in a row.
// One Guard serves all clients of a process, because several may use one key.
//
// Credentials that were never accepted are tried by one call at a time. After a refusal (401) they rest for a minute,
// then two, and so on up to fifteen, unless other ones take their place. Before they rest, one call that was already
// waiting or under way may speak for them: if it is accepted, the refusal concerned one cluster alone. Once accepted
// anywhere, a refusal concerns its own scope (a project) first, so that one region never stops another.
type Guard struct {
	mu       sync.Mutex
	accounts map[[sha256.Size]byte]*account
}

// NewGuard makes a Guard that knows no credentials yet.
func NewGuard() *Guard {
	return &Guard{accounts: make(map[[sha256.Size]byte]*account)}
}

// account is what is known of one set of credentials.
type account struct {
	standing
	scopes map[string]*standing
	used   time.Time
	// changed is closed and replaced whenever a waiting call should look again.
	changed chan struct{}
}

// standing says how far credentials are trusted, either at all or within one scope.
type standing struct {
	proven     bool
	provenAt   time.Time
	doubted    bool // refused once, and somebody else may speak for them
	trials     int  // calls under way that try unproven credentials
	lastTrial  time.Time
	calls      int // all calls under way
	waiting    int
	restUntil  time.Time
	lastRest   time.Duration
	restStatus *Error
}

// pass is the leave to make one call; done must be called with its outcome.
type pass struct {
	guard   *Guard
	account *account
	scope   *standing
	trial   *standing // whose trial this call is; nil if it is none
	start   time.Time
}

// enter waits until the credentials may be used within scope. It fails with ReasonAuth while they rest.
func (g *Guard) enter(ctx context.Context, operation, scope string, credentials Credentials) (*pass, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(credentials.fingerprint())
	s := a.scopes[scope]
	if s == nil {
		s = &standing{}
		a.scopes[scope] = s
	}
	for {
		now := time.Now()
		a.used = now
		if err := a.resting(operation, s, now); err != nil {
			return nil, err
		}
		login := operation == opToken
		if login && now.Sub(a.provenAt) > loginTrust {
			a.proven = false
		}
		unproven := &a.standing
		if a.proven {
			unproven = s
		}
		patience := trialPatience - now.Sub(unproven.lastTrial)
		room := maxTrials
		if unproven.lastRest > 0 || login {
			room = maxTrialsAgain
		}
		impatient := patience <= 0 && unproven.trials < room && !unproven.doubted
		if unproven.proven || unproven.trials == 0 || impatient {
			return g.admit(a, s, unproven, now), nil
		}
		if err := g.wait(ctx, a, unproven, patience); err != nil {
			return nil, timeoutError(operation, "the credentials were tried by another call", err)
		}
	}
}

// resting fails as enter would at once, without waiting or trying.
func (g *Guard) resting(operation, scope string, credentials Credentials) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.accounts[credentials.fingerprint()]
	if a == nil {
		return nil
	}
	return a.resting(operation, a.scopes[scope], time.Now())
}

// accepted says whether the credentials were ever accepted, anywhere.
func (g *Guard) accepted(credentials Credentials) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.accounts[credentials.fingerprint()]
	return a != nil && !a.provenAt.IsZero()
}

// resting fails while the credentials rest within the scope s, which may be nil, or altogether.
func (a *account) resting(operation string, s *standing, now time.Time) error {
	for _, of := range []*standing{s, &a.standing} {
		if of != nil && now.Before(of.restUntil) {
			return of.refusal(operation)
		}
	}
	return nil
}

func (g *Guard) account(fingerprint [sha256.Size]byte) *account {
	a := g.accounts[fingerprint]
	if a != nil {
		return a
	}
	for key, old := range g.accounts {
		if old.calls == 0 && time.Since(old.used) > guardMemory {
			delete(g.accounts, key)
		}
	}
	a = &account{scopes: make(map[string]*standing), changed: make(chan struct{})}
	g.accounts[fingerprint] = a
	return a
}

func (g *Guard) admit(a *account, s, unproven *standing, now time.Time) *pass {
	p := &pass{guard: g, account: a, scope: s, start: now}
	if !unproven.proven {
		p.trial = unproven
		unproven.trials++
		unproven.lastTrial = now
	}
	a.calls++
	s.calls++
	return p
}

// wait gives up the lock until something changed, patience ran out, or ctx ended.
func (g *Guard) wait(ctx context.Context, a *account, unproven *standing, patience time.Duration) error {
	changed := a.changed
	unproven.waiting++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		unproven.waiting--
	}()

	var impatient <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		impatient = timer.C
	}
	select {
	case <-changed:
	case <-impatient:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// heard tells that an answer has begun: that its body is slow to come keeps nobody else waiting.
func (p *pass) heard(status int) {
	if !accepted(status) || status == http.StatusUnauthorized {
		return
	}
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	now := time.Now()
	p.account.accept(now)
	p.scope.accept(now)
	p.account.wake()
}

// wake lets all waiting calls look again.
func (a *account) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// done reports the status of the call's answer, 0 if there was none.
func (p *pass) done(status int, refused *Error) {
	g, a, s := p.guard, p.account, p.scope
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	a.calls--
	s.calls--
	if p.trial != nil {
		p.trial.trials--
	}
	switch {
	case status == http.StatusUnauthorized:
		p.refused(now, refused)
	case accepted(status):
		a.accept(now)
		s.accept(now)
	}
	a.wake()
}

// accepted says whether an answer shows that the credentials were believed. Throttling and trouble of the gateway may
// come before they were looked at.
func accepted(status int) bool {
	return status >= 200 && status < 300 ||
		status >= 400 && status < 500 && status != http.StatusTooManyRequests
}

func (p *pass) refused(now time.Time, refused *Error) {
	a, s := p.account, p.scope
	switch {
	case s.provenAt.After(p.start):
		// Another call was accepted meanwhile: this refusal is about its own cluster.
	case now.Before(s.restUntil):
		// Another refusal of the same burst was believed already.
	case !a.proven:
		a.lastRest = max(a.lastRest, s.lastRest) // what rested within one scope goes on resting altogether
		a.refuse(now, refused)
	case s.refuse(now, refused):
		a.proven = false // to be shown again, by one call at a time
	}
}

func (s *standing) accept(now time.Time) {
	s.proven, s.provenAt, s.doubted = true, now, false
	s.restUntil, s.lastRest = time.Time{}, 0
}

// refuse takes a refusal and says whether the credentials rest now.
func (s *standing) refuse(now time.Time, refused *Error) (rests bool) {
	s.proven = false
	if !s.doubted && s.lastRest == 0 && s.calls+s.waiting > 0 {
		s.doubted = true
		return false
	}
	s.doubted = false
	s.lastRest = min(max(2*s.lastRest, restAtFirst), restAtMost)
	s.restUntil = now.Add(s.lastRest)
	s.restStatus = refused
	return true
}

// refusal is what a call gets that was not made, because the credentials rest.
func (s *standing) refusal(operation string) *Error {
	e := &Error{
		Reason: ReasonAuth, Operation: operation, retryAfter: -1,
		Message: "the credentials were not accepted and rest until " + s.restUntil.UTC().Format(time.RFC3339),
	}
	if s.restStatus != nil {
		e.Code, e.RequestID = s.restStatus.Code, s.restStatus.RequestID
	}
	return e
}

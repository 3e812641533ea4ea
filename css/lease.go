// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// earlyPatience is how long a caller waits for new credentials while the old ones still last, at most; else a quarter of
	// the time that it has.
	earlyPatience = 2 * time.Second
	// earlyRetry is how long after a failed early renewal the next one is tried, at most; else after a quarter of what is
	// left, but not at once.
	earlyRetry     = 30 * time.Second
	earlyRetryFrom = time.Second
	// sameAgain is the shortest wait for other credentials after the same ones were given again.
	sameAgain = 10 * time.Second
	// unknownLife is how long credentials are held whose end was not told.
	unknownLife = 10 * time.Minute
)

// lease is credentials that end by themselves.
type lease struct {
	credentials Credentials
	expires     time.Time
}

// Format hides the content from every verb of fmt.
func (lease) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// issuer gives out temporary credentials. It is asked by one goroutine at a time.
type issuer interface {
	// issue gets credentials. Its errors hold no secret.
	issue(ctx context.Context) (lease, error)
	// basis identifies what they are issued for, such as a password; if it is another one than before, there are to be new
	// ones.
	basis(ctx context.Context) (string, error)
	// rest is how long nobody asks again after a failure, while there are no credentials.
	rest(err error) time.Duration
}

// leased is a source of what an issuer gives out. New credentials are got when four fifths of the old ones' life have
// passed, so that they are not missed if that fails for a while. Nothing goes on in the background: a caller renews, under
// its own context, and while the old ones last nobody else waits for it.
type leased struct {
	issuer issuer
	turn   chan struct{} // held by who renews

	mu       sync.Mutex
	held     lease
	basis    string    // what held was issued for
	renewAt  time.Time // no sooner
	failed   error     // of the last renewal; nil if it succeeded
	failedAt time.Time
	failedOn string // the basis of that

	// Others took the place of refused credentials. Unless they help, what is refused next is kept for a while.
	refused   lease
	keepUntil time.Time
	keptFor   time.Duration
}

func newLeased(from issuer) *leased { return &leased{issuer: from, turn: make(chan struct{}, 1)} }

// Format hides the content from every verb of fmt.
func (*leased) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// Credentials implements CredentialSource.
func (l *leased) Credentials(ctx context.Context) (Credentials, error) {
	asked := time.Now()
	basis, err := l.issuer.basis(ctx)
	if err != nil {
		return Credentials{}, err
	}
	held, good, due := l.look(basis)
	if good && due {
		select {
		case l.turn <- struct{}{}:
			l.renewEarly(ctx)
		default: // somebody else does
		}
		held, good, _ = l.look(basis) // it may have ended, or have been refused, meanwhile
	}
	if good {
		return held, nil
	}

	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return Credentials{}, ctx.Err()
	}
	if held, good, _ = l.look(basis); good {
		return held, nil
	}
	if basis, err = l.issuer.basis(ctx); err != nil { // the wait may have been long
		return Credentials{}, err
	}
	if err := l.failure(basis, asked); err != nil {
		return Credentials{}, err
	}
	return l.renew(ctx, basis)
}

// look gives what is held, whether it is still good, and whether it is time for other credentials.
func (l *leased) look(basis string) (held Credentials, good, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	good = now.Before(l.held.expires)
	due = !now.Before(l.renewAt) || (basis != l.basis && basis != l.failedOn)
	return l.held.credentials, good, due
}

// failure gives the error of the last renewal, if it is too fresh for another one, or was under way when asked.
func (l *leased) failure(basis string, asked time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil || l.failedOn != basis {
		return nil
	}
	if l.failedAt.After(asked) || time.Since(l.failedAt) < l.issuer.rest(l.failed) {
		return l.failed
	}
	return nil
}

// renewEarly renews while what is held still lasts; it does not wait long, and its failure is nobody's. The turn is its
// caller's, and ends with it.
func (l *leased) renewEarly(ctx context.Context) {
	defer func() { <-l.turn }()
	basis, err := l.issuer.basis(ctx)
	if err != nil {
		return
	}
	if _, _, due := l.look(basis); !due { // somebody did, before this turn
		return
	}
	patience := earlyPatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/4)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := l.renew(ctx, basis); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		left := time.Until(l.held.expires)
		l.renewAt, l.failedOn = time.Now().Add(min(max(left/4, earlyRetryFrom), earlyRetry)), basis
	}
}

// renew gets credentials and holds them.
func (l *leased) renew(ctx context.Context, basis string) (Credentials, error) {
	next, err := l.issuer.issue(ctx)
	now := time.Now()
	if err == nil && next.expires.IsZero() {
		next.expires = now.Add(unknownLife)
	}
	if err == nil && !now.Before(next.expires) {
		err = fmt.Errorf("no credentials: those that were issued ended at %s; check the clock of this machine",
			next.expires.UTC().Format(time.RFC3339))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil { // else it is this caller's own failure
			l.failed, l.failedAt, l.failedOn = err, now, basis
		}
		return Credentials{}, err
	}
	left := next.expires.Sub(now)
	l.renewAt = now.Add(left - left/5)
	if next.credentials == l.held.credentials { // it gives out new ones when it likes
		l.renewAt = now.Add(max(left/5, sameAgain))
	}
	l.held, l.basis, l.failed, l.failedOn = next, basis, nil, basis
	return next.credentials, nil
}

// refuse implements refuser.
func (l *leased) refuse(refused Credentials, sure bool) (tell func(helped, back bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.credentials != refused || (!sure && time.Now().Before(l.keepUntil)) {
		return nil
	}
	l.held, l.refused, l.keepUntil = lease{}, l.held, time.Now().Add(restAtFirst)
	return l.replaced
}

// replaced is told what came of others in the place of refused credentials.
func (l *leased) replaced(helped, back bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !helped && back {
		l.held = l.refused
	}
	l.refused = lease{}
	if helped {
		l.keptFor, l.keepUntil = 0, time.Time{}
		return
	}
	l.keptFor = min(max(2*l.keptFor, restAtFirst), restAtMost)
	l.keepUntil = time.Now().Add(l.keptFor)
}

// close ends what the issuer keeps open.
func (l *leased) close() {
	if i, ok := l.issuer.(interface{ close() }); ok {
		i.close()
	}
}

// issuedKey reads temporary keys out of a JSON document: the object of the given name, and the names of its members.
type issuedKey struct{ object, accessKey, secretKey, securityToken, expires string }

func (k issuedKey) read(body []byte) (lease, error) {
	var l lease
	var expires Optional[time.Time]
	r := newReader(body)
	err := r.document(func(name []byte) error {
		if string(name) != k.object {
			return r.skip()
		}
		return r.objectOr(k.object, func(name []byte) error {
			switch string(name) {
			case k.accessKey:
				return r.secret(&l.credentials.AccessKey)
			case k.secretKey:
				return r.secret(&l.credentials.SecretKey)
			case k.securityToken:
				return r.secret(&l.credentials.SecurityToken)
			case k.expires:
				return r.moment(k.expires, &expires)
			}
			return r.skip()
		})
	})
	switch {
	case err != nil:
		return lease{}, err
	case !l.credentials.usable():
		return lease{}, errors.New("the answer holds no access key and secret key")
	}
	l.expires = expires.Value
	return l, nil
}

// secret reads a string that goes into a header; what cannot is as good as absent.
func (r *reader) secret(to *string) error {
	if r.json.PeekKind() != jsontext.KindString {
		return r.skip()
	}
	raw, err := r.json.ReadValue()
	if err != nil {
		return r.syntax(err)
	}
	if text := string(r.unquote(raw)); sendable(text) {
		*to = text
	}
	return nil
}

// sendable says whether a secret can be the value of a header.
func sendable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// definite says whether an error is the answer of somebody who understood, and would say the same again.
func definite(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests
}

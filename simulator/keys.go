// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
)

// maxRefusals in a row lock an access key, if Options.LockKeys is set.
const maxRefusals = 5

// codeTokenIncorrect is CSS's own way to refuse a key: it arrives with 400.
const codeTokenIncorrect = "CSS.0045" //nolint:gosec // a code, no token

// keyState is what the cloud remembers of an access key, over all projects.
type keyState struct {
	inARow, mostInARow, total int // refusals
	locked                    bool
	refuse                    *refusal // set by RefuseKey; nil if the key is not refused by hand
}

// RefuseKey refuses an access key from now on, however right its signatures are: requests that arrive later get the
// code, within milliseconds. Requests that have arrived before are answered as if nothing had happened, also if their
// answers are still to come. The code is one of the gateway, such as APIGW.0301 (a revoked key) or APIGW.0307 (an
// expired one), which comes with 401, or CSS.0045, which comes with 400.
func (s *Simulator) RefuseKey(access, code string) {
	r := unauthorized(code, "Incorrect IAM authentication information: verify aksk signature fail")
	switch code {
	case "APIGW.0303":
		r.message = "Incorrect app authentication information: app not found, appkey " + access
	case "APIGW.0307":
		r.message = "The token must be updated."
	case codeTokenIncorrect:
		r = &refusal{http.StatusBadRequest, code, "The token is incorrect."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyState(access).refuse = r
}

// AcceptKey ends what RefuseKey began. It does not unlock a locked key.
func (s *Simulator) AcceptKey(access string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyState(access).refuse = nil
}

// Refusals returns how often an access key was refused: the most times in a row, and in all. A refusal is a 401, or a
// 400 with CSS.0045, for whichever project and for whatever reason, a Fault included. A request that was accepted ends
// a row; one that was throttled does not, as the gateway may throttle before it looks at the key.
func (s *Simulator) Refusals(access string) (mostInARow, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keyState(access)
	return k.mostInARow, k.total
}

// Locked reports whether an access key is locked, which Options.LockKeys has to allow.
func (s *Simulator) Locked(access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keyState(access).locked
}

// keyState returns the state of an access key; s.mu is held.
func (s *Simulator) keyState(access string) *keyState {
	k := s.keys[access]
	if k == nil {
		k = &keyState{}
		s.keys[access] = k
	}
	return k
}

// signingKey returns the access key that a request claims to be signed with. It is empty for a request with a token,
// whose signature nobody looks at, and for one that is not signed.
func signingKey(r *http.Request) string {
	if r.Header.Get("X-Auth-Token") != "" {
		return ""
	}
	auth, _ := parseAuthorization(r.Header.Get("Authorization"))
	return auth.access
}

// barred returns why a key is refused before its signature is checked: because it is locked, or by RefuseKey.
func (s *Simulator) barred(access string) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := s.keys[access]; {
	case k == nil:
		return nil
	case k.locked:
		return unauthorized("APIGW.0301", "Incorrect IAM authentication information: the access key is locked")
	default:
		return k.refuse
	}
}

// recordVerdict records what an answer says about the access key that the request was signed with, and locks the key
// with the fifth refusal in a row. The status is 0 for the right answer.
func (s *Simulator) recordVerdict(access string, status int, body string) {
	if access == "" || status == http.StatusTooManyRequests {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keyState(access)
	incorrect := status == http.StatusBadRequest && strings.Contains(body, codeTokenIncorrect)
	if status != http.StatusUnauthorized && !incorrect {
		k.inARow = 0
		return
	}
	k.inARow++
	k.total++
	k.mostInARow = max(k.mostInARow, k.inARow)
	if s.opts.LockKeys && k.inARow >= maxRefusals {
		k.locked = true
	}
}

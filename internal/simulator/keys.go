// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
)

// maxRefusals in a row lock an access key if Options.LockKeys is set.
const maxRefusals = 5

// codeTokenIncorrect is CSS's own refusal, sent with 400.
const codeTokenIncorrect = "CSS.0045" //nolint:gosec // not a credential

// keyState covers all projects.
type keyState struct {
	inARow, mostInARow, total int // refusals
	locked                    bool
	refusal                   *refusal // set by RefuseKey
}

// RefuseKey refuses an access key in requests that arrive from now on, with a code of the gateway, such as APIGW.0301
// (revoked) or APIGW.0307 (expired), or with CSS.0045.
func (s *Simulator) RefuseKey(access, code string) {
	refused := incorrectIAM("verify aksk signature fail")
	refused.code = code
	switch code {
	case "APIGW.0303":
		refused = unknownKey(access)
	case "APIGW.0307":
		refused = outdatedToken()
	case codeTokenIncorrect:
		refused = &refusal{http.StatusBadRequest, code, "The token is incorrect."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyState(access).refusal = refused
}

// AcceptKey undoes RefuseKey. It does not unlock a locked key.
func (s *Simulator) AcceptKey(access string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyState(access).refusal = nil
}

// Refusals returns how often an access key was refused, at most in a row and in total: with 401, or 400 and CSS.0045,
// by a Fault too. A throttled request does not end a row, because the gateway may throttle before it checks the key.
func (s *Simulator) Refusals(access string) (mostInARow, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keyState(access)
	return k.mostInARow, k.total
}

// Locked reports whether an access key is locked.
func (s *Simulator) Locked(access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keyState(access).locked
}

// keyState adds missing states. The caller holds s.mu.
func (s *Simulator) keyState(access string) *keyState {
	k := s.keys[access]
	if k == nil {
		k = &keyState{}
		s.keys[access] = k
	}
	return k
}

// claimedAccessKey returns the unverified access key. It is empty with a token, because then the signature is ignored.
func claimedAccessKey(r *http.Request) string {
	if r.Header.Get("X-Auth-Token") != "" {
		return ""
	}
	auth, _ := parseAuthorization(r.Header.Get("Authorization"))
	return auth.access
}

// keyRefusal returns why a key is refused before its signature is checked.
func (s *Simulator) keyRefusal(access string) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := s.keys[access]; {
	case k == nil:
		return nil
	case k.locked:
		return incorrectIAM("the access key is locked")
	default:
		return k.refusal
	}
}

// recordKeyResult counts an answer for the access key. The status is 0 for the right answer.
func (s *Simulator) recordKeyResult(access string, status int, body string) {
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

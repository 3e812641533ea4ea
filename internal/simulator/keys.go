// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
)

const maxRejections = 5 // in a row, with LockKeys

// codeTokenIncorrect is sent by CSS, not by the gateway, and with status 400.
const codeTokenIncorrect = "CSS.0045" //nolint:gosec // not a credential

type keyState struct {
	inARow, mostInARow, total int // rejections
	locked                    bool
	rejection                 *rejection // set by RejectKey
}

// RejectKey makes later requests with an access key fail with a code of the gateway or with CSS.0045.
func (s *Simulator) RejectKey(access, code string) {
	rejected := incorrectIAM("verify aksk signature fail")
	rejected.code = code
	switch code {
	case "APIGW.0303":
		rejected = unknownKey(access)
	case "APIGW.0307":
		rejected = outdatedToken()
	case codeTokenIncorrect:
		rejected = &rejection{http.StatusBadRequest, code, "The token is incorrect."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyState(access).rejection = rejected
}

// AcceptKey undoes RejectKey, but does not unlock the key.
func (s *Simulator) AcceptKey(access string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyState(access).rejection = nil
}

// Rejections returns how often an access key was rejected, including by a Fault. A throttled request does not end a row,
// because the gateway may throttle before it checks the key.
func (s *Simulator) Rejections(access string) (mostInARow, total int) {
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

// keyState adds a missing state. The caller holds s.mu.
func (s *Simulator) keyState(access string) *keyState {
	k := s.keys[access]
	if k == nil {
		k = &keyState{}
		s.keys[access] = k
	}
	return k
}

// claimedAccessKey returns the unverified access key, or "" if a token overrides the signature.
func claimedAccessKey(r *http.Request) string {
	if r.Header.Get("X-Auth-Token") != "" {
		return ""
	}
	auth, _ := parseAuthorization(r.Header.Get("Authorization"))
	return auth.access
}

func (s *Simulator) keyRejection(access string) *rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := s.keys[access]; {
	case k == nil:
		return nil
	case k.locked:
		return incorrectIAM("the access key is locked")
	default:
		return k.rejection
	}
}

// recordKeyResult counts a response to an access key. Status 0 means success.
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
	if s.opts.LockKeys && k.inARow >= maxRejections {
		k.locked = true
	}
}

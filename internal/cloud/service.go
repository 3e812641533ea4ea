// SPDX-License-Identifier: Apache-2.0

package cloud

// Service knows what the responses of an API mean.
type Service interface {
	// Reason returns why a request failed, or "" if the status says it all.
	Reason(status int, code string) Reason
	// Hint returns what to do about it, or "" for the general hint.
	Hint(*Error) string
}

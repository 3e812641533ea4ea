// SPDX-License-Identifier: Apache-2.0

package cloud

// Service explains the failures of an API.
type Service interface {
	// Hint returns what to do about a failure, or "" for the general hint.
	Hint(*Error) string
}

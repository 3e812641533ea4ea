// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
)

// Credentials are an access key with its secret key and, if temporary, a security token; or an IAM token. Printing them
// shows nothing. Hold them in an atomic.Pointer: fmt calls no methods on unexported fields.
type Credentials struct {
	AccessKey     string
	SecretKey     string
	SecurityToken string
	AuthToken     string
}

// Format hides the content from every verb of fmt.
func (Credentials) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "<credentials>") }

// LogValue hides the content from log/slog.
func (Credentials) LogValue() slog.Value { return slog.StringValue("<credentials>") }

// MarshalText hides the content from JSON and YAML.
func (Credentials) MarshalText() ([]byte, error) { return []byte("<credentials>"), nil }

// Fingerprint identifies credentials without storing them.
func (c Credentials) Fingerprint() [sha256.Size]byte {
	text := make([]byte, 0, 512) // on the stack
	for _, part := range []string{c.AccessKey, c.SecretKey, c.SecurityToken, c.AuthToken} {
		text = append(append(text, part...), 0)
	}
	return sha256.Sum256(text)
}

// Usable reports whether c has a token or a pair of keys.
func (c Credentials) Usable() bool {
	return c.AuthToken != "" || (c.AccessKey != "" && c.SecretKey != "")
}

// CredentialSource is called before every request, concurrently. Its errors hold no secret.
type CredentialSource interface {
	Credentials(ctx context.Context) (Credentials, error)
	// Invalidate drops rejected credentials, and reports whether others may have replaced them. Unless the rejection is
	// certain, it may concern one request alone.
	Invalidate(rejected Credentials, certain bool) bool
}

// Outdated is implemented by a CredentialSource that may return older credentials instead of invalid new ones.
type Outdated interface {
	Problem() error // why the new ones are invalid, or nil
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Credentials are what one request is signed with: an access key with its secret key and, for temporary keys, a
// security token; or else an IAM token. Printing them shows nothing; a type that holds them in an unexported field needs
// a Format of its own, as Client has, because fmt calls no method there.
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

// fingerprint tells one set of credentials from another without keeping it.
func (c Credentials) fingerprint() [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join([]string{c.AccessKey, c.SecretKey, c.SecurityToken, c.AuthToken}, "\x00")))
}

func (c Credentials) usable() bool {
	return c.AuthToken != "" || (c.AccessKey != "" && c.SecretKey != "")
}

// CredentialSource gives the credentials as they are now. It is asked before every request, so that changed ones are
// used at once; it may be asked by many goroutines together. Its errors hold no secret.
//
// Those of this package that could have others in the place of credentials that the API refused are a rereader or a
// refuser, or both.
type CredentialSource interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// rereader is a source that reads files, and would not read them again for a while.
type rereader interface{ reread() }

// refuser is a source that keeps what it was given.
type refuser interface {
	// refuse puts the refused credentials aside, so that there will be others, and gives the function that wants to be told
	// whether these helped the caller, and whether to take the refused back. It gives nil if there will be no others: what is
	// kept is not the refused, or others lately helped as little. That does not count for who is sure that they have ended.
	refuse(refused Credentials, sure bool) (tell func(helped, back bool))
}

// Static is a source that never changes.
type Static Credentials

// Credentials implements CredentialSource.
func (s Static) Credentials(context.Context) (Credentials, error) { return Credentials(s), nil }

// Format hides the content from every verb of fmt.
func (Static) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// LogValue hides the content from log/slog.
func (Static) LogValue() slog.Value { return Credentials{}.LogValue() }

// MarshalText hides the content from JSON and YAML.
func (Static) MarshalText() ([]byte, error) { return Credentials{}.MarshalText() }

// Environment is a source that reads the variables of the vendor's SDKs (HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN) and
// of its documentation's samples (CLOUD_SDK_AK, _SK), in this order.
type Environment func(key string) (value string, ok bool)

// Credentials implements CredentialSource. It fails where neither pair is set.
func (lookup Environment) Credentials(context.Context) (Credentials, error) {
	for _, prefix := range []string{"HUAWEICLOUD_SDK_", "CLOUD_SDK_"} {
		accessKey, _ := lookup(prefix + "AK")
		secretKey, _ := lookup(prefix + "SK")
		if accessKey == "" || secretKey == "" {
			continue
		}
		c := Credentials{AccessKey: accessKey, SecretKey: secretKey}
		if prefix == "HUAWEICLOUD_SDK_" {
			c.SecurityToken, _ = lookup(prefix + "SECURITY_TOKEN")
		}
		return c, nil
	}
	return Credentials{}, absent{"the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK"}
}

// fileRefresh is how long the content of a secret's file is trusted. Well below the two seconds within which a rotated
// secret is to be used, and yet one read for a scrape of a thousand clusters.
const fileRefresh = time.Second

// maxSecretFile bounds a secret's file, in bytes, should it have become something else.
const maxSecretFile = 1 << 20

// maxReadings is how often files are read that are another each time.
const maxReadings = 4

// Files is a source whose parts may stand in files, which are read again when they change. Surrounding white space is
// no part of a secret. A part that can no longer be read keeps its last value: secrets are often replaced in two steps.
type Files struct {
	path Credentials

	mu     sync.Mutex
	held   Credentials // the values, and what the files held last
	readAt time.Time
}

// NewFiles takes each part as a value or as the path of a file; an empty path means the value.
func NewFiles(value, path Credentials) *Files { return &Files{path: path, held: value} }

// Format hides the content from every verb of fmt.
func (*Files) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// Credentials implements CredentialSource. It fails where a file was never readable.
func (f *Files) Credentials(context.Context) (Credentials, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.readAt.IsZero() && time.Since(f.readAt) < fileRefresh {
		return f.held, nil
	}
	now, all, err := f.steady()
	if err != nil {
		return Credentials{}, err
	}
	f.held = now
	if all {
		f.readAt = time.Now()
	}
	return now, nil
}

// steady reads until two readings are alike: all files may be replaced together, between the reading of one and the next.
func (f *Files) steady() (c Credentials, all bool, err error) {
	before := f.held
	for range maxReadings {
		if c, all, err = f.read(); err != nil || c == before {
			break
		}
		before = c
	}
	return c, all, err
}

// read reads each file once. It says whether all could be read, and fails if one never could.
func (f *Files) read() (c Credentials, all bool, err error) {
	c, all = f.held, true
	for _, part := range []struct {
		path  string
		value *string
	}{
		{f.path.AccessKey, &c.AccessKey},
		{f.path.SecretKey, &c.SecretKey},
		{f.path.SecurityToken, &c.SecurityToken},
		{f.path.AuthToken, &c.AuthToken},
	} {
		if part.path == "" {
			continue
		}
		content, err := readUpTo(part.path, maxSecretFile)
		value := strings.TrimSpace(string(content))
		switch {
		case value != "":
			*part.value = value
		case *part.value != "": // the last one may still be good
			all = false
		case err != nil:
			return Credentials{}, false, fmt.Errorf("no credentials: %w", err)
		default:
			return Credentials{}, false, fmt.Errorf("no credentials: %s is empty", part.path)
		}
	}
	return c, all, nil
}

// reread has the files read again at once.
func (f *Files) reread() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readAt = time.Time{}
}

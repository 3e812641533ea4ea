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
// A source of this package that could have others in the place of credentials that the API refused has a method refuse,
// which makes it look.
type CredentialSource interface {
	Credentials(ctx context.Context) (Credentials, error)
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

// Files is a source whose parts may stand in files, which are read again when they change. Surrounding white space is
// no part of a secret. A part that can no longer be read keeps its last value: secrets are often replaced in two steps.
type Files struct {
	accessKey, secretKey, securityToken, authToken secretPart
}

// NewFiles takes each part as a value or as the path of a file; an empty path means the value.
func NewFiles(value, path Credentials) *Files {
	return &Files{
		accessKey:     secretPart{value: value.AccessKey, path: path.AccessKey},
		secretKey:     secretPart{value: value.SecretKey, path: path.SecretKey},
		securityToken: secretPart{value: value.SecurityToken, path: path.SecurityToken},
		authToken:     secretPart{value: value.AuthToken, path: path.AuthToken},
	}
}

// Format hides the content from every verb of fmt.
func (*Files) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// Credentials implements CredentialSource. It fails where a file was never readable.
func (f *Files) Credentials(context.Context) (Credentials, error) {
	var c Credentials
	for _, part := range []struct {
		from *secretPart
		to   *string
	}{
		{&f.accessKey, &c.AccessKey},
		{&f.secretKey, &c.SecretKey},
		{&f.securityToken, &c.SecurityToken},
		{&f.authToken, &c.AuthToken},
	} {
		value, err := part.from.read()
		if err != nil {
			return Credentials{}, err
		}
		*part.to = value
	}
	return c, nil
}

// refuse has the files read again at once.
func (f *Files) refuse(Credentials) {
	for _, part := range []*secretPart{&f.accessKey, &f.secretKey, &f.securityToken, &f.authToken} {
		part.mu.Lock()
		part.readAt = time.Time{}
		part.mu.Unlock()
	}
}

// secretPart is one secret: a value, or a file that holds it.
type secretPart struct {
	path string

	mu     sync.Mutex
	value  string
	readAt time.Time
}

func (p *secretPart) read() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.path == "" || (p.value != "" && time.Since(p.readAt) < fileRefresh) {
		return p.value, nil
	}
	content, err := readUpTo(p.path, maxSecretFile)
	value := strings.TrimSpace(string(content))
	switch {
	case value != "":
		p.value, p.readAt = value, time.Now()
	case p.value != "": // the last one may still be good
	case err != nil:
		return "", fmt.Errorf("no credentials: %w", err)
	default:
		return "", fmt.Errorf("no credentials: %s is empty", p.path)
	}
	return p.value, nil
}

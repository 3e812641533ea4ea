// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Credentials are what one request is signed with: an access key with its secret key and, for temporary keys, a security
// token; or an IAM token. Printing them shows nothing. A type that holds them does so in an atomic.Pointer, which every verb
// of fmt prints as an address: fmt calls no methods on unexported fields, and verbs that do not fit follow plain pointers.
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

// fingerprint identifies credentials without storing them.
func (c Credentials) fingerprint() [sha256.Size]byte {
	text := make([]byte, 0, 512) // on the stack: it is called for each request
	for _, part := range []string{c.AccessKey, c.SecretKey, c.SecurityToken, c.AuthToken} {
		text = append(append(text, part...), 0)
	}
	return sha256.Sum256(text)
}

func (c Credentials) usable() bool {
	return c.AuthToken != "" || (c.AccessKey != "" && c.SecretKey != "")
}

// CredentialSource returns the credentials as they are now. It is asked before every request, so that changed ones are used
// at once. It is safe for concurrent use. Its errors hold no secret.
type CredentialSource interface {
	Credentials(ctx context.Context) (Credentials, error)
	// Invalidate drops credentials that the API rejected, and reports whether there may be others in their place now. The
	// rejection may concern one request alone unless it is certain.
	Invalidate(rejected Credentials, certain bool) bool
}

// Environment is a source that reads the variables of the vendor's SDKs (HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN) or of
// its documentation's samples (CLOUD_SDK_AK, _SK), in this order.
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
	return Credentials{}, errNone{"the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK"}
}

// Invalidate implements CredentialSource.
func (Environment) Invalidate(Credentials, bool) bool { return false }

const (
	// fileRefresh is how long the content of a secret's file is used: a rotated secret takes effect within two seconds, and a
	// scrape of a thousand clusters reads the file once.
	fileRefresh = time.Second
	// maxSecretFile bounds a secret's file in bytes, should it have become something else.
	maxSecretFile = 1 << 20
	// maxReads is how often files are read that differ each time.
	maxReads = 4
)

// Files is a source whose parts may be in files, which are read again when they change. Surrounding white space is not part
// of a secret. A part that can no longer be read keeps its last value: secrets are often replaced in two steps.
type Files struct {
	path Credentials // the names of files, which are not secret

	mu     sync.Mutex
	held   atomic.Pointer[Credentials] // the values, and what the files held last
	readAt time.Time
}

// NewFiles returns a source that takes each part as a value or as the path of a file; an empty path means the value.
func NewFiles(value, path Credentials) *Files {
	f := &Files{path: path}
	f.held.Store(&value)
	return f
}

// Credentials implements CredentialSource. It fails if a file was never readable.
func (f *Files) Credentials(context.Context) (Credentials, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.readAt.IsZero() && time.Since(f.readAt) < fileRefresh {
		return *f.held.Load(), nil
	}
	now, all, err := f.readConsistent()
	if err != nil {
		return Credentials{}, err
	}
	f.held.Store(&now)
	if all {
		f.readAt = time.Now()
	}
	return now, nil
}

// readConsistent reads until two reads are alike: the files may be replaced between the read of one and of the next.
func (f *Files) readConsistent() (c Credentials, all bool, err error) {
	before := *f.held.Load()
	for range maxReads {
		if c, all, err = f.read(); err != nil || c == before {
			break
		}
		before = c
	}
	return c, all, err
}

// read reads each file once. It reports whether all could be read, and fails if one never could.
func (f *Files) read() (c Credentials, all bool, err error) {
	c, all = *f.held.Load(), true
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
		case *part.value != "": // the last one may still be valid
			all = false
		case err != nil:
			return Credentials{}, false, fmt.Errorf("no credentials: %w", err)
		default:
			return Credentials{}, false, fmt.Errorf("no credentials: %s is empty", part.path)
		}
	}
	return c, all, nil
}

// Invalidate implements CredentialSource: it reads the files again.
func (f *Files) Invalidate(rejected Credentials, _ bool) bool {
	f.mu.Lock()
	f.readAt = time.Time{}
	f.mu.Unlock()
	now, err := f.Credentials(context.Background())
	return err == nil && now != rejected
}

// readUpTo reads at most one byte more than the limit.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopkg.in/ini.v1"
)

// Profile is a source that reads a section of the profile file of the vendor's SDKs (ak, sk, security_token), again when
// it changes. What can no longer be read keeps its last value, as in Files.
type Profile struct {
	file, section string

	mu     sync.Mutex
	held   atomic.Pointer[Credentials] // nil until they were read once
	readAt time.Time
}

// NewProfile makes a source of that section of that file.
func NewProfile(file, section string) *Profile { return &Profile{file: file, section: section} }

// Credentials implements CredentialSource. It fails if there were never any.
func (p *Profile) Credentials(context.Context) (Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := p.held.Load()
	if held != nil && time.Since(p.readAt) < fileRefresh {
		return *held, nil
	}
	now, err := p.read()
	switch {
	case err == nil:
		p.held.Store(&now)
		p.readAt = time.Now()
		return now, nil
	case held == nil:
		return Credentials{}, err
	}
	return *held, nil
}

// Invalidate implements CredentialSource: it reads the file again.
func (p *Profile) Invalidate(rejected Credentials, _ bool) bool {
	p.mu.Lock()
	p.readAt = time.Time{}
	p.mu.Unlock()
	now, err := p.Credentials(context.Background())
	return err == nil && now != rejected
}

func (p *Profile) read() (Credentials, error) {
	if p.file == "" {
		return Credentials{}, errNone{"there is no profile file"}
	}
	content, err := readUpTo(p.file, maxProfile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Credentials{}, errNone{"there is no profile file " + p.file}
	case err != nil:
		return Credentials{}, fmt.Errorf("no credentials: %w", err)
	case len(content) > maxProfile:
		return Credentials{}, fmt.Errorf("no credentials: the profile file %s has more than 64 KiB", p.file)
	}
	file, err := ini.Load(content)
	if err != nil { // its text quotes the file
		return Credentials{}, fmt.Errorf("no credentials: the profile file %s is no INI file", p.file)
	}
	section, err := file.GetSection(p.section)
	if err != nil {
		return Credentials{}, errNone{fmt.Sprintf("the profile file %s has no section %q", p.file, p.section)}
	}
	// Value and not String, which replaces %(…)s without end where two keys name each other.
	c := Credentials{
		AccessKey:     strings.TrimSpace(section.Key("ak").Value()),
		SecretKey:     strings.TrimSpace(section.Key("sk").Value()),
		SecurityToken: strings.TrimSpace(section.Key("security_token").Value()),
	}
	switch {
	case strings.Contains(c.AccessKey+c.SecretKey+c.SecurityToken, "%("):
		return Credentials{}, fmt.Errorf("no credentials: the profile file %s refers to other keys by %%(…)s in section %q", p.file, p.section)
	case c.AccessKey == "" && c.SecretKey == "":
		return Credentials{}, errNone{fmt.Sprintf("the profile file %s has neither ak nor sk in section %q", p.file, p.section)}
	case !c.usable():
		return Credentials{}, fmt.Errorf("no credentials: the profile file %s has only one of ak and sk in section %q", p.file, p.section)
	}
	return c, nil
}

// maxProfile bounds a profile file, in bytes: the time that it takes to read one grows with the square of its lines.
const maxProfile = 64 << 10

// readUpTo reads one byte more than the limit at most.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, limit+1))
}

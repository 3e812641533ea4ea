// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/profile"
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
	section, err := profile.Read(p.file, p.section)
	if err != nil {
		err = fmt.Errorf("profile file %s, section %q: %w", p.file, p.section, err)
		if profile.Absent(err) {
			return Credentials{}, errNone{err.Error()}
		}
		return Credentials{}, fmt.Errorf("no credentials: %w", err)
	}
	return Credentials{
		AccessKey: section.AccessKey, SecretKey: section.SecretKey, SecurityToken: section.SecurityToken,
	}, nil
}

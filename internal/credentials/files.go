// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/profile"
	"css_vpcep_exporter/internal/secret"
)

const (
	// fileRefresh is long enough that a scrape reads a file once.
	fileRefresh = time.Second
	maxReads    = 4
)

// fileSource reads credentials from files. A part that is unreadable or invalid keeps its last valid value: secrets
// are often replaced in two steps.
type fileSource struct {
	from string // what it reads
	read fileReader

	mu      sync.Mutex
	held    atomic.Pointer[cloud.Credentials]
	readAt  time.Time
	problem error
}

// fileReader reads files, which held last before. problem is why a part of last is returned.
type fileReader func(last cloud.Credentials) (c cloud.Credentials, problem, err error)

func newFileSource(from string, initial cloud.Credentials, read fileReader) *fileSource {
	s := &fileSource{from: from, read: read}
	s.held.Store(&initial)
	return s
}

// NewFiles returns a source that takes each part from the file at a path, if there is one.
func NewFiles(value, path cloud.Credentials) cloud.CredentialSource {
	from := "the configuration file"
	if path != (cloud.Credentials{}) {
		from = "the files that the configuration names"
	}
	return newFileSource(from, value, func(last cloud.Credentials) (c cloud.Credentials, problem, err error) {
		return readParts(path, last, secret.KeyFault)
	})
}

// NewPassword returns a source whose SecretKey is a password, from the file at path if there is one.
func NewPassword(value, path string) cloud.CredentialSource {
	return newFileSource("a password", cloud.Credentials{SecretKey: value},
		func(last cloud.Credentials) (c cloud.Credentials, problem, err error) {
			return readParts(cloud.Credentials{SecretKey: path}, last, secret.PasswordFault)
		})
}

// NewProfile returns a source that reads a section of the SDKs' profile file (ak, sk, security_token).
func NewProfile(file, section string) cloud.CredentialSource {
	from := "section [" + section + "] of the profile file " + file
	return newFileSource(from, cloud.Credentials{}, func(last cloud.Credentials) (c cloud.Credentials, problem, err error) {
		c, err = readProfile(file, section)
		if err != nil && last.Usable() {
			return last, errors.New(strings.TrimPrefix(err.Error(), "no credentials: ")), nil
		}
		return c, nil, err
	})
}

// Credentials fails if a part was never readable.
func (s *fileSource) Credentials(context.Context) (cloud.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.readAt.IsZero() && time.Since(s.readAt) < fileRefresh {
		return *s.held.Load(), nil
	}
	now, problem, err := s.readConsistent()
	if err != nil {
		return cloud.Credentials{}, err
	}
	s.held.Store(&now)
	s.problem = problem
	if problem == nil {
		s.readAt = time.Now()
	}
	return now, nil
}

// readConsistent reads until two reads are alike, because files may be replaced one after the other.
func (s *fileSource) readConsistent() (c cloud.Credentials, problem, err error) {
	last := *s.held.Load()
	for range maxReads {
		if c, problem, err = s.read(last); err != nil || c == last {
			break
		}
		last = c
	}
	return c, problem, err
}

// Problem implements cloud.Outdated.
func (s *fileSource) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

func (s *fileSource) Invalidate(rejected cloud.Credentials, _ bool) bool {
	s.mu.Lock()
	s.readAt = time.Time{}
	s.mu.Unlock()
	now, err := s.Credentials(context.Background())
	return err == nil && now != rejected
}

func readParts(
	path, last cloud.Credentials, check func(string) string,
) (c cloud.Credentials, problem, err error) {
	c = last
	for _, part := range []struct {
		path  string
		value *string
	}{
		{path.AccessKey, &c.AccessKey},
		{path.SecretKey, &c.SecretKey},
		{path.SecurityToken, &c.SecurityToken},
		{path.AuthToken, &c.AuthToken},
	} {
		if part.path == "" {
			continue
		}
		value, err := secret.ReadFile(part.path, check)
		switch {
		case err == nil:
			*part.value = value
		case *part.value != "":
			problem = fmt.Errorf("%s: %w", part.path, err)
		default:
			return cloud.Credentials{}, nil, fmt.Errorf("no credentials: %s: %w", part.path, err)
		}
	}
	return c, problem, nil
}

func readProfile(file, section string) (cloud.Credentials, error) {
	if file == "" {
		return cloud.Credentials{}, noCredentials{"there is no profile file"}
	}
	found, err := profile.Read(file, section)
	if err != nil {
		err = fmt.Errorf("profile file %s, section %q: %w", file, section, err)
		if profile.Absent(err) {
			return cloud.Credentials{}, noCredentials{err.Error()}
		}
		return cloud.Credentials{}, fmt.Errorf("no credentials: %w", err)
	}
	return cloud.Credentials{
		AccessKey: found.AccessKey, SecretKey: found.SecretKey, SecurityToken: found.SecurityToken,
	}, nil
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"net/url"
)

// Secret is text that is printed and encoded as "<secret>", or as "" if it is empty. Only string(s) returns it.
type Secret string

const redacted = "<secret>"

// Format hides the value from every verb.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(f, redacted)
	}
}

// MarshalText hides the value from JSON, YAML and log/slog.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte(redacted), nil
}

// Types without the Format methods below. These are needed because fmt ignores those of fields behind pointers.
type (
	rawConfig      Config
	rawProject     Project
	rawCredentials Credentials
	rawUser        User
)

func format(f fmt.State, verb rune, v any) { _, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), v) }

// Format prints the configuration without secrets.
func (c Config) Format(f fmt.State, verb rune) { format(f, verb, rawConfig(c)) }

// Format prints the project without secrets.
func (p Project) Format(f fmt.State, verb rune) {
	if p.TLSConfig.Key != "" {
		p.TLSConfig.Key = redacted
	}
	if p.ProxyURL != nil && p.ProxyURL.User != nil {
		u := *p.ProxyURL
		u.User = url.User("secret")
		p.ProxyURL = &u
	}
	format(f, verb, rawProject(p))
}

// Format prints the credentials without secrets.
func (c Credentials) Format(f fmt.State, verb rune) { format(f, verb, rawCredentials(c)) }

// Format prints the user without the password.
func (u User) Format(f fmt.State, verb rune) { format(f, verb, rawUser(u)) }

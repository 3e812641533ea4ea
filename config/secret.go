// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

const hidden = "<secret>"

// Secret is text that shows as "<secret>" however it is printed or encoded.
// string(s) is the only way to the value. An empty one stays empty.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the value.
func (s Secret) GoString() string { return s.String() }

// Format hides the value from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML hides the value.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalJSON hides the value.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// The same values without their methods, so that their Format can print them.
type (
	shown            Project
	shownConfig      Config
	shownCredentials Credentials
	shownUser        User
)

// shown hides what Secret does not: the key of TLSConfig, which prints as it
// is, and the user of ProxyURL.
func (p Project) shown() shown {
	if p.TLSConfig.Key != "" {
		p.TLSConfig.Key = hidden
	}
	if p.ProxyURL != nil && p.ProxyURL.User != nil {
		u := *p.ProxyURL
		u.User = url.User("secret")
		p.ProxyURL = &u
	}
	return shown(p)
}

// format prints v as the caller of Format asked for it.
func format(f fmt.State, verb rune, v any) { _, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), v) }

// Format prints the project without secrets.
func (p Project) Format(f fmt.State, verb rune) { format(f, verb, p.shown()) }

// Format prints the configuration without secrets. Like the two below it is
// here because fmt asks nothing inside a pointer whose verb does not fit.
func (c Config) Format(f fmt.State, verb rune) { format(f, verb, shownConfig(c)) }

// Format prints the credentials without secrets.
func (c Credentials) Format(f fmt.State, verb rune) { format(f, verb, shownCredentials(c)) }

// Format prints the user without the password.
func (u User) Format(f fmt.State, verb rune) { format(f, verb, shownUser(u)) }

// LogValue gives the project without secrets.
func (p Project) LogValue() slog.Value { return slog.AnyValue(p.shown()) }

// MarshalYAML gives the project without secrets.
func (p Project) MarshalYAML() (any, error) { return p.shown(), nil }

// MarshalJSON gives the project without secrets.
func (p Project) MarshalJSON() ([]byte, error) { return json.Marshal(p.shown()) }

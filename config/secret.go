// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"

	"css_vpcep_exporter/internal/secret"
)

// Secret is text that is printed and encoded as "<secret>". Only string(s) returns it.
type Secret = secret.Text

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
		p.TLSConfig.Key = "<secret>"
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

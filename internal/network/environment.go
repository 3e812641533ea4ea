// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpproxy"
)

// ParseURL returns a URL with a host and one of the schemes, or nil.
func ParseURL(s string, schemes ...string) *url.URL {
	const hostname = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || strings.HasSuffix(u.Host, ":") || !slices.Contains(schemes, u.Scheme) {
		return nil
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.Trim(host, hostname) != "") {
		return nil
	}
	if port, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16); err != nil || port == 0 {
		return nil
	}
	return u
}

// ParseProxy returns nil for what net/http would not use or misunderstand, such as a password that ends the host.
func ParseProxy(s string) *url.URL {
	u := ParseURL(s, "http", "https", "socks5", "socks5h")
	if u == nil || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(s, "?#") {
		return nil
	}
	return u
}

// Environment looks up a variable, like os.LookupEnv.
type Environment func(key string) (string, bool)

func (env Environment) first(names ...string) (name, value string) {
	for _, name := range names {
		if env == nil {
			break
		}
		if value, _ := env(name); strings.TrimSpace(value) != "" {
			return name, strings.TrimSpace(value)
		}
	}
	return "", ""
}

// proxy returns the variable with the proxy for HTTP or HTTPS, in the order of net/http and then of curl.
func (env Environment) proxy(scheme string) (name, value string) {
	name, value = env.first(scheme+"_PROXY", strings.ToLower(scheme)+"_proxy", "ALL_PROXY", "all_proxy")
	if value != "" && !strings.Contains(value, "://") {
		value = "http://" + value
	}
	return name, value
}

// Proxy returns a function that returns the proxy for a URL, or nil. It ignores the InvalidProxies.
func (env Environment) Proxy() func(*url.URL) (*url.URL, error) {
	valid := func(scheme string) string {
		if _, value := env.proxy(scheme); ParseProxy(value) != nil {
			return value
		}
		return ""
	}
	_, exceptions := env.exceptions()
	c := httpproxy.Config{HTTPProxy: valid("HTTP"), HTTPSProxy: valid("HTTPS"), NoProxy: exceptions}
	return c.ProxyFunc()
}

// exceptions returns the variable with the hosts without a proxy. White space separates them too, as in curl.
func (env Environment) exceptions() (name, value string) {
	name, value = env.first("NO_PROXY", "no_proxy")
	return name, strings.Join(strings.Fields(value), ",")
}

// InvalidProxies returns the names of the variables that would be used and are invalid.
func (env Environment) InvalidProxies() []string {
	var names []string
	for _, scheme := range []string{"HTTP", "HTTPS"} {
		if name, value := env.proxy(scheme); value != "" && ParseProxy(value) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// InvalidExceptions returns the name of the variable with exceptions from a proxy if one of them is no host, or "".
func (env Environment) InvalidExceptions() string {
	never := func(r rune) bool { return strings.ContainsRune("\"'`@", r) || !unicode.IsPrint(r) }
	_, forHTTP := env.proxy("HTTP")
	_, forHTTPS := env.proxy("HTTPS")
	name, value := env.exceptions()
	if forHTTP+forHTTPS == "" || !strings.ContainsFunc(value, never) && !strings.Contains(value, "://") {
		return ""
	}
	return name
}

// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/network"
)

func environment(variables string) network.Environment {
	return func(key string) (string, bool) {
		for line := range strings.SplitSeq(variables, "\n") {
			if value, ok := strings.CutPrefix(line, key+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func TestEnvironmentProxy(t *testing.T) {
	for _, test := range []struct{ name, variables, http, https string }{
		{"none", "", "", ""},
		{"empty", "HTTPS_PROXY=\nALL_PROXY= ", "", ""},
		{"both", "HTTP_PROXY=http://a:1\nHTTPS_PROXY=https://b", "http://a:1", "https://b"},
		{"lower case", "http_proxy=http://a:1\nhttps_proxy=http://b:2", "http://a:1", "http://b:2"},
		{"upper case first, as in net/http", "HTTPS_PROXY=http://a:1\nhttps_proxy=http://b:2", "", "http://a:1"},
		{"without a scheme", "HTTPS_PROXY=proxy.example:3128", "", "http://proxy.example:3128"},
		{"a user without a scheme", "HTTPS_PROXY=user:word@proxy.example:3128", "", "http://user:word@proxy.example:3128"},
		{"capitals and space", "HTTPS_PROXY= HTTP://proxy.example:3128/ ", "", "http://proxy.example:3128/"},
		{"encoded", "HTTPS_PROXY=http://u:%25%23%40@p.example", "", "http://u:%25%23%40@p.example"},
		{"socks5h", "HTTPS_PROXY=socks5h://p.example:1080", "", "socks5h://p.example:1080"},
		{"for all", "ALL_PROXY=socks5://p.example:1080", "socks5://p.example:1080", "socks5://p.example:1080"},
		{"for all others", "all_proxy=http://a:1\nHTTP_PROXY=http://b:2", "http://b:2", "http://a:1"},
		{"IPv6", "HTTPS_PROXY=http://[::1]:3128", "", "http://[::1]:3128"},
		{"not for the host", "HTTPS_PROXY=http://a:1\nNO_PROXY=other,.example", "", ""},
		{"not for the host, after white space", "HTTPS_PROXY=http://a:1\nNO_PROXY=other css.example\tb", "", ""},
		{"not for the host, lower case", "https_proxy=http://a:1\nno_proxy=css.example", "", ""},
	} {
		env := environment(test.variables)
		if invalid := env.InvalidProxies(); len(invalid) > 0 {
			t.Errorf("%s: %v are invalid", test.name, invalid)
		}
		if name := env.InvalidExceptions(); name != "" {
			t.Errorf("%s: %s is invalid", test.name, name)
		}
		for scheme, want := range map[string]string{"http": test.http, "https": test.https} {
			proxy, err := env.Proxy()(&url.URL{Scheme: scheme, Host: "css.example"})
			got := ""
			if proxy != nil {
				got = proxy.String()
			}
			if err != nil || got != want {
				t.Errorf("%s: got %s proxy %q (error %v), want %q", test.name, scheme, got, err, want)
			}
		}
	}
}

// TestInvalidEnvironmentProxies has values that net/http ignores, or understands as another proxy.
func TestInvalidEnvironmentProxies(t *testing.T) {
	for _, value := range []string{
		"http://user:pass%word@proxy.example:3128",
		"http://user:100%@proxy.example:3128",
		"http://user:pass#word@proxy.example:3128",
		"http://user:1234#word@proxy.example:3128",
		"http://user:1234?word@proxy.example:3128",
		"http://user:12/34@proxy.example:3128",
		"http://user#1:word@proxy.example:3128",
		"user:1234#word@proxy.example:3128",
		"http://user:pass word@proxy.example:3128",
		"http://user:pässword@proxy.example:3128",
		"http//proxy.example:3128",
		"http:/proxy.example:3128",
		"http:proxy.example:3128",
		"http://http://proxy.example:3128",
		`"http://proxy.example:3128"`,
		"'http://proxy.example:3128'",
		"\ufeffhttp://proxy.example:3128",
		"http://proxy.example:3128\u200b",
		"http://proxy.example:port",
		"http://proxy.example:99999",
		"http://proxy.example:",
		"http://",
		"http://:3128",
		"http://proxy example:3128",
		"http://proxy.example:3128/path",
		"ftp://proxy.example",
		"socks4://proxy.example",
		"socks://proxy.example",
		"://proxy.example",
	} {
		for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
			env := environment(name + "=" + value)
			if got := fmt.Sprint(env.InvalidProxies()); got != "["+name+"]" {
				t.Errorf("%s=%s: got invalid variables %s", name, value, got)
			}
		}
	}
}

func TestInvalidExceptionsFromProxies(t *testing.T) {
	for _, value := range []string{
		`"css.example,10.0.0.0/8"`, "'css.example'", "a,\ufeffcss.example", "css.example\u200b", "a,http://css.example",
		"https://css.example:443/", "user@css.example",
	} {
		for _, name := range []string{"NO_PROXY", "no_proxy"} {
			proxied := environment("ALL_PROXY=http://proxy.example:3128\n" + name + "=" + value)
			if got := proxied.InvalidExceptions(); got != name {
				t.Errorf("%s=%s: got invalid variable %q", name, value, got)
			}
			if got := environment(name + "=" + value).InvalidExceptions(); got != "" {
				t.Errorf("%s=%s without a proxy: got invalid variable %q", name, value, got)
			}
		}
	}
	for _, value := range []string{
		"*", "*.example,.b.example,10.0.0.0/8,[::1]:80,fd00::/8,localhost,münchen.example", "a,,b,", "",
	} {
		if got := environment("ALL_PROXY=http://p:1\nNO_PROXY=" + value).InvalidExceptions(); got != "" {
			t.Errorf("NO_PROXY=%s: got invalid variable %q", value, got)
		}
	}
}

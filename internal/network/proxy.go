// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Hints.
const (
	HintProxyLogin = "the proxy wants another user and password: set them in " + proxySettings +
		", with % as %25, # as %23 and @ as %40"
	hintProxyForbids = "the proxy does not allow connections to the endpoint: have its operator allow them, or use " +
		"another proxy in " + proxySettings
	hintProxyFails = "the proxy cannot connect to the endpoint: check region and endpoint, and the proxy's DNS and network"
)

// refusal is a proxy's answer to CONNECT other than 200. It holds no text of the proxy, which may quote the request.
type refusal struct{ status int }

func (r *refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the proxy answered %d %s to CONNECT", r.status, http.StatusText(r.status)))
}

// CheckConnect is an http.Transport's OnProxyConnectResponse: it returns an error that Explain explains.
func CheckConnect(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return &refusal{response.StatusCode}
}

func (r *refusal) explain() Fault {
	switch r.status {
	case http.StatusProxyAuthRequired, http.StatusUnauthorized:
		return Fault{HintProxyLogin, true}
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Fault{Hint: hintProxyFails}
	case http.StatusInternalServerError:
		return Fault{hintProxyFails, true}
	case http.StatusForbidden:
		return Fault{hintProxyForbids, true}
	}
	return Fault{"the proxy refuses CONNECT: check that " + proxySettings + " names a proxy that allows CONNECT to the " +
		"endpoint's port", true}
}

// explainSOCKS explains the text of an error of net/http's SOCKS client, or returns no hint.
func explainSOCKS(text string) Fault {
	switch {
	case strings.Contains(text, "authentication"), strings.Contains(text, "invalid username/password"):
		return Fault{HintProxyLogin, true}
	case strings.Contains(text, "not allowed"):
		return Fault{hintProxyForbids, true}
	case strings.Contains(text, "unknown error"): // the proxy's own: host unreachable, for example
		return Fault{Hint: hintProxyFails}
	case strings.Contains(text, "unexpected protocol version"):
		return Fault{"the proxy does not speak SOCKS5: check its scheme and port in " + proxySettings, true}
	}
	return Fault{}
}

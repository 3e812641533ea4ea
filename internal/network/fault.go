// SPDX-License-Identifier: Apache-2.0

// Package network replaces connections, knows the proxies of the environment, and explains why a request got no
// response: DNS, proxies, TLS or a broken connection.
package network

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
)

// Fault is an explained error.
type Fault struct {
	Hint      string // what to do: one sentence without a full stop
	Permanent bool   // a retry is useless
}

// peer is what the error is about, and the settings that name it.
type peer struct{ name, settings, scheme string }

// Stage is how far a request has got on its way to a response.
type Stage int

// The stages.
const (
	Connecting  Stage = iota // or asking a proxy to connect
	Handshaking              // TLS has begun
	Connected
)

const hintHandshake = "the TLS handshake was not completed: check network, firewall and proxy; some networks " +
	"drop the large first message of post-quantum key exchange, which the environment variable GODEBUG=tlsmlkem=0 turns off"

const (
	proxySettings = "proxy_url or HTTPS_PROXY"
	// HintClientCertificate may also come from an HTTP response.
	HintClientCertificate = "the endpoint requires a client certificate, or another one: " + clientCertificate
	clientCertificate     = "set tls_config.cert_file and tls_config.key_file, and check that the certificate is valid"

	hintNetwork = "check the network between this machine and the endpoint, the scheme and port of endpoint " +
		"or iam_endpoint, and " + proxySettings
	opDial  = "dial"
	opProxy = "proxyconnect" // before the proxy has answered
	opSOCKS = "socks connect"
)

// ExplainTimeout returns what a request in this stage waited for, and a hint, or "" for a general one.
func ExplainTimeout(stage Stage) (what, hint string) {
	switch stage {
	case Connecting:
		return "a connection", hintNetwork
	case Handshaking:
		return "the TLS handshake", hintHandshake
	}
	return "the answer", ""
}

// Explain explains an error of an http.RoundTripper.
func Explain(err error, stage Stage) Fault {
	to := peer{"endpoint", "region, endpoint or iam_endpoint", "endpoint or iam_endpoint"}
	op, _ := errors.AsType[*net.OpError](err)
	// Without a connection to the endpoint, whatever was read is from the proxy.
	if op != nil && op.Op == opProxy || stage == Connecting && (op == nil || op.Op != opDial) {
		to = peer{"proxy", proxySettings, proxySettings}
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.explain()
	}
	if op != nil && op.Op == opSOCKS {
		if f := explainSOCKS(op.Err.Error()); f.Hint != "" {
			return f
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		hint := "the " + to.name + "'s name cannot be resolved: check " + to.settings + ", and DNS"
		return Fault{hint, dns.IsNotFound || !dns.IsTemporary}
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return Fault{explainCertificate(to, cert), true}
	}
	text := err.Error()
	if hint := explainTLS(to, err, text); hint != "" {
		return Fault{hint, true}
	}
	switch {
	case stage == Handshaking, strings.Contains(text, "TLS handshake timeout"):
		return Fault{Hint: hintHandshake}
	case IsMalformed(err):
		return Fault{Hint: "the response is not HTTP: check the scheme (http or https) and the port of " + to.scheme +
			", and what is in between on the network"}
	case strings.Contains(text, "client conn could not be established"): // HTTP/2, after the handshake
		return Fault{Hint: "the endpoint closed the connection after the TLS handshake: check the network, and whether it " +
			"requires a client certificate (tls_config.cert_file and tls_config.key_file)"}
	case to.name == "proxy":
		return Fault{Hint: "the proxy cannot be reached: check its host and port in " + proxySettings + ", and the network"}
	}
	return Fault{Hint: hintNetwork}
}

// IsMalformed reports whether a response was not HTTP. The text of such an error may quote the response.
func IsMalformed(err error) bool {
	return strings.Contains(err.Error(), "malformed HTTP") || strings.Contains(err.Error(), "malformed MIME header") ||
		strings.Contains(err.Error(), "HTTP/1.x transport connection broken")
}

// explainTLS returns a hint if the text is that of a TLS failure that lasts.
func explainTLS(to peer, err error, text string) string {
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case noTLS, errors.Is(err, http.ErrSchemeMismatch), has("server gave HTTP response to HTTPS client"):
		return "the " + to.name + " does not answer with TLS: check the scheme (http or https) and the port of " + to.scheme
	case !has("tls: "), has("bad record MAC"): // damaged on the way
		return ""
	case has("protocol version"):
		return "the " + to.name + " and the exporter have no TLS version in common: " +
			"check tls_config.min_version and tls_config.max_version"
	case has("remote error") && has("certificate", "access denied"):
		return "the " + to.name + " requires a client certificate, or another one: " + clientCertificate
	case has("unrecognized name"):
		return "the " + to.name + " has no certificate for this name: check " + to.settings + ", and tls_config.server_name"
	}
	return "the TLS handshake with the " + to.name + " failed: it may require a client certificate " +
		"(tls_config.cert_file and tls_config.key_file) or another TLS version, or the scheme or port of " + to.scheme + " is wrong"
}

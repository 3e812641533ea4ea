// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// addresses gives where CSS and IAM are: as the file says, or by the region.
func (f fields) addresses(region string) (css, iam string) {
	derivedCSS, derivedIAM, known := endpoints(region)
	if region != "" && !known && !f.has("endpoint") {
		v := f.known["region"]
		hint := ""
		if found := nearRegions(region); len(found) > 0 {
			hint = " (near it: " + strings.Join(found, ", ") + ")"
		}
		v.mistake("is %s, which is no known region%s: correct it, or set endpoint, with which any region works", v.echo(), hint)
	}
	css, iam = f.address("endpoint"), f.address("iam_endpoint")
	if !f.has("endpoint") {
		css = derivedCSS
	}
	if !f.has("iam_endpoint") {
		iam = derivedIAM
	}
	return css, iam
}

// address gives the key's http or https address, without a closing slash.
func (f fields) address(key string) string {
	s := f.text(key)
	if s == "" {
		return ""
	}
	address, fault := parseAddress(s)
	v := f.known[key]
	switch {
	case fault.text == "":
		return address
	case fault.shown:
		v.mistake("is %s, but %s", v.echo(), fault.text)
	default:
		v.mistake("%s", fault.text)
	}
	return ""
}

// addressFault says what is wrong with an address, and what to do. What does
// not parse is not to be shown, as a password may be in it.
type addressFault struct {
	text  string // empty: nothing is wrong
	shown bool   // the address may be shown
}

// parseAddress gives an http or https address without a closing slash.
func parseAddress(s string) (string, addressFault) {
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "@"):
		return "", addressFault{"has a user or a password (not shown): keep the address alone and use credentials", false}
	case err != nil || u.Opaque != "" || !validHost(u):
		return "", addressFault{"is no address: write it like https://css.example.com or http://127.0.0.1:8080", false}
	case u.Scheme != "http" && u.Scheme != "https":
		return "", addressFault{"must begin with http:// or https://", true}
	case strings.Trim(u.Path, "/") != "" || len(u.Path) > 1:
		return "", addressFault{"must have no path: end it after the host", true}
	case strings.ContainsAny(s, "?#"):
		return "", addressFault{"must have no query and no fragment: end it after the host", true}
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), addressFault{}
}

// validHost reports whether the URL has a name or an IP address, and a port
// that can be.
func validHost(u *url.URL) bool {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.Trim(host, letters+digits+"._-") != "") {
		return false
	}
	if strings.HasSuffix(u.Host, ":") {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || (err == nil && port > 0)
}

// proxy gives the proxy's URL, or nil. It is never shown.
func (f fields) proxy() *url.URL {
	s := f.text("proxy_url")
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || !validHost(u) || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		f.known["proxy_url"].mistake("is no address of a proxy (not shown): write it like http://proxy.example.com:3128, https://… or socks5://…")
		return nil
	}
	return u
}

// decodeTLS gives a client's TLS settings, after a look at the files, and what
// the files hold in short.
func decodeTLS(v value) (promconfig.TLSConfig, [sha256.Size]byte) {
	f, ok := v.fields(append(tlsKeys(), "ca", "cert", "key", "ca_ref", "cert_ref", "key_ref")...)
	if !ok {
		return promconfig.TLSConfig{}, [sha256.Size]byte{}
	}
	before := len(v.d.mistakes)
	f.rejectReferences()
	if key, ok := f.known["key"]; ok {
		key.secret = true
		f.known["key"] = key
	}
	ca, caContent := f.tlsFile("ca_file")
	cert, certContent := f.tlsFile("cert_file")
	key, keyContent := f.tlsFile("key_file")
	digest := sha256.Sum256(bytes.Join([][]byte{caContent, certContent, keyContent}, []byte{0}))
	c := promconfig.TLSConfig{
		CA:                 f.text("ca"),
		CAFile:             ca,
		Cert:               f.text("cert"),
		CertFile:           cert,
		Key:                promconfig.Secret(f.text("key")),
		KeyFile:            key,
		ServerName:         f.text("server_name"),
		InsecureSkipVerify: f.flag("insecure_skip_verify"),
		MinVersion:         f.tlsVersion("min_version"),
		MaxVersion:         f.tlsVersion("max_version"),
	}
	if len(v.d.mistakes) > before {
		return c, digest // what follows would only repeat them
	}
	if _, err := promconfig.NewTLSConfig(&c); err != nil {
		v.mistake("cannot be used: %s", err)
	}
	return c, digest
}

// rejectReferences reports keys that need Prometheus' secret manager.
func (f fields) rejectReferences() {
	for _, key := range []string{"ca_ref", "cert_ref", "key_ref"} {
		if v, ok := f.known[key]; ok {
			v.mistake("needs a secret manager, which the exporter has not: use %s_file", strings.TrimSuffix(key, "_ref"))
		}
	}
}

// tlsFile gives the key's path, joined with the folder of the file, and what
// is there.
func (f fields) tlsFile(key string) (path string, content []byte) {
	path, content, ok := f.file(key)
	if ok && key == "ca_file" && !x509.NewCertPool().AppendCertsFromPEM(content) {
		f.known[key].mistake("names a file without a certificate in PEM form: name a bundle of CA certificates")
	}
	return path, content
}

func (f fields) tlsVersion(key string) promconfig.TLSVersion {
	s := f.text(key)
	switch s {
	case "":
		return 0
	case "TLS10":
		return tls.VersionTLS10
	case "TLS11":
		return tls.VersionTLS11
	case "TLS12":
		return tls.VersionTLS12
	case "TLS13":
		return tls.VersionTLS13
	}
	f.known[key].mistake("is %s, but must be TLS10, TLS11, TLS12 or TLS13", quote(s))
	return 0
}

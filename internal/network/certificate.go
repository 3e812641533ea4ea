// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/clean"
)

const (
	maxName  = 80
	maxNames = 3
)

func explainCertificate(to peer, err *tls.CertificateVerificationError) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		leaf := len(err.UnverifiedCertificates) > 0 && invalid.Cert.Equal(err.UnverifiedCertificates[0])
		return explainDates(to, invalid.Cert, leaf, time.Now())
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return explainName(to, &host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := ""
		if len(err.UnverifiedCertificates) > 0 {
			n := err.UnverifiedCertificates[0].Issuer
			issuer = cmp.Or(n.CommonName, strings.Join(n.Organization, " "))
		}
		if issuer != "" {
			issuer = " (" + name(issuer) + ")"
		}
		return "the " + to.name + "'s certificate is from an authority" + issuer + " that is unknown here: set " +
			"tls_config.ca_file to a file with its CA certificate; a proxy that intercepts TLS has its own"
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return "the CA certificates of this system cannot be read: set tls_config.ca_file"
	}
	return "the " + to.name + "'s certificate is not valid for this use: replace it on the server, or check " +
		to.settings + ", tls_config.ca_file and what intercepts TLS"
}

func explainDates(to peer, c *x509.Certificate, leaf bool, now time.Time) string {
	utc := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
	subject, remedy := "the "+to.name+"'s certificate", "on the server"
	if !leaf {
		subject, remedy = "a CA certificate behind "+subject, remedy+" or in tls_config.ca_file"
	}
	if now.Before(c.NotBefore) {
		return fmt.Sprintf("%s is not yet valid: it begins at %s, and the clock of this machine shows %s; correct the "+
			"clock, or replace the certificate %s", subject, utc(c.NotBefore), utc(now), remedy)
	}
	return fmt.Sprintf("%s has expired at %s, and the clock of this machine shows %s: renew the certificate %s, "+
		"or correct the clock", subject, utc(c.NotAfter), utc(now), remedy)
}

func explainName(to peer, err *x509.HostnameError) string {
	names := slices.Clone(err.Certificate.DNSNames)
	for _, ip := range err.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	host := name(err.Host)
	if len(names) == 0 {
		return fmt.Sprintf("the %s's certificate has its name (%s) only as common name, which no longer counts: "+
			"replace it on the server by one with the subject alternative name %s",
			to.name, name(err.Certificate.Subject.CommonName), host)
	}
	more := ""
	if n := len(names) - maxNames; n > 0 {
		names, more = names[:maxNames], fmt.Sprintf(" and %d more", n)
	}
	for i := range names {
		names[i] = name(names[i])
	}
	return fmt.Sprintf("the %s's certificate is for %s%s, not for %s: check %s, DNS and tls_config.server_name",
		to.name, strings.Join(names, ", "), more, host, to.settings)
}

// name cleans and shortens a name of a certificate that nobody has verified.
func name(s string) string {
	s = strings.Join(strings.Fields(clean.Text(s, maxName)), " ")
	return cmp.Or(s, "empty")
}

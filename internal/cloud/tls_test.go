// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, changes ...func(*x509.Certificate)) *authority {
	t.Helper()
	changes = append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = "Test Authority", true, x509.KeyUsageCertSign
	}}, changes...)
	return new(authority).sign(t, changes...)
}

// sign returns an authority that may be none, for css.example by default. An authority without a key signs itself.
func (a *authority) sign(t *testing.T, changes ...func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "css.example"}, BasicConstraintsValid: true,
		DNSNames: []string{"css.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, change := range changes {
		change(template)
	}
	parent, signer := a.certificate, a.key
	if signer == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func (a *authority) pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{a.certificate.Raw}, PrivateKey: a.key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// dialing returns a transport that connects to an address, whatever the name.
func dialing(c *tls.Config, address string) *http.Transport {
	transport := cloud.NewTransport(c, nil)
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return transport
}

// serveTLS serves a cloud with a TLS configuration and returns its address.
func serveTLS(t *testing.T, c *tls.Config) string {
	t.Helper()
	s := newCountedServer(t, answering(simtest.NewUnserved(simulator.Options{}), answer(200, listBody)))
	s.EnableHTTP2 = true
	s.TLS = c
	s.StartTLS()
	s.TLS.Certificates = c.Certificates[:1] // without that of httptest
	return s.Listener.Addr().String()
}

// TestCertificates: the hint says what is wrong with a certificate, and it is not tried again within a scrape.
func TestCertificates(t *testing.T) {
	ca := newAuthority(t)
	old := newAuthority(t, func(c *x509.Certificate) { c.NotAfter = time.Date(2020, 1, 2, 3, 4, 0, 0, time.UTC) })
	for _, test := range []struct {
		name        string
		certificate *authority
		trusted     *authority
		hint        string // parts of it, separated by |
		not         string // no part of it
	}{
		{
			"expired", ca.sign(t, func(c *x509.Certificate) { c.NotAfter = time.Date(2020, 1, 2, 3, 4, 0, 0, time.UTC) }), ca,
			"the endpoint's certificate has expired at 2020-01-02 03:04 UTC|clock", "ca_file",
		},
		{
			"not yet valid", ca.sign(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Date(2120, 1, 2, 3, 4, 0, 0, time.UTC), time.Date(2121, 1, 2, 3, 4, 0, 0, time.UTC)
			}), ca, "not yet valid: it begins at 2120-01-02 03:04 UTC|clock of this machine", "ca_file",
		},
		{"an expired authority", old.sign(t), old, "CA certificate|expired at 2020-01-02 03:04 UTC|tls_config.ca_file", ""},
		{
			"another name", ca.sign(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.example", "*.b.example"} }), ca,
			"is for other.example, *.b.example, not for css.example|server_name", "ca_file",
		},
		{
			"many names", ca.sign(t, func(c *x509.Certificate) {
				c.DNSNames = append(strings.Split("a b c d e", " "), strings.Repeat("x", 5000))
			}), ca, "is for a, b, c and 3 more, not for css.example", "ca_file",
		},
		{
			"a long name with control characters", ca.sign(t, func(c *x509.Certificate) {
				c.DNSNames = []string{"evil\x1b[31m" + strings.Repeat("x", 5000)}
			}), ca, "css.example", "\x1b",
		},
		{
			"an address", ca.sign(t, func(c *x509.Certificate) {
				c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv4(192, 0, 2, 1)}
			}), ca, "is for 192.0.2.1, not for css.example", "ca_file",
		},
		{
			"only a common name", ca.sign(t, func(c *x509.Certificate) { c.DNSNames = nil }), ca,
			"common name|subject alternative name css.example", "ca_file",
		},
		{"another authority", ca.sign(t), newAuthority(t), "(Test Authority)|tls_config.ca_file|intercepts TLS", "expired"},
		{"self-signed", new(authority).sign(t), ca, "(css.example)|tls_config.ca_file", "expired"},
		{
			"for clients", ca.sign(t, func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			}), ca, "not valid for this use", "expired",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := serveTLS(t, &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{test.certificate.pair()},
			})
			e := transportFailure(t, "https://css.example",
				dialing(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: test.trusted.pool()}, address), 1, "")
			for part := range strings.SplitSeq(test.hint, "|") {
				if !strings.Contains(e.Hint(), part) {
					t.Errorf("got hint %q, want %q in it", e.Hint(), part)
				}
			}
			if test.not != "" && strings.Contains(e.Hint(), test.not) {
				t.Errorf("got hint %q, want no %q in it", e.Hint(), test.not)
			}
			if len(e.Hint()) > 400 || strings.ContainsAny(e.Hint(), "\r\n") {
				t.Errorf("the hint is long, or has several lines: %q", e.Hint())
			}
		})
	}
}

// tls12 returns a configuration for TLS 1.2 only.
func tls12(clients tls.ClientAuthType, suites ...uint16) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: clients, CipherSuites: suites}
	c.MaxVersion = c.MinVersion
	return c
}

// TestTLSRefusals: what the server refuses is not tried again within a scrape. With TLS 1.3 and HTTP/2, the refusal of a
// certificate may be lost behind a broken connection.
func TestTLSRefusals(t *testing.T) {
	ca := newAuthority(t)
	client := newAuthority(t).sign(t).pair() // of an authority that the server does not know
	for _, test := range []struct {
		name           string
		server, client *tls.Config
		hint           string
	}{
		{
			"no client certificate, TLS 1.3, HTTP/1.1",
			&tls.Config{
				MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"http/1.1"},
			},
			&tls.Config{}, "tls_config.cert_file and tls_config.key_file",
		},
		{
			"no client certificate, TLS 1.2",
			tls12(tls.RequireAndVerifyClientCert),
			&tls.Config{}, "tls_config.cert_file and tls_config.key_file",
		},
		{
			"another client certificate",
			tls12(tls.RequireAndVerifyClientCert),
			&tls.Config{Certificates: []tls.Certificate{client}}, "tls_config.cert_file and tls_config.key_file",
		},
		{
			"only an old version", tls12(tls.NoClientCert),
			&tls.Config{MinVersion: tls.VersionTLS13},
			"tls_config.min_version",
		},
		{
			"only a new version", &tls.Config{MinVersion: tls.VersionTLS13},
			tls12(tls.NoClientCert),
			"tls_config.max_version",
		},
		{
			"no common cipher suite",
			tls12(tls.NoClientCert, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
			tls12(tls.NoClientCert, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
			"the TLS handshake with the endpoint failed",
		},
		{
			"an unknown name", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return nil, net.ErrClosed
			}}, &tls.Config{}, "the TLS handshake with the endpoint failed",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.server.Certificates = []tls.Certificate{ca.sign(t).pair()}
			test.server.ClientCAs, test.client.RootCAs = ca.pool(), ca.pool()
			address := serveTLS(t, test.server)
			checkTransportFailure(t, "https://css.example", dialing(test.client, address), 1, test.hint)
		})
	}
}

// listenRaw calls handle for each connection until the test ends, and returns the address.
func listenRaw(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// TestBrokenHandshake: a connection that breaks during the handshake is tried again.
func TestBrokenHandshake(t *testing.T) {
	for name, handle := range map[string]func(net.Conn){
		"at once":         func(net.Conn) {},
		"after the hello": func(c net.Conn) { _, _ = c.Read(make([]byte, 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			checkTransportFailure(t, "https://css.example", dialing(nil, listenRaw(t, handle)), 4, "GODEBUG=tlsmlkem=0")
		})
	}
}

// TestUnansweredHandshake: whether the deadline ends it or the transport, the hint names the way out.
func TestUnansweredHandshake(t *testing.T) {
	address := listenRaw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	impatient := dialing(nil, address)
	impatient.TLSHandshakeTimeout = 10 * time.Millisecond
	checkTransportFailure(t, "https://css.example", impatient, 4, "GODEBUG=tlsmlkem=0")

	c := newClient(t, "https://css.example", withTransport(dialing(nil, address)))
	_, err := c.read(within(t, 50*time.Millisecond), "c")
	e := failure(t, err)
	if e.Reason != cloud.ReasonTimeout || !strings.Contains(e.Hint(), "GODEBUG=tlsmlkem=0") ||
		!strings.Contains(e.Message, "TLS handshake") {
		t.Errorf("got %v (reason %q, hint %q), want a timeout of the TLS handshake", err, e.Reason, e.Hint())
	}
}

// TestSchemeMistaken: an endpoint with the wrong scheme is named as that.
func TestSchemeMistaken(t *testing.T) {
	secure := newCountedServer(t, http.NotFoundHandler())
	secure.StartTLS()
	c := newClient(t, strings.Replace(secure.URL, "https:", "http:", 1))
	_, err := c.read(bounded(t), "c")
	if e := failure(t, err); e.Status != 400 || !strings.Contains(e.Hint(), "https://") {
		t.Errorf("got %v (hint %q), want https:// in the hint", err, e.Hint())
	}
	closing := listenRaw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 10)) }) // as OpenSSL does
	checkTransportFailure(t, "http://"+closing, nil, 4, "the scheme and port of endpoint")
	other := listenRaw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 10))
		_, _ = io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x16\r\n\r\n")
	})
	checkTransportFailure(t, "http://"+other, nil, 0, "check the scheme (http or https)")
}

// TestMissingClientCertificate: nginx and others accept the handshake, and say it in the response.
func TestMissingClientCertificate(t *testing.T) {
	for _, text := range []string{"No required SSL certificate was sent", "The SSL certificate error"} {
		s := newCloud(t, answer(400, "<html><center><h1>400 Bad Request</h1></center><center>"+text+"</center></html>"))
		_, err := newClient(t, s.URL).read(bounded(t), "c")
		if e := failure(t, err); e.Reason != cloud.ReasonInvalid || !strings.Contains(e.Hint(), "tls_config.cert_file") {
			t.Errorf("%s: got %v (reason %q, hint %q), want tls_config.cert_file in the hint", text, err, e.Reason, e.Hint())
		}
	}
}

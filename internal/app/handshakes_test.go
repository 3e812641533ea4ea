// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
)

// webTLS returns a file for --web.config.file with a certificate.
func webTLS(t *testing.T) string {
	t.Helper()
	certificate, block := selfSigned(t, 1)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "cert.pem"), block)
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	web := filepath.Join(dir, "web.yml")
	writeFile(t, web, "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
	return web
}

// launchTLS starts the program with a certificate of its own and returns its address.
func launchTLS(t *testing.T) (p *program, address string) {
	t.Helper()
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	p = launch(t, environment(nil), "--config.file="+c.file(t, c.projects...), "--web.config.file="+webTLS(t))
	p.eventually(t, "TLS is on", func() bool { return strings.Contains(p.log.String(), `msg="TLS is enabled."`) })
	return p, strings.TrimPrefix(p.url, "http://")
}

// deaf is a connection that hears no response.
type deaf struct{ *net.TCPConn }

func (deaf) Read([]byte) (int, error) { return 0, errors.New("deaf") }

// send sends bytes and reads until the server disconnects.
func send(conn *net.TCPConn, text string) {
	_, _ = io.WriteString(conn, text)
	_ = conn.CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// TestFailedHandshakesAreLogged: load balancers and the kubelet connect to a port and disconnect, every few seconds.
func TestFailedHandshakesAreLogged(t *testing.T) {
	p, address := launchTLS(t)
	for name, test := range map[string]struct {
		connect func(*net.TCPConn)
		level   string
		reason  string // a regular expression
	}{
		"TCP probe": {func(*net.TCPConn) {}, "debug", `EOF`},
		"TCP probe that resets": {
			func(c *net.TCPConn) { _ = c.SetLinger(0) }, "debug", `read tcp .*: connection reset by peer`,
		},
		"HTTP": {
			func(c *net.TCPConn) { send(c, "GET / HTTP/1.1\r\n\r\n") }, "warn", `client sent an HTTP request to an HTTPS server`,
		},
		"another protocol": {
			func(c *net.TCPConn) { send(c, "SSH-2.0-OpenSSH_9.2p1\r\n") }, "warn", `.*does not look like a TLS handshake`,
		},
		"a part of a record": {func(c *net.TCPConn) { send(c, "\x16\x03\x01") }, "warn", `unexpected EOF`},
		"disconnected after the hello": {
			func(c *net.TCPConn) {
				_ = tls.Client(deaf{c}, &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
				send(c, "")
			}, "warn", `EOF`,
		},
		"unknown authority": {
			func(c *net.TCPConn) {
				_ = tls.Client(c, &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
			}, "warn", `remote error: tls: bad certificate`,
		},
		"no common version": {
			func(c *net.TCPConn) {
				old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10} //nolint:gosec // rejected
				_ = tls.Client(c, old).HandshakeContext(t.Context())
			}, "warn", `tls: client offered only unsupported versions: .*`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address) //nolint:noctx // loopback
			if err != nil {
				t.Fatal(err)
			}
			tcp, local := conn.(*net.TCPConn), conn.LocalAddr().String()
			test.connect(tcp)
			_ = tcp.Close()
			line := regexp.MustCompile(`(?m)^level=(\S+) .*msg="http: TLS handshake error from ` + regexp.QuoteMeta(local) + `: (.*)"$`)
			var found []string
			p.eventually(t, "the failed handshake is logged", func() bool {
				found = line.FindStringSubmatch(p.log.String())
				return found != nil
			})
			if found[1] != test.level {
				t.Errorf("got level %s, want %s: %s", found[1], test.level, found[0])
			}
			if !regexp.MustCompile("^" + test.reason + "$").MatchString(found[2]) {
				t.Errorf("got reason %q, want %q", found[2], test.reason)
			}
		})
	}
}

// TestScannersDoNotFloodTheLog: a port scanner makes many connections.
func TestScannersDoNotFloodTheLog(t *testing.T) {
	const scans, text = 50, "SSH-2.0-OpenSSH_9.2p1 and no preface of HTTP/2\r\n"
	for name, test := range map[string]struct {
		scan    func(*net.TCPConn)
		message string
	}{
		"no TLS": {func(c *net.TCPConn) { send(c, text) }, "http: TLS handshake error from"},
		"no HTTP/2": {
			func(c *net.TCPConn) {
				config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}} //nolint:gosec // as scanners do
				secure := tls.Client(c, config)
				_, _ = io.WriteString(secure, text)
				_, _ = io.Copy(io.Discard, secure)
			}, "http2: server: error reading preface from client",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, address := launchTLS(t)
			for range scans {
				conn, err := net.Dial("tcp", address) //nolint:noctx // loopback
				if err != nil {
					t.Fatal(err)
				}
				test.scan(conn.(*net.TCPConn))
				_ = conn.Close()
			}
			line := regexp.MustCompile(`(?m)^level=(\S+) .*msg="` + test.message)
			var levels []string
			p.eventually(t, "all connections are logged", func() bool {
				levels = nil
				for _, found := range line.FindAllStringSubmatch(p.log.String(), -1) {
					levels = append(levels, found[1])
				}
				return len(levels) == scans
			})
			if n := strings.Count(strings.Join(levels, " "), "warn"); n < 1 || n > 12 {
				t.Errorf("got %d warnings, want a few", n)
			}
		})
	}
}

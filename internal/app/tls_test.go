// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// selfSigned returns a self-signed certificate for 127.0.0.1, and its PEM.
func selfSigned(t *testing.T, serial int64) (certificate tls.Certificate, block string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// secureCloud is a cloud behind TLS and HTTP/2 with one cluster, and a program whose CA file is valid.
type secureCloud struct {
	*testCloud
	server  *httptest.Server
	serving atomic.Pointer[tls.Certificate]
	dir     string
	program *program
}

// startSecure starts the cloud and the program, with files beside its configuration.
func startSecure(t *testing.T, settings string, clientCAs *x509.CertPool, files map[string]string) *secureCloud {
	t.Helper()
	certificate, block := selfSigned(t, 1)
	s := &secureCloud{testCloud: newUnservedCloud(simulator.Options{}, project{
		clusters: []string{"c1"}, settings: "tls_config: {ca_file: ca.pem" + settings + "}",
	})}
	s.serving.Store(&certificate)
	s.server = httptest.NewUnstartedServer(s.testCloud)
	s.server.EnableHTTP2 = true
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.server.TLS = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.serving.Load(), nil },
	}
	if clientCAs != nil {
		s.server.TLS.ClientAuth, s.server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clientCAs
		s.server.TLS.MaxVersion = tls.VersionTLS12 // refuses during the handshake
	}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.server.TLS.Certificates = nil // without SNI, they take precedence over GetCertificate
	s.URL = s.server.URL

	path := s.file(t, s.projects...)
	s.dir = filepath.Dir(path)
	writeFile(t, s.path("ca.pem"), block)
	for name, content := range files {
		writeFile(t, s.path(name), content)
	}
	s.program = start(t, "--config.file="+path)
	if !s.isUp(t) {
		t.Fatalf("the cluster is down with the first files:\n%s", s.program.log)
	}
	return s
}

func (s *secureCloud) path(name string) string { return filepath.Join(s.dir, name) }

func (s *secureCloud) isUp(t *testing.T) bool {
	t.Helper()
	return s.program.scrape(t, 5*time.Second).countUp([]string{"c1"}) == 1
}

func TestReplacedCAFileIsUsedWithoutAReload(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, path, content string){
		"in place": writeFile,
		"with a byte order mark": func(t *testing.T, path, content string) {
			writeFile(t, path, "\uFEFF"+content)
		},
		"by another file": func(t *testing.T, path, content string) {
			writeFile(t, path+".new", content)
			if err := os.Rename(path+".new", path); err != nil {
				t.Error(err)
			}
		},
		"by a link, as in Kubernetes": func(t *testing.T, path, content string) {
			writeFile(t, path+".target", content)
			if err := os.Symlink(path+".target", path+".link"); err != nil {
				t.Error(err)
			}
			if err := os.Rename(path+".link", path); err != nil {
				t.Error(err)
			}
		},
		"with the same time and size": func(t *testing.T, path, content string) {
			before, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			missing := max(int(before.Size())-len(content), 0)
			writeFile(t, path, content+strings.Repeat("\n", missing))
			if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSecure(t, "", nil, nil)
			second, block := selfSigned(t, 2)
			s.serving.Store(&second)
			s.server.CloseClientConnections()
			if s.isUp(t) {
				t.Error("the cluster is up although its authority is not in the file")
			}
			replace(t, s.path("ca.pem"), block)
			s.program.eventually(t, "the cluster is up with the second authority", func() bool { return s.isUp(t) })
		})
	}
}

// TestReplacedCAFileEndsConnections: a connection that is alive does not keep an authority that is no longer trusted.
func TestReplacedCAFileEndsConnections(t *testing.T) {
	s := startSecure(t, "", nil, nil)
	_, other := selfSigned(t, 2)
	writeFile(t, s.path("ca.pem"), other)
	if s.isUp(t) {
		t.Error("the cluster is up although its authority is no longer in the file")
	}
}

// TestUnusableTLSFilesChangeNothing: files that are being replaced do not interrupt the reads.
func TestUnusableTLSFilesChangeNothing(t *testing.T) {
	s := startSecure(t, "", nil, nil)
	ca := s.path("ca.pem")
	block, err := os.ReadFile(ca) //nolint:gosec // a file of the test
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"absent":      func() error { return nil },
		"empty":       func() error { return os.WriteFile(ca, nil, 0o600) },
		"cut":         func() error { return os.WriteFile(ca, block[:len(block)/2], 0o600) },
		"a directory": func() error { return os.Mkdir(ca, 0o700) },
	} {
		if err := os.RemoveAll(ca); err != nil {
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		s.server.CloseClientConnections()
		if !s.isUp(t) {
			t.Errorf("the cluster is down while the file is %s:\n%s", name, s.program.log)
		}
	}
	if !strings.Contains(s.program.log.String(), "Reading the files of tls_config failed") {
		t.Errorf("nothing is logged:\n%s", s.program.log)
	}
}

// TestReplacedClientCertificate: the files are replaced one after the other, and used once they fit.
func TestReplacedClientCertificate(t *testing.T) {
	pool := x509.NewCertPool()
	client := func(serial int64) (certificate, key string) {
		c, block := selfSigned(t, serial)
		pool.AppendCertsFromPEM([]byte(block))
		der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		return block, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	certificate, key := client(3)
	newCertificate, newKey := client(4)
	s := startSecure(t, ", cert_file: client.pem, key_file: key.pem", pool,
		map[string]string{"client.pem": certificate, "key.pem": key})
	var serial atomic.Int64
	s.server.TLS.VerifyConnection = func(state tls.ConnectionState) error {
		serial.Store(state.PeerCertificates[0].SerialNumber.Int64())
		return nil
	}
	for _, step := range []struct {
		file, content string
		serial        int64
	}{{"client.pem", newCertificate, 3}, {"key.pem", newKey, 4}} {
		writeFile(t, s.path(step.file), step.content)
		s.server.CloseClientConnections()
		if !s.isUp(t) || serial.Load() != step.serial {
			t.Errorf("after %s was replaced: got certificate %d, want %d:\n%s", step.file, serial.Load(), step.serial, s.program.log)
		}
	}
}

// TestTimeoutNamesItsCause: a scrape that times out says what its last request waited for.
func TestTimeoutNamesItsCause(t *testing.T) {
	alone(t)
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() }) // accepts in the kernel, and answers nothing
	for name, test := range map[string]struct{ url, settings, message, hint string }{
		"the hello is dropped": {
			"https://" + silent.Addr().String(), "", "timed out waiting for the TLS handshake", "GODEBUG=tlsmlkem=0",
		},
		"the proxy is silent": {
			"https://css.invalid", "proxy_url: http://" + silent.Addr().String(), "timed out waiting for a connection",
			"proxy_url or HTTPS_PROXY",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newUnservedCloud(simulator.Options{}, project{clusters: []string{"c1"}, settings: test.settings})
			c.URL = test.url
			p := start(t, "--config.file="+c.file(t, c.projects...))
			began := time.Now()
			p.scrape(t, time.Second)
			if took := time.Since(began); took > time.Second {
				t.Errorf("the scrape took %s, want at most its timeout", took)
			}
			_, page := p.get(t, "/status?format=json")
			for _, want := range []string{test.message, test.hint} {
				if !strings.Contains(page, want) || !strings.Contains(p.log.String(), want) {
					t.Errorf("want %q on the status page and in the log:\n%s\n%s", want, page, p.log)
				}
			}
		})
	}
}

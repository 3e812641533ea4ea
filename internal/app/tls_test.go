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
	"path/filepath"
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

func TestReplacedCAFileIsUsedWithoutAReload(t *testing.T) {
	first, firstPEM := selfSigned(t, 1)
	second, secondPEM := selfSigned(t, 2)
	var serving atomic.Pointer[tls.Certificate]
	serving.Store(&first)

	c := newUnservedCloud(simulator.Options{},
		project{clusters: []string{"c1"}, settings: "tls_config: {ca_file: ca.pem}"})
	server := httptest.NewUnstartedServer(c)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return serving.Load(), nil },
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	server.TLS.Certificates = nil // without SNI, they take precedence over GetCertificate
	c.URL = server.URL

	path := c.file(t, c.projects...)
	ca := filepath.Join(filepath.Dir(path), "ca.pem")
	writeFile(t, ca, firstPEM)
	p := start(t, "--config.file="+path)
	isUp := func() bool { return p.scrape(t, 5*time.Second).countUp([]string{"c1"}) == 1 }
	if !isUp() {
		t.Fatalf("the cluster is down with the first authority:\n%s", p.log)
	}
	serving.Store(&second)
	server.CloseClientConnections()
	if isUp() {
		t.Error("the cluster is up although its authority is not in the file")
	}
	writeFile(t, ca, secondPEM)
	if !isUp() {
		t.Errorf("the cluster is down with the second authority:\n%s", p.log)
	}
}

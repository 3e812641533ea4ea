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
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// selfSigned returns a self-signed certificate for 127.0.0.1, and its PEM.
func selfSigned(t *testing.T, serial int64) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestReplacedCAFileIsUsed checks that a new authority replaces the old one without a reload.
func TestReplacedCAFileIsUsed(t *testing.T) {
	first, firstPEM := selfSigned(t, 1)
	second, secondPEM := selfSigned(t, 2)
	var serving atomic.Pointer[tls.Certificate]
	serving.Store(&first)

	cloud, _ := faultyCloud(t, 1, "p1")
	cloud.AddCluster("p1", threeConnections("c1"))
	server := httptest.NewUnstartedServer(cloud)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return serving.Load(), nil },
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	server.TLS.Certificates = nil // they take precedence over GetCertificate without SNI
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(ca, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(firstPEM)
	file := filepath.Join(dir, "css_vpcep.yml")
	text := fmt.Sprintf("projects: [{region: cn-north-4, project_id: p1, endpoint: %q, tls_config: {ca_file: ca.pem}, "+
		"credentials: {access_key: AK-of-the-test-p1, secret_key: SK-of-the-test}, clusters: [{id: c1}]}]", server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--config.file="+file)
	up := func() float64 {
		t.Helper()
		clusters, _, _ := p.scrape(t, "5")
		return clusters["c1"]["up"]
	}
	if up() != 1 {
		t.Fatalf("the cluster is down with the first authority:\n%s", p.log)
	}
	serving.Store(&second)
	server.CloseClientConnections()
	if up() != 0 {
		t.Error("a certificate of another authority is trusted")
	}
	write(secondPEM)
	if up() != 1 {
		t.Errorf("the cluster is down with the second authority:\n%s", p.log)
	}
}

// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

const (
	password = "test"
	testHash = "$2y$10$18lIBlJ13lNUQrk10of4IudoJPMxAACnvL8WrZwg6zRJGvbBUhtBG" // of the password, by bcrypt
)

// keyPair has a self-signed certificate for 127.0.0.1 and its key, in PEM.
type keyPair struct{ certificate, key string }

func newKeyPair(t *testing.T) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})),
		key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

func (k keyPair) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(k.certificate))
	return pool
}

// serverFiles returns web.yml and the files that it names.
func (k keyPair) serverFiles() map[string]string {
	return map[string]string{
		"server.crt": k.certificate, "server.key": k.key,
		"web.yml": "tls_server_config: {cert_file: server.crt, key_file: server.key}\n" +
			"basic_auth_users: {prometheus: " + testHash + "}\n",
	}
}

// clientFiles returns the files that section 5 of scrape.yml names.
func (k keyPair) clientFiles() map[string]string {
	return map[string]string{"css-vpcep-ca.crt": k.certificate, "css-vpcep-password": password}
}

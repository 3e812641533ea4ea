// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"css_vpcep_exporter/internal/diagnose/report"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestProbeIsSentOnce: net/http repeats a request that HTTP/2 refuses.
func TestProbeIsSentOnce(t *testing.T) {
	var received atomic.Int64
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) { refuseStreams(c, &received) },
	}
	server.StartTLS()
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	transport, isTransport := server.Client().Transport.(*http.Transport)
	if err != nil || !isTransport {
		t.Fatal(err)
	}
	transport.ForceAttemptHTTP2 = true
	trail := &Trail{endpoint: endpoint}
	trail.send(t.Context(), transport, "test")
	if got := trail.judgeHTTP(); !errors.Is(trail.err, errAgain) || got.State != report.Failed || received.Load() != 1 {
		t.Errorf("got %q after %d requests, want it to fail after one", got, received.Load())
	}
}

// refuseStreams refuses each request of an HTTP/2 connection.
func refuseStreams(c io.ReadWriter, received *atomic.Int64) {
	const headers, settings, refused = 1, 4, 7
	_, _ = io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	_, _ = c.Write([]byte{0, 0, 0, settings, 0, 0, 0, 0, 0})
	for frame := make([]byte, 9); ; {
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, c, int64(frame[0])<<16|int64(frame[1])<<8|int64(frame[2]))
		switch {
		case frame[3] == headers:
			received.Add(1)
			_, _ = c.Write(append([]byte{0, 0, 4, 3, 0}, frame[5], frame[6], frame[7], frame[8], 0, 0, 0, refused))
		case frame[3] == settings && frame[4] == 0:
			_, _ = c.Write([]byte{0, 0, 0, settings, 1, 0, 0, 0, 0})
		}
	}
}

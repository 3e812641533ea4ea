// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func newRelay(t *testing.T, target string) *Relay {
	t.Helper()
	r, err := StartRelay(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// connectThrough returns both ends of a connection through r.
func connectThrough(t *testing.T, r *Relay, listener net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	server, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return client, server
}

// checkForwarded checks that data from one side arrives at the other.
func checkForwarded(t *testing.T, from, to net.Conn) {
	t.Helper()
	got := make([]byte, len("hello"))
	if _, err := io.WriteString(from, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, error %v; want hello", got, err)
	}
}

// checkDiscarded checks that data from one side does not arrive at the other.
func checkDiscarded(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := io.WriteString(from, "hello"); err != nil {
		t.Fatal(err)
	}
	checkSilent(t, to)
}

// checkSilent checks that conn neither receives data nor is closed.
func checkSilent(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Errorf("got %d bytes, error %v; want a timeout", n, err)
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

func TestSilenceAppliesToOpenConnections(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := newRelay(t, listener.Addr().String())

	client, server := connectThrough(t, r, listener)
	checkForwarded(t, client, server)
	checkForwarded(t, server, client)
	r.Silence()
	checkDiscarded(t, client, server)
	checkDiscarded(t, server, client)
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	checkSilent(t, server)

	client, server = connectThrough(t, r, listener)
	checkForwarded(t, client, server)
	checkForwarded(t, server, client)
	if n := r.Accepted(); n != 2 {
		t.Errorf("got %d connections, want 2", n)
	}
}

func TestRelayForwardsTheEndOfConnections(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(t, listener.Addr().String())
	for _, clientCloses := range []bool{true, false} {
		client, server := connectThrough(t, r, listener)
		closing, other := client, server
		if !clientCloses {
			closing, other = server, client
		}
		if err := closing.Close(); err != nil {
			t.Error(err)
		}
		if err := other.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := other.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("client closes: %t: got error %v on the other side, want the end", clientCloses, err)
		}
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("without a server: got data, want an error")
	}
}

func TestRelayForwardsTLSUntilSilence(t *testing.T) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			s := newTestSimulator(Options{})
			server := httptest.NewUnstartedServer(s)
			server.EnableHTTP2 = http2
			server.StartTLS()
			t.Cleanup(server.Close)
			r := newRelay(t, strings.TrimPrefix(server.URL, "https://"))
			client := server.Client()
			send := func(timeout time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				_, err := getFromServer(ctx, client, "https://"+r.Addr, connectionsPath)
				return err
			}
			for range 3 {
				if err := send(10 * time.Second); err != nil {
					t.Error(err)
				}
			}
			if got := s.Requests()[0]; got.Proto != proto || got.Status != http.StatusOK || r.Accepted() != 1 {
				t.Errorf("got %s, status %d, %d connections; want %s, 200, 1", got.Proto, got.Status, r.Accepted(), proto)
			}
			r.Silence()
			if err := send(300 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after Silence: got error %v, want %v", err, context.DeadlineExceeded)
			}
			client.CloseIdleConnections()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStartRelayWithCancelledContextFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := StartRelay(ctx, "127.0.0.1:1"); err == nil {
		_ = r.Close()
		t.Error("got a relay, want an error")
	}
}

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

// connectThrough returns both ends of a connection through the relay.
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

// forwards reports whether data passes from one side to the other.
func forwards(t *testing.T, from, to net.Conn) bool {
	t.Helper()
	if _, err := io.WriteString(from, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	_, err := io.ReadFull(to, got)
	return err == nil && string(got) == "hello"
}

// checkNoRead checks that a read ends only at its deadline.
func checkNoRead(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

func TestRelaySilence(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := newRelay(t, listener.Addr().String())

	client, server := connectThrough(t, r, listener)
	if !forwards(t, client, server) || !forwards(t, server, client) {
		t.Error("nothing passes at first")
	}
	r.Silence()
	if forwards(t, client, server) || forwards(t, server, client) {
		t.Error("something passes after the silence")
	}
	checkNoRead(t, client)
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	checkNoRead(t, server)

	client, server = connectThrough(t, r, listener)
	if !forwards(t, client, server) || !forwards(t, server, client) {
		t.Error("nothing passes on a new connection")
	}
	if n := r.Accepted(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestRelayForwardsCloses closes one side of a connection, and then the server.
func TestRelayForwardsCloses(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(t, listener.Addr().String())
	for _, clientFirst := range []bool{true, false} {
		client, server := connectThrough(t, r, listener)
		one, other := client, server
		if !clientFirst {
			one, other = server, client
		}
		if err := one.Close(); err != nil {
			t.Error(err)
		}
		if err := other.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := other.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("client first: %t: the other side does not notice the end: %v", clientFirst, err)
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
		t.Error("without a server the connection stays open")
	}
}

// TestRelayWithTLS covers HTTP/1.1 and HTTP/2, before and after Silence.
func TestRelayWithTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := newTestSimulator(Options{})
		server := httptest.NewUnstartedServer(s)
		server.EnableHTTP2 = http2
		server.StartTLS()
		t.Cleanup(server.Close)
		r := newRelay(t, strings.TrimPrefix(server.URL, "https://"))
		client := server.Client()
		ask := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := getFromServer(ctx, client, "https://"+r.Addr, connectionsPath)
			return err
		}
		for range 3 {
			if err := ask(10 * time.Second); err != nil {
				t.Error(err)
			}
		}
		want := "HTTP/1.1"
		if http2 {
			want = "HTTP/2.0"
		}
		if got := s.Requests()[0]; got.Proto != want || got.Status != http.StatusOK || r.Accepted() != 1 {
			t.Errorf("%s, status %d, %d connections; want %s, 200 and 1", got.Proto, got.Status, r.Accepted(), want)
		}
		r.Silence()
		if err := ask(300 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s after the silence: %v", want, err)
		}
		client.CloseIdleConnections()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRelayWithEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := StartRelay(ctx, "127.0.0.1:1"); err == nil {
		_ = r.Close()
		t.Error("started")
	}
}

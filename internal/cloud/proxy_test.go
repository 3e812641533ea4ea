// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
)

const proxyPassword = "proxy%Pass#word@1"

// through returns a transport that uses a proxy with a user and a password.
func through(scheme, address string) *http.Transport {
	return cloud.NewTransport(nil, http.ProxyURL(&url.URL{
		Scheme: scheme, Host: address, User: url.UserPassword("proxyuser", proxyPassword),
	}))
}

// checkProxyFailure is checkTransportFailure for a hint about the proxy that does not show the password.
func checkProxyFailure(t *testing.T, endpoint string, transport http.RoundTripper, tries int, hint string) {
	t.Helper()
	e := transportFailure(t, endpoint, transport, tries, hint)
	for _, text := range []string{e.Error(), e.Hint(), fmt.Sprint(errors.Unwrap(e))} {
		for _, form := range []string{proxyPassword, url.QueryEscape(proxyPassword), "cHJveHl1c2Vy"} {
			if strings.Contains(text, form) {
				t.Errorf("%q shows the proxy's password", text)
			}
		}
	}
	if !strings.Contains(e.Hint(), "proxy") {
		t.Errorf("got hint %q, want the proxy in it", e.Hint())
	}
}

// answerConnect returns the address of a proxy that answers CONNECT with a status, and quotes the request.
func answerConnect(t *testing.T, status string) string {
	t.Helper()
	return listenRaw(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %s %s\r\nContent-Length: 0\r\n\r\n", status, r.Header.Get("Proxy-Authorization"))
	})
}

func TestProxyRefusesConnect(t *testing.T) {
	for _, test := range []struct {
		status string
		tries  int
		hint   string
	}{
		{"407", 1, "user and password: set them in proxy_url or HTTPS_PROXY"},
		{"403", 1, "does not allow connections to the endpoint"},
		{"405", 1, "refuses CONNECT"},
		{"302", 1, "refuses CONNECT"},
		{"501", 1, "refuses CONNECT"},
		{"500", 1, "cannot connect to the endpoint"},
		{"502", 4, "cannot connect to the endpoint"},
		{"503", 4, "cannot connect to the endpoint"},
		{"504", 4, "cannot connect to the endpoint"},
	} {
		t.Run(test.status, func(t *testing.T) {
			transport := through("http", answerConnect(t, test.status))
			checkProxyFailure(t, "https://css.example", transport, test.tries, test.hint)
			_, err := newClient(t, "https://css.example", withTransport(transport)).read(bounded(t), "c")
			if e := failure(t, err); !strings.Contains(e.Message, "the proxy answered "+test.status) {
				t.Errorf("got message %q, want the proxy's status", e.Message)
			}
		})
	}
}

// TestProxyAnswersWithoutHTTP: net/http quotes what it cannot parse, which may be the login.
func TestProxyAnswersWithoutHTTP(t *testing.T) {
	for _, broken := range []string{"%s\r\n\r\n", "HTTP/1.1 200 OK\r\n%s\r\n\r\n", "HTTP/1.1 %s\r\n\r\n"} {
		proxy := listenRaw(t, func(c net.Conn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, broken, r.Header.Get("Proxy-Authorization"))
		})
		checkProxyFailure(t, "https://css.example", through("http", proxy), 4, "the response is not HTTP")
	}
}

// TestProxyUnreachable: an unresolvable or refused proxy is not taken for the endpoint.
func TestProxyUnreachable(t *testing.T) {
	failing := func(scheme string, d net.DNSError) http.RoundTripper {
		transport := through(scheme, "proxy.invalid:3128")
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &d}
		}
		return transport
	}
	unknown := net.DNSError{Err: "no such host", Name: "proxy.invalid", IsNotFound: true}
	busy := net.DNSError{Err: "server misbehaving", Name: "proxy.invalid", IsTemporary: true}
	plain := newCloud(t, answer(200, listBody))
	secure := newCountedServer(t, http.NotFoundHandler())
	secure.StartTLS()
	const unresolved, unreachable = "the proxy's name cannot be resolved: check proxy_url or HTTPS_PROXY", "the proxy cannot be reached"
	for _, test := range []struct {
		name      string
		transport http.RoundTripper
		endpoint  string
		tries     int
		hint      string
	}{
		{"unknown name, HTTPS", failing("http", unknown), "https://css.example", 1, unresolved},
		{"unknown name, HTTP", failing("http", unknown), "http://css.example", 1, unresolved},
		{"unknown name of a SOCKS proxy", failing("socks5h", unknown), "https://css.example", 1, unresolved},
		{"name server fails", failing("http", busy), "https://css.example", 4, unresolved},
		{"refused", through("http", closedPort(t)), "https://css.example", 4, unreachable},
		{"refused SOCKS proxy", through("socks5", closedPort(t)), "https://css.example", 4, unreachable},
		{
			"a proxy without TLS", through("https", strings.TrimPrefix(plain.URL, "http://")), "https://css.example", 1,
			"the proxy does not answer with TLS: check the scheme (http or https) and the port of proxy_url or HTTPS_PROXY",
		},
		{
			"a proxy's certificate", through("https", secure.Listener.Addr().String()), "https://css.example", 1,
			"the proxy's certificate is from an authority",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkProxyFailure(t, test.endpoint, test.transport, test.tries, test.hint)
		})
	}
}

// TestProxyIsNone: what a server that is no HTTP proxy answers to CONNECT is not taken for the endpoint's.
func TestProxyIsNone(t *testing.T) {
	const notHTTP = "the response is not HTTP: check the scheme (http or https) and the port of proxy_url or HTTPS_PROXY"
	for _, test := range []struct{ name, scheme, answer, hint string }{
		{"disconnects", "http", "", "the proxy cannot be reached"},
		{"cuts its answer", "http", "HTTP/1.1 200 OK\r\n", "the proxy cannot be reached"},
		{"TLS", "http", "\x15\x03\x01\x00\x02\x02\x16", notHTTP},
		{"SOCKS", "http", "\x05\xff", notHTTP},
		{"SSH", "http", "SSH-2.0-OpenSSH_9.2\r\n", notHTTP},
		{"SOCKS disconnects", "socks5", "", "the proxy cannot be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := listenRaw(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 1000))
				_, _ = io.WriteString(c, test.answer)
			})
			checkProxyFailure(t, "https://css.example", through(test.scheme, address), 4, test.hint)
		})
	}
}

// TestProxyRefusesPlainRequest: without TLS there is no CONNECT.
func TestProxyRefusesPlainRequest(t *testing.T) {
	c := newClient(t, "http://css.example", withTransport(through("http", answerConnect(t, "407"))))
	_, err := c.read(bounded(t), "c")
	if e := failure(t, err); e.Status != 407 || !strings.Contains(e.Message, "proxy") ||
		!strings.Contains(e.Hint(), "proxy_url or HTTPS_PROXY") {
		t.Errorf("got %v (hint %q), want a proxy that requires authentication", err, e.Hint())
	}
}

// TestProxyFailsPlainRequest: without TLS, the response may be the proxy's.
func TestProxyFailsPlainRequest(t *testing.T) {
	for _, status := range []string{"500", "502", "503", "504"} {
		transport := through("http", answerConnect(t, status))
		c := newClient(t, "http://css.example", withRetry(quickRetry()), withTransport(transport))
		_, err := c.read(bounded(t), "c")
		if e := failure(t, err); e.Reason != cloud.ReasonServer || !strings.Contains(e.Hint(), "proxy") {
			t.Errorf("%s: got %v (reason %q, hint %q), want the proxy in the hint", status, err, e.Reason, e.Hint())
		}
	}
}

// TestProxyLoginIsNoVerdict: that the proxy wants a password does not reset the count of rejections of the key.
func TestProxyLoginIsNoVerdict(t *testing.T) {
	s := newCloud(t, func(w http.ResponseWriter, r *http.Request, n int) {
		answer(map[bool]int{true: 407, false: 401}[n == 3], "")(w, r, n)
	})
	c := newClient(t, s.URL)
	for range 6 {
		_, _ = c.read(bounded(t), "c")
	}
	equal(t, "requests until the pause", s.Reads(""), 4)
}

// serveSOCKS returns the address of a SOCKS5 proxy. It wants a password, answers a request with the reply, and connects
// it with the address if the reply is 0. Names receives the names to connect to.
func serveSOCKS(t *testing.T, password string, reply byte, to string, names chan<- string) string {
	t.Helper()
	return listenRaw(t, func(c net.Conn) {
		read := func(n int) []byte {
			b := make([]byte, n)
			_, _ = io.ReadFull(c, b)
			return b
		}
		read(int(read(2)[1])) // methods
		_, _ = c.Write([]byte{5, 2})
		read(int(read(2)[1])) // user
		if got := string(read(int(read(1)[0]))); got != password {
			_, _ = c.Write([]byte{1, 1})
			return
		}
		_, _ = c.Write([]byte{1, 0})
		if head := read(4); head[3] != 3 { // a name
			return
		}
		names <- string(read(int(read(1)[0])))
		read(2) // port
		_, _ = c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		if reply != 0 {
			return
		}
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		go func() { _, _ = io.Copy(server, c); _ = server.Close() }()
		_, _ = io.Copy(c, server)
	})
}

// TestSOCKSProxyResolvesNames: with either scheme, the proxy gets the endpoint's name.
func TestSOCKSProxyResolvesNames(t *testing.T) {
	s := newCloud(t, answer(200, listBody))
	for _, scheme := range []string{"socks5", "socks5h"} {
		names := make(chan string, 10)
		address := serveSOCKS(t, proxyPassword, 0, strings.TrimPrefix(s.URL, "http://"), names)
		c := newClient(t, "http://css.example", withTransport(through(scheme, address)))
		if _, err := c.read(bounded(t), "c"); err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		equal(t, "name", <-names, "css.example")
	}
}

func TestSOCKSProxyRefuses(t *testing.T) {
	for _, test := range []struct {
		name, password string
		reply          byte
		tries          int
		hint           string
	}{
		{"the password", "another", 0, 1, "user and password: set them in proxy_url or HTTPS_PROXY"},
		{"the endpoint", proxyPassword, 2, 1, "does not allow connections to the endpoint"},
		{"an unreachable host", proxyPassword, 4, 4, "cannot connect to the endpoint"},
	} {
		t.Run(test.name, func(t *testing.T) {
			names := make(chan string, 10)
			address := serveSOCKS(t, test.password, test.reply, "", names)
			checkProxyFailure(t, "https://css.example", through("socks5", address), test.tries, test.hint)
		})
	}
	other := listenRaw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 10))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	checkProxyFailure(t, "https://css.example", through("socks5", other), 1, "does not speak SOCKS5")
}

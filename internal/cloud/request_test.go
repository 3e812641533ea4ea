// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"golang.org/x/time/rate"
)

func TestHeaders(t *testing.T) {
	const signed = "SignedHeaders=x-project-id;x-sdk-date,"
	const signedWithToken = "SignedHeaders=x-project-id;x-sdk-date;x-security-token," //nolint:gosec // names of headers
	for _, test := range []struct {
		name        string
		credentials cloud.Credentials
		want        map[string]string
		signed      string // part of Authorization
		absent      []string
	}{
		{
			"keys", cloud.Credentials{AccessKey: testAK, SecretKey: testSK},
			nil, signed, []string{"X-Security-Token", "X-Auth-Token"},
		},
		{
			"temporary keys", cloud.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken},
			map[string]string{"X-Security-Token": testToken}, signedWithToken, []string{"X-Auth-Token"},
		},
		{
			"token", cloud.Credentials{AuthToken: testAuth},
			map[string]string{"X-Auth-Token": testAuth}, "", []string{"Authorization", "X-Security-Token", "X-Sdk-Date"},
		},
		{
			"token and keys",
			cloud.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken, AuthToken: testAuth},
			map[string]string{"X-Auth-Token": testAuth}, "", []string{"Authorization", "X-Security-Token", "X-Sdk-Date"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var header http.Header
			transport := &simtest.RoundTripper{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				header = r.Header
				fmt.Fprint(w, listBody)
			})}
			c := newClient(t, "http://cloud.invalid", withTransport(transport), withCredentials(fixed(test.credentials)))
			if _, err := c.read(bounded(t), "c"); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"User-Agent": "css_vpcep_exporter/test", "Accept": "application/json", "X-Project-Id": simtest.ProjectID,
			}
			maps.Copy(want, test.want)
			for name, value := range want {
				if got := header.Values(name); len(got) != 1 || got[0] != value {
					t.Errorf("%s: got %q, want %q", name, got, value)
				}
			}
			for _, name := range test.absent {
				if header.Get(name) != "" {
					t.Errorf("%s is sent", name)
				}
			}
			if got := header.Get("Authorization"); !strings.Contains(got, test.signed) {
				t.Errorf("Authorization: got %q, want %q in it", got, test.signed)
			}
		})
	}
}

// TestRetriesAreSignedAgain: a retry with the first signature would be rejected as old.
func TestRetriesAreSignedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dates []string
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			dates = append(dates, r.Header.Get("X-Sdk-Date"))
			w.WriteHeader(503)
		}, withRetry(cloud.Retry{Tries: 3, Base: 2 * time.Second, Limit: 20 * time.Second}))
		_, err := c.read(t.Context(), "c")
		if e := failure(t, err); e.Reason != cloud.ReasonServer {
			t.Errorf("got reason %q, want server", e.Reason)
		}
		if len(dates) != 3 || dates[0] == dates[1] || dates[1] == dates[2] {
			t.Errorf("got the dates %q, want three different ones", dates)
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		fmt.Fprint(w, listBody)
	}))
	defer other.Close()
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for name, location := range map[string]string{
			"elsewhere": other.URL + "/x?secret", "here": "/other", "none": "", "broken": "http://[::1", "scheme": "file:///etc/passwd",
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				f := newCloud(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
					if location != "" {
						w.Header().Set("Location", location)
					}
					w.WriteHeader(status)
					fmt.Fprint(w, listBody)
				})
				_, err := newClient(t, f.URL, withRetry(quickRetry())).read(bounded(t), "c")
				e := failure(t, err)
				if e.Reason != cloud.ReasonInvalid || e.Status != status {
					t.Errorf("got %v (reason %q, status %d), want invalid, %d", err, e.Reason, e.Status, status)
				}
				if location != "" && strings.Contains(err.Error(), location) {
					t.Errorf("the error shows the location: %v", err)
				}
				equal(t, "requests", f.Reads(""), 1)
			})
		}
	}
	equal(t, "requests elsewhere", elsewhere.Load(), 0)
}

// TestEndlessBody: reading stops at 16 MiB, compressed or not, and cancels the request.
func TestEndlessBody(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"plain": {Body: `{"connections":[`, Endless: true},
		"gzip":  {Body: `{"connections":[`, Endless: true, Gzip: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := simtest.New(t, simulator.Options{})
			c.FailReads("", fault)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := newClient(t, c.URL, withRetry(quickRetry())).read(bounded(t), "c")
			runtime.ReadMemStats(&after)
			if e := failure(t, err); e.Reason != cloud.ReasonDecode {
				t.Errorf("got %v, want reason decode", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 200<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
			equal(t, "requests", c.Reads(""), 1)
			for c.InFlight() > 0 { // the server is cancelled
				if t.Context().Err() != nil {
					t.Fatal("the server still sends")
				}
				time.Sleep(time.Millisecond)
			}
			if encoding := c.Requests()[0].Header.Get("Accept-Encoding"); !strings.Contains(encoding, "gzip") {
				t.Errorf("Accept-Encoding: got %q, want gzip", encoding)
			}
		})
	}
}

func TestBodyOf16MiBIsTheLimit(t *testing.T) {
	for extra, ok := range map[int]bool{0: true, 1: false} {
		head := `{"connections":[],"x":"`
		body := head + strings.Repeat("a", 16<<20-len(head)-2) + `"}` + strings.Repeat(" ", extra)
		f := newCloud(t, answer(200, body))
		response, err := newClient(t, f.URL).read(bounded(t), "c")
		if (err == nil) != ok || ok && len(response.Body) != len(body) {
			t.Errorf("%d bytes: got %d, %v", len(body), len(response.Body), err)
		}
		if err != nil && cloud.ReasonOf(err) != cloud.ReasonDecode {
			t.Errorf("%d bytes: got reason %q, want decode", len(body), cloud.ReasonOf(err))
		}
	}
}

func TestGzip(t *testing.T) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	fmt.Fprint(w, listBody)
	_ = w.Close()
	f := newCloud(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		w.Header().Set("Content-Encoding", "gzip")
		switch n {
		case 1:
			_, _ = w.Write(compressed.Bytes())
		case 2:
			_, _ = w.Write(compressed.Bytes()[:compressed.Len()/2])
		default:
			_, _ = io.WriteString(w, listBody) // not gzip
		}
	})
	c := newClient(t, f.URL)
	if response, err := c.read(bounded(t), "c"); err != nil || string(response.Body) != listBody {
		t.Errorf("gzip: got %q, %v", response.Body, err)
	}
	for _, what := range []string{"cut", "not gzip"} {
		if _, err := c.read(bounded(t), "c"); err == nil {
			t.Errorf("%s: got no error", what)
		} else if r := cloud.ReasonOf(err); r != cloud.ReasonDecode && r != cloud.ReasonTransport {
			t.Errorf("%s: got reason %q", what, r)
		}
	}
}

// TestSecretThatNoHeaderCanHold: it fails without a request, and the error does not show it.
func TestSecretThatNoHeaderCanHold(t *testing.T) {
	f := newCloud(t, answer(200, listBody))
	for _, s := range []cloud.Credentials{
		{AccessKey: testAK + "\nx", SecretKey: testSK},
		{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken + "\r\nEvil: 1"},
		{AuthToken: testAuth + "\x00"},
	} {
		_, err := newClient(t, f.URL, withCredentials(fixed(s)), withRetry(quickRetry())).read(bounded(t), "c")
		noSecret(t, failure(t, err), testAK, testToken, testAuth)
	}
	equal(t, "requests", f.Reads(""), 0)
}

func TestNoCredentials(t *testing.T) {
	f := newCloud(t, answer(200, listBody))
	for _, s := range []cloud.Credentials{{}, {AccessKey: testAK}, {SecretKey: testSK}, {SecurityToken: testToken}} {
		_, err := newClient(t, f.URL, withCredentials(fixed(s)), withRetry(quickRetry())).read(bounded(t), "c")
		if e := failure(t, err); e.Reason != cloud.ReasonAuth || e.Hint() == "" {
			t.Errorf("got %v (reason %q, hint %q), want auth with a hint", err, e.Reason, e.Hint())
		}
		noSecret(t, err, testAK, testSK, testToken)
	}
	equal(t, "requests", f.Reads(""), 0)
}

// TestBudget: each request uses the budget, retries and pages included, and none is sent that would be late.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var sent []time.Duration
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			sent = append(sent, time.Since(start).Round(time.Millisecond))
			if n == 2 {
				w.WriteHeader(503)
				return
			}
			fmt.Fprint(w, listBody)
		}, withRetry(quickRetry()), func(o *cloud.Options) { o.Budget = rate.NewLimiter(1, 1) })
		first := c.readRequest("c")
		if err := c.Reserve(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		first.Reserved = true
		if _, err := c.Call(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if _, err := c.read(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(sent, want) {
			t.Errorf("got requests at %v, want %v", sent, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		for _, err := range []error{c.Reserve(ctx, c.readRequest("c")), c.listClusters(ctx)} {
			if e := failure(t, err); e.Reason != cloud.ReasonTimeout || e.Sent || len(sent) != 3 {
				t.Errorf("got %v after %d requests, want a timeout without another one", err, len(sent))
			}
		}
	})
}

// TestIDsAreEscaped reads clusters whose IDs need escaping, from a cloud that rejects a wrong signature.
func TestIDsAreEscaped(t *testing.T) {
	f := newCloud(t, answer(200, listBody))
	for _, token := range []string{"", testToken, "a b  c/+=", " " + testToken + " "} {
		c := newClient(t, f.URL, withKey(f, strings.TrimSpace(token)),
			withCredentials(fixed(cloud.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: token})))
		for _, id := range []string{
			"5c77b71c-5b35-4f50-8984-76387e42451a", "a b", "a+b", "a%2Fb", "ü", "a;b", "a?b", "a#b", "a:b@c", "~",
			"a!'()*$,b", "%", "%zz", "\xff", "...", "a\nb", `a\b`, "a=b&c",
		} {
			if _, err := c.read(bounded(t), id); err != nil {
				t.Errorf("%q, token %q: %v", id, token, err)
				continue
			}
			requests := f.Requests()
			if got := requests[len(requests)-1].ID; got != id {
				t.Errorf("got a request for %q, want %q", got, id)
			}
		}
	}
}

func TestIDCannotChangeThePath(t *testing.T) {
	f := newCloud(t, answer(200, listBody))
	c := newClient(t, f.URL)
	for _, id := range []string{"", ".", "..", "a/b", "../x", "/", "/project", "//"} {
		_, err := c.read(bounded(t), id)
		if e := failure(t, err); e.Reason != cloud.ReasonInvalid {
			t.Errorf("%q: got reason %q, want invalid", id, e.Reason)
		}
	}
	equal(t, "requests", len(f.Requests()), 0)
}

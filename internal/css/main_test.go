// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the tests sign with. The values are made up, and long enough to be found in a text by chance never.
const (
	testAK      = "AKTESTTESTTESTTEST00"
	testSK      = "sk-0123456789abcdefghijklmnopqrstuvwxyzAB"
	testToken   = "SECURITYTOKENgQpjbi1ub3J0aC00AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
	testAuth    = "AUTHTOKENMIIEzQYJKoZIhvcNAQcCoIIEvjCCBLoCAQExDTALBglghkgBZQMEAgEw"
	testProject = "0123456789abcdef0123456789abcdef"
	testCluster = "5c77b71c-5b35-4f50-8984-76387e42451a"
)

// call is one request as a fake server saw it.
type call struct {
	path   string // decoded
	query  url.Values
	header http.Header
}

// fake is an API on loopback that answers no request without a correct signature, or the right token.
type fake struct {
	*httptest.Server

	mu    sync.Mutex
	calls []call
}

// answer writes the answer to the nth request, counted from 1.
type answer func(w http.ResponseWriter, r *http.Request, n int)

// newFake starts a fake that ends with the test.
func newFake(t *testing.T, answer answer, change ...func(*httptest.Server)) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.calls = append(f.calls, call{path: r.URL.Path, query: r.URL.Query(), header: r.Header.Clone()})
		n := len(f.calls)
		f.mu.Unlock()
		if err := verify(r, nil, testAK, testSK, testAuth, time.Now()); err != nil {
			t.Errorf("request %d, %s: %v", n, r.RequestURI, err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, r, n)
	}))
	for _, c := range change {
		c(f.Server)
	}
	if f.URL == "" {
		f.Start()
	}
	t.Cleanup(f.Close)
	return f
}

func (f *fake) seen() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.calls...)
}

// says is an answer that never changes.
func says(status int, body string) answer {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// newTestClient makes a client of the API at endpoint; nothing of it is left when the test ends.
func newTestClient(t *testing.T, endpoint string, change ...func(*Options)) *Client {
	t.Helper()
	options := Options{
		Region: "cn-north-4", ProjectID: testProject, Endpoint: endpoint, UserAgent: "css_vpcep_exporter/test",
		Credentials: NewFiles(Credentials{AccessKey: testAK, SecretKey: testSK}, Credentials{}), Keys: NewKeys(),
		Transport: NewTransport(nil, nil), Retry: Retry{Tries: 1},
	}
	for _, c := range change {
		c(&options)
	}
	client := NewClient(options)
	t.Cleanup(client.Close)
	return client
}

func withRetry(r Retry) func(*Options) { return func(o *Options) { o.Retry = r } }
func withCredentials(c CredentialSource) func(*Options) {
	return func(o *Options) { o.Credentials = c }
}
func withTransport(rt http.RoundTripper) func(*Options) { return func(o *Options) { o.Transport = rt } }
func quick() Retry                                      { return Retry{Tries: 4, Base: time.Millisecond, Limit: 4 * time.Millisecond} }
func soon(t *testing.T) context.Context                 { return within(t, 10*time.Second) }
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// failure gives the *Error of a call that was to fail.
func failure(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *Error", err, err)
	}
	return e
}

// roundTripper answers without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// response makes an answer for a roundTripper.
func response(r *http.Request, status int, body string) *http.Response {
	recorder := httptest.NewRecorder()
	recorder.WriteHeader(status)
	_, _ = recorder.WriteString(body)
	resp := recorder.Result()
	resp.Request = r
	return resp
}

// seedBody is the answer that the vendor's page of 2025-08-15 shows.
const seedBody = `{
  "connections" : [ {
    "id" : "54b7f739-31a1-40d0-862b-ac85b83ab2da",
    "status" : "accepted",
    "maxSession" : "3000",
    "specificationName" : "default",
    "vpcepIp" : "192.168.0.122",
    "created_at" : "2024-06-11T09:36:24Z",
    "domain_id" : "db9b76a0d9ae431f8e85e89da2ca867c"
  }, {
    "id" : "e88ad0bc-c2c7-419c-bd9b-a961111f0a42",
    "status" : "accepted",
    "maxSession" : "3000",
    "specificationName" : "default",
    "vpcepIp" : "192.168.0.133",
    "created_at" : "2023-10-12T07:33:16Z",
    "domain_id" : "db9b76a0d9ae431f8e85e89da2ca867c"
  } ],
  "vpcepUpdateSwitch" : false,
  "total_count" : 2,
  "vpcServiceName" : "cn-north-4.css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd",
  "permissions" : [ {
    "id" : "432a6429-f377-4168-8b24-feb5885af08c",
    "permission" : "iam:domain::db9b76a0d9ae431f8e85e89da2ca867c",
    "permission_type" : "domainId",
    "created_at" : "2023-10-12T07:33:11Z"
  } ]
}`

func contains(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds the secret %q: %s", where, secret, text)
		}
	}
}

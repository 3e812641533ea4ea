// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	metadataPath    = "/meta-data/latest/api/token"
	securityKeyPath = "/openstack/latest/securitykey"
	noMetadataToken = "Unauthorized: the metadata token is missing, wrong or expired."
)

// serveRequest serves a request, with a header unless name is empty.
func serveRequest(t *testing.T, s *Simulator, method, target, body, name, value string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, newRequest(t, method, target, body, name, value))
	return w
}

func newRequest(t *testing.T, method, target, body, name, value string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if name != "" {
		r.Header.Set(name, value)
	}
	return r
}

func requestMetadataToken(t *testing.T, s *Simulator, ttl string) *httptest.ResponseRecorder {
	t.Helper()
	return serveRequest(t, s, http.MethodPut, metadataPath, "", "X-Metadata-Token-Ttl-Seconds", ttl)
}

// newMetadataToken returns a token with the maximum lifetime.
func newMetadataToken(t *testing.T, s *Simulator) string {
	t.Helper()
	return requestMetadataToken(t, s, "21600").Body.String()
}

func requestSecurityKey(t *testing.T, s *Simulator, token string) *httptest.ResponseRecorder {
	t.Helper()
	return serveRequest(t, s, http.MethodGet, securityKeyPath, "", "X-Metadata-Token", token)
}

func requestPodKey(t *testing.T, s *Simulator, token, body string) *httptest.ResponseRecorder {
	t.Helper()
	return serveRequest(t, s, http.MethodPost, PodIdentityPath, body, "Authorization", token)
}

// parseKey returns the key in either kind of response, and its expiry as sent.
func parseKey(t *testing.T, w *httptest.ResponseRecorder) (key Key, expires string) {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d %s, error %v; want 200 and JSON", w.Code, w.Body, err)
	}
	names, object := []string{"access", "secret", "securitytoken", "expires_at"}, body["credential"]
	if object == nil {
		names, object = []string{"accessKeyId", "secretAccessKey", "securityToken", "expiration"}, body["credentials"]
	}
	fields, _ := object.(map[string]any)
	var values []string
	for _, name := range names {
		text, _ := fields[name].(string)
		if text == "" {
			t.Fatalf("got %s, want a field %s", w.Body, name)
		}
		values = append(values, text)
	}
	return Key{Access: values[0], Secret: values[1], SecurityToken: values[2]}, values[3]
}

// statusWithKey sends a request signed with a key and returns the status and the error code.
func statusWithKey(t *testing.T, s *Simulator, key Key, target string) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, signedRequestBy(t.Context(), key, s.opts.Now(), "http://css.test", target))
	var body struct {
		Code string `json:"error_code"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &body)
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", body.Code))
}

func TestMetadataTokenLifetimeIsLimited(t *testing.T) {
	for _, tc := range []struct {
		ttl    string
		status int
	}{
		{"1", 200},
		{"21600", 200},
		{"0", 400},
		{"21601", 400},
		{"-1", 400},
		{"", 400},
		{"1.5", 400},
		{"6h", 400},
		{"99999999999999999999", 400},
	} {
		w := requestMetadataToken(t, newTestSimulator(Options{}), tc.ttl)
		if got := w.Header().Get("Content-Type"); w.Code != tc.status || got != "text/plain" {
			t.Errorf("lifetime %q: got status %d, Content-Type %q; want %d, text/plain", tc.ttl, w.Code, got, tc.status)
		}
	}
}

func TestMetadataTokenExpires(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	s.SetAgency(Agency{})
	short, long := requestMetadataToken(t, s, "60").Body.String(), newMetadataToken(t, s)
	if short == long || len(short) < 20 || strings.TrimSpace(short) != short {
		t.Errorf("got tokens %q and %q, want different ones of at least 20 bytes without blanks around them", short, long)
	}
	checkStatus := func(name, token string, status int) {
		t.Helper()
		w := requestSecurityKey(t, s, token)
		if w.Code != status || (status == 401 && w.Body.String() != noMetadataToken) {
			t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, status)
		}
	}
	checkStatus("no token", "", 401)
	checkStatus("unknown token", long+"x", 401)
	c.passed = time.Minute - 1
	checkStatus("short-lived token before expiry", short, 200)
	c.passed = time.Minute
	checkStatus("short-lived token at expiry", short, 401)
	checkStatus("long-lived token before expiry", long, 200)
	c.passed = 6 * time.Hour
	checkStatus("long-lived token at expiry", long, 401)
	checkStatus("new token", newMetadataToken(t, s), 200)
	if n := len(s.metadataTokens); n != 1 {
		t.Errorf("got %d metadata tokens in memory, want 1", n)
	}
}

func TestSecurityKeyWithoutAgency(t *testing.T) {
	s := newTestSimulator(Options{})
	const noAgency = "Please configure Cloud Service Agency first"
	w := requestSecurityKey(t, s, newMetadataToken(t, s))
	if w.Code != 401 || !strings.Contains(w.Body.String(), noAgency) {
		t.Errorf("got %d %s, want 401 %s", w.Code, w.Body, noAgency)
	}
	if w := requestSecurityKey(t, s, ""); w.Code != 401 || w.Body.String() != noMetadataToken {
		t.Errorf("without a token: got %d %s, want 401 %s", w.Code, w.Body, noMetadataToken)
	}
}

func TestMachineWithoutMetadataTokens(t *testing.T) {
	for _, status := range []int{404, 405, 503} {
		s := newTestSimulator(Options{})
		s.SetAgency(Agency{TokenStatus: status})
		for _, ttl := range []string{"21600", ""} {
			if w := requestMetadataToken(t, s, ttl); w.Code != status {
				t.Errorf("token request with lifetime %q: got status %d, want %d", ttl, w.Code, status)
			}
		}
		first, _ := parseKey(t, serveRequest(t, s, http.MethodGet, securityKeyPath, "", "", ""))
		second, _ := parseKey(t, requestSecurityKey(t, s, "of another machine"))
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%d: got another key with a token:\n%s", status, diff)
		}
		if got := statusWithKey(t, s, first, connectionsPath); got != "200" {
			t.Errorf("%d: got %s with the key, want 200", status, got)
		}
	}
}

// keySource issues temporary keys.
type keySource struct {
	name      string
	configure func(s *Simulator, projects []string, life, early time.Duration)
	request   func(t *testing.T, s *Simulator) (key Key, expires string)
}

func keySources() []keySource {
	return []keySource{
		{"agency", func(s *Simulator, projects []string, life, early time.Duration) {
			s.SetAgency(Agency{Projects: projects, Life: life, Early: early})
		}, func(t *testing.T, s *Simulator) (key Key, expires string) {
			return parseKey(t, requestSecurityKey(t, s, newMetadataToken(t, s)))
		}},
		{"pod", func(s *Simulator, projects []string, life, early time.Duration) {
			s.SetPodIdentity(PodIdentity{Token: "pod", Projects: projects, Life: life, Early: early})
		}, func(t *testing.T, s *Simulator) (key Key, expires string) {
			return parseKey(t, requestPodKey(t, s, "pod", "{}"))
		}},
	}
}

type keyLifetime struct{ life, early, wantLife, wantEarly time.Duration }

func keyLifetimes() []keyLifetime {
	return []keyLifetime{
		{0, 0, time.Hour, 30 * time.Minute},
		{10 * time.Minute, time.Minute, 10 * time.Minute, time.Minute},
		{10 * time.Minute, 0, 10 * time.Minute, 5 * time.Minute},
	}
}

func TestTemporaryKeysAreReplacedBeforeTheyExpire(t *testing.T) {
	for _, source := range keySources() {
		for _, tc := range keyLifetimes() {
			t.Run(fmt.Sprintf("%s, life %v, early %v", source.name, tc.life, tc.early), func(t *testing.T) {
				var c clock
				s := newTestSimulator(Options{Now: c.now})
				source.configure(s, nil, tc.life, tc.early)
				wantExpiry := func() string { return c.now().Add(tc.wantLife).Format("2006-01-02T15:04:05.000000Z") }
				first, expires := source.request(t, s)
				if want := wantExpiry(); expires != want {
					t.Errorf("first key: got expiry %s, want %s", expires, want)
				}
				c.passed = tc.wantLife - tc.wantEarly
				if same, _ := source.request(t, s); same != first {
					t.Errorf("got another key after %v, want the first", c.passed)
				}
				c.passed++
				second, expires := source.request(t, s)
				if second.Access == first.Access || second.Secret == first.Secret ||
					second.SecurityToken == first.SecurityToken {
					t.Errorf("got key %+v after %v, want one that differs from the first in each field", second, c.passed)
				}
				if want := wantExpiry(); expires != want {
					t.Errorf("second key: got expiry %s, want %s", expires, want)
				}

				checkStatuses := func(want string) {
					t.Helper()
					got := statusWithKey(t, s, first, connectionsPath) + ", " + statusWithKey(t, s, second, connectionsPath)
					if got != want {
						t.Errorf("first and second key after %v: got %s, want %s", c.passed, got, want)
					}
				}
				c.passed = tc.wantLife - 1
				checkStatuses("200, 200")
				c.passed = tc.wantLife
				checkStatuses("401 APIGW.0307, 200")
			})
		}
	}
}

func TestExpireKeys(t *testing.T) {
	for _, source := range keySources() {
		for _, tc := range keyLifetimes() {
			t.Run(fmt.Sprintf("%s, life %v, early %v", source.name, tc.life, tc.early), func(t *testing.T) {
				s := newTestSimulator(Options{})
				source.configure(s, nil, tc.life, tc.early)
				expired, _ := source.request(t, s)
				s.ExpireKeys()
				if got := statusWithKey(t, s, expired, connectionsPath); got != "401 APIGW.0307" {
					t.Errorf("expired key: got %s, want 401 APIGW.0307", got)
				}
				replacement, _ := source.request(t, s)
				if got := statusWithKey(t, s, replacement, connectionsPath); got != "200" {
					t.Errorf("replacement: got %s, want 200", got)
				}
				records := s.Requests()
				if last := records[len(records)-1]; last.AccessKey != replacement.Access || last.User != "" {
					t.Errorf("got record %+v, want access key %s and no user", last, replacement.Access)
				}
			})
		}
	}
}

func TestTemporaryKeysAreLimitedToProjects(t *testing.T) {
	for _, source := range keySources() {
		t.Run(source.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: "proj2", Region: "eu-de"})
			source.configure(s, nil, 0, 0)
			unlimited, _ := source.request(t, s)
			source.configure(s, []string{"proj2"}, 0, 0)
			limited, _ := source.request(t, s)
			s.AddProject(Project{ID: "proj3"}) // later than the keys
			for _, tc := range []struct {
				name string
				key  Key
				path string
				want string
			}{
				{"unlimited, first project", unlimited, "/v1.0/proj1/clusters", "200"},
				{"unlimited, second project", unlimited, "/v1.0/proj2/clusters", "200"},
				{"unlimited, later project", unlimited, "/v1.0/proj3/clusters", "200"},
				{"limited, another project", limited, "/v1.0/proj1/clusters", "403 APIGW.0302"},
				{"limited, its project", limited, "/v1.0/proj2/clusters", "200"},
			} {
				if got := statusWithKey(t, s, tc.key, tc.path); got != tc.want {
					t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
				}
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, signedRequestBy(t.Context(), limited, testNow(), "http://css.test", "/v3/projects"))
			if got := w.Body.String(); !strings.Contains(got, "proj2") || strings.Contains(got, "proj1") {
				t.Errorf("got project list %s, want proj2 without proj1", got)
			}
		})
	}
}

func TestTemporaryKeysNeedSecretAndSecurityToken(t *testing.T) {
	for _, source := range keySources() {
		t.Run(source.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: "proj2", Region: "eu-de"})
			source.configure(s, nil, 0, 0)
			other, _ := source.request(t, s)
			source.configure(s, []string{"proj2"}, 0, 0)
			key, _ := source.request(t, s)
			for _, tc := range []struct {
				name string
				key  Key
				want string
			}{
				{"secret of another key", Key{Access: key.Access, Secret: other.Secret, SecurityToken: key.SecurityToken},
					"401 APIGW.0301"},
				{"no security token", Key{Access: key.Access, Secret: key.Secret}, "401 APIGW.0307"},
				{"security token of another key",
					Key{Access: key.Access, Secret: key.Secret, SecurityToken: other.SecurityToken}, "401 APIGW.0307"},
			} {
				if got := statusWithKey(t, s, tc.key, "/v1.0/proj2/clusters"); got != tc.want {
					t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
				}
			}
		})
	}
}

func TestPodTokenAndBodyAreChecked(t *testing.T) {
	const podToken = "header.payload.signature"
	s := newTestSimulator(Options{})
	if w := requestPodKey(t, s, "", "{}"); w.Code != 401 {
		t.Errorf("no pod identity: got %d %s, want 401", w.Code, w.Body)
	}
	s.SetPodIdentity(PodIdentity{})
	if w := requestPodKey(t, s, "", "{}"); w.Code != 401 {
		t.Errorf("pod identity without a token: got %d %s, want 401", w.Code, w.Body)
	}
	s.SetPodIdentity(PodIdentity{Token: podToken})
	for _, tc := range []struct {
		name, token, body string
		status            int
	}{
		{"valid", podToken, "{}", 200},
		{"valid, with a newline", podToken, "{}\n", 200},
		{"no token", "", "{}", 401},
		{"wrong token", podToken[1:], "{}", 401},
		{"token with a scheme", "Bearer " + podToken, "{}", 401},
		{"wrong token and no body", "wrong", "", 401},
		{"no body", podToken, "", 400},
		{"another body", podToken, `{"a":1}`, 400},
		{"null", podToken, "null", 400},
	} {
		w := requestPodKey(t, s, tc.token, tc.body)
		if got := w.Header().Get("Content-Type"); w.Code != tc.status || got != "application/json" {
			t.Errorf("%s: got %d %s, Content-Type %q; want %d, application/json", tc.name, w.Code, w.Body, got, tc.status)
		}
	}
}

func TestPodCredentialsBody(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetPodIdentity(PodIdentity{Token: "pod"})
	w := requestPodKey(t, s, "pod", "{}")
	key, _ := parseKey(t, w)
	want := `{"assumedAgency":{"urn":"","id":""},"audience":"","credentials":{"accessKeyId":"` + key.Access +
		`","secretAccessKey":"` + key.Secret +
		`","securityToken":"` + key.SecurityToken +
		`","expiration":"2026-01-02T04:04:05.000000Z"},"podIdentityAssociationId":"",` +
		`"subject":{"namespace":"","serviceAccount":""}}`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestSecurityKeyBody(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetAgency(Agency{})
	w := requestSecurityKey(t, s, newMetadataToken(t, s))
	key, _ := parseKey(t, w)
	want := `{"credential":{"access":"` + key.Access + `","secret":"` + key.Secret + `","securitytoken":"` +
		key.SecurityToken +
		`","expires_at":"2026-01-02T04:04:05.000000Z"}}`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

// newIssuingSimulator returns a simulator with all sources of credentials.
func newIssuingSimulator() *Simulator {
	s := newLoginSimulator(Options{})
	s.SetAgency(Agency{})
	s.SetPodIdentity(PodIdentity{Token: "pod"})
	return s
}

// issuerCall is a request for credentials.
type issuerCall struct {
	endpoint      Endpoint
	status        int
	newRequest    func(t *testing.T, s *Simulator) *http.Request
	invalidate    func(*http.Request)
	invalidStatus int // after invalidate
}

func issuerCalls() []issuerCall {
	request := func(t *testing.T, method, target, body, name, value string) *http.Request {
		t.Helper()
		r := newRequest(t, method, "http://css.test"+target, body, name, value)
		r.RequestURI = ""
		return r
	}
	return []issuerCall{
		{Tokens, 201, func(t *testing.T, _ *Simulator) *http.Request {
			return request(t, http.MethodPost, "/v3/auth/tokens", loginBody("right"), "", "")
		}, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(loginBody("wrong"))) }, 401},
		{MetadataToken, 200, func(t *testing.T, _ *Simulator) *http.Request {
			return request(t, http.MethodPut, metadataPath, "", "X-Metadata-Token-Ttl-Seconds", "60")
		}, func(r *http.Request) { r.Header.Set("X-Metadata-Token-Ttl-Seconds", "0") }, 400},
		{SecurityKey, 200, func(t *testing.T, s *Simulator) *http.Request {
			return request(t, http.MethodGet, securityKeyPath, "", "X-Metadata-Token", newMetadataToken(t, s))
		}, func(r *http.Request) { r.Header.Set("X-Metadata-Token", "wrong") }, 401},
		{PodCredentials, 200, func(t *testing.T, _ *Simulator) *http.Request {
			return request(t, http.MethodPost, PodIdentityPath, "{}", "Authorization", "pod")
		}, func(r *http.Request) { r.Header.Set("Authorization", "wrong") }, 401},
	}
}

func TestFaultsApplyToValidRequestsForCredentials(t *testing.T) {
	for _, call := range issuerCalls() {
		t.Run(string(call.endpoint), func(t *testing.T) {
			s := newIssuingSimulator()
			target := Target{call.endpoint, ""}
			s.SetFault(target, Fault{Status: 503, After: 1, For: 1}, Fault{Body: "{}", After: 2, For: 1})
			serve := func(r *http.Request) int {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w.Code
			}
			serveValid := func() int { return serve(call.newRequest(t, s)) }
			invalid := call.newRequest(t, s)
			call.invalidate(invalid)
			before := s.Count(target)
			got := fmt.Sprint(serveValid(), serveValid(), serve(invalid), serveValid(), serveValid())
			if want := fmt.Sprint(call.status, 503, call.invalidStatus, 200, call.status); got != want {
				t.Errorf("got statuses %s, want %s", got, want)
			}
			if n := s.Count(target) - before; n != 5 {
				t.Errorf("got %d requests, want 5", n)
			}
		})
	}
}

func TestFaultsReplaceIssuedCredentials(t *testing.T) {
	for _, call := range issuerCalls() {
		t.Run(string(call.endpoint), func(t *testing.T) {
			s := newIssuingSimulator()
			s.SetFault(Target{call.endpoint, ""},
				Fault{Status: 429, Body: "slow down", Header: http.Header{"Retry-After": {"3"}}})
			w := httptest.NewRecorder()
			s.ServeHTTP(w, call.newRequest(t, s))
			if w.Code != 429 || w.Body.String() != "slow down" || w.Header().Get("Retry-After") != "3" ||
				w.Header().Get("X-Subject-Token") != "" {
				t.Errorf("got %d %v %s, want 429, Retry-After 3, no token, slow down", w.Code, w.Header(), w.Body)
			}
		})
	}
}

// TestFaultsOfConnectionsApplyToIssuers covers the faults that need a connection.
func TestFaultsOfConnectionsApplyToIssuers(t *testing.T) {
	for _, call := range issuerCalls() {
		t.Run(string(call.endpoint), func(t *testing.T) {
			s := newIssuingSimulator()
			srv, client := startServer(t, s), newClient(t)
			send := func(fault Fault) (status int, body string, err error) {
				r := call.newRequest(t, s)
				s.SetFault(Target{call.endpoint, ""}, fault)
				defer s.SetFault(Target{call.endpoint, ""})
				r.URL.Host = strings.TrimPrefix(srv.URL, "http://")
				resp, err := client.Do(r)
				if err != nil {
					return 0, "", err
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				return resp.StatusCode, string(text), err
			}
			for name, fault := range map[string]Fault{"drop": {Drop: true}, "garbage": {Garbage: "SSH-2.0\r\n"}} {
				if status, _, err := send(fault); err == nil {
					t.Errorf("%s: got status %d, want an error", name, status)
				}
			}
			status, body, err := send(Fault{CutAfter: 5})
			if status != call.status || len(body) != 5 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut: got status %d, body %q, error %v; want %d, 5 bytes, %v",
					status, body, err, call.status, io.ErrUnexpectedEOF)
			}
			for name, fault := range map[string]Fault{"slow header": {SlowHeader: time.Microsecond},
				"gzip": {Gzip: true}, "padding": {Padding: 5}} {
				if status, body, err := send(fault); status != call.status || len(body) < 20 || err != nil {
					t.Errorf("%s: got status %d, body %q, error %v; want %d, at least 20 bytes",
						name, status, body, err, call.status)
				}
			}
			eventually(t, "the end of all requests", func() bool { return s.InFlight() == 0 })
		})
	}
}

// TestRecordsOmitSecrets sends every kind of secret.
func TestRecordsOmitSecrets(t *testing.T) {
	s := newIssuingSimulator()
	var secrets []string
	for _, call := range issuerCalls() {
		r := call.newRequest(t, s)
		for _, name := range []string{"Authorization", "X-Security-Token", "X-Auth-Token", "X-Metadata-Token",
			"X-Subject-Token", "Proxy-Authorization", "Cookie"} {
			secret := "hidden " + name + " of " + string(call.endpoint)
			secrets = append(append(secrets, secret), r.Header.Values(name)...)
			r.Header[name] = append(r.Header.Values(name), "", secret)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		secrets = append(secrets, w.Header().Get("X-Subject-Token"))
	}
	token := newIssuedToken(t, s, loginBody("right"))
	key, _ := parseKey(t, requestPodKey(t, s, "pod", "{}"))
	getWithToken(t, s, token)
	statusWithKey(t, s, key, connectionsPath)
	secrets = append(secrets, token, key.Secret, key.SecurityToken, `"right"`, newMetadataToken(t, s))
	shown := fmt.Sprintf("%+v %#v", s.Requests(), s.Requests())
	for _, secret := range secrets {
		if secret != "" && secret != "pod" && strings.Contains(shown, secret) { // paths contain pod
			t.Errorf("got secret %s in the records", secret)
		}
	}
	if got := s.Requests()[0].Header["X-Auth-Token"]; !cmp.Equal(got, []string{"<secret>"}) {
		t.Errorf("got X-Auth-Token %q, want <secret>", got)
	}
}

func TestProxyHeadersMarkRequestAsProxied(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "Forwarded": true, "Via": true, "Proxy-Connection": true, "Proxy-Authorization": true,
		"X-Metadata-Token": false, "X-Forwarded": false,
	} {
		s := newTestSimulator(Options{})
		serveRequest(t, s, http.MethodGet, securityKeyPath, "", name, "x")
		if got := s.Requests()[0].Proxied; got != want {
			t.Errorf("%s: got proxied: %t, want %t", name, got, want)
		}
	}
}

func TestAbsoluteURLMarksRequestAsProxied(t *testing.T) {
	s := newTestSimulator(Options{})
	srv := startServer(t, s)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	responses := bufio.NewReader(conn)
	for i, tc := range []struct {
		target string
		want   bool
	}{{securityKeyPath, false}, {"http://169.254.169.254" + securityKeyPath, true},
		{securityKeyPath + "?from=http://a", false}} {
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", tc.target); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(responses, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if r := s.Requests()[i]; r.Proxied != tc.want || r.Endpoint != SecurityKey {
			t.Errorf("%s: got record %+v, want proxied: %t, endpoint %s", tc.target, r, tc.want, SecurityKey)
		}
	}
}

func TestRequestThroughProxyIsProxied(t *testing.T) {
	s := newTestSimulator(Options{})
	proxy, err := url.Parse(startServer(t, s).URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(transport.CloseIdleConnections)
	status, err := getFromServer(t.Context(), &http.Client{Transport: transport}, "http://css.test",
		"/v1.0/proj1/clusters")
	if status != 200 || err != nil {
		t.Errorf("got status %d, error %v; want 200", status, err)
	}
	if r := s.Requests()[0]; !r.Proxied {
		t.Errorf("got record %+v, want proxied", r)
	}
}

func TestIssuersAcceptOneMethodOnly(t *testing.T) {
	s := newIssuingSimulator()
	for path, accepted := range map[string]string{
		"/v3/auth/tokens": http.MethodPost, metadataPath: http.MethodPut, securityKeyPath: http.MethodGet,
		PodIdentityPath: http.MethodPost,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodHead} {
			w := serveRequest(t, s, method, path, "", "", "")
			if notFound := method != accepted; (w.Code == 404) != notFound {
				t.Errorf("%s %s: got status %d, want 404: %t", method, path, w.Code, notFound)
			}
		}
	}
}

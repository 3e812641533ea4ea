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
	metadataTokenPath = "/meta-data/latest/api/token"
	securityKeyPath   = "/openstack/latest/securitykey"
	noMetadataToken   = "Unauthorized: the metadata token is missing, wrong or expired."
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

// requestMetadataToken requests a token of the longest lifetime.
func requestMetadataToken(t *testing.T, s *Simulator) string {
	t.Helper()
	return serveRequest(t, s, http.MethodPut, metadataTokenPath, "", "X-Metadata-Token-Ttl-Seconds", "21600").Body.String()
}

func requestSecurityKey(t *testing.T, s *Simulator, token string) *httptest.ResponseRecorder {
	t.Helper()
	return serveRequest(t, s, http.MethodGet, securityKeyPath, "", "X-Metadata-Token", token)
}

func requestPodKey(t *testing.T, s *Simulator, token, body string) *httptest.ResponseRecorder {
	t.Helper()
	return serveRequest(t, s, http.MethodPost, PodIdentityPath, body, "Authorization", token)
}

// parseKey parses the key of either kind of answer, and returns its expiry unparsed.
func parseKey(t *testing.T, w *httptest.ResponseRecorder) (key Key, expires string) {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	names, where := []string{"access", "secret", "securitytoken", "expires_at"}, body["credential"]
	if where == nil {
		names, where = []string{"accessKeyId", "secretAccessKey", "securityToken", "expiration"}, body["credentials"]
	}
	fields, _ := where.(map[string]any)
	var values []string
	for _, name := range names {
		text, _ := fields[name].(string)
		if text == "" {
			t.Fatalf("no %s in %s", name, w.Body)
		}
		values = append(values, text)
	}
	return Key{Access: values[0], Secret: values[1], SecurityToken: values[2]}, values[3]
}

// statusWithKey sends a request with a key and returns the status and the error code.
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

func TestMetadataTokens(t *testing.T) {
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
		s := newTestSimulator(Options{})
		w := serveRequest(t, s, http.MethodPut, metadataTokenPath, "", "X-Metadata-Token-Ttl-Seconds", tc.ttl)
		if w.Code != tc.status || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("%q: %d %v, want %d", tc.ttl, w.Code, w.Header(), tc.status)
		}
	}

	var c clock
	s := newTestSimulator(Options{Now: c.now})
	s.SetAgency(Agency{})
	short := serveRequest(t, s, http.MethodPut, metadataTokenPath, "", "X-Metadata-Token-Ttl-Seconds", "60").Body.String()
	long := requestMetadataToken(t, s)
	if short == long || len(short) < 20 || strings.TrimSpace(short) != short {
		t.Errorf("tokens %q and %q", short, long)
	}
	check := func(when, token string, status int) {
		t.Helper()
		w := requestSecurityKey(t, s, token)
		if w.Code != status || (status == 401 && w.Body.String() != noMetadataToken) {
			t.Errorf("%s: %d %s, want %d", when, w.Code, w.Body, status)
		}
	}
	check("missing", "", 401)
	check("wrong", long+"x", 401)
	c.passed = time.Minute - 1
	check("before its end", short, 200)
	c.passed = time.Minute
	check("at its end", short, 401)
	check("a longer one", long, 200)
	c.passed = 6 * time.Hour
	check("the longest, at its end", long, 401)
	check("a new one", requestMetadataToken(t, s), 200)
	if n := len(s.metadataTokens); n != 1 {
		t.Errorf("%d metadata tokens are kept, want 1", n)
	}
}

func TestNoAgency(t *testing.T) {
	s := newTestSimulator(Options{})
	w := requestSecurityKey(t, s, requestMetadataToken(t, s))
	if w.Code != 401 || !strings.Contains(w.Body.String(), "Please configure Cloud Service Agency first") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := requestSecurityKey(t, s, ""); w.Code != 401 || w.Body.String() != noMetadataToken {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
}

func TestMachineWithoutMetadataTokens(t *testing.T) {
	for _, status := range []int{404, 405, 503} {
		s := newTestSimulator(Options{})
		s.SetAgency(Agency{TokenStatus: status})
		for _, ttl := range []string{"21600", ""} {
			if w := serveRequest(t, s, http.MethodPut, metadataTokenPath, "", "X-Metadata-Token-Ttl-Seconds", ttl); w.Code != status {
				t.Errorf("PUT with %q: %d, want %d", ttl, w.Code, status)
			}
		}
		first, _ := parseKey(t, serveRequest(t, s, http.MethodGet, securityKeyPath, "", "", ""))
		second, _ := parseKey(t, requestSecurityKey(t, s, "of another machine"))
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%d: another key with a token:\n%s", status, diff)
		}
		if got := statusWithKey(t, s, first, connectionsPath); got != "200" {
			t.Errorf("%d: the key gave %s", status, got)
		}
	}
}

func TestTemporaryKeys(t *testing.T) {
	type setter func(s *Simulator, projects []string, life, early time.Duration) func() *httptest.ResponseRecorder
	for source, set := range map[string]setter{
		"agency": func(s *Simulator, projects []string, life, early time.Duration) func() *httptest.ResponseRecorder {
			s.SetAgency(Agency{Projects: projects, Life: life, Early: early})
			return func() *httptest.ResponseRecorder { return requestSecurityKey(t, s, requestMetadataToken(t, s)) }
		},
		"pod": func(s *Simulator, projects []string, life, early time.Duration) func() *httptest.ResponseRecorder {
			s.SetPodIdentity(PodIdentity{Token: "pod", Projects: projects, Life: life, Early: early})
			return func() *httptest.ResponseRecorder { return requestPodKey(t, s, "pod", "{}") }
		},
	} {
		t.Run(source, func(t *testing.T) {
			for _, tc := range []struct{ life, early, wantLife, wantEarly time.Duration }{
				{0, 0, time.Hour, 30 * time.Minute},
				{10 * time.Minute, time.Minute, 10 * time.Minute, time.Minute},
				{10 * time.Minute, 0, 10 * time.Minute, 5 * time.Minute},
			} {
				var c clock
				s := newTestSimulator(Options{Now: c.now})
				ask := set(s, nil, tc.life, tc.early)
				get := func() Key { key, _ := parseKey(t, ask()); return key }
				first, expires := parseKey(t, ask())
				if want := testNow().Add(tc.wantLife).Format("2006-01-02T15:04:05.000000Z"); expires != want {
					t.Errorf("expires at %s, want %s", expires, want)
				}
				c.passed = tc.wantLife - tc.wantEarly
				if get() != first {
					t.Errorf("%+v: key replaced too early", tc)
				}
				c.passed++
				second, expires := parseKey(t, ask())
				if second.Access == first.Access || second.Secret == first.Secret || second.SecurityToken == first.SecurityToken {
					t.Errorf("%+v: key not replaced in time", tc)
				}
				if want := c.now().Add(tc.wantLife).Format("2006-01-02T15:04:05.000000Z"); expires != want {
					t.Errorf("second key expires at %s, want %s", expires, want)
				}
				c.passed = tc.wantLife - 1
				if got := statusWithKey(t, s, first, connectionsPath) + ", " + statusWithKey(t, s, second, connectionsPath); got != "200, 200" {
					t.Errorf("%+v: before the first key expires: %s", tc, got)
				}
				c.passed = tc.wantLife
				got := statusWithKey(t, s, first, connectionsPath) + ", " + statusWithKey(t, s, second, connectionsPath)
				if got != "401 APIGW.0307, 200" {
					t.Errorf("%+v: when the first key expires: %s", tc, got)
				}
				s.ExpireKeys()
				third := get()
				got = statusWithKey(t, s, second, connectionsPath) + ", " + statusWithKey(t, s, third, connectionsPath)
				if got != "401 APIGW.0307, 200" {
					t.Errorf("%+v: after ExpireKeys: %s", tc, got)
				}
				if rec := s.Requests(); rec[len(rec)-1].AccessKey != third.Access || rec[len(rec)-1].User != "" {
					t.Errorf("recorded %+v", rec[len(rec)-1])
				}
			}

			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: "proj2", Region: "eu-de"})
			all, _ := parseKey(t, set(s, nil, 0, 0)())
			one, _ := parseKey(t, set(s, []string{"proj2"}, 0, 0)())
			for _, step := range []struct {
				what string
				key  Key
				path string
				want string
			}{
				{"all, first", all, "/v1.0/proj1/clusters", "200"},
				{"all, second", all, "/v1.0/proj2/clusters", "200"},
				{"all, added later", all, "/v1.0/proj3/clusters", "200"},
				{"one, first", one, "/v1.0/proj1/clusters", "403 APIGW.0302"},
				{"one, second", one, "/v1.0/proj2/clusters", "200"},
				{"wrong secret", Key{one.Access, all.Secret, one.SecurityToken, time.Time{}}, "/v1.0/proj2/clusters",
					"401 APIGW.0301"},
				{"no security token", Key{one.Access, one.Secret, "", time.Time{}}, "/v1.0/proj2/clusters", "401 APIGW.0307"},
				{"another security token", Key{one.Access, one.Secret, all.SecurityToken, time.Time{}},
					"/v1.0/proj2/clusters", "401 APIGW.0307"},
			} {
				s.AddProject(Project{ID: "proj3"})
				if got := statusWithKey(t, s, step.key, step.path); got != step.want {
					t.Errorf("%s: %s, want %s", step.what, got, step.want)
				}
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, signedRequestBy(t.Context(), one, testNow(), "http://css.test", "/v3/projects"))
			if got := w.Body.String(); !strings.Contains(got, "proj2") || strings.Contains(got, "proj1") {
				t.Errorf("IAM lists %s", got)
			}
		})
	}
}

func TestPodIdentity(t *testing.T) {
	const fileText = "header.payload.signature"
	s := newTestSimulator(Options{})
	if w := requestPodKey(t, s, "", "{}"); w.Code != 401 {
		t.Errorf("no identity: %d %s", w.Code, w.Body)
	}
	s.SetPodIdentity(PodIdentity{})
	if w := requestPodKey(t, s, "", "{}"); w.Code != 401 {
		t.Errorf("an identity without a token: %d %s", w.Code, w.Body)
	}
	s.SetPodIdentity(PodIdentity{Token: fileText})
	for _, tc := range []struct {
		name, token, body string
		status            int
	}{
		{"right", fileText, "{}", 200},
		{"right, with a line end", fileText, "{}\n", 200},
		{"no token", "", "{}", 401},
		{"wrong token", fileText[1:], "{}", 401},
		{"with a scheme", "Bearer " + fileText, "{}", 401},
		{"wrong token and body", "wrong", "", 401},
		{"no body", fileText, "", 400},
		{"another body", fileText, `{"a":1}`, 400},
		{"null", fileText, "null", 400},
	} {
		if w := requestPodKey(t, s, tc.token, tc.body); w.Code != tc.status || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %d", tc.name, w.Code, w.Body, tc.status)
		}
	}
	w := requestPodKey(t, s, fileText, "{}")
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
	w := requestSecurityKey(t, s, requestMetadataToken(t, s))
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

// issuerCall is a call that issues credentials, with an invalid variant and its status.
type issuerCall struct {
	endpoint    Endpoint
	status      int
	right       func(t *testing.T, s *Simulator) *http.Request
	wrong       func(*http.Request)
	wrongStatus int
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
			return request(t, http.MethodPut, metadataTokenPath, "", "X-Metadata-Token-Ttl-Seconds", "60")
		}, func(r *http.Request) { r.Header.Set("X-Metadata-Token-Ttl-Seconds", "0") }, 400},
		{SecurityKey, 200, func(t *testing.T, s *Simulator) *http.Request {
			return request(t, http.MethodGet, securityKeyPath, "", "X-Metadata-Token", requestMetadataToken(t, s))
		}, func(r *http.Request) { r.Header.Set("X-Metadata-Token", "wrong") }, 401},
		{PodCredentials, 200, func(t *testing.T, _ *Simulator) *http.Request {
			return request(t, http.MethodPost, PodIdentityPath, "{}", "Authorization", "pod")
		}, func(r *http.Request) { r.Header.Set("Authorization", "wrong") }, 401},
	}
}

func TestFaultsOfIssuers(t *testing.T) {
	for _, g := range issuerCalls() {
		t.Run(string(g.endpoint), func(t *testing.T) {
			s := newIssuingSimulator()
			status := func(r *http.Request) int {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w.Code
			}
			target := Target{g.endpoint, ""}
			s.SetFault(target, Fault{Status: 503, After: 1, For: 1}, Fault{Body: "{}", After: 2, For: 1})
			wrong := g.right(t, s)
			g.wrong(wrong)
			ask := func() int { return status(g.right(t, s)) }
			before := s.Count(target)
			got := fmt.Sprint(ask(), ask(), status(wrong), ask(), ask())
			if want := fmt.Sprint(g.status, 503, g.wrongStatus, 200, g.status); got != want {
				t.Errorf("statuses %s, want %s", got, want)
			}
			if n := s.Count(target) - before; n != 5 {
				t.Errorf("%d requests counted, want 5", n)
			}

			s.SetFault(target, Fault{Status: 429, Body: "slow down", Header: http.Header{"Retry-After": {"3"}}})
			w := httptest.NewRecorder()
			s.ServeHTTP(w, g.right(t, s))
			if w.Code != 429 || w.Body.String() != "slow down" || w.Header().Get("Retry-After") != "3" ||
				w.Header().Get("X-Subject-Token") != "" {
				t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
			}
		})
	}
}

// TestFaultsOfIssuersOverTCP covers the faults that need a connection.
func TestFaultsOfIssuersOverTCP(t *testing.T) {
	for _, g := range issuerCalls() {
		t.Run(string(g.endpoint), func(t *testing.T) {
			s := newIssuingSimulator()
			srv, client := startServer(t, s), newClient(t)
			ask := func(fault Fault) (status int, body string, err error) {
				r := g.right(t, s)
				s.SetFault(Target{g.endpoint, ""}, fault)
				defer s.SetFault(Target{g.endpoint, ""})
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
				if status, _, err := ask(fault); err == nil {
					t.Errorf("%s: status %d", name, status)
				}
			}
			if status, body, err := ask(Fault{CutAfter: 5}); status != g.status || len(body) != 5 ||
				!errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut: %d %q, %v", status, body, err)
			}
			for name, fault := range map[string]Fault{"slow header": {SlowHeader: time.Microsecond},
				"gzip": {Gzip: true}, "padding": {Padding: 5}} {
				if status, body, err := ask(fault); status != g.status || len(body) < 20 || err != nil {
					t.Errorf("%s: %d %q, %v", name, status, body, err)
				}
			}
			eventually(t, "the end of all", func() bool { return s.InFlight() == 0 })
		})
	}
}

// TestRecordOmitsSecrets sends every kind of secret.
func TestRecordOmitsSecrets(t *testing.T) {
	s := newIssuingSimulator()
	var secrets []string
	for _, g := range issuerCalls() {
		r := g.right(t, s)
		for _, name := range []string{"Authorization", "X-Security-Token", "X-Auth-Token", "X-Metadata-Token",
			"X-Subject-Token", "Proxy-Authorization", "Cookie"} {
			secret := "hidden " + name + " of " + string(g.endpoint)
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
	secrets = append(secrets, token, key.Secret, key.SecurityToken, `"right"`, requestMetadataToken(t, s))
	shown := fmt.Sprintf("%+v %#v", s.Requests(), s.Requests())
	for _, secret := range secrets {
		if secret != "" && secret != "pod" && strings.Contains(shown, secret) { // paths contain it
			t.Errorf("the record shows %s", secret)
		}
	}
	if got := s.Requests()[0].Header["X-Auth-Token"]; !cmp.Equal(got, []string{"<secret>"}) {
		t.Errorf("X-Auth-Token is recorded as %q", got)
	}
}

func TestProxiedRequests(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "Forwarded": true, "Via": true, "Proxy-Connection": true, "Proxy-Authorization": true,
		"X-Metadata-Token": false, "X-Forwarded": false,
	} {
		s := newTestSimulator(Options{})
		serveRequest(t, s, http.MethodGet, securityKeyPath, "", name, "x")
		if got := s.Requests()[0].Proxied; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}

	s := newTestSimulator(Options{})
	srv := startServer(t, s)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for i, tc := range []struct {
		target string
		want   bool
	}{{securityKeyPath, false}, {"http://169.254.169.254" + securityKeyPath, true},
		{securityKeyPath + "?from=http://a", false}} {
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", tc.target); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if r := s.Requests()[i]; r.Proxied != tc.want || r.Endpoint != SecurityKey {
			t.Errorf("%s: recorded %+v, want %v", tc.target, r, tc.want)
		}
	}

	proxy, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(transport.CloseIdleConnections)
	if status, err := getFromServer(t.Context(), &http.Client{Transport: transport}, "http://css.test",
		"/v1.0/proj1/clusters"); status != 200 || err != nil {
		t.Errorf("through a proxy: %d, %v", status, err)
	}
	if r := s.Requests()[3]; !r.Proxied {
		t.Errorf("through a proxy: recorded %+v", r)
	}
}

func TestIssuersRejectOtherMethods(t *testing.T) {
	s := newIssuingSimulator()
	for path, right := range map[string]string{
		"/v3/auth/tokens": http.MethodPost, metadataTokenPath: http.MethodPut, securityKeyPath: http.MethodGet,
		PodIdentityPath: http.MethodPost,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodHead} {
			if w := serveRequest(t, s, method, path, "", "", ""); (w.Code == 404) != (method != right) {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

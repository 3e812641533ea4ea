// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	wrongUser     = `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`
	noSuchProject = `{"error":{"code":401,` +
		`"message":"The request you have made requires authentication.","title":"Unauthorized"}}`
	notAuthorized = `{"error":{"code":403,` +
		`"message":"You are not authorized to perform the requested action.","title":"Forbidden"}}`
	lockedUser = `{"error":{"code":403,` +
		`"message":"The user is locked after too many wrong passwords.","title":"Forbidden"}}`
	invalidBody = `{"error":{"code":400,"message":"The request body is invalid.","title":"Bad Request"}}`
	outdated    = `"error_code":"APIGW.0307","error_msg":"The token must be updated."`
)

func testUser() User { return User{Name: "watcher", Domain: "acme", Password: "right"} }

// loginBody returns a login to the test project, in the form of the vendor's example.
func loginBody(password string) string {
	return loginBodyFor("acme", "watcher", password, `{"id":"proj1"}`)
}

func loginBodyFor(domain, name, password, project string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"password":%q,`+
		`"domain":{"name":%q}}}},"scope":{"project":%s}}}`,
		name, password, domain, project)
}

// newLoginSimulator returns a test simulator with a user and a second project.
func newLoginSimulator(o Options) *Simulator {
	s := newTestSimulator(o)
	s.AddProject(Project{Region: "eu-de", ID: "proj2"})
	s.AddUser(testUser())
	return s
}

func logIn(t *testing.T, s *Simulator, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v3/auth/tokens?nocatalog=true",
		strings.NewReader(body)))
	return w
}

func newIssuedToken(t *testing.T, s *Simulator, body string) string {
	t.Helper()
	w := logIn(t, s, body)
	if w.Code != http.StatusCreated {
		t.Fatalf("login: got %d %s, want 201", w.Code, w.Body)
	}
	return w.Header().Get("X-Subject-Token")
}

// getWithToken requests connections with a token.
func getWithToken(t *testing.T, s *Simulator, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, connectionsPath, http.NoBody)
	r.Header.Set("X-Auth-Token", token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func nowWithZoneAndNanoseconds() time.Time {
	return testNow().Add(123456789).In(time.FixedZone("", 3600))
}

func TestLoginBody(t *testing.T) {
	s := newLoginSimulator(Options{Now: nowWithZoneAndNanoseconds})
	w := logIn(t, s, loginBody("right"))
	if got := w.Header().Get("Content-Type"); w.Code != 201 || got != "application/json" {
		t.Fatalf("got %d %s, Content-Type %q; want 201, application/json", w.Code, w.Body, got)
	}
	var body map[string]map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	domain := map[string]any{"id": hexID("domain acme"), "name": "acme"}
	want := map[string]map[string]any{"token": {
		"expires_at": "2026-01-03T03:04:05.123456Z", "issued_at": "2026-01-02T03:04:05.123456Z",
		"methods": []any{"password"}, "catalog": []any{},
		"roles":   []any{map[string]any{"id": hexID("role"), "name": "css_reader"}},
		"user":    map[string]any{"id": hexID("user acme/watcher"), "name": "watcher", "domain": domain},
		"project": map[string]any{"id": "proj1", "name": "cn-north-4", "domain": domain},
	}}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestIssuedTokensAreUniqueAndValid(t *testing.T) {
	s := newLoginSimulator(Options{Now: nowWithZoneAndNanoseconds})
	var tokens []string
	for range 21 {
		tokens = append(tokens, newIssuedToken(t, s, loginBody("right")))
	}
	for _, token := range tokens {
		if !strings.HasPrefix(token, "MII") || len(token) < 1000 {
			t.Errorf("got token %.10s… of %d bytes, want MII… of at least 1000", token, len(token))
		}
		if w := getWithToken(t, s, token); w.Code != 200 {
			t.Errorf("got %d %s with a token, want 200", w.Code, w.Body)
		}
		if w := getWithToken(t, newLoginSimulator(Options{}), token); w.Code != 401 {
			t.Errorf("got status %d with a token of another simulator, want 401", w.Code)
		}
	}
	slices.Sort(tokens)
	if n := len(slices.Compact(tokens)); n != 21 {
		t.Errorf("got %d different tokens, want 21", n)
	}
	if n := s.Count(Target{Tokens, ""}); n != 21 {
		t.Errorf("got %d logins, want 21", n)
	}
}

func TestLoginChecksPasswordAndProject(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		status     int
		want       string // the body, or the project of the token
	}{
		{"project ID", loginBody("right"), 201, `"project":{"domain":{"id":"` + hexID("domain acme") +
			`","name":"acme"},"id":"proj1","name":"cn-north-4"}`},
		{"project name", loginBodyFor("acme", "watcher", "right", `{"name":"eu-de"}`), 201, `"id":"proj2","name":"eu-de"`},
		{"project ID and another name", loginBodyFor("acme", "watcher", "right", `{"name":"eu-de","id":"proj1"}`), 201,
			`"id":"proj1","name":"cn-north-4"`},
		{"project name and domain", loginBodyFor("acme", "watcher", "right", `{"name":"eu-de","domain":{"name":"acme"}}`),
			201, `"id":"proj2","name":"eu-de"`},
		{"user of one project", loginBodyFor("acme", "limited", "narrow", `{"name":"eu-de"}`), 201,
			`"id":"proj2","name":"eu-de"`},
		{"wrong password", loginBody("wrong"), 401, wrongUser},
		{"unknown user", loginBodyFor("acme", "stranger", "right", `{"id":"proj1"}`), 401, wrongUser},
		{"user of another domain", loginBodyFor("other", "watcher", "right", `{"id":"proj1"}`), 401, wrongUser},
		{"another user's password", loginBodyFor("acme", "limited", "right", `{"id":"proj2"}`), 401, wrongUser},
		{"wrong password, unknown project", loginBodyFor("acme", "watcher", "wrong", `{"id":"nowhere"}`), 401, wrongUser},
		{"unknown project ID", loginBodyFor("acme", "watcher", "right", `{"id":"nowhere"}`), 401, noSuchProject},
		{"unknown project name", loginBodyFor("acme", "watcher", "right", `{"name":"nowhere"}`), 401, noSuchProject},
		{"name as ID", loginBodyFor("acme", "watcher", "right", `{"id":"eu-de"}`), 401, noSuchProject},
		{"ID of another project", loginBodyFor("acme", "limited", "narrow", `{"id":"proj1"}`), 403, notAuthorized},
		{"name of another project", loginBodyFor("acme", "limited", "narrow", `{"name":"cn-north-4"}`), 403, notAuthorized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSimulator(Options{})
			s.AddUser(User{Name: "limited", Domain: "acme", Password: "narrow", Projects: []string{"proj2"}})
			w := logIn(t, s, tc.body)
			got := w.Body.String()
			if w.Code != tc.status || (got != tc.want && (tc.status != 201 || !strings.Contains(got, tc.want))) {
				t.Errorf("got %d %s, want %d %s", w.Code, got, tc.status, tc.want)
			}
			if hasToken := w.Header().Get("X-Subject-Token") != ""; hasToken != (tc.status == 201) {
				t.Errorf("got a token: %t, want %t", hasToken, tc.status == 201)
			}
		})
	}
}

func TestInvalidLoginBodiesAreRejected(t *testing.T) {
	valid := loginBody("right")
	change := func(old, with string) string {
		if strings.Count(valid, old) != 1 {
			t.Fatalf("got %d times %q in the body, want it once", strings.Count(valid, old), old)
		}
		return strings.Replace(valid, old, with, 1)
	}
	for _, tc := range []struct{ name, body string }{
		{"empty", ""},
		{"not JSON", "grant_type=password"},
		{"not an object", `["auth"]`},
		{"null", "null"},
		{"incomplete", valid[:len(valid)-1]},
		{"trailing data", valid + "{}"},
		{"auth in upper case", change(`"auth"`, `"Auth"`)},
		{"name in upper case", change(`"name":"watcher"`, `"Name":"watcher"`)},
		{"no methods", change(`"methods":["password"],`, "")},
		{"methods as a string", change(`["password"]`, `"password"`)},
		{"another method", change(`["password"]`, `["token"]`)},
		{"two methods", change(`["password"]`, `["password","totp"]`)},
		{"password is a number", change(`"right"`, "5")},
		{"password is empty", change(`"right"`, `""`)},
		{"no domain", change(`,"domain":{"name":"acme"}`, "")},
		{"domain as a string", change(`{"name":"acme"}`, `"acme"`)},
		{"no scope", change(`,"scope":{"project":{"id":"proj1"}}`, "")},
		{"scope of a domain", change(`"project":{"id":"proj1"}`, `"domain":{"name":"acme"}`)},
		{"project without ID and name", change(`{"id":"proj1"}`, `{}`)},
	} {
		s := newLoginSimulator(Options{})
		if w := logIn(t, s, tc.body); w.Code != 400 || w.Body.String() != invalidBody {
			t.Errorf("%s: got %d %s, want 400 %s", tc.name, w.Code, w.Body, invalidBody)
		}
	}
	if w := logIn(t, newLoginSimulator(Options{}), valid); w.Code != 201 {
		t.Errorf("unchanged body: got status %d, want 201", w.Code)
	}
}

func TestFiveWrongPasswordsLockUser(t *testing.T) {
	s := newLoginSimulator(Options{})
	s.AddUser(User{Name: "other", Domain: "acme", Password: "right"})
	logInTimes := func(password string, n int) string {
		var out []string
		for range n {
			out = append(out, fmt.Sprint(logIn(t, s, loginBody(password)).Code))
		}
		return strings.Join(out, " ")
	}
	token := newIssuedToken(t, s, loginBody("right"))
	for _, step := range []struct {
		password string
		n        int
		want     string
	}{
		{"wrong", 4, "401 401 401 401"},
		{"right", 1, "201"}, // ends the row of wrong passwords
		{"wrong", 4, "401 401 401 401"},
		{"right", 1, "201"},
		{"wrong", 6, "401 401 401 401 401 403"},
		{"right", 2, "403 403"},
	} {
		if got := logInTimes(step.password, step.n); got != step.want {
			t.Errorf("%d times password %s: got statuses %s, want %s", step.n, step.password, got, step.want)
		}
	}
	if w := logIn(t, s, loginBody("right")); w.Body.String() != lockedUser {
		t.Errorf("locked user: got %s, want %s", w.Body, lockedUser)
	}
	if w := logIn(t, s, loginBodyFor("acme", "other", "right", `{"id":"proj1"}`)); w.Code != 201 {
		t.Errorf("another user: got status %d, want 201", w.Code)
	}
	if w := getWithToken(t, s, token); w.Code != 200 {
		t.Errorf("token of the locked user: got status %d, want 200", w.Code)
	}
	s.AddUser(testUser())
	if got := logInTimes("right", 1); got != "201" {
		t.Errorf("user added again: got status %s, want 201", got)
	}
}

func TestTokenIsValidForItsProject(t *testing.T) {
	s := newLoginSimulator(Options{})
	token := newIssuedToken(t, s, loginBody("right"))
	for _, tc := range []struct {
		name   string
		target string
		change func(*http.Request)
		status int
		want   string // part of the body
	}{
		{"connections", connectionsPath, nil, 200, `"total_count":0`},
		{"clusters", "/v1.0/proj1/clusters", nil, 200, `"totalSize":1`},
		{"projects", "/v3/projects", nil, 200, `"id":"proj1"`},
		{"projects by name", "/v3/projects?name=cn-north-4", nil, 200, `"id":"proj1"`},
		{"another project by name", "/v3/projects?name=eu-de", nil, 200, `"projects":[]`},
		{"another project", "/v1.0/proj2/clusters", nil, 403, `"error_code":"APIGW.0302"`},
		{"project ID header", connectionsPath, func(r *http.Request) { r.Header.Set("X-Project-Id", "proj1") }, 200, ""},
		{"another project ID header", connectionsPath, func(r *http.Request) { r.Header.Set("X-Project-Id", "proj2") }, 401,
			`"error_code":"APIGW.0301"`},
		{"unknown token", connectionsPath, func(r *http.Request) { r.Header.Set("X-Auth-Token", "MII") }, 401, outdated},
		{"unknown token, projects", "/v3/projects", func(r *http.Request) {
			r.Header.Set("X-Auth-Token", token+"x")
		}, 401, outdated},
		{"no token", connectionsPath, func(r *http.Request) { r.Header.Del("X-Auth-Token") }, 401,
			`"error_code":"APIGW.0305"`},
		{"token in another header", connectionsPath, func(r *http.Request) {
			r.Header.Del("X-Auth-Token")
			r.Header.Set("X-Subject-Token", token)
		}, 401, `"error_code":"APIGW.0305"`},
		{"invalid signature", connectionsPath, func(r *http.Request) {
			r.Header.Set("Authorization", "SDK-HMAC-SHA256 nonsense")
		}, 200, ""},
		{"valid signature, unknown token", connectionsPath, func(r *http.Request) {
			r.Header = signedRequest(t.Context(), "http://css.test", connectionsPath).Header
			r.Header.Set("X-Auth-Token", "MII")
		}, 401, outdated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.target, http.NoBody)
			r.Header.Set("X-Auth-Token", token)
			if tc.change != nil {
				tc.change(r)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tc.status, tc.want)
			}
			if strings.Contains(w.Body.String(), "proj2") {
				t.Errorf("got %s, want no other project", w.Body)
			}
			rec := s.Requests()[len(s.Requests())-1]
			want := ""
			if tc.status == 200 {
				want = "acme/watcher"
			}
			if rec.User != want || rec.AccessKey != "" {
				t.Errorf("got record of user %q, access key %q; want %q, none", rec.User, rec.AccessKey, want)
			}
		})
	}
}

func TestTokensExpireOrAreRevoked(t *testing.T) {
	for _, tc := range []struct{ option, life time.Duration }{{0, 24 * time.Hour}, {time.Minute, time.Minute}} {
		var c clock
		s := newLoginSimulator(Options{Now: c.now, TokenLife: tc.option})
		first := newIssuedToken(t, s, loginBody("right"))
		c.passed = tc.life - 1
		second := newIssuedToken(t, s, loginBody("right"))
		if w := getWithToken(t, s, first); w.Code != 200 {
			t.Errorf("%v: before expiry: got status %d, want 200", tc.life, w.Code)
		}
		c.passed = tc.life
		if w := getWithToken(t, s, first); w.Code != 401 || !strings.Contains(w.Body.String(), outdated) {
			t.Errorf("%v: at expiry: got %d %s, want 401 %s", tc.life, w.Code, w.Body, outdated)
		}
		third := newIssuedToken(t, s, loginBody("right"))
		if w := getWithToken(t, s, second); w.Code != 200 {
			t.Errorf("%v: newer token: got status %d, want 200", tc.life, w.Code)
		}
		if n := len(s.tokens); n != 2 {
			t.Errorf("%v: got %d tokens in memory, want 2", tc.life, n)
		}
		s.RevokeTokens()
		for _, token := range []string{second, third} {
			if w := getWithToken(t, s, token); w.Code != 401 || !strings.Contains(w.Body.String(), outdated) {
				t.Errorf("%v: revoked: got %d %s, want 401 %s", tc.life, w.Code, w.Body, outdated)
			}
		}
		if w := getWithToken(t, s, newIssuedToken(t, s, loginBody("right"))); w.Code != 200 {
			t.Errorf("%v: after RevokeTokens: got status %d, want 200", tc.life, w.Code)
		}
	}
}

func TestAddUserCopiesProjects(t *testing.T) {
	s := newLoginSimulator(Options{})
	projects := []string{"proj1"}
	s.AddUser(User{Name: "watcher", Domain: "acme", Password: "right", Projects: projects})
	projects[0] = "proj2"
	newIssuedToken(t, s, loginBody("right"))
}

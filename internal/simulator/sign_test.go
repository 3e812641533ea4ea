// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The known signature was verified with the vendor's SDK and openssl.
const (
	knownTarget    = "/v1.0/proj1/clusters/c1/vpcepservice/connections?limit=100&offset=0"
	knownDate      = "20260102T030405Z"
	knownHash      = "02fc9a2511086569e9f677dc74c451eacceb773af447d4133f82483a88fe37f8"
	knownSignature = "6ca77edf4db499c5b4eb1778d47c877436a1f0e3e8e3aa4a9eae52929cc76dea"
)

func knownAuthorization(access, names, signature string) string {
	return "SDK-HMAC-SHA256 Access=" + access + ", SignedHeaders=" + names + ", Signature=" + signature
}

func knownRequest(t *testing.T) *http.Request {
	t.Helper()
	return knownRequestTo(t, http.MethodGet, knownTarget, "")
}

func knownRequestTo(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://css.test"+target, strings.NewReader(body))
	r.Header.Set("User-Agent", "ua/1")
	r.Header.Set("X-Project-Id", "proj1")
	r.Header.Set("X-Sdk-Date", knownDate)
	r.Header.Set("Authorization", knownAuthorization(testAccess, "user-agent;x-project-id;x-sdk-date", knownSignature))
	return r
}

func TestKnownAnswer(t *testing.T) {
	request, ok := canonical(knownRequest(t), nil, []string{"user-agent", "x-project-id", "x-sdk-date"})
	if !ok {
		t.Fatal("no canonical request")
	}
	hash := sha256.Sum256([]byte(request))
	if got := hex.EncodeToString(hash[:]); got != knownHash {
		t.Errorf("canonical hash %s, want %s; canonical request:\n%s", got, knownHash, request)
	}
	if got := sign(request, knownDate, testSecret); got != knownSignature {
		t.Errorf("signature %s, want %s", got, knownSignature)
	}

	w := httptest.NewRecorder()
	newTestSimulator(Options{}).ServeHTTP(w, knownRequest(t))
	if w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestAlteredRequestIsRefused(t *testing.T) {
	const signatureFailed = "Incorrect IAM authentication information: verify aksk signature fail, canonicalRequest:"
	const names = "user-agent;x-project-id;x-sdk-date"
	header := func(name, value string) func(*testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			r := knownRequest(t)
			r.Header.Set(name, value)
			return r
		}
	}
	altered := func(method, target, body string) func(*testing.T) *http.Request {
		return func(t *testing.T) *http.Request { return knownRequestTo(t, method, target, body) }
	}
	for _, tc := range []struct {
		name    string
		request func(*testing.T) *http.Request
		code    string
		message string // prefix
	}{
		{"path", altered("GET", strings.Replace(knownTarget, "/c1/", "/c2/", 1), ""), "APIGW.0301",
			signatureFailed + "GET|/v1.0/proj1/clusters/c2/vpcepservice/connections/|limit=100&offset=0|user-agent:ua/1|"},
		{"query value", altered("GET", strings.Replace(knownTarget, "offset=0", "offset=1", 1), ""), "APIGW.0301",
			signatureFailed},
		{"query added", altered("GET", knownTarget+"&x=", ""), "APIGW.0301", signatureFailed},
		{"query unescapable", altered("GET", knownTarget+"&x=%zz", ""), "APIGW.0301", signatureFailed},
		{"body", altered("GET", knownTarget, "x"), "APIGW.0301", signatureFailed},
		{"user agent", header("User-Agent", "ua/2"), "APIGW.0301", signatureFailed},
		{"project id", header("X-Project-Id", "proj2"), "APIGW.0301", signatureFailed},
		{"date", header("X-Sdk-Date", "20260102T030406Z"), "APIGW.0301", signatureFailed},
		{"signature", header("Authorization", knownAuthorization(testAccess, names,
			strings.Replace(knownSignature, "6", "7", 1))), "APIGW.0301", signatureFailed},
		{"signature in upper case", header("Authorization", knownAuthorization(testAccess, names,
			strings.ToUpper(knownSignature))), "APIGW.0301", signatureFailed},
		{"signed headers out of order", header("Authorization", knownAuthorization(testAccess,
			"x-sdk-date;user-agent;x-project-id", knownSignature)), "APIGW.0301", signatureFailed},
		{"signed header missing", func(t *testing.T) *http.Request {
			r := knownRequest(t)
			r.Header.Del("User-Agent")
			return r
		}, "APIGW.0301", signatureFailed},
		{"signed header twice", func(t *testing.T) *http.Request {
			r := knownRequest(t)
			r.Header.Add("User-Agent", "ua/1")
			return r
		}, "APIGW.0301", signatureFailed},
		{"date not signed", header("Authorization", knownAuthorization(testAccess, "user-agent;x-project-id",
			knownSignature)), "APIGW.0301",
			"Incorrect IAM authentication information: x-sdk-date missing, malformed or not signed"},
		{"date missing", header("X-Sdk-Date", ""), "APIGW.0301",
			"Incorrect IAM authentication information: x-sdk-date missing"},
		{"unknown access key", header("Authorization", knownAuthorization("AKOTHER", names, knownSignature)), "APIGW.0303",
			"Incorrect app authentication information: app not found, appkey AKOTHER"},
		{"no authorization", header("Authorization", ""), "APIGW.0305", "Incorrect authentication information"},
		{"another algorithm", header("Authorization", "AWS4"+knownAuthorization(testAccess, names, knownSignature)),
			"APIGW.0305", "Incorrect authentication information"},
		{"short signature", header("Authorization", knownAuthorization(testAccess, names, "6ca7")), "APIGW.0305",
			"Incorrect authentication information"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkRefusal(t, newTestSimulator(Options{}), tc.request(t), http.StatusUnauthorized, tc.code, tc.message)
		})
	}

	t.Run("method", func(t *testing.T) {
		r := knownRequestTo(t, http.MethodPost, knownTarget, "")
		if _, refused := newTestSimulator(Options{}).authorize(r, nil, testProject); refused == nil || refused.code != "APIGW.0301" {
			t.Errorf("got %v, want APIGW.0301", refused)
		}
	})
	t.Run("secret", func(t *testing.T) {
		s := newTestSimulator(Options{})
		s.AddProject(Project{ID: testProject, Keys: []Key{{Access: testAccess, Secret: testSecret + "0"}}})
		checkRefusal(t, s, knownRequest(t), http.StatusUnauthorized, "APIGW.0301", signatureFailed)
	})
	t.Run("key of another project", func(t *testing.T) {
		s := newTestSimulator(Options{})
		s.AddProject(Project{ID: "proj2", Keys: []Key{{Access: testAccess, Secret: testSecret}}})
		s.AddProject(Project{ID: testProject})
		checkRefusal(t, s, knownRequest(t), http.StatusForbidden, "APIGW.0302", "The IAM user is not allowed")
	})
}

func checkRefusal(t *testing.T, s *Simulator, r *http.Request, status int, code, message string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if w.Code != status || body["error_code"] != code || !strings.HasPrefix(body["error_msg"], message) {
		t.Errorf("got %d %v, want %d %s %q", w.Code, body, status, code, message)
	}
	if id := w.Header().Get("X-Request-Id"); id == "" || id != body["request_id"] {
		t.Errorf("X-Request-Id %q, request_id %q", id, body["request_id"])
	}
	if strings.Contains(w.Body.String(), testSecret) {
		t.Error("the secret key is in the answer")
	}
	if got := s.Requests()[0]; got.Status != status || got.AccessKey != "" {
		t.Errorf("recorded %+v", got)
	}
}

func TestDateTolerance(t *testing.T) {
	for _, tc := range []struct {
		skew time.Duration
		want int
	}{
		{15 * time.Minute, 200}, {-15 * time.Minute, 200},
		{15*time.Minute + time.Second, 401}, {-15*time.Minute - time.Second, 401},
	} {
		s := newTestSimulator(Options{Now: func() time.Time { return testNow().Add(tc.skew) }})
		w := httptest.NewRecorder()
		s.ServeHTTP(w, knownRequest(t))
		if w.Code != tc.want {
			t.Errorf("clock off by %v: status %d, want %d", tc.skew, w.Code, tc.want)
		}
		if expired := strings.Contains(w.Body.String(), "signature expired"); expired != (tc.want == 401) {
			t.Errorf("clock off by %v: %s", tc.skew, w.Body)
		}
	}
}

// resignKnownRequest signs a known request with other names. It uses sign.go, which the known signature has verified.
func resignKnownRequest(t *testing.T, r *http.Request, names ...string) *http.Request {
	t.Helper()
	request, ok := canonical(r, nil, names)
	if !ok {
		t.Fatal("no canonical request")
	}
	r.Header.Set("Authorization", knownAuthorization(testAccess, strings.Join(names, ";"),
		sign(request, knownDate, testSecret)))
	return r
}

func TestSecurityToken(t *testing.T) {
	withToken := func(token string) *http.Request {
		r := knownRequest(t)
		if token != "" {
			r.Header.Set("X-Security-Token", token)
		}
		return r
	}
	for _, tc := range []struct {
		name    string
		request *http.Request
		want    string
	}{
		{"right", resignKnownRequest(t, withToken("token-1"), "x-sdk-date", "x-security-token"), ""},
		{"not signed", resignKnownRequest(t, withToken("token-1"), "x-sdk-date"), "APIGW.0307"},
		{"wrong", resignKnownRequest(t, withToken("token-2"), "x-sdk-date", "x-security-token"), "APIGW.0307"},
		{"missing", withToken(""), "APIGW.0307"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: testProject, Keys: []Key{{Access: testAccess, Secret: testSecret,
				SecurityToken: "token-1"}}})
			_, refused := s.authorize(tc.request, nil, testProject)
			got := ""
			if refused != nil {
				got = refused.code
			}
			if got != tc.want {
				t.Errorf("refusal %q, want %q", got, tc.want)
			}
		})
	}
}

// TestKeyOfManyProjects has one access key with a different secret in each project.
func TestKeyOfManyProjects(t *testing.T) {
	s := New(Options{Now: testNow})
	for _, id := range []string{"proj1", "proj2", "proj3"} {
		s.AddProject(Project{ID: id, Keys: []Key{{Access: testAccess, Secret: "secret of " + id}}})
	}
	for _, tc := range []struct{ project, secret, want string }{
		{"proj1", "secret of proj1", "200"},
		{"proj2", "secret of proj2", "200"},
		{"proj3", "secret of proj3", "200"},
		{"proj2", "secret of proj1", "401 APIGW.0301"},
		{"proj4", "secret of proj1", "403 APIGW.0302"},
	} {
		if got := statusWithKey(t, s, Key{Access: testAccess, Secret: tc.secret}, "/v1.0/"+tc.project+"/clusters"); got != tc.want {
			t.Errorf("%s of %s: %s, want %s", tc.secret, tc.project, got, tc.want)
		}
	}
}

func TestKeyExpires(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	key := Key{Access: "AKSHORT", Secret: "short", Expires: testNow().Add(time.Minute)}
	s.AddProject(Project{ID: testProject, Keys: []Key{key}})
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, signedRequestBy(t.Context(), key, c.now(), "http://css.test", connectionsPath))
		return w
	}
	c.passed = time.Minute - 1
	if w := ask(); w.Code != 200 {
		t.Errorf("before expiry: %d %s", w.Code, w.Body)
	}
	c.passed = time.Minute
	if w := ask(); w.Code != 401 || !strings.Contains(w.Body.String(), `"APIGW.0307"`) {
		t.Errorf("at expiry: %d %s", w.Code, w.Body)
	}
}

func TestProjectIDMustMatch(t *testing.T) {
	r := knownRequest(t)
	r.Header.Set("X-Project-Id", "proj2")
	checkRefusal(t, newTestSimulator(Options{}), resignKnownRequest(t, r, "x-project-id", "x-sdk-date"), http.StatusUnauthorized,
		"APIGW.0301", "Incorrect IAM authentication information: project id does not match")
}

func TestCanonicalForm(t *testing.T) {
	for _, tc := range []struct{ target, want string }{
		{"/", "/\n"},
		{"/a", "/a/\n"},
		{"/a/", "/a/\n"},
		{"/a%20b/%7Ec~/d%2Fe", "/a%20b/~c~/d%2Fe/\n"},
		{"/a?b=2&a=2&b=1&B=", "/a/\nB=&a=2&b=1&b=2"},
		{"/a?x=a+b&y=%2a&z", "/a/\nx=a%20b&y=%2A&z="},
		{"/é?k=é", "/%C3%A9/\nk=%C3%A9"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.target, http.NoBody)
		r.Header.Set("X-Sdk-Date", "  "+knownDate+" ")
		got, ok := canonical(r, nil, []string{"host", "x-sdk-date"})
		const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		want := "GET\n" + tc.want + "\nhost:example.com\nx-sdk-date:" + knownDate + "\n\nhost;x-sdk-date\n" + emptyHash
		if !ok || got != want {
			t.Errorf("%s: got %q, want %q", tc.target, got, want)
		}
	}
}

func TestSignedHeadersMustBeSortedLowerCaseAndSingle(t *testing.T) {
	for _, tc := range []struct {
		names string
		want  bool
	}{
		{"user-agent;x-sdk-date", true},
		{"x-sdk-date;user-agent", false},
		{"x-sdk-date;x-sdk-date", false},
		{"X-Sdk-Date", false},
		{"x-absent", false},
		{"", false},
	} {
		if _, ok := canonical(knownRequest(t), nil, strings.Split(tc.names, ";")); ok != tc.want {
			t.Errorf("%q: %v, want %v", tc.names, ok, tc.want)
		}
	}
}

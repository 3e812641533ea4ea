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
	knownNames     = "user-agent;x-project-id;x-sdk-date"
	knownHash      = "02fc9a2511086569e9f677dc74c451eacceb773af447d4133f82483a88fe37f8"
	knownSignature = "6ca77edf4db499c5b4eb1778d47c877436a1f0e3e8e3aa4a9eae52929cc76dea"

	signatureFailed = "Incorrect IAM authentication information: verify aksk signature fail, canonicalRequest:"
)

func knownAuthorization(access, names, signature string) string {
	return "SDK-HMAC-SHA256 Access=" + access + ", SignedHeaders=" + names + ", Signature=" + signature
}

func knownRequest(t *testing.T) *http.Request {
	t.Helper()
	return knownRequestTo(t, http.MethodGet, knownTarget, "")
}

// knownRequestTo returns the known request with another method, target or body.
func knownRequestTo(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://css.test"+target, strings.NewReader(body))
	r.Header.Set("User-Agent", "ua/1")
	r.Header.Set("X-Project-Id", "proj1")
	r.Header.Set("X-Sdk-Date", knownDate)
	r.Header.Set("Authorization", knownAuthorization(testAccess, knownNames, knownSignature))
	return r
}

// resignKnownRequest signs other headers of the known request. It uses sign.go, which TestKnownSignature verifies.
func resignKnownRequest(t *testing.T, r *http.Request, names ...string) *http.Request {
	t.Helper()
	request, ok := canonical(r, nil, names)
	if !ok {
		t.Fatal("got no canonical request, want one")
	}
	r.Header.Set("Authorization", knownAuthorization(testAccess, strings.Join(names, ";"),
		sign(request, knownDate, testSecret)))
	return r
}

// checkRejection checks that the response to r is an error of the gateway, and that no access key is recorded.
func checkRejection(t *testing.T, s *Simulator, r *http.Request, status int, code, message string) {
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
		t.Errorf("got X-Request-Id %q and request_id %q, want the same", id, body["request_id"])
	}
	if strings.Contains(w.Body.String(), testSecret) {
		t.Errorf("got the secret key in the response: %s", w.Body)
	}
	if got := s.Requests()[0]; got.Status != status || got.AccessKey != "" {
		t.Errorf("got record %+v, want status %d and no access key", got, status)
	}
}

func TestKnownSignature(t *testing.T) {
	request, ok := canonical(knownRequest(t), nil, strings.Split(knownNames, ";"))
	if !ok {
		t.Fatal("got no canonical request, want one")
	}
	hash := sha256.Sum256([]byte(request))
	if got := hex.EncodeToString(hash[:]); got != knownHash {
		t.Errorf("got hash %s of the canonical request, want %s; canonical request:\n%s", got, knownHash, request)
	}
	if got := sign(request, knownDate, testSecret); got != knownSignature {
		t.Errorf("got signature %s, want %s", got, knownSignature)
	}

	w := httptest.NewRecorder()
	newTestSimulator(Options{}).ServeHTTP(w, knownRequest(t))
	if w.Code != http.StatusOK {
		t.Errorf("got status %d, want 200; body: %s", w.Code, w.Body)
	}
}

func TestSignatureCoversTargetAndBody(t *testing.T) {
	for _, tc := range []struct{ name, target, body, message string }{
		{"path", strings.Replace(knownTarget, "/c1/", "/c2/", 1), "", signatureFailed +
			"GET|/v1.0/proj1/clusters/c2/vpcepservice/connections/|limit=100&offset=0|user-agent:ua/1|"},
		{"query", strings.Replace(knownTarget, "offset=0", "offset=1", 1), "", signatureFailed},
		{"additional query parameter", knownTarget + "&x=", "", signatureFailed},
		{"invalid escape in the query", knownTarget + "&x=%zz", "", signatureFailed},
		{"body", knownTarget, "x", signatureFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := knownRequestTo(t, http.MethodGet, tc.target, tc.body)
			checkRejection(t, newTestSimulator(Options{}), r, http.StatusUnauthorized, "APIGW.0301", tc.message)
		})
	}
}

func TestSignatureCoversMethod(t *testing.T) {
	r := knownRequestTo(t, http.MethodPost, knownTarget, "")
	_, rejected := newTestSimulator(Options{}).authorize(r, nil, testProject)
	if rejected == nil || rejected.code != "APIGW.0301" {
		t.Errorf("got %v, want APIGW.0301", rejected)
	}
}

func TestSignatureCoversSignedHeaders(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(http.Header)
	}{
		{"user agent", func(h http.Header) { h.Set("User-Agent", "ua/2") }},
		{"project ID", func(h http.Header) { h.Set("X-Project-Id", "proj2") }},
		{"date", func(h http.Header) { h.Set("X-Sdk-Date", "20260102T030406Z") }},
		{"missing header", func(h http.Header) { h.Del("User-Agent") }},
		{"repeated header", func(h http.Header) { h.Add("User-Agent", "ua/1") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := knownRequest(t)
			tc.change(r.Header)
			checkRejection(t, newTestSimulator(Options{}), r, http.StatusUnauthorized, "APIGW.0301", signatureFailed)
		})
	}
}

func TestInvalidAuthorizationIsRejected(t *testing.T) {
	const incorrect = "Incorrect authentication information"
	for _, tc := range []struct{ name, authorization, code, message string }{
		{"another signature", knownAuthorization(testAccess, knownNames, strings.Replace(knownSignature, "6", "7", 1)),
			"APIGW.0301", signatureFailed},
		{"signature in upper case", knownAuthorization(testAccess, knownNames, strings.ToUpper(knownSignature)),
			"APIGW.0301", signatureFailed},
		{"unsorted signed headers", knownAuthorization(testAccess, "x-sdk-date;user-agent;x-project-id", knownSignature),
			"APIGW.0301", signatureFailed},
		{"unsigned date", knownAuthorization(testAccess, "user-agent;x-project-id", knownSignature), "APIGW.0301",
			"Incorrect IAM authentication information: x-sdk-date missing, malformed or not signed"},
		{"unknown access key", knownAuthorization("AKOTHER", knownNames, knownSignature), "APIGW.0303",
			"Incorrect app authentication information: app not found, appkey AKOTHER"},
		{"none", "", "APIGW.0305", incorrect},
		{"another algorithm", "AWS4" + knownAuthorization(testAccess, knownNames, knownSignature), "APIGW.0305", incorrect},
		{"short signature", knownAuthorization(testAccess, knownNames, "6ca7"), "APIGW.0305", incorrect},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := knownRequest(t)
			r.Header.Set("Authorization", tc.authorization)
			checkRejection(t, newTestSimulator(Options{}), r, http.StatusUnauthorized, tc.code, tc.message)
		})
	}
}

func TestMissingDateIsRejected(t *testing.T) {
	r := knownRequest(t)
	r.Header.Set("X-Sdk-Date", "")
	checkRejection(t, newTestSimulator(Options{}), r, http.StatusUnauthorized, "APIGW.0301",
		"Incorrect IAM authentication information: x-sdk-date missing")
}

func TestSignatureWithAnotherSecretIsRejected(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddProject(Project{ID: testProject, Keys: []Key{{Access: testAccess, Secret: testSecret + "0"}}})
	checkRejection(t, s, knownRequest(t), http.StatusUnauthorized, "APIGW.0301", signatureFailed)
}

func TestKeyOfAnotherProjectIsForbidden(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddProject(Project{ID: "proj2", Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	s.AddProject(Project{ID: testProject})
	checkRejection(t, s, knownRequest(t), http.StatusForbidden, "APIGW.0302", "The IAM user is not allowed")
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
			t.Errorf("skew of %v: got status %d, want %d", tc.skew, w.Code, tc.want)
		}
		if expired := strings.Contains(w.Body.String(), "signature expired"); expired != (tc.want == 401) {
			t.Errorf("skew of %v: got %s, want an expired signature: %t", tc.skew, w.Body, tc.want == 401)
		}
	}
}

func TestSecurityTokenMustBeSigned(t *testing.T) {
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
		{"valid", resignKnownRequest(t, withToken("token-1"), "x-sdk-date", "x-security-token"), ""},
		{"not signed", resignKnownRequest(t, withToken("token-1"), "x-sdk-date"), "APIGW.0307"},
		{"another token", resignKnownRequest(t, withToken("token-2"), "x-sdk-date", "x-security-token"), "APIGW.0307"},
		{"missing", withToken(""), "APIGW.0307"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: testProject, Keys: []Key{{Access: testAccess, Secret: testSecret,
				SecurityToken: "token-1"}}})
			_, rejected := s.authorize(tc.request, nil, testProject)
			got := ""
			if rejected != nil {
				got = rejected.code
			}
			if got != tc.want {
				t.Errorf("got rejection %q, want %q", got, tc.want)
			}
		})
	}
}

func TestProjectsMayHaveDifferentSecretsForOneAccessKey(t *testing.T) {
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
		key := Key{Access: testAccess, Secret: tc.secret}
		if got := statusWithKey(t, s, key, "/v1.0/"+tc.project+"/clusters"); got != tc.want {
			t.Errorf("%s in %s: got %s, want %s", tc.secret, tc.project, got, tc.want)
		}
	}
}

func TestKeyExpires(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	key := Key{Access: "AKSHORT", Secret: "short", Expires: testNow().Add(time.Minute)}
	s.AddProject(Project{ID: testProject, Keys: []Key{key}})
	c.passed = time.Minute - 1
	if got := statusWithKey(t, s, key, connectionsPath); got != "200" {
		t.Errorf("before expiry: got %s, want 200", got)
	}
	c.passed = time.Minute
	if got := statusWithKey(t, s, key, connectionsPath); got != "401 APIGW.0307" {
		t.Errorf("at expiry: got %s, want 401 APIGW.0307", got)
	}
}

func TestProjectIDHeaderMustMatchPath(t *testing.T) {
	r := knownRequest(t)
	r.Header.Set("X-Project-Id", "proj2")
	r = resignKnownRequest(t, r, "x-project-id", "x-sdk-date")
	checkRejection(t, newTestSimulator(Options{}), r, http.StatusUnauthorized, "APIGW.0301",
		"Incorrect IAM authentication information: project id does not match")
}

func TestCanonicalRequest(t *testing.T) {
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
			t.Errorf("%q: got valid: %t, want %t", tc.names, ok, tc.want)
		}
	}
}

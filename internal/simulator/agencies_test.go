// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	iamAssumePath = "/v3.0/OS-CREDENTIAL/securitytokens"
	stsAssumePath = "/v5/agencies/assume"
)

// newAgencySimulator returns a test simulator with an agency, which the test key and the user may assume, of an account
// with the project proj2.
func newAgencySimulator(t *testing.T, o Options) *Simulator {
	t.Helper()
	s := newLoginSimulator(o)
	s.AddAgency(AccountAgency{
		Name: "reader", DomainName: "other", DomainID: "d2", Callers: []string{testAccess, "acme/watcher"},
		Projects: []string{"proj2"},
	})
	return s
}

// signedPost signs a body without the code of sign.go.
func signedPost(t *testing.T, key Key, at time.Time, path, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	date := at.UTC().Format("20060102T150405Z")
	r.Header.Set("X-Sdk-Date", date)
	headers, names := "x-sdk-date:"+date+"\n", "x-sdk-date"
	if key.SecurityToken != "" {
		r.Header.Set("X-Security-Token", key.SecurityToken)
		headers, names = headers+"x-security-token:"+key.SecurityToken+"\n", names+";x-security-token"
	}
	content := sha256.Sum256([]byte(body))
	request := "POST\n" + path + "/\n\n" + headers + "\n" + names + "\n" + hex.EncodeToString(content[:])
	hash := sha256.Sum256([]byte(request))
	mac := hmac.New(sha256.New, []byte(key.Secret))
	_, _ = io.WriteString(mac, "SDK-HMAC-SHA256\n"+date+"\n"+hex.EncodeToString(hash[:]))
	r.Header.Set("Authorization",
		"SDK-HMAC-SHA256 Access="+key.Access+", SignedHeaders="+names+", Signature="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

func serveResponse(s *Simulator, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// iamAssumption returns a body in the form of the vendor's example.
func iamAssumption(account, agency string, seconds any) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["assume_role"],"assume_role":{%s,"agency_name":%q,`+
		`"duration_seconds":%v}}}}`, account, agency, seconds)
}

func stsAssumption(urn, session string, seconds any) string {
	return fmt.Sprintf(`{"agency_urn":%q,"agency_session_name":%q,"duration_seconds":%v}`, urn, session, seconds)
}

const validURN = "iam::d2:agency:reader"

func TestAssumptions(t *testing.T) {
	byName, byID := `"domain_name":"other"`, `"domain_id":"d2"`
	for name, tc := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"IAM by name":        {iamAssumePath, iamAssumption(byName, "reader", 3600), 201, ""},
		"IAM by ID":          {iamAssumePath, iamAssumption(byID, "reader", 86400), 201, ""},
		"IAM, other account": {iamAssumePath, iamAssumption(`"domain_name":"acme"`, "reader", 3600), 403, "IAM.0002"},
		"IAM, other agency":  {iamAssumePath, iamAssumption(byName, "Reader", 3600), 403, "IAM.0002"},
		"IAM, two accounts":  {iamAssumePath, iamAssumption(byName+","+byID, "reader", 3600), 400, "IAM.0011"},
		"IAM, short":         {iamAssumePath, iamAssumption(byName, "reader", 899), 400, "IAM.0011"},
		"IAM, long":          {iamAssumePath, iamAssumption(byName, "reader", 86401), 400, "IAM.0011"},
		"IAM, text":          {iamAssumePath, iamAssumption(byName, "reader", `"3600"`), 400, "IAM.0011"},
		"IAM, login":         {iamAssumePath, loginBody("right"), 400, "IAM.0011"},
		"IAM, no JSON":       {iamAssumePath, "assume", 400, "IAM.0011"},
		"STS":                {stsAssumePath, stsAssumption(validURN, "s+=,.@-_", 43200), 200, ""},
		"STS, long":          {stsAssumePath, stsAssumption(validURN, "ss", 43201), 400, "STS5.0002"},
		"STS, one letter":    {stsAssumePath, stsAssumption(validURN, "s", 3600), 400, "STS5.0002"},
		"STS, blank":         {stsAssumePath, stsAssumption(validURN, "s s", 3600), 400, "STS5.0002"},
		"STS, no URN":        {stsAssumePath, stsAssumption("reader", "ss", 3600), 400, "STS5.0002"},
		"STS, other account": {stsAssumePath, stsAssumption("iam::d1:agency:reader", "ss", 3600), 403, "STS5.0003"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAgencySimulator(t, Options{Now: testNow})
			w := serveResponse(s, signedPost(t, validKey(), testNow(), tc.path, tc.body))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.code) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tc.status, tc.code)
			}
			if encoded := strings.Contains(w.Body.String(), "encoded_authorization_message"); encoded != (tc.code == "STS5.0003") {
				t.Errorf("got %s, want an encoded message only where STS denies", w.Body)
			}
		})
	}
}

func TestAssumptionsNeedAValidSignature(t *testing.T) {
	s := newAgencySimulator(t, Options{Now: testNow})
	valid := map[string]string{
		iamAssumePath: iamAssumption(`"domain_id":"d2"`, "reader", 3600), stsAssumePath: stsAssumption(validURN, "ss", 3600),
	}
	token := newIssuedToken(t, s, loginBody("right"))
	for path, body := range valid {
		changed := signedPost(t, validKey(), testNow(), path, body)
		changed.Body = io.NopCloser(strings.NewReader(strings.Replace(body, "3600", "3601", 1)))
		unsigned := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		withToken := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		withToken.Header.Set("X-Auth-Token", token)
		for name, tc := range map[string]struct {
			request *http.Request
			want    int
		}{
			"another body":   {changed, 401},
			"another key":    {signedPost(t, invalidKey(), testNow(), path, body), 401},
			"an hour ago":    {signedPost(t, validKey(), testNow().Add(-time.Hour), path, body), 401},
			"no signature":   {unsigned, 401},
			"a user's token": {withToken, map[string]int{iamAssumePath: 201, stsAssumePath: 401}[path]},
		} {
			if w := serveResponse(s, tc.request); w.Code != tc.want {
				t.Errorf("%s with %s: got %d %s, want %d", path, name, w.Code, w.Body, tc.want)
			}
		}
	}
}

// assumedKey returns the key of a response, and its expiry as sent.
func assumedKey(t *testing.T, w *httptest.ResponseRecorder) (key Key, expires string) {
	t.Helper()
	var iam struct {
		Credential struct {
			Access, Secret, SecurityToken string
			ExpiresAt                     string `json:"expires_at"`
		}
	}
	var sts struct {
		Credentials struct {
			Access     string `json:"access_key_id"`
			Secret     string `json:"secret_access_key"`
			Token      string `json:"security_token"`
			Expiration string
		}
	}
	body := w.Body.Bytes()
	if err := json.Unmarshal(body, &iam); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &sts); err != nil {
		t.Fatal(err)
	}
	if c := iam.Credential; c.Access != "" {
		return Key{Access: c.Access, Secret: c.Secret, SecurityToken: c.SecurityToken}, c.ExpiresAt
	}
	c := sts.Credentials
	return Key{Access: c.Access, Secret: c.Secret, SecurityToken: c.Token}, c.Expiration
}

func TestAssumedKeys(t *testing.T) {
	var now clock
	s := newAgencySimulator(t, Options{Now: now.now})
	statusOf := func(key Key, project string) int {
		return serveResponse(s, signedRequestBy(t.Context(), key, now.now(), "http://css.test", "/v1.0/"+project+"/clusters")).Code
	}
	for path, tc := range map[string]struct{ body, expiry string }{
		iamAssumePath: {iamAssumption(`"domain_name":"other"`, "reader", 900), `T\d\d:\d\d:\d\d\.\d{6}Z$`},
		stsAssumePath: {stsAssumption(validURN, "ss", 900), `T\d\d:\d\d:\d\d\.\d{3}Z$`},
	} {
		key, expires := assumedKey(t, serveResponse(s, signedPost(t, validKey(), now.now(), path, tc.body)))
		if !regexp.MustCompile(tc.expiry).MatchString(expires) {
			t.Errorf("%s: got expiry %q, want the form %s", path, expires, tc.expiry)
		}
		if got := statusOf(key, "proj2"); got != 200 {
			t.Errorf("%s: got %d in the project of the account, want 200", path, got)
		}
		if got := statusOf(key, testProject); got != 403 {
			t.Errorf("%s: got %d in the caller's project, want 403", path, got)
		}
		s.DeleteAgency("reader", "d2")
		if got := statusOf(key, "proj2"); got != 200 {
			t.Errorf("%s: got %d after the agency was deleted, want 200 until the keys end", path, got)
		}
		if w := serveResponse(s, signedPost(t, validKey(), now.now(), path, tc.body)); w.Code != 403 {
			t.Errorf("%s: got %d for a deleted agency, want 403", path, w.Code)
		}
		s.AddAgency(AccountAgency{Name: "reader", DomainName: "other", DomainID: "d2", Projects: []string{"proj2"}})
		now.passed += 15 * time.Minute
		if got := statusOf(key, "proj2"); got != 401 {
			t.Errorf("%s: got %d after 15 minutes, want 401", path, got)
		}
	}
}

func TestTemporaryCallersAssumeForAnHour(t *testing.T) {
	s := newAgencySimulator(t, Options{Now: testNow})
	s.AddAgency(AccountAgency{Name: "reader", DomainName: "other", DomainID: "d2", ExpiryLayout: "2006-01-02T15:04:05.0Z"})
	key, expires := assumedKey(t,
		serveResponse(s, signedPost(t, validKey(), testNow(), stsAssumePath, stsAssumption(validURN, "ss", 3600))))
	if !strings.HasSuffix(expires, ".0Z") {
		t.Errorf("got expiry %q, want one digit after the seconds", expires)
	}
	for seconds, want := range map[int]int{3600: 200, 3601: 400} {
		w := serveResponse(s, signedPost(t, key, testNow(), stsAssumePath, stsAssumption(validURN, "ss", seconds)))
		if w.Code != want {
			t.Errorf("%d s: got %d %s, want %d", seconds, w.Code, w.Body, want)
		}
	}
}

func TestFaultsOfAssumptions(t *testing.T) {
	s := newAgencySimulator(t, Options{Now: testNow})
	s.SetFault(Target{Endpoint: AgencyByIAM}, Fault{Status: 500})
	s.SetThrottle(Target{Endpoint: AgencyBySTS}, Throttle{RetryAfter: "7"})
	for path, want := range map[string]int{iamAssumePath: 500, stsAssumePath: 429} {
		if w := serveResponse(s, signedPost(t, validKey(), testNow(), path, "{}")); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
	if a, b := s.Count(Target{Endpoint: AgencyByIAM}), s.Count(Target{Endpoint: AgencyBySTS}); a != 1 || b != 1 {
		t.Errorf("got %d and %d requests, want 1 and 1", a, b)
	}
}

// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	assumePath        = "/v5/agencies/assume-with-oidc"
	idTokenPath       = "/v3.0/OS-AUTH/id-token/tokens"      //nolint:gosec // a path
	securityTokenPath = "/v3.0/OS-CREDENTIAL/securitytokens" //nolint:gosec // a path

	testProvider = "iam::1:oidcProvider:p"
	testAgency   = "iam::1:agency:a"
)

// newFederation returns a simulator with a project and an identity provider, whose clock can be moved.
func newFederation(t *testing.T) (s *Simulator, now *time.Time) {
	t.Helper()
	now = new(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC))
	s = New(Options{Now: func() time.Time { return *now }})
	s.AddProject(Project{Region: "cn-north-4", ID: "p1"})
	s.SetIdentityProvider(IdentityProvider{ID: "idp", URN: testProvider, AgencyURN: testAgency})
	return s, now
}

func assumeBody(provider, agency, session, token string, seconds int) string {
	return fmt.Sprintf(`{"provider_urn":%q,"agency_urn":%q,"agency_session_name":%q,"id_token":%q,"duration_seconds":%d}`,
		provider, agency, session, token, seconds)
}

// keysOf decodes the keys that an exchange returns.
func keysOf(t *testing.T, w *httptest.ResponseRecorder) (key Key, expires string) {
	t.Helper()
	var body struct {
		Credential struct {
			Access, Secret, SecurityToken string
			ExpiresAt                     string `json:"expires_at"`
		}
		Credentials struct {
			AccessKeyID     string `json:"access_key_id"`
			SecretAccessKey string `json:"secret_access_key"`
			SecurityToken   string `json:"security_token"`
			Expiration      string `json:"expiration"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("got %d %s, want JSON", w.Code, w.Body)
	}
	if c := body.Credential; c.Access != "" {
		return Key{Access: c.Access, Secret: c.Secret, SecurityToken: c.SecurityToken}, c.ExpiresAt
	}
	c := body.Credentials
	return Key{Access: c.AccessKeyID, Secret: c.SecretAccessKey, SecurityToken: c.SecurityToken}, c.Expiration
}

func TestAssumeWithOIDC(t *testing.T) {
	s, now := newFederation(t)
	valid := s.IDToken("x", "", time.Hour)
	forged := valid[:len(valid)-2] + "AA"
	for name, test := range map[string]struct {
		body, header string
		status       int
		contains     string
	}{
		"valid":             {assumeBody(testProvider, testAgency, "a.session", valid, 900), "", 200, `"access_key_id"`},
		"signed":            {assumeBody(testProvider, testAgency, "a.session", valid, 900), "Authorization", 400, "invalid"},
		"no JSON":           {"x", "", 400, "invalid"},
		"no token":          {assumeBody(testProvider, testAgency, "session", "", 900), "", 400, "invalid"},
		"session too short": {assumeBody(testProvider, testAgency, "s", valid, 900), "", 400, "invalid"},
		"session":           {assumeBody(testProvider, testAgency, "a b", valid, 900), "", 400, "invalid"},
		"too short":         {assumeBody(testProvider, testAgency, "session", valid, 899), "", 400, "invalid"},
		"too long":          {assumeBody(testProvider, testAgency, "session", valid, 43201), "", 400, "invalid"},
		"other provider":    {assumeBody(testProvider+"2", testAgency, "session", valid, 900), "", 404, "does not exist"},
		"other agency":      {assumeBody(testProvider, testAgency+"2", "session", valid, 900), "", 403, "encoded_authorization_message"},
		"forged":            {assumeBody(testProvider, testAgency, "session", forged, 900), "", 401, "signature"},
		"opaque":            {assumeBody(testProvider, testAgency, "session", "opaque", 900), "", 401, "signature"},
		"other audience": {
			assumeBody(testProvider, testAgency, "session", s.IDToken("x", "other", time.Hour), 900), "", 401, "audience",
		},
		"expired": {
			assumeBody(testProvider, testAgency, "session", s.IDToken("x", "", -time.Second), 900), "", 401, "expired",
		},
	} {
		w := serveRequest(t, s, http.MethodPost, assumePath, test.body, test.header, "x")
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.contains) {
			t.Errorf("%s: got %d %s, want %d with %q", name, w.Code, w.Body, test.status, test.contains)
		}
		if strings.Contains(w.Body.String(), valid) {
			t.Errorf("%s: the response quotes the token", name)
		}
	}
	w := serveRequest(t, s, http.MethodPost, assumePath, assumeBody(testProvider, testAgency, "session", valid, 900), "", "")
	key, expires := keysOf(t, w)
	if want := "2026-01-02T03:19:05.678Z"; expires != want || key.Secret == "" || key.SecurityToken == "" {
		t.Errorf("got %s, expiry %s, want a whole key until %s", w.Body, expires, want)
	}
	*now = now.Add(14 * time.Minute)
	if _, ids, ok := s.findKey(key.Access, ""); !ok || len(ids) != 1 {
		t.Errorf("got the projects %q, known: %t; want p1", ids, ok)
	}
}

func TestIDTokensInIAM(t *testing.T) {
	s, _ := newFederation(t)
	exchange := func(idp, token string) *httptest.ResponseRecorder {
		return serveRequest(t, s, http.MethodPost, idTokenPath, `{"auth":{"id_token":{"id":"`+token+`"}}}`, "X-Idp-Id", idp)
	}
	valid := s.IDToken("x", "", time.Hour)
	for name, test := range map[string]struct {
		idp, token string
		status     int
	}{
		"valid": {"idp", valid, 201}, "no token": {"idp", "", 400}, "other provider": {"other", valid, 404},
		"no provider": {"", valid, 404}, "expired": {"idp", s.IDToken("x", "", -time.Second), 401}, "opaque": {"idp", "x", 401},
	} {
		if w := exchange(test.idp, test.token); w.Code != test.status {
			t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, test.status)
		}
	}
	token := exchange("idp", valid).Header().Get("X-Subject-Token")
	body := func(method, token string, seconds int) string {
		return fmt.Sprintf(`{"auth":{"identity":{"methods":[%q],"token":{"id":%q,"duration_seconds":%d}}}}`, method, token, seconds)
	}
	for name, test := range map[string]struct {
		body   string
		status int
	}{
		"valid": {body("token", token, 21600), 201}, "other token": {body("token", "x", 21600), 401},
		"ID token": {body("token", valid, 21600), 401}, "other method": {body("assume_role", token, 21600), 401},
		"too short": {body("token", token, 899), 400},
	} {
		if w := serveRequest(t, s, http.MethodPost, securityTokenPath, test.body, "", ""); w.Code != test.status {
			t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, test.status)
		}
	}
	key, expires := keysOf(t, serveRequest(t, s, http.MethodPost, securityTokenPath, body("token", token, 21600), "", ""))
	if want := "2026-01-02T09:04:05.678901Z"; expires != want || key.SecurityToken == "" {
		t.Errorf("got the expiry %s of a key with the token %q, want %s", expires, key.SecurityToken, want)
	}
	if _, rejected := s.callerByToken(token); rejected == nil {
		t.Error("a token without a project is valid for a project")
	}
}

func TestDeniedIdentityProvider(t *testing.T) {
	s, _ := newFederation(t)
	token := s.IDToken("x", "", time.Hour)
	s.SetIdentityProvider(IdentityProvider{ID: "idp", URN: testProvider, AgencyURN: testAgency, Denied: true})
	w := serveRequest(t, s, http.MethodPost, assumePath, assumeBody(testProvider, testAgency, "session", token, 900), "", "")
	if w.Code != http.StatusForbidden {
		t.Errorf("STS: got %d, want 403", w.Code)
	}
	w = serveRequest(t, s, http.MethodPost, idTokenPath, `{"auth":{"id_token":{"id":"`+token+`"}}}`, "X-Idp-Id", "idp")
	if w.Code != http.StatusForbidden {
		t.Errorf("IAM: got %d, want 403", w.Code)
	}
}

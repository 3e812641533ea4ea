// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	milliseconds        = "2006-01-02T15:04:05.000Z"
	defaultAudience     = "huaweicloud"
	minKeySeconds       = 900
	maxSTSKeySeconds    = 43200
	maxIAMKeySeconds    = 86400
	sessionNameSymbols  = "_+=,.@-"
	federatedTokenHours = 24
)

// IdentityProvider is an OpenID Connect provider that an account trusts: in IAM by its ID, in STS by its URN for an
// agency.
type IdentityProvider struct {
	ID, URN, AgencyURN string
	Audience           string        // of valid tokens; default: huaweicloud
	Projects           []string      // IDs; none means all
	Life               time.Duration // of keys; default: what the request asks for
	TimeLayout         string        // of the keys' expiry; default: that of the service
	Denied             bool          // valid tokens are refused with 403
}

type identityProvider struct {
	IdentityProvider
	secret []byte
}

// federatedToken is a token of IAM without a project, for a valid ID token.
type federatedToken struct {
	provider string
	expires  time.Time
}

// federation holds what the Simulator knows about identity providers.
type federation struct {
	providers []*identityProvider
	tokens    map[tokenHash]federatedToken
}

// SetIdentityProvider adds the provider, or replaces that with the same ID and URN. Issued tokens and keys stay valid.
func (s *Simulator) SetIdentityProvider(p IdentityProvider) {
	p.Audience = cmp.Or(p.Audience, defaultAudience)
	p.Projects = slices.Clone(p.Projects)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.federation.providers {
		if known.ID == p.ID && known.URN == p.URN {
			known.IdentityProvider = p
			return
		}
	}
	s.federation.providers = append(s.federation.providers, &identityProvider{p, []byte(rand.Text())})
}

// IDToken returns a token of the first identity provider. An empty audience is the valid one.
func (s *Simulator) IDToken(subject, audience string, life time.Duration) string {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.federation.providers[0]
	claims, _ := json.Marshal(map[string]any{ // never fails
		"iss": "https://issuer.example", "sub": subject, "aud": []string{cmp.Or(audience, p.Audience)},
		"iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text(),
	})
	signed := encodePart([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encodePart(claims)
	return signed + "." + encodePart(p.sign(signed))
}

func encodePart(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *identityProvider) sign(text string) []byte {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// fault returns why a token is not valid, or "".
func (p *identityProvider) fault(token string, now time.Time) string {
	at := strings.LastIndexByte(token, '.')
	if at < 0 || !hmac.Equal([]byte(token[at+1:]), []byte(encodePart(p.sign(token[:at])))) {
		return "The ID token has no valid signature."
	}
	_, part, _ := strings.Cut(token[:at], ".")
	decoded, _ := base64.RawURLEncoding.DecodeString(part)
	var claims struct {
		Audience []string `json:"aud"`
		Expires  int64    `json:"exp"`
	}
	switch err := json.Unmarshal(decoded, &claims); {
	case err != nil:
		return "The ID token is malformed."
	case !slices.Contains(claims.Audience, p.Audience):
		return "The audience of the ID token is not allowed."
	case now.Unix() >= claims.Expires:
		return "The ID token has expired."
	}
	return ""
}

// authenticated reports whether a request has the credentials that calls with an ID token do without.
func authenticated(r *http.Request) bool {
	return r.Header.Get("Authorization")+r.Header.Get("X-Auth-Token")+r.Header.Get("X-Security-Token") != ""
}

// checkAssumeWithOIDC checks a request of STS. The codes are made up: only their form is documented.
func (s *Simulator) checkAssumeWithOIDC(r *http.Request, body []byte) (caller, *response) {
	var v any
	err := json.Unmarshal(body, &v)
	name, seconds := textAt(v, "agency_session_name"), numberAt(v, "duration_seconds")
	if err != nil || authenticated(r) || textAt(v, "id_token") == "" || !validSessionName(name) ||
		seconds < minKeySeconds || seconds > maxSTSKeySeconds {
		return caller{}, stsError(http.StatusBadRequest, "STS5.0001", "The request is invalid.")
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.identityProvider(func(p *identityProvider) bool { return p.URN == textAt(v, "provider_urn") })
	if p == nil {
		return caller{}, stsError(http.StatusNotFound, "STS5.0002", "The identity provider does not exist.")
	}
	if fault := p.fault(textAt(v, "id_token"), now); fault != "" {
		return caller{}, stsError(http.StatusUnauthorized, "STS5.0003", fault)
	}
	if p.Denied || p.AgencyURN != textAt(v, "agency_urn") {
		return caller{}, stsError(http.StatusForbidden, "STS5.0004", "The agency does not trust the identity provider.")
	}
	return caller{provider: p.key(), keyLife: time.Duration(seconds) * time.Second}, nil
}

func validSessionName(name string) bool {
	return len(name) >= 2 && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune(sessionNameSymbols, r)
	})
}

func numberAt(v any, path ...string) int {
	number, _ := valueAt(v, path...).(float64)
	return int(number)
}

func (p *identityProvider) key() string { return p.ID + " " + p.URN }

// identityProvider returns nil if there is none. The caller holds s.mu.
func (s *Simulator) identityProvider(is func(*identityProvider) bool) *identityProvider {
	i := slices.IndexFunc(s.federation.providers, is)
	if i < 0 {
		return nil
	}
	return s.federation.providers[i]
}

// checkIDToken checks the first of the two requests to IAM.
func (s *Simulator) checkIDToken(r *http.Request, body []byte) (caller, *response) {
	var v any
	err := json.Unmarshal(body, &v)
	token := textAt(v, "auth", "id_token", "id")
	if err != nil || authenticated(r) || token == "" {
		return caller{}, iamError(http.StatusBadRequest, "The request body is invalid.")
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.Header.Get("X-Idp-Id")
	p := s.identityProvider(func(p *identityProvider) bool { return id != "" && p.ID == id })
	if p == nil {
		return caller{}, iamError(http.StatusNotFound, "Could not find the identity provider.")
	}
	if fault := p.fault(token, now); fault != "" {
		return caller{}, iamError(http.StatusUnauthorized, fault)
	}
	if p.Denied {
		return caller{}, iamError(http.StatusForbidden, "You are not authorized to perform the requested action.")
	}
	return caller{provider: p.key()}, nil
}

func (s *Simulator) issueFederatedToken(c caller) response {
	text, now := newToken(), s.opts.Now()
	expires := expiry(now, federatedTokenHours*time.Hour)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.federation.tokens, func(_ tokenHash, t federatedToken) bool { return !now.Before(t.expires) })
	s.federation.tokens[sha256.Sum256([]byte(text))] = federatedToken{c.provider, expires}
	resp := jsonResponse(http.StatusCreated, map[string]any{"token": map[string]any{
		"expires_at": expires.Format(microseconds), "issued_at": now.UTC().Format(microseconds),
		"methods": []string{"mapped"}, "user": map[string]any{"name": "federated"},
	}})
	resp.header.Set("X-Subject-Token", text)
	return resp
}

// checkTokenForKeys checks the second of the two requests to IAM.
func (s *Simulator) checkTokenForKeys(body []byte) (caller, *response) {
	var v any
	err := json.Unmarshal(body, &v)
	identity := valueAt(v, "auth", "identity")
	methods, _ := valueAt(identity, "methods").([]any)
	text, seconds := textAt(identity, "token", "id"), numberAt(identity, "token", "duration_seconds")
	if len(methods) != 1 || methods[0] != "token" { // one that needs a signature
		return caller{}, iamError(http.StatusUnauthorized, "The request you have made requires authentication.")
	}
	if err != nil || text == "" ||
		seconds < minKeySeconds || seconds > maxIAMKeySeconds {
		return caller{}, iamError(http.StatusBadRequest, "The request body is invalid.")
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	token, ok := s.federation.tokens[sha256.Sum256([]byte(text))]
	if !ok || !now.Before(token.expires) {
		return caller{}, iamError(http.StatusUnauthorized, "The request you have made requires authentication.")
	}
	return caller{provider: token.provider, keyLife: time.Duration(seconds) * time.Second}, nil
}

// issueFederatedKey issues a new key at every call.
func (s *Simulator) issueFederatedKey(c caller, layout string) (Key, string) {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.identityProvider(func(p *identityProvider) bool { return p.key() == c.provider })
	i := newIssuer(p.Projects, cmp.Or(p.Life, c.keyLife), 0)
	key := s.issueKey(&i, now)
	return key, key.Expires.Format(cmp.Or(p.TimeLayout, layout))
}

func (s *Simulator) issueSTSKey(c caller) response {
	key, expires := s.issueFederatedKey(c, milliseconds)
	return jsonResponse(http.StatusOK, map[string]any{
		"assumed_agency": map[string]string{"urn": "sts::account:assumed-agency:agency/session", "id": "id:session"},
		"credentials": map[string]string{
			"access_key_id": key.Access, "secret_access_key": key.Secret, "security_token": key.SecurityToken,
			"expiration": expires,
		},
	})
}

func (s *Simulator) issueIAMKey(c caller) response {
	key, expires := s.issueFederatedKey(c, microseconds)
	return jsonResponse(http.StatusCreated, map[string]any{"credential": map[string]string{
		"access": key.Access, "secret": key.Secret, "securitytoken": key.SecurityToken, "expires_at": expires,
	}})
}

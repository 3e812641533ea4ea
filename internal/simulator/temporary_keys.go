// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PodIdentityPath is the path of requests from pods.
const PodIdentityPath = "/v1/pod-identity/credentials"

const maxMetadataTTL = 6 * time.Hour

// Agency issues temporary keys on an ECS machine.
type Agency struct {
	Projects []string      // IDs; none means all
	Life     time.Duration // of a key; default: an hour
	Early    time.Duration // remaining life at which a key is replaced; default: half of Life
	// TokenStatus, if set, is the status of token requests on a machine without metadata tokens, such as 404.
	TokenStatus int
}

// PodIdentity is like Agency, for the pod that sends Token.
type PodIdentity struct {
	Token       string
	Projects    []string
	Life, Early time.Duration
}

func (PodIdentity) String() string { return "pod identity" }

// GoString omits the token, like String.
func (p PodIdentity) GoString() string { return p.String() }

// SetAgency adds or replaces the agency. Issued keys stay valid.
func (s *Simulator) SetAgency(a Agency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agency = &agency{newIssuer(a.Projects, a.Life, a.Early), a.TokenStatus}
}

// SetPodIdentity adds or replaces the pod identity. Issued keys stay valid.
func (s *Simulator) SetPodIdentity(p PodIdentity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pod = &pod{newIssuer(p.Projects, p.Life, p.Early), p.Token}
}

// ExpireKeys expires all issued temporary keys.
func (s *Simulator) ExpireKeys() {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.temporary {
		k.Expires = now
	}
}

type agency struct {
	issuer
	tokenStatus int
}

type pod struct {
	issuer
	token string
}

type issuer struct {
	projects    []string
	life, early time.Duration
	current     *temporaryKey
}

type temporaryKey struct {
	Key
	projects []string
}

func newIssuer(projects []string, life, early time.Duration) issuer {
	if life <= 0 {
		life = time.Hour
	}
	if early <= 0 {
		early = life / 2
	}
	return issuer{projects: slices.Clone(projects), life: life, early: early}
}

// issueKey keeps expired keys, because the cloud distinguishes them from unknown ones. The caller holds s.mu.
func (s *Simulator) issueKey(i *issuer, now time.Time) Key {
	if i.current == nil || i.current.Expires.Sub(now) < i.early {
		i.current = &temporaryKey{
			Key: Key{
				Access: "HSTSIM" + rand.Text()[:14], Secret: randomText(30),
				SecurityToken: randomText(450), Expires: expiry(now, i.life),
			},
			projects: i.projects,
		}
		s.temporary[i.current.Access] = i.current
	}
	return i.current.Key
}

func parseMetadataTTL(h http.Header) (time.Duration, bool) {
	n, err := strconv.ParseUint(h.Get("X-Metadata-Token-Ttl-Seconds"), 10, 31)
	ttl := time.Duration(n) * time.Second
	return ttl, err == nil && ttl > 0 && ttl <= maxMetadataTTL
}

func (s *Simulator) checkMetadataTokenRequest(r *http.Request) *response {
	if _, ok := parseMetadataTTL(r.Header); !ok && s.tokenStatus() == 0 {
		return textResponse(http.StatusBadRequest, "Bad Request: X-Metadata-Token-Ttl-Seconds must be between 1 and 21600.")
	}
	return nil
}

func (s *Simulator) tokenStatus() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agency == nil {
		return 0
	}
	return s.agency.tokenStatus
}

func (s *Simulator) issueMetadataToken(r *http.Request) response {
	if status := s.tokenStatus(); status != 0 {
		return *textResponse(status, http.StatusText(status))
	}
	ttl, _ := parseMetadataTTL(r.Header)
	text, now := randomText(40), s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.metadataTokens, func(_ tokenHash, expires time.Time) bool { return !now.Before(expires) })
	s.metadataTokens[sha256.Sum256([]byte(text))] = now.Add(ttl)
	return *textResponse(http.StatusOK, text)
}

func (s *Simulator) checkSecurityKeyRequest(r *http.Request) *response {
	if s.tokenStatus() != 0 {
		return nil
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	expires, ok := s.metadataTokens[sha256.Sum256([]byte(r.Header.Get("X-Metadata-Token")))]
	if !ok || !now.Before(expires) {
		return textResponse(http.StatusUnauthorized, "Unauthorized: the metadata token is missing, wrong or expired.")
	}
	return nil
}

func (s *Simulator) issueSecurityKey() response {
	type credential struct {
		Access        string `json:"access"`
		Secret        string `json:"secret"`
		SecurityToken string `json:"securitytoken"`
		ExpiresAt     string `json:"expires_at"`
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agency == nil {
		return *textResponse(http.StatusUnauthorized, "Please configure Cloud Service Agency first")
	}
	key := s.issueKey(&s.agency.issuer, now)
	return jsonResponse(http.StatusOK, struct {
		Credential credential `json:"credential"`
	}{credential{key.Access, key.Secret, key.SecurityToken, key.Expires.Format(microseconds)}})
}

func (s *Simulator) checkPodRequest(r *http.Request, body []byte) *response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pod == nil || s.pod.token == "" || !equalSecrets(s.pod.token, r.Header.Get("Authorization")) {
		return podError(http.StatusUnauthorized, "The token of the service account is missing or wrong.")
	}
	if strings.TrimSpace(string(body)) != "{}" {
		return podError(http.StatusBadRequest, "The request body is invalid.")
	}
	return nil
}

func (s *Simulator) issuePodCredentials() response {
	type agencyBody struct {
		URN string `json:"urn"`
		ID  string `json:"id"`
	}
	type credentials struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SecurityToken   string `json:"securityToken"`
		Expiration      string `json:"expiration"`
	}
	type subject struct {
		Namespace      string `json:"namespace"`
		ServiceAccount string `json:"serviceAccount"`
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.issueKey(&s.pod.issuer, now)
	return jsonResponse(http.StatusOK, struct {
		Agency        agencyBody  `json:"assumedAgency"`
		Audience      string      `json:"audience"`
		Credentials   credentials `json:"credentials"`
		AssociationID string      `json:"podIdentityAssociationId"`
		Subject       subject     `json:"subject"`
	}{Credentials: credentials{key.Access, key.Secret, key.SecurityToken, key.Expires.Format(microseconds)}})
}

// podError returns an invented body, because none is documented.
func podError(status int, message string) *response {
	resp := jsonResponse(status, struct {
		Message string `json:"message"`
	}{message})
	return &resp
}

func textResponse(status int, text string) *response {
	return &response{status, http.Header{"Content-Type": {"text/plain"}}, []byte(text)}
}

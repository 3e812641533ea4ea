// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
)

const (
	maxWrongPasswords = 5 // in a row; then the user is locked
	microseconds      = "2006-01-02T15:04:05.000000Z"
)

// User is an IAM user.
type User struct {
	Name, Domain, Password string
	Projects               []string // IDs; none means all
}

func (u User) String() string { return "user " + u.Domain + "/" + u.Name }

// GoString omits the password, like String.
func (u User) GoString() string { return u.String() }

type userID struct{ domain, name string }

func (id userID) String() string {
	if id == (userID{}) {
		return ""
	}
	return id.domain + "/" + id.name
}

type account struct {
	User
	wrongPasswords int // in a row
}

type token struct {
	user    userID
	project string
	expires time.Time
}

// AddUser adds a user, or replaces and unlocks an existing one.
func (s *Simulator) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Projects = slices.Clone(u.Projects)
	s.users[userID{u.Domain, u.Name}] = &account{User: u}
}

// RevokeTokens revokes all issued tokens.
func (s *Simulator) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

type login struct {
	user                   userID
	password               string
	projectID, projectName string
}

// parseLogin decodes no structs, because encoding/json would accept "Auth" as "auth".
func parseLogin(body []byte) (login, bool) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return login{}, false
	}
	identity := valueAt(v, "auth", "identity")
	methods, _ := valueAt(identity, "methods").([]any)
	user, project := valueAt(identity, "password", "user"), valueAt(v, "auth", "scope", "project")
	l := login{
		user:        userID{textAt(user, "domain", "name"), textAt(user, "name")},
		password:    textAt(user, "password"),
		projectID:   textAt(project, "id"),
		projectName: textAt(project, "name"),
	}
	complete := l.user.domain != "" && l.user.name != "" && l.password != "" && l.projectID+l.projectName != ""
	return l, complete && len(methods) == 1 && methods[0] == "password"
}

// valueAt returns nil if the path does not exist.
func valueAt(v any, path ...string) any {
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

func textAt(v any, path ...string) string {
	text, _ := valueAt(v, path...).(string)
	return text
}

func (s *Simulator) checkLogin(body []byte) (caller, *response) {
	l, ok := parseLogin(body)
	if !ok {
		return caller{}, iamError(http.StatusBadRequest, "The request body is invalid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.users[l.user]
	switch {
	case a == nil:
		return caller{}, iamError(http.StatusUnauthorized, "The username or password is wrong.")
	case a.wrongPasswords >= maxWrongPasswords:
		return caller{}, iamError(http.StatusForbidden, "The user is locked after too many wrong passwords.")
	case !equalSecrets(a.Password, l.password):
		a.wrongPasswords++
		return caller{}, iamError(http.StatusUnauthorized, "The username or password is wrong.")
	}
	a.wrongPasswords = 0
	exists, id := s.findProject(l, s.projectIDsOrAll(a.Projects))
	if !exists {
		return caller{}, iamError(http.StatusUnauthorized, "The request you have made requires authentication.")
	}
	if id == "" {
		return caller{}, iamError(http.StatusForbidden, "You are not authorized to perform the requested action.")
	}
	return caller{user: l.user, projectIDs: []string{id}}, nil
}

// findProject returns the ID of an existing project if it is allowed. The caller holds s.mu.
func (s *Simulator) findProject(l login, allowed []string) (exists bool, id string) {
	for _, p := range s.projects {
		if l.projectID != "" && p.ID != l.projectID || l.projectID == "" && p.iamName() != l.projectName {
			continue
		}
		if slices.Contains(allowed, p.ID) {
			return true, p.ID
		}
		exists = true
	}
	return exists, ""
}

// projectIDsOrAll returns ids, or all project IDs if there are none. The caller holds s.mu.
func (s *Simulator) projectIDsOrAll(ids []string) []string {
	if len(ids) > 0 {
		return slices.Clone(ids)
	}
	for _, p := range s.projects {
		ids = append(ids, p.ID)
	}
	return ids
}

func (s *Simulator) issueToken(c caller) response {
	type idName struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	type inDomain struct {
		Domain idName `json:"domain"`
		idName
	}
	type tokenBody struct {
		ExpiresAt string   `json:"expires_at"`
		IssuedAt  string   `json:"issued_at"`
		Methods   []string `json:"methods"`
		Catalog   []string `json:"catalog"`
		Roles     []idName `json:"roles"`
		User      inDomain `json:"user"`
		Project   inDomain `json:"project"`
	}
	text, now := newToken(), s.opts.Now()
	expires := expiry(now, s.opts.TokenLife)

	s.mu.Lock()
	defer s.mu.Unlock()
	id := c.projectIDs[0]
	// Expired and unknown tokens get the same response.
	maps.DeleteFunc(s.tokens, func(_ tokenHash, t *token) bool { return !now.Before(t.expires) })
	s.tokens[sha256.Sum256([]byte(text))] = &token{c.user, id, expires}

	domain := idName{hexID("domain " + c.user.domain), c.user.domain}
	resp := jsonResponse(http.StatusCreated, struct {
		Token tokenBody `json:"token"`
	}{tokenBody{
		ExpiresAt: expires.Format(microseconds), IssuedAt: now.UTC().Format(microseconds),
		Methods: []string{"password"}, Catalog: []string{},
		Roles:   []idName{{hexID("role"), "css_reader"}},
		User:    inDomain{domain, idName{hexID("user " + c.user.String()), c.user.name}},
		Project: inDomain{domain, idName{id, s.project(id).iamName()}},
	}})
	resp.header.Set("X-Subject-Token", text)
	return resp
}

type tokenHash [sha256.Size]byte

func (s *Simulator) callerByToken(text string) (caller, *rejection) {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[sha256.Sum256([]byte(text))]
	if t == nil || !now.Before(t.expires) {
		return caller{}, outdatedToken()
	}
	return caller{user: t.user, projectIDs: []string{t.project}}, nil
}

// newToken ignores the seed, so that no token is valid in two simulators.
func newToken() string { return "MII" + randomText(900) }

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// expiry has the precision of the API.
func expiry(now time.Time, life time.Duration) time.Time {
	return now.Add(life).UTC().Truncate(time.Microsecond)
}

func equalSecrets(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func iamError(status int, message string) *response {
	type errorBody struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Title   string `json:"title"`
	}
	resp := jsonResponse(status, struct {
		Error errorBody `json:"error"`
	}{errorBody{status, message, http.StatusText(status)}})
	return &resp
}

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
	// maxWrongPasswords in a row lock a user.
	maxWrongPasswords = 5
	// microseconds is the time format of IAM and of temporary keys.
	microseconds = "2006-01-02T15:04:05.000000Z"
)

// User is an IAM user with a password. Projects are the IDs that a token may be scoped to; none means all, including
// later ones.
type User struct {
	Name, Domain, Password string
	Projects               []string
}

// String omits the password, so that a user can be printed.
func (u User) String() string { return "user " + u.Domain + "/" + u.Name }

// GoString does the same for %#v.
func (u User) GoString() string { return u.String() }

type userID struct{ domain, name string }

func (id userID) String() string {
	if id == (userID{}) {
		return ""
	}
	return id.domain + "/" + id.name
}

// account is a user with the number of wrong passwords since the last right one.
type account struct {
	User
	wrong int
}

// token is the content of an issued token.
type token struct {
	user    userID
	project string
	expires time.Time
}

// AddUser adds a user, or replaces and unlocks the one with the same name and domain. Tokens stay valid.
func (s *Simulator) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Projects = slices.Clone(u.Projects)
	s.users[userID{u.Domain, u.Name}] = &account{User: u}
}

// RevokeTokens invalidates all issued tokens. Logins still work.
func (s *Simulator) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// login is a request for a token.
type login struct {
	user                   userID
	password               string
	projectID, projectName string
}

// parseLogin parses the body of a login with a single password, a domain name and a project; others are invalid. It
// avoids structs because encoding/json would match "Auth" to "auth".
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

// valueAt returns the value at a path through JSON objects, or nil.
func valueAt(v any, path ...string) any {
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// textAt does the same for strings.
func textAt(v any, path ...string) string {
	text, _ := valueAt(v, path...).(string)
	return text
}

// admitLogin returns the user and project of a login. The fifth wrong password in a row locks the user; then even the
// right one is refused.
func (s *Simulator) admitLogin(body []byte) (speaker, *answer) {
	l, ok := parseLogin(body)
	if !ok {
		return speaker{}, iamError(http.StatusBadRequest, "The request body is invalid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.users[l.user]
	switch {
	case a == nil:
		return speaker{}, iamError(http.StatusUnauthorized, "The username or password is wrong.")
	case a.wrong >= maxWrongPasswords:
		return speaker{}, iamError(http.StatusForbidden, "The user is locked after too many wrong passwords.")
	case !equal(a.Password, l.password):
		a.wrong++
		return speaker{}, iamError(http.StatusUnauthorized, "The username or password is wrong.")
	}
	a.wrong = 0
	known, opens := s.wanted(l, s.open(a.Projects))
	if !known {
		return speaker{}, iamError(http.StatusUnauthorized, "The request you have made requires authentication.")
	}
	if opens == "" {
		return speaker{}, iamError(http.StatusForbidden, "You are not authorized to perform the requested action.")
	}
	return speaker{user: l.user, opens: []string{opens}}, nil
}

// wanted looks up the project of a login, by its ID or by its name in IAM (the region). It reports whether the project
// exists, and returns its ID if it is in open. The caller holds s.mu.
func (s *Simulator) wanted(l login, open []string) (known bool, id string) {
	for _, p := range s.projects {
		if l.projectID != "" && p.ID != l.projectID || l.projectID == "" && p.Region != l.projectName {
			continue
		}
		if slices.Contains(open, p.ID) {
			return true, p.ID
		}
		known = true
	}
	return known, ""
}

// open returns ids, or all project IDs if there are none. The caller holds s.mu.
func (s *Simulator) open(ids []string) []string {
	if len(ids) > 0 {
		return slices.Clone(ids)
	}
	for _, p := range s.projects {
		ids = append(ids, p.ID)
	}
	return ids
}

// issueToken returns the answer to an admitted login.
func (s *Simulator) issueToken(who speaker) answer {
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
	expires := endOf(now, s.opts.TokenLife)

	s.mu.Lock()
	defer s.mu.Unlock()
	id := who.opens[0]
	// Expired tokens are refused like unknown ones, so they need not be kept.
	maps.DeleteFunc(s.tokens, func(_ tokenHash, t *token) bool { return !now.Before(t.expires) })
	s.tokens[sha256.Sum256([]byte(text))] = &token{who.user, id, expires}

	domain := idName{hexID("domain " + who.user.domain), who.user.domain}
	a := jsonAnswer(http.StatusCreated, struct {
		Token tokenBody `json:"token"`
	}{tokenBody{
		ExpiresAt: expires.Format(microseconds), IssuedAt: now.UTC().Format(microseconds),
		Methods: []string{"password"}, Catalog: []string{},
		Roles:   []idName{{hexID("role"), "css_reader"}},
		User:    inDomain{domain, idName{hexID("user " + who.user.String()), who.user.name}},
		Project: inDomain{domain, idName{id, s.project(id).Region}},
	}})
	a.header.Set("X-Subject-Token", text)
	return a
}

// tokenHash identifies a token without storing it.
type tokenHash [sha256.Size]byte

// bearer returns the caller that a token belongs to.
func (s *Simulator) bearer(text string) (speaker, *refusal) {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[sha256.Sum256([]byte(text))]
	if t == nil || !now.Before(t.expires) {
		return speaker{}, unauthorized("APIGW.0307", "The token must be updated.")
	}
	return speaker{user: t.user, opens: []string{t.project}}, nil
}

// newToken returns a token of about the cloud's form and length. It ignores the seed, because a token of one simulator
// must not be valid in another.
func newToken() string { return "MII" + randomText(900) }

// randomText encodes n random bytes.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// endOf returns the expiry of what is issued now, in the precision of the API.
func endOf(now time.Time, life time.Duration) time.Time {
	return now.Add(life).UTC().Truncate(time.Microsecond)
}

// equal compares secrets in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// iamError returns an error in the format of IAM.
func iamError(status int, message string) *answer {
	type errorBody struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Title   string `json:"title"`
	}
	a := jsonAnswer(status, struct {
		Error errorBody `json:"error"`
	}{errorBody{status, message, http.StatusText(status)}})
	return &a
}

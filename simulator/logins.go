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
	// microseconds is how IAM and the givers of temporary keys write a time.
	microseconds = "2006-01-02T15:04:05.000000Z"
)

// User is an IAM user who logs in with a password. Projects are the ids of
// those that a token may be for; none means all, later ones included.
type User struct {
	Name, Domain, Password string
	Projects               []string
}

// String shows the domain and the name alone, so that a user can be printed.
func (u User) String() string { return "user " + u.Domain + "/" + u.Name }

// GoString is String, for %#v.
func (u User) GoString() string { return u.String() }

// userID tells users apart.
type userID struct{ domain, name string }

// String is empty for nobody.
func (id userID) String() string {
	if id == (userID{}) {
		return ""
	}
	return id.domain + "/" + id.name
}

// account is a user with the wrong passwords since the last right one.
type account struct {
	User
	wrong int
}

// token is what an issued token is good for.
type token struct {
	user    userID
	project string
	expires time.Time
}

// AddUser adds a user, or replaces the one of that name and domain and takes
// its lock away. Tokens that the user has stay good.
func (s *Simulator) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Projects = slices.Clone(u.Projects)
	s.users[userID{u.Domain, u.Name}] = &account{User: u}
}

// RevokeTokens makes all tokens invalid that were issued so far. Logins go on.
func (s *Simulator) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// login is what a client says to get a token.
type login struct {
	user                   userID
	password               string
	projectID, projectName string
}

// parseLogin reads the body of a login. It is false for any but one of a
// single password, a domain's name and a project. Names in JSON count to the
// letter: encoding/json's structs would take "Auth" for "auth".
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

// valueAt is what is at the end of a path through JSON objects, or nil.
func valueAt(v any, path ...string) any {
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// textAt is valueAt for a string.
func textAt(v any, path ...string) string {
	text, _ := valueAt(v, path...).(string)
	return text
}

// admitLogin says who logs in and for which project. The user locks with the
// fifth wrong password in a row; from then on the right one is refused too.
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

// wanted finds the project of a login, by its id or else by its name in IAM,
// which is its region. It says whether there is one at all, and gives its id
// if it is among the open ones; s.mu is held.
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

// open turns a list of project ids into one where none no longer means all;
// s.mu is held.
func (s *Simulator) open(ids []string) []string {
	if len(ids) > 0 {
		return slices.Clone(ids)
	}
	for _, p := range s.projects {
		ids = append(ids, p.ID)
	}
	return ids
}

// issueToken answers a login that was admitted.
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
	// An expired token is refused like one that never was: none need be kept.
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

// tokenHash stands for a token, so that no token is kept.
type tokenHash [sha256.Size]byte

// bearer is who sends a token.
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

// newToken has the look and about the length of the cloud's. Chance is not the
// seed's here: a token of one simulator must not be good in another.
func newToken() string { return "MII" + randomText(900) }

// randomText is the text of so many random bytes.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// endOf is the end of a life that begins now, as exact as it is told.
func endOf(now time.Time, life time.Duration) time.Time {
	return now.Add(life).UTC().Truncate(time.Microsecond)
}

// equal compares secrets.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// iamError is an error in the shape of IAM itself.
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

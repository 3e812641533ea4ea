// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// rogue is a cloud of its own making: IAM, metadata service, pod identity and the API, on one address. It knows nothing of
// the simulator, looks closely at what is sent, and answers as it is told to.
type rogue struct {
	*httptest.Server

	// Each answers the nth request of its kind, counted from 1. Nil is a good answer.
	login, put, key, pod, projects, api func(w http.ResponseWriter, r *http.Request, n int)
	password                            string        // the right one
	life                                time.Duration // of a token or a key
	size                                int           // of a token, in bytes, at least

	t       *testing.T
	mu      sync.Mutex
	count   map[string]int
	row     int // refused logins since the last good one
	longest int
	tokens  map[string]time.Time
	keys    map[string]rogueKey
}

type rogueKey struct {
	secret, token string
	ends          time.Time
}

const roguePassword = `pa"ss/wörd+of=the&rogue<1>` //nolint:gosec // opens nothing

func newRogue(t *testing.T, change ...func(*rogue)) *rogue {
	t.Helper()
	r := &rogue{
		t: t, password: roguePassword, life: time.Hour,
		count: make(map[string]int), tokens: make(map[string]time.Time), keys: make(map[string]rogueKey),
	}
	for _, c := range change {
		c(r)
	}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// counts are how many requests of each kind there were.
func (r *rogue) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.count)
}

// asked is how many requests of the kind there were.
func (r *rogue) asked(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[kind]
}

func (r *rogue) change(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// revoke makes all tokens and keys bad.
func (r *rogue) revoke() {
	r.change(func() {
		clear(r.tokens)
		clear(r.keys)
	})
}

func (r *rogue) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	kind, asks, good := "api", &r.api, r.goodAPI
	switch req.URL.Path {
	case "/v3/auth/tokens":
		kind, asks, good = "login", &r.login, r.goodLogin
	case "/meta-data/latest/api/token":
		kind, asks, good = "put", &r.put, r.goodPut
	case "/openstack/latest/securitykey":
		kind, asks, good = "key", &r.key, r.goodKey
	case "/pod":
		kind, asks, good = "pod", &r.pod, r.goodPod
	case "/v3/projects":
		kind, asks, good = "projects", &r.projects, r.goodProjects
	}
	r.mu.Lock()
	r.count[kind]++
	n, answer := r.count[kind], *asks
	r.mu.Unlock()
	if answer == nil {
		answer = good
	}
	answer(w, req, n)
}

// has fails unless exactly these of the headers that matter are there.
func (r *rogue) has(req *http.Request, names ...string) {
	for _, name := range []string{
		"Authorization", "X-Auth-Token", "X-Project-Id", "X-Sdk-Date", "X-Security-Token", "X-Metadata-Token", "X-Metadata-Token-Ttl-Seconds",
	} {
		if sent := req.Header.Get(name) != ""; sent != slices.Contains(names, name) {
			r.t.Errorf("%s %s: %s is sent: %t", req.Method, req.URL.Path, name, sent)
		}
	}
}

func (r *rogue) goodLogin(w http.ResponseWriter, req *http.Request, n int) {
	r.has(req)
	if req.Method != http.MethodPost || req.URL.RawQuery != "nocatalog=true" || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s %s, %s", req.Method, req.RequestURI, req.Header.Get("Content-Type"))
	}
	var got any
	body, _ := io.ReadAll(req.Body)
	if err := json.Unmarshal(body, &got); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	type object = map[string]any
	login := func(password string) any {
		return object{"auth": object{
			"identity": object{"methods": []any{"password"}, "password": object{"user": object{
				"name": "u", "password": password, "domain": object{"name": "d"},
			}}},
			"scope": object{"project": object{"id": "p1"}},
		}}
	}
	if !cmp.Equal(got, login(r.password)) {
		r.row++
		r.longest = max(r.longest, r.row)
		user, _ := got.(object)["auth"].(object)["identity"].(object)["password"].(object)["user"].(object)
		password, _ := user["password"].(string)
		if diff := cmp.Diff(login(password), got); diff != "" {
			r.t.Errorf("the login (-want +got):\n%s", diff)
		}
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`)
		return
	}
	r.row = 0
	token, ends := r.issue(n), time.Now().Add(r.life)
	r.tokens[token] = ends
	w.Header()["x-subject-token"] = []string{token} // as it stands
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"extra":[1,{"token":{}}],"token":{"catalog":[],"roles":null,"issued_at":"x","expires_at":%q,"user":{"expires_at":"no"}}}`,
		ends.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

// issue makes the nth token.
func (r *rogue) issue(n int) string {
	return fmt.Sprintf("MIIrogue+/=%06d", n) + strings.Repeat("t+/=", r.size/4)
}

func (r *rogue) goodPut(w http.ResponseWriter, req *http.Request, n int) {
	r.has(req, "X-Metadata-Token-Ttl-Seconds")
	body, _ := io.ReadAll(req.Body)
	if req.Method != http.MethodPut || len(body) > 0 || req.Header.Get("X-Metadata-Token-Ttl-Seconds") != "21600" {
		r.t.Errorf("%s with %q for %s s", req.Method, body, req.Header.Get("X-Metadata-Token-Ttl-Seconds"))
	}
	fmt.Fprintf(w, "metadata-token==%d", n)
}

func (r *rogue) goodKey(w http.ResponseWriter, req *http.Request, n int) {
	r.has(req, "X-Metadata-Token")
	if got := req.Header.Get("X-Metadata-Token"); !strings.HasPrefix(got, "metadata-token==") || req.Method != http.MethodGet {
		r.t.Errorf("%s with the token %q", req.Method, got)
	}
	r.giveKey(w, n, `{"x":null,"credential":{"securitytoken":%[3]q,"expires_at":%[4]q,"secret":%[2]q,"project":{"access":"no"},"access":%[1]q}}`)
}

func (r *rogue) goodPod(w http.ResponseWriter, req *http.Request, n int) {
	r.has(req, "Authorization")
	body, _ := io.ReadAll(req.Body)
	if req.Method != http.MethodPost || string(body) != "{}" || req.Header.Get("Authorization") != "pod-token-of-the-rogue" {
		r.t.Errorf("%s with %q from %q", req.Method, body, req.Header.Get("Authorization"))
	}
	r.giveKey(w, n, `{"credentials":{"expiration":%[4]q,"securityToken":%[3]q,"secretAccessKey":%[2]q,"accessKeyId":%[1]q},"credential":0}`)
}

func (r *rogue) giveKey(w http.ResponseWriter, n int, form string) {
	access := fmt.Sprintf("ROGUE+/=ACCESS%d", n)
	k := rogueKey{
		secret: fmt.Sprintf("rogue+/=secret%d", n), token: fmt.Sprintf("rogue+/=token%d", n) + strings.Repeat("s+/=", r.size/4),
		ends: time.Now().Add(r.life),
	}
	r.change(func() { r.keys[access] = k })
	fmt.Fprintf(w, form, access, k.secret, k.token, k.ends.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

// speaks says whether a request of the API comes with what was given out and is good.
func (r *rogue) speaks(req *http.Request) bool {
	if token := req.Header.Get("X-Auth-Token"); token != "" {
		r.has(req, append([]string{"X-Auth-Token"}, project(req)...)...)
		r.mu.Lock()
		defer r.mu.Unlock()
		return time.Now().Before(r.tokens[token])
	}
	r.has(req, append([]string{"Authorization", "X-Sdk-Date", "X-Security-Token"}, project(req)...)...)
	_, access, _ := strings.Cut(req.Header.Get("Authorization"), "Access=")
	access, _, _ = strings.Cut(access, ",")
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.keys[access]
	if !ok || !time.Now().Before(k.ends) {
		return false
	}
	if err := verify(req, nil, access, k.secret, "", time.Now()); err != nil || req.Header.Get("X-Security-Token") != k.token {
		r.t.Error(err)
		return false
	}
	return true
}

// project is the header that every request of the project has, and none of IAM.
func project(req *http.Request) []string {
	if strings.HasPrefix(req.URL.Path, "/v1.0/") {
		return []string{"X-Project-Id"}
	}
	return nil
}

func (r *rogue) goodProjects(w http.ResponseWriter, req *http.Request, _ int) {
	if !r.speaks(req) {
		refuse(w, "APIGW.0301")
		return
	}
	fmt.Fprint(w, `{"projects":[{"id":"p1","name":"cn-north-4"}]}`)
}

func (r *rogue) goodAPI(w http.ResponseWriter, req *http.Request, _ int) {
	if !r.speaks(req) {
		refuse(w, "APIGW.0307")
		return
	}
	fmt.Fprint(w, seedBody)
}

func refuse(w http.ResponseWriter, code string) {
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, `{"error_code":%q,"error_msg":"not accepted","request_id":"r"}`, code) //nolint:gosec // no browser asks
}

// client asks the rogue with what source makes of the options.
func (r *rogue) client(t *testing.T, source func(Options) CredentialSource, change ...func(*Options)) *Client {
	t.Helper()
	options := Options{
		Region: "cn-north-4", ProjectID: "p1", Endpoint: r.URL, IAMEndpoint: r.URL, UserAgent: "test/1",
		Keys: NewKeys(), Transport: NewTransport(nil, nil), Retry: quick(),
	}
	for _, c := range change {
		c(&options)
	}
	options.Credentials = source(options)
	client := NewClient(options)
	t.Cleanup(client.Close)
	return client
}

func (r *rogue) user(o Options) CredentialSource {
	return NewIAMToken(o, User{Name: "u", Domain: "d"}, NewFiles(Credentials{SecretKey: roguePassword}, Credentials{}))
}

func (r *rogue) agency(Options) CredentialSource { return NewECSAgency(r.URL) }

// passwordFile is a source that reads the password from a file.
func (r *rogue) passwordFile(file string) func(Options) CredentialSource {
	return func(o Options) CredentialSource {
		return NewIAMToken(o, User{Name: "u", Domain: "d"}, NewFiles(Credentials{}, Credentials{SecretKey: file}))
	}
}

func (r *rogue) podIdentity(t *testing.T) func(Options) CredentialSource {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "pod-token-of-the-rogue\n")
	return func(Options) CredentialSource {
		return NewPodIdentity(func(key string) (string, bool) {
			return map[string]string{podAddress: r.URL + "/pod", podTokenFile: file}[key], true
		})
	}
}

// all reads n clusters at once and tells how many could be read.
func all(t *testing.T, c *Client, n int) (good int, firstErr error) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			_, err := c.Connections(soon(t), fmt.Sprint("c", i), nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			} else if firstErr == nil {
				firstErr = err
			}
		})
	}
	group.Wait()
	return good, firstErr
}

// TestRogueRequests: what is sent, down to the header, with each kind of credentials.
func TestRogueRequests(t *testing.T) {
	for name, test := range map[string]struct {
		source func(r *rogue, t *testing.T) func(Options) CredentialSource
		want   map[string]int
	}{
		"user":   {func(r *rogue, _ *testing.T) func(Options) CredentialSource { return r.user }, map[string]int{"login": 1, "api": 3}},
		"agency": {func(r *rogue, _ *testing.T) func(Options) CredentialSource { return r.agency }, map[string]int{"put": 1, "key": 1, "projects": 1, "api": 3}},
		"pod": {func(r *rogue, t *testing.T) func(Options) CredentialSource {
			t.Helper()
			return r.podIdentity(t)
		}, map[string]int{"pod": 1, "projects": 1, "api": 3}},
	} {
		r := newRogue(t, func(r *rogue) { r.size = 8 << 10 })
		client := r.client(t, test.source(r, t), func(o *Options) {
			if name != "user" {
				o.ProjectID = ""
			}
		})
		if good, err := all(t, client, 3); good != 3 {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, r.counts()); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", name, diff)
		}
	}
}

// TestRogueLogin: answers to a login that are odd and good all the same, or that get better.
func TestRogueLogin(t *testing.T) {
	t.Parallel()
	give := func(status int, body string) func(*rogue) {
		return func(r *rogue) {
			r.login = func(w http.ResponseWriter, _ *http.Request, n int) {
				r.change(func() { r.tokens[r.issue(n)] = time.Now().Add(time.Hour) })
				w.Header().Set("X-Subject-Token", r.issue(n))
				w.WriteHeader(status)
				fmt.Fprint(w, body)
			}
		}
	}
	// first gives this before it is good.
	first := func(bad func(w http.ResponseWriter)) func(*rogue) {
		return func(r *rogue) {
			r.login = func(w http.ResponseWriter, req *http.Request, n int) {
				if n == 1 {
					bad(w)
					return
				}
				r.goodLogin(w, req, n)
			}
		}
	}
	soon := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		set    func(*rogue)
		logins int
	}{
		"200":             {give(200, `{"token":{"expires_at":"`+soon.UTC().Format("2006-01-02T15:04:05Z")+`"}}`), 1},
		"no zone":         {give(201, `{"token":{"expires_at":"`+soon.UTC().Format("2006-01-02T15:04:05")+`"}}`), 1},
		"fractions":       {give(201, `{"token":{"expires_at":"`+soon.UTC().Format("2006-01-02T15:04:05.000")+`"}}`), 1},
		"offset":          {give(201, `{"token":{"expires_at":"`+soon.In(time.FixedZone("", 8*3600)).Format(time.RFC3339)+`"}}`), 1},
		"no end":          {give(201, `{"token":{}}`), 1},
		"end is null":     {give(201, `{"token":{"expires_at":null}}`), 1},
		"end is a number": {give(201, `{"token":{"expires_at":1700000000}}`), 1},
		"end is garbage":  {give(201, `{"token":{"expires_at":"tomorrow"}}`), 1},
		"token is null":   {give(201, `{"token":null}`), 1},
		"no body":         {give(201, ``), 1},
		"no JSON":         {give(201, `<html>`), 1},
		"5 MB":            {give(201, `{"catalog":"`+strings.Repeat("x", 5<<20)+`","token":{"expires_at":"`+soon.UTC().Format(time.RFC3339)+`"}}`), 1},
		"503 first":       {first(func(w http.ResponseWriter) { w.WriteHeader(503) }), 2},
		"429 first":       {first(func(w http.ResponseWriter) { w.WriteHeader(429) }), 2},
		"cut off first": {first(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(201)
			fmt.Fprint(w, `{"token":`)
		}), 2},
		"chunks": {func(r *rogue) {
			r.login = func(w http.ResponseWriter, _ *http.Request, n int) {
				r.change(func() { r.tokens[r.issue(n)] = time.Now().Add(time.Hour) })
				w.Header().Set("X-Subject-Token", r.issue(n))
				for _, c := range `{"token":{"expires_at":"2999-01-01T00:00:00Z"}}` {
					fmt.Fprintf(w, "%c", c)
					_ = http.NewResponseController(w).Flush()
				}
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRogue(t, test.set)
			client := r.client(t, r.user)
			for range 2 {
				if good, err := all(t, client, 20); good != 20 {
					t.Errorf("%d were read: %v", good, err)
				}
			}
			if n := r.asked("login"); n != test.logins {
				t.Errorf("%d logins", n)
			}
		})
	}
}

// TestRogueTokenEndsSoon: a token that was given for three seconds is renewed in time, one that has ended is none.
func TestRogueTokenEndsSoon(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  time.Duration
		good bool
	}{"in a moment": {3 * time.Second, true}, "in the past": {-time.Second, false}} {
		r := newRogue(t, func(r *rogue) { r.life = test.end })
		client := r.client(t, r.user)
		if good, err := all(t, client, 20); (good == 20) != test.good {
			t.Errorf("%s: %d, %v", name, good, err)
		}
		if n := r.asked("login"); n != 1 {
			t.Errorf("%s: %d logins", name, n)
		}
	}
}

// TestRogueTokenRefused: each way in which a gateway refuses a token that was good. Twenty clusters are read on.
func TestRogueTokenRefused(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"0301", "0303", "0305", "0307"} {
		for _, prefix := range []string{"APIGW.", "APIG."} {
			r := newRogue(t, func(r *rogue) {
				r.api = func(w http.ResponseWriter, req *http.Request, n int) {
					if !r.speaks(req) {
						refuse(w, prefix+code)
						return
					}
					r.goodAPI(w, req, n)
				}
			})
			client := r.client(t, r.user)
			if good, err := all(t, client, 20); good != 20 {
				t.Fatalf("%s%s: %d at first: %v", prefix, code, good, err)
			}
			r.revoke()
			if good, err := all(t, client, 20); good != 20 {
				t.Errorf("%s%s: %d after the token was revoked: %v", prefix, code, good, err)
			}
			if n := r.asked("login"); n != 2 {
				t.Errorf("%s%s: %d logins", prefix, code, n)
			}
		}
	}
}

// TestRogueFirstTokenEnded: the very first token may have ended before it is used.
func TestRogueFirstTokenEnded(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"APIGW.", "APIG."} {
		r := newRogue(t, func(r *rogue) {
			r.api = func(w http.ResponseWriter, req *http.Request, n int) {
				if req.Header.Get("X-Auth-Token") == r.issue(1) {
					refuse(w, prefix+"0307")
					return
				}
				r.goodAPI(w, req, n)
			}
		})
		client := r.client(t, r.user)
		for range 3 {
			if good, err := all(t, client, 20); good != 20 {
				t.Errorf("%s: %d: %v", prefix, good, err)
			}
		}
		if n := r.asked("login"); n != 2 {
			t.Errorf("%s: %d logins", prefix, n)
		}
	}
}

// TestRogueAllRefused: where no token is good, that is found out by few calls and one login, and then rests.
func TestRogueAllRefused(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"APIGW.0301", "APIGW.0307"} {
		r := newRogue(t)
		r.api = func(w http.ResponseWriter, _ *http.Request, _ int) { refuse(w, code) }
		client := r.client(t, r.user)
		for range 5 {
			if good, _ := all(t, client, 50); good != 0 {
				t.Errorf("%d were read", good)
			}
		}
		if logins, calls := r.asked("login"), r.asked("api"); logins > 2 || calls > maxRefusals*logins {
			t.Errorf("%s: %d logins and %d calls", code, logins, calls)
		}
	}
}

// TestRogueOddCluster: a cluster to which no token is good costs the others nothing, and no login each time.
func TestRogueOddCluster(t *testing.T) {
	t.Parallel()
	r := newRogue(t, func(r *rogue) {
		r.api = func(w http.ResponseWriter, req *http.Request, n int) {
			if strings.Contains(req.URL.Path, "/c7/") {
				time.Sleep(20 * time.Millisecond) // the others are accepted meanwhile
				refuse(w, "APIGW.0307")
				return
			}
			r.goodAPI(w, req, n)
		}
	})
	client := r.client(t, r.user)
	for range 20 {
		if good, err := all(t, client, 20); good != 19 {
			t.Errorf("%d were read: %v", good, err)
		}
	}
	if n := r.asked("login"); n > 2 {
		t.Errorf("%d logins", n)
	}
	r.revoke()                                                        // which is no fault of that cluster
	if good, err := all(t, client, 20); good < 20-1-(maxRefusals-1) { // without it, and those that showed that the token is lost
		t.Errorf("%d were read after the token was revoked: %v", good, err)
	}
}

// TestRogueLoginFails: a re-login that fails is not repeated by each of those who wait for it.
func TestRogueLoginFails(t *testing.T) {
	t.Parallel()
	for status, logins := range map[int]int{401: 1, 403: 1, 404: 1, 500: 1, 503: 4} {
		r := newRogue(t)
		client := r.client(t, r.user)
		if good, err := all(t, client, 50); good != 50 {
			t.Fatal(err)
		}
		r.change(func() {
			clear(r.tokens)
			r.login = func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(status) }
		})
		for range 3 {
			if good, _ := all(t, client, 50); good != 0 {
				t.Errorf("%d: %d were read", status, good)
			}
		}
		if n := r.asked("login") - 1; n != logins {
			t.Errorf("%d: %d further logins", status, n)
		}
	}
}

// TestRogueWrongPassword: ten projects with one user log in at once; the password that was good is not any more.
func TestRogueWrongPassword(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]time.Duration{"quick": 0, "slow": 1200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRogue(t)
			keys := NewKeys()
			var clients []*Client
			for range 10 {
				clients = append(clients, r.client(t, r.user, func(o *Options) { o.Keys = keys }))
			}
			read := func() (good int) {
				var mu sync.Mutex
				var group sync.WaitGroup
				for _, c := range clients {
					group.Go(func() {
						_, err := c.Connections(soon(t), "c1", nil)
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							good++
						}
					})
				}
				group.Wait()
				return good
			}
			if good := read(); good != 10 {
				t.Fatalf("%d were read", good)
			}
			time.Sleep(trustFor + 100*time.Millisecond)
			r.change(func() {
				clear(r.tokens)
				r.password = "another password"
				r.login = func(w http.ResponseWriter, req *http.Request, n int) {
					time.Sleep(slow)
					r.goodLogin(w, req, n)
				}
			})
			for range 3 {
				if good := read(); good != 0 {
					t.Errorf("%d were read with a wrong password", good)
				}
			}
			if n := r.asked("login") - 10; n > maxRefusals || r.longest > maxRefusals {
				t.Errorf("%d logins, %d refused in a row", n, r.longest)
			}
		})
	}
}

// TestRogueShortLives reads 300 clusters from two sides while tokens live for a second, or tokens and keys are revoked every
// second. No read fails, except for the two that show that credentials are lost which replaced others a second before.
func TestRogueShortLives(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for name, test := range map[string]struct {
		kind   string
		life   time.Duration
		revoke time.Duration // this often
		most   int           // of logins
		fail   int64         // reads
	}{
		"tokens of one second":  {"login", time.Second, 0, 5, 0},
		"tokens that are taken": {"login", time.Hour, time.Second, 4, maxRefusals - 1},
		"keys that are taken":   {"key", time.Hour, time.Second, 4, maxRefusals - 1},
	} {
		group.Go(func() {
			r := newRogue(t, func(r *rogue) { r.life = test.life })
			source := r.user
			if test.kind == "key" {
				source = r.agency
			}
			client := r.client(t, source)
			end := time.Now().Add(2200 * time.Millisecond)
			var readers sync.WaitGroup
			var failed atomic.Int64
			for range 2 {
				readers.Go(func() {
					for time.Now().Before(end) {
						r.scrape(client, &failed)
						time.Sleep(20 * time.Millisecond)
					}
				})
			}
			for ; test.revoke > 0 && time.Now().Add(test.revoke).Before(end); r.revoke() {
				time.Sleep(test.revoke)
			}
			readers.Wait()
			if n := failed.Load(); n > test.fail {
				t.Errorf("%s: %d reads failed", name, n)
			}
			if n := r.asked(test.kind); n > test.most {
				t.Errorf("%s: %d times asked for them", name, n)
			}
		})
	}
	group.Wait()
}

// scrape reads 300 clusters, sixteen at a time, in the way of the scraper.
func (r *rogue) scrape(client *Client, failed *atomic.Int64) {
	var next atomic.Int64
	var readers sync.WaitGroup
	for range 16 {
		readers.Go(func() {
			for {
				cluster := next.Add(1)
				if cluster > 300 {
					return
				}
				if _, err := client.Connections(soon(r.t), fmt.Sprint("c", cluster), nil); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	readers.Wait()
}

// TestRogueMachine: a metadata service and a pod identity that are odd, or in trouble for a moment.
func TestRogueMachine(t *testing.T) {
	t.Parallel()
	status := func(code int) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(code) }
	}
	// once answers the first request so, and the others well.
	once := func(code int, good func(http.ResponseWriter, *http.Request, int)) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, req *http.Request, n int) {
			if n > 1 {
				good(w, req, n)
				return
			}
			if code == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(code)
		}
	}
	without := func(r *rogue, code int) {
		r.put = status(code)
		r.key = func(w http.ResponseWriter, req *http.Request, n int) {
			r.has(req) // no token
			r.giveKey(w, n, `{"credential":{"access":%q,"secret":%q,"securitytoken":%q,"expires_at":%q}}`)
		}
	}
	for name, test := range map[string]struct {
		set  func(*rogue)
		pod  bool
		want map[string]int
	}{
		"good": {func(*rogue) {}, false, map[string]int{"put": 1, "key": 1, "api": 20}},
		"token with a line end": {func(r *rogue) {
			r.put = func(w http.ResponseWriter, _ *http.Request, n int) { fmt.Fprintf(w, "metadata-token==%d\r\n", n) }
		}, false, map[string]int{"put": 1, "key": 1, "api": 20}},
		"token by 201": {func(r *rogue) {
			r.put = func(w http.ResponseWriter, _ *http.Request, n int) {
				w.WriteHeader(201)
				fmt.Fprintf(w, "metadata-token==%d", n)
			}
		}, false, map[string]int{"put": 1, "key": 1, "api": 20}},
		"no tokens, 404":  {func(r *rogue) { without(r, 404) }, false, map[string]int{"put": 1, "key": 1, "api": 20}},
		"no tokens, 405":  {func(r *rogue) { without(r, 405) }, false, map[string]int{"put": 1, "key": 1, "api": 20}},
		"no tokens, 503":  {func(r *rogue) { without(r, 503) }, false, map[string]int{"put": 1, "key": 1, "api": 20}},
		"token ended":     {func(r *rogue) { r.key = once(401, r.goodKey) }, false, map[string]int{"put": 2, "key": 2, "api": 20}},
		"keys 500 once":   {func(r *rogue) { r.key = once(500, r.goodKey) }, false, map[string]int{"put": 2, "key": 2, "api": 20}},
		"keys 503 once":   {func(r *rogue) { r.key = once(503, r.goodKey) }, false, map[string]int{"put": 2, "key": 2, "api": 20}},
		"keys 429 once":   {func(r *rogue) { r.key = once(429, r.goodKey) }, false, map[string]int{"put": 2, "key": 2, "api": 20}},
		"broken off once": {func(r *rogue) { r.key = once(0, r.goodKey) }, false, map[string]int{"put": 2, "key": 2, "api": 20}},
		"token 500 once":  {func(r *rogue) { r.put = once(500, r.goodPut) }, false, map[string]int{"put": 2, "key": 1, "api": 20}},
		"pod":             {func(*rogue) {}, true, map[string]int{"pod": 1, "api": 20}},
		"pod by 201": {func(r *rogue) {
			r.pod = func(w http.ResponseWriter, req *http.Request, n int) {
				w.WriteHeader(201)
				r.goodPod(w, req, n)
			}
		}, true, map[string]int{"pod": 1, "api": 20}},
		"pod 503 once":        {func(r *rogue) { r.pod = once(503, r.goodPod) }, true, map[string]int{"pod": 2, "api": 20}},
		"pod broken off once": {func(r *rogue) { r.pod = once(0, r.goodPod) }, true, map[string]int{"pod": 2, "api": 20}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRogue(t, test.set)
			source := r.agency
			if test.pod {
				source = r.podIdentity(t)
			}
			if good, err := all(t, r.client(t, source), 20); good != 20 {
				t.Errorf("%d were read: %v", good, err)
			}
			if diff := cmp.Diff(test.want, r.counts()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRogueMachineIPv6: the metadata service may have an address of the other kind.
func TestRogueMachineIPv6(t *testing.T) {
	r := newRogue(t)
	server := httptest.NewUnstartedServer(r)
	listener, err := loopback6(t)
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	if c, err := NewECSAgency(server.URL).Credentials(soon(t)); err != nil || c.SecurityToken == "" || !strings.Contains(server.URL, "[::1]") {
		t.Error(server.URL, err)
	}
}

// TestRogueSharedAgency: five projects with one agency ask the machine once.
func TestRogueSharedAgency(t *testing.T) {
	t.Parallel()
	r := newRogue(t)
	agency, keys := r.agency(Options{}), NewKeys()
	for _, source := range []CredentialSource{agency, agency, agency, NewChain(agency), NewChain(Environment(func(string) (string, bool) { return "", false }), agency)} {
		client := r.client(t, func(Options) CredentialSource { return source }, func(o *Options) { o.Keys = keys })
		if good, err := all(t, client, 20); good != 20 {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(map[string]int{"put": 1, "key": 1, "api": 100}, r.counts()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestRogueLookupFails: a project that IAM does not tell of is not asked for by each cluster.
func TestRogueLookupFails(t *testing.T) {
	t.Parallel()
	r := newRogue(t, func(r *rogue) {
		r.projects = func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(403) }
	})
	client := r.client(t, r.agency, func(o *Options) { o.ProjectID = "" })
	for i := range 100 {
		if _, err := client.Connections(soon(t), fmt.Sprint("c", i), nil); ReasonOf(err) != ReasonDenied {
			t.Fatal(err)
		}
	}
	if n := r.asked("projects"); n > 2 {
		t.Errorf("100 clusters made %d look-ups", n)
	}
}

// TestRogueFiles: secrets in files that are replaced in all the ways in which that is done.
func TestRogueFiles(t *testing.T) {
	t.Parallel()
	// within reads until it succeeds, and says how long that took.
	within := func(t *testing.T, c *Client) time.Duration {
		t.Helper()
		began := time.Now()
		for {
			if _, err := c.Connections(soon(t), "c1", nil); err == nil {
				return time.Since(began)
			}
			if time.Since(began) > 3*time.Second {
				t.Fatal("the new secret is not used")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	t.Run("password in two steps", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "password")
		write(t, file, roguePassword)
		r := newRogue(t)
		client := r.client(t, r.passwordFile(file))
		within(t, client)
		r.change(func() { r.password = "password-2-of-the-rogue" })
		r.revoke()
		write(t, file, "")
		time.Sleep(100 * time.Millisecond)
		write(t, file, "password-2-of-the-rogue\n")
		if took := within(t, client); took > 2*time.Second || r.longest > 2 {
			t.Errorf("took %s, %d logins refused in a row", took, r.longest)
		}
	})
	t.Run("token ends before its file is replaced", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "token")
		write(t, file, "token-1-in-a-file")
		r := newRogue(t)
		r.tokens["token-1-in-a-file"] = time.Now().Add(time.Hour)
		client := r.client(t, func(Options) CredentialSource { return NewFiles(Credentials{}, Credentials{AuthToken: file}) })
		within(t, client)
		r.revoke()
		calls := r.asked("api")
		for range 10 {
			if _, err := client.Connections(soon(t), "c1", nil); ReasonOf(err) != ReasonAuth {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := r.asked("api") - calls; n > maxRefusals {
			t.Errorf("%d calls with a token that is refused", n)
		}
		r.change(func() { r.tokens["token-2-in-a-file"] = time.Now().Add(time.Hour) })
		write(t, file, "token-2-in-a-file")
		if took := within(t, client); took > 1500*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
	t.Run("key in two steps", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		ak, sk := filepath.Join(dir, "ak"), filepath.Join(dir, "sk")
		write(t, ak, "access-1")
		write(t, sk, "secret-1")
		var mu sync.Mutex
		good, row, longest := "1", 0, 0
		r := newRogue(t, func(r *rogue) {
			r.api = func(w http.ResponseWriter, req *http.Request, _ int) {
				mu.Lock()
				defer mu.Unlock()
				if verify(req, nil, "access-"+good, "secret-"+good, "", time.Now()) != nil {
					row++
					longest = max(longest, row)
					refuse(w, "APIGW.0301")
					return
				}
				row = 0
				fmt.Fprint(w, seedBody)
			}
		})
		client := r.client(t, func(Options) CredentialSource {
			return NewFiles(Credentials{}, Credentials{AccessKey: ak, SecretKey: sk})
		})
		within(t, client)
		mu.Lock()
		good = "2"
		mu.Unlock()
		done := make(chan struct{})
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(5 * time.Millisecond):
						_, _ = client.Connections(soon(t), "c1", nil)
					}
				}
			})
		}
		write(t, ak, "access-2")
		time.Sleep(300 * time.Millisecond)
		write(t, sk, "secret-2")
		took := within(t, client)
		close(done)
		group.Wait()
		mu.Lock()
		defer mu.Unlock()
		if took > 1500*time.Millisecond {
			t.Errorf("took %s", took)
		}
		t.Logf("took %s, %d refused in a row", took, longest)
	})
	t.Run("a link is swapped", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		swap := func(n int) {
			sub := filepath.Join(dir, fmt.Sprint("..", n))
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Error(err)
			}
			write(t, filepath.Join(sub, "ak"), fmt.Sprint("access-", n))
			write(t, filepath.Join(sub, "sk"), fmt.Sprint("secret-", n))
			if err := os.Symlink(sub, filepath.Join(dir, "next")); err != nil {
				t.Error(err)
			}
			if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
				t.Error(err)
			}
		}
		swap(0)
		files := NewFiles(Credentials{}, Credentials{AccessKey: filepath.Join(dir, "data", "ak"), SecretKey: filepath.Join(dir, "data", "sk")})
		done := make(chan struct{})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					c, err := files.Credentials(t.Context())
					if err != nil || strings.TrimPrefix(c.AccessKey, "access-") != strings.TrimPrefix(c.SecretKey, "secret-") {
						t.Errorf("%s goes with %s: %v", c.AccessKey, c.SecretKey, err)
						return
					}
					files.Invalidate(c, false) // has it read again at once
				}
			})
		}
		for n := range 200 {
			swap(n + 1)
			time.Sleep(time.Millisecond)
		}
		close(done)
		group.Wait()
	})
}

func loopback6(t *testing.T) (net.Listener, error) {
	t.Helper()
	return new(net.ListenConfig).Listen(t.Context(), "tcp", "[::1]:0")
}

// TestRogueEcho: what IAM quotes of a login, and the API of a token, in whatever form, is not shown.
func TestRogueEcho(t *testing.T) {
	t.Parallel()
	forms := map[string]func(string) string{
		"plain":   func(s string) string { return s },
		"JSON":    func(s string) string { b, _ := json.Marshal(s); return string(b) },
		"query":   url.QueryEscape,
		"path":    url.PathEscape,
		"base64":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64u": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"all": func(s string) string {
			b, _ := json.Marshal(s)
			return string(b) + " " + s + " " + url.QueryEscape(s)
		},
	}
	for name, form := range forms {
		said := func(w http.ResponseWriter, secret string) {
			text, _ := json.Marshal("you said " + form(secret) + " and that is odd")
			w.Header().Set("X-Request-Id", form(secret))
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error_code":%q,"error_msg":%s}`, form(secret), text)
		}
		r := newRogue(t)
		r.login = func(w http.ResponseWriter, _ *http.Request, _ int) { said(w, roguePassword) }
		_, err := r.client(t, r.user).Connections(soon(t), "c1", nil)
		hidden(t, name+", login", err, roguePassword)
		if !strings.Contains(err.Error(), "you said") {
			t.Errorf("%s: the message is lost: %v", name, err)
		}
		r = newRogue(t)
		r.api = func(w http.ResponseWriter, req *http.Request, _ int) { said(w, req.Header.Get("X-Auth-Token")) }
		_, err = r.client(t, r.user).Connections(soon(t), "c1", nil)
		hidden(t, name+", token", err, r.issue(1))
	}
}

// hidden looks for secrets in an error, in the forms that they may take.
func hidden(t *testing.T, where string, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", where)
	}
	for text := err; text != nil; text = errors.Unwrap(text) {
		for _, printed := range []string{fmt.Sprintf("%v", text), fmt.Sprintf("%+v", text), fmt.Sprintf("%#v", text)} {
			for _, secret := range secrets {
				quoted, _ := json.Marshal(secret)
				encoded := base64.StdEncoding.EncodeToString([]byte(secret))
				contains(t, where, printed, secret, strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret),
					strings.TrimRight(encoded, "="), strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(secret)), "="))
			}
		}
	}
}

// TestRogueTypes prints everything that holds a secret.
func TestRogueTypes(t *testing.T) {
	r := newRogue(t)
	static := NewFiles(Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken, AuthToken: testAuth}, Credentials{})
	options := Options{Endpoint: r.URL, IAMEndpoint: r.URL, Credentials: static, Keys: NewKeys(), Transport: NewTransport(nil, nil)}
	user := User{Name: "u", Domain: "d"}
	token := NewIAMToken(options, user, static).(*cache)
	secret, _ := static.Credentials(t.Context())
	held := &issued{Credentials: secret, expires: time.Now()}
	token.held.Store(held)
	token.heldFor, _ = token.issuer.input(t.Context())
	issuer := token.issuer.(*tokenIssuer)
	profile := NewProfile("file", "basic")
	profile.held.Store(&secret)
	for name, value := range map[string]any{
		"token": token, "issuer": issuer, "struct of an issuer": struct{ I issuer2 }{issuer}, "login": login{user, static},
		"options of a login": issuer.client.options, "*issued": held, "issued": *held, "user": user, "profile": profile,
		"chain": NewChain(static, token, profile), "slice": []any{token, issuer, login{user, static}}, "client": issuer.client,
		"options": options,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			contains(t, name+" by "+verb, fmt.Sprintf(verb, value), testAK, testSK, testToken, testAuth,
				hex.EncodeToString([]byte(testSK)), hex.EncodeToString([]byte(testAuth)))
		}
		text, err := json.Marshal(value)
		if err == nil {
			contains(t, name+" in JSON", string(text), testAK, testSK, testToken, testAuth)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		contains(t, name+" in a log", log.String(), testAK, testSK, testToken, testAuth)
	}
}

type issuer2 = issuer

// TestRogueContext ends the caller's context in every place where a call waits for a service. Nothing is left, and the next
// caller is served.
func TestRogueContext(t *testing.T) {
	before := goleak.IgnoreCurrent()
	hang := func(release chan struct{}) func(http.ResponseWriter, *http.Request, int) {
		return func(_ http.ResponseWriter, req *http.Request, _ int) {
			_, _ = io.Copy(io.Discard, req.Body)
			select {
			case <-req.Context().Done():
			case <-release:
			}
		}
	}
	for name, test := range map[string]struct {
		set func(r *rogue, answer func(http.ResponseWriter, *http.Request, int))
		pod bool
		key bool
	}{
		"login":  {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) { r.login = answer }, false, false},
		"put":    {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) { r.put = answer }, false, true},
		"key":    {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) { r.key = answer }, false, true},
		"pod":    {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) { r.pod = answer }, true, false},
		"api":    {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) { r.api = answer }, false, false},
		"lookup": {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) { r.projects = answer }, false, true},
		"pause": {func(r *rogue, answer func(http.ResponseWriter, *http.Request, int)) {
			if answer != nil {
				r.key = func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(500) }
				return
			}
			r.key = nil
		}, false, true},
	} {
		release := make(chan struct{})
		r := newRogue(t, func(r *rogue) { test.set(r, hang(release)) })
		source := r.user
		switch {
		case test.pod:
			source = r.podIdentity(t)
		case test.key:
			source = r.agency
		}
		client := r.client(t, source, func(o *Options) {
			if name == "lookup" {
				o.ProjectID = ""
			}
		})
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				began := time.Now()
				_, err := client.Connections(within(t, 50*time.Millisecond), "c1", nil)
				if took := time.Since(began); ReasonOf(err) != ReasonTimeout || took > 500*time.Millisecond {
					t.Errorf("%s: after %s: %v", name, took, err)
				}
			})
		}
		group.Wait()
		r.change(func() { test.set(r, nil) })
		close(release)
		if good, err := all(t, client, 5); good != 5 {
			t.Errorf("%s: %d after that: %v", name, good, err)
		}
		client.Close()
		r.Close()
	}
	goleak.VerifyNone(t, before)
}

// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

func TestOneLoginServesAllReads(t *testing.T) {
	for projectID, lookUps := range map[string]int{simtest.ProjectID: 0, "": 1} {
		t.Run("project "+projectID, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				client := c.client(t, func(o *csstest.Options) { o.ProjectID = projectID }, withUser)
				for range 3 {
					mustRead(t, client, "one after the other")
				}
				equal(t, "parallel reads", readAll(t.Context(), client, 32), outcomes{"": 32})
				equal(t, "logins", c.Requested(simulator.Tokens), 1)
				equal(t, "lookups", c.Requested(simulator.Projects), lookUps)
				for _, r := range c.Requests() {
					if r.Endpoint == simulator.Connections && r.User != userDomain+"/"+userName {
						t.Errorf("got a request of the user %q, want %s/%s", r.User, userDomain, userName)
					}
				}
			})
		})
	}
}

func TestParallelReadsShareTheFirstLogin(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		c.delay(loginPath, 100*time.Millisecond)
		equal(t, "reads", readAll(t.Context(), c.client(t, withUser), 32), outcomes{"": 32})
		equal(t, "logins", c.Requested(simulator.Tokens), 1)
	})
}

func TestLoginNamesTheProject(t *testing.T) {
	for projectID, want := range map[string]string{
		simtest.ProjectID: `"scope":{"project":{"id":"p1"}}`, "": `"scope":{"project":{"name":"cn-north-4"}}`,
	} {
		t.Run("project "+projectID, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				var login []byte
				next := c.handler
				c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == loginPath {
						login, _ = io.ReadAll(r.Body)
						r.Body = io.NopCloser(bytes.NewReader(login))
					}
					next.ServeHTTP(w, r)
				})
				mustRead(t, c.client(t, func(o *csstest.Options) { o.ProjectID = projectID }, withUser), "with a token")
				if !strings.Contains(string(login), want) {
					t.Errorf("got the login %s, want %s in it", login, want)
				}
			})
		})
	}
}

// TestLongTokens adds 8 KiB to the tokens of the simulator.
func TestLongTokens(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		padding := strings.Repeat("t+/=", 2<<10)
		c.rewrite(loginPath, func(answer *httptest.ResponseRecorder) {
			answer.Header().Set("X-Subject-Token", answer.Header().Get("X-Subject-Token")+padding)
		})
		next := c.handler
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if token, ok := strings.CutSuffix(r.Header.Get("X-Auth-Token"), padding); ok {
				r.Header.Set("X-Auth-Token", token)
			} else if r.URL.Path != loginPath {
				t.Error("got a request without the end of the token")
			}
			next.ServeHTTP(w, r)
		})
		equal(t, "reads", readAll(t.Context(), c.client(t, withUser), 3), outcomes{"": 3})
		equal(t, "logins", c.Requested(simulator.Tokens), 1)
	})
}

// TestTokenHeaderInLowerCase uses a connection: net/http makes the name of the header canonical when it reads it.
func TestTokenHeaderInLowerCase(t *testing.T) {
	c := serve(t)
	c.setFault(simulator.Tokens, simulator.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["x-subject-token"] = []string{"MII+/=1"}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"token":{"expires_at":"2999-01-01T00:00:00.000000Z"}}`)
	})})
	transport := cloud.NewTransport(nil, nil)
	defer transport.CloseIdleConnections()
	user := credentials.NewUser(
		cloud.Options{Keys: cloud.NewKeys(), Transport: transport, UserAgent: "test/1"},
		credentials.Login{Endpoint: c.URL, User: userName, Domain: userDomain, ProjectID: simtest.ProjectID},
		fixedPassword(userPassword))
	got, err := user.Credentials(bounded(t))
	if want := (cloud.Credentials{AuthToken: "MII+/=1"}); got != want || err != nil {
		t.Errorf("got the token %q, %v; want %q", got.AuthToken, err, want.AuthToken)
	}
}

func TestLoginAnswers(t *testing.T) {
	t.Parallel()
	expiresAt := func(layout string) func(time.Time) string {
		return func(at time.Time) string { return `{"token":{"expires_at":"` + at.Format(layout) + `"}}` }
	}
	body := func(body string) func(time.Time) string { return func(time.Time) string { return body } }
	const known, unknown = 48 * time.Minute, 8 * time.Minute // four fifths of an hour, and of ten minutes
	for name, test := range map[string]struct {
		status  int
		body    func(inAnHour time.Time) string
		renewal time.Duration // after the login; 0: not checked
	}{
		"200":          {200, expiresAt(time.RFC3339), known},
		"microseconds": {201, expiresAt("2006-01-02T15:04:05.000000Z"), known},
		"no zone":      {201, expiresAt("2006-01-02T15:04:05"), known},
		"fractions":    {201, expiresAt("2006-01-02T15:04:05.000"), known},
		"offset": {201, func(at time.Time) string {
			return expiresAt(time.RFC3339)(at.In(time.FixedZone("", 8*3600)))
		}, known},
		"other fields": {201, func(at time.Time) string {
			return fmt.Sprintf(`{"extra":[1,{"token":{}}],"token":{"catalog":[],"roles":null,"issued_at":"x","expires_at":%q,`+
				`"user":{"expires_at":"no"}}}`, at.Format(time.RFC3339))
		}, known},
		"5 MB": {201, func(at time.Time) string {
			return `{"catalog":"` + strings.Repeat("x", 5<<20) + `",` + expiresAt(time.RFC3339)(at)[1:]
		}, known},
		"far future":         {201, body(`{"token":{"expires_at":"2999-01-01T00:00:00Z"}}`), 0},
		"no expiry":          {201, body(`{"token":{}}`), unknown},
		"expiry is null":     {201, body(`{"token":{"expires_at":null}}`), unknown},
		"expiry is a number": {201, body(`{"token":{"expires_at":1700000000}}`), unknown},
		"expiry is a word":   {201, body(`{"token":{"expires_at":"tomorrow"}}`), unknown},
		"token is null":      {201, body(`{"token":null}`), unknown},
		"no body":            {201, body(``), unknown},
		"HTML":               {201, body(`<html>`), unknown},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.rewrite(loginPath, func(answer *httptest.ResponseRecorder) {
					answer.Code = test.status
					answer.Body.Reset()
					answer.Body.WriteString(test.body(time.Now().UTC().Add(time.Hour)))
				})
				client := c.client(t, withUser)
				for range 2 {
					equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
				}
				equal(t, "logins", c.Requested(simulator.Tokens), 1)
				if test.renewal == 0 {
					return
				}
				time.Sleep(test.renewal - time.Second)
				mustRead(t, client, "before the renewal")
				equal(t, "logins before the renewal", c.Requested(simulator.Tokens), 1)
				time.Sleep(time.Second)
				mustRead(t, client, "after the renewal")
				equal(t, "logins after the renewal", c.Requested(simulator.Tokens), 2)
			})
		})
	}
}

func TestLoginAnswerArrivesInPieces(t *testing.T) {
	inMemory(t, simulator.Options{TokenLife: time.Hour}, func(t *testing.T, c *testCloud) {
		c.setFault(simulator.Tokens, simulator.Fault{Trickle: time.Millisecond})
		client := c.client(t, withUser)
		for range 2 {
			equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
		}
		equal(t, "logins", c.Requested(simulator.Tokens), 1)
	})
}

func TestLoginFailsOnce(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"503": {Status: 503, For: 1}, "429": {Status: 429, For: 1}, "cut": {CutAfter: 9, For: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.setFault(simulator.Tokens, fault)
				client := c.client(t, withUser)
				for range 2 {
					equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
				}
				equal(t, "logins", c.Requested(simulator.Tokens), 2)
			})
		})
	}
}

func TestLoginErrors(t *testing.T) {
	const forbidden = `{"error":{"code":403,"message":"locked","title":"Forbidden"}}`
	for name, test := range map[string]struct {
		fault  simulator.Fault
		reason cloud.Reason // "" for success
		logins int          // of three reads
		hint   string
	}{
		"forbidden": {simulator.Fault{Status: 403, Body: forbidden}, cloud.ReasonDenied, 1, "may not log in to this project"},
		"not found": {simulator.Fault{Status: 404}, cloud.ReasonNotFound, 1, "check iam_endpoint"},
		"invalid":   {simulator.Fault{Status: 400}, cloud.ReasonInvalid, 1, "request ID"},
		"no token":  {simulator.Fault{Status: 200, Body: `{"token":{}}`}, cloud.ReasonDecode, 1, "not from IAM"},
		"not ASCII": {simulator.Fault{
			Status: 201, Body: `{}`, Header: http.Header{"X-Subject-Token": {"MIIö"}},
		}, cloud.ReasonDecode, 1, "not from IAM"},
		"no JSON":   {simulator.Fault{Status: 201, Body: `nonsense`}, cloud.ReasonDecode, 1, "not from IAM"},
		"server":    {simulator.Fault{Status: 500}, cloud.ReasonServer, 1, "failing"},
		"redirect":  {simulator.Fault{Redirect: "http://127.0.0.1:1/"}, cloud.ReasonInvalid, 1, "the endpoint redirects"},
		"rejected":  {simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0045"}`}, cloud.ReasonAuth, 1, "password"},
		"denied":    {simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0051"}`}, cloud.ReasonDenied, 1, "may not log in"},
		"refused":   {simulator.Fault{Status: 400, Body: `{"errCode":"CSS.5313"}`}, cloud.ReasonDenied, 1, "may not log in"},
		"try later": {simulator.Fault{Status: 202, Body: `{"errCode":"CSS.0011"}`}, cloud.ReasonServer, 1, "try again later"},
		"gateway":   {simulator.Fault{Status: 503, For: 2}, "", 3, ""},
		"throttled": {simulator.Fault{Status: 429, For: 1}, "", 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.setFault(simulator.Tokens, test.fault)
				client := c.client(t, withUser)
				for range 3 {
					err := read(t.Context(), client, "c1")
					equal(t, "reason", reasonOf(err), test.reason)
					if err == nil {
						continue
					}
					e := failure(t, err)
					if e.Operation != "token" || !strings.Contains(e.Hint(), test.hint) {
						t.Errorf("got operation %q, hint %q; want token, %q", e.Operation, e.Hint(), test.hint)
					}
					noSecret(t, "error", err.Error(), userPassword)
				}
				equal(t, "logins", c.Requested(simulator.Tokens), test.logins)
			})
		})
	}
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	inMemory(t, simulator.Options{TokenLife: time.Second}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withUser)
		reads := 0
		for start := time.Now(); time.Since(start) < 2500*time.Millisecond; reads++ {
			mustRead(t, client, fmt.Sprint(reads))
			time.Sleep(5 * time.Millisecond)
		}
		equal(t, "requests", c.Reads(""), reads) // none was rejected
		equal(t, "logins", c.Requested(simulator.Tokens), 4)
	})
}

func TestTokenOfAFewSecondsIsUsed(t *testing.T) {
	inMemory(t, simulator.Options{TokenLife: 3 * time.Second}, func(t *testing.T, c *testCloud) {
		equal(t, "reads", readAll(t.Context(), c.client(t, withUser), 20), outcomes{"": 20})
		equal(t, "logins", c.Requested(simulator.Tokens), 1)
	})
}

func TestTokenThatHasExpiredIsNotUsed(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		c.rewrite(loginPath, func(answer *httptest.ResponseRecorder) {
			answer.Body.Reset()
			fmt.Fprintf(answer.Body, `{"token":{"expires_at":%q}}`, time.Now().Add(-time.Second).UTC().Format(time.RFC3339))
		})
		equal(t, "reads", readAll(t.Context(), c.client(t, withUser), 20), outcomes{cloud.ReasonAuth: 20})
		equal(t, "logins", c.Requested(simulator.Tokens), 1)
		equal(t, "requests", c.Reads(""), 0)
	})
}

func TestWrongPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, "wrong-password-0\n")
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withPassword(passwordFile(file)))
		for range 20 {
			e := failure(t, read(t.Context(), client, "c1"))
			if e.Reason != cloud.ReasonAuth || e.Operation != "token" || !strings.Contains(e.Hint(), "password") {
				t.Fatalf("got %v (reason %q, operation %q), hint %q; want auth, token, a hint about the password",
					e, e.Reason, e.Operation, e.Hint())
			}
			noSecret(t, "error", fmt.Sprintf("%v %+v %#v", e, e, e), "wrong-password-0")
		}
		equal(t, "logins with the wrong password", c.Requested(simulator.Tokens), 1)
		writeFile(t, file, userPassword+"\n")
		time.Sleep(refresh)
		mustRead(t, client, "with the right password")
		equal(t, "logins", c.Requested(simulator.Tokens), 2)
		equal(t, "requests", c.Reads(""), 1)
	})
}

func TestChangedPasswordReplacesAValidToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, userPassword)
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withPassword(passwordFile(file)))
		mustRead(t, client, "with the first password")
		const another = "another-password-2"
		c.AddUser(simulator.User{Name: userName, Domain: userDomain, Password: another})
		writeFile(t, file, another+"\n")
		time.Sleep(refresh)
		mustRead(t, client, "with another password")
		equal(t, "logins", c.Requested(simulator.Tokens), 2)
		equal(t, "requests", c.Reads(""), 2)
	})
}

func TestPasswordIsReplacedInTwoSteps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, userPassword)
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withPassword(passwordFile(file)))
		mustRead(t, client, "with the first password")
		const another = "another-password-2"
		c.AddUser(simulator.User{Name: userName, Domain: userDomain, Password: another})
		c.RevokeTokens()
		writeFile(t, file, "")
		time.Sleep(100 * time.Millisecond)
		writeFile(t, file, another+"\n")
		readUntilSuccess(t, client, 2*time.Second)
		row, longest := 0, 0
		for _, r := range c.Requests() {
			switch {
			case r.Endpoint == simulator.Tokens && r.Status == http.StatusUnauthorized:
				row++
				longest = max(longest, row)
			case r.Endpoint == simulator.Tokens:
				row = 0
			}
		}
		if longest > 2 {
			t.Errorf("got %d rejected logins in a row, want at most 2", longest)
		}
	})
}

func TestPasswordIsMissing(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withPassword(passwordFile(filepath.Join(t.TempDir(), "missing"))))
		err := read(t.Context(), client, "c1")
		if cloud.ReasonOf(err) != cloud.ReasonAuth || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("got %v, want a missing file and the reason auth", err)
		}
		equal(t, "logins", c.Requested(simulator.Tokens), 0)
	})
}

func TestReadsEndWhileALoginOrTheAPIHangs(t *testing.T) {
	for _, endpoint := range []simulator.Endpoint{simulator.Tokens, simulator.Connections} {
		t.Run(string(endpoint), func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				client := c.client(t, withUser)
				c.setFault(endpoint, simulator.Fault{Hang: true})
				readsEndAtTheirDeadline(t, client)
				c.setFault(endpoint)
				equal(t, "reads after that", readAll(t.Context(), client, 5), outcomes{"": 5})
			})
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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

	"github.com/google/go-cmp/cmp"
)

const (
	stsPath           = "/v5/agencies/assume-with-oidc"
	idTokenPath       = "/v3.0/OS-AUTH/id-token/tokens"      //nolint:gosec // a path
	securityTokenPath = "/v3.0/OS-CREDENTIAL/securitytokens" //nolint:gosec // a path

	idpID       = "cluster-idp"
	providerURN = "iam::0123456789abcdef0123456789abcdef:oidcProvider:cluster"
	agencyURN   = "iam::0123456789abcdef0123456789abcdef:agency:css-reader"
)

// oidcWay is one of the two ways to exchange an ID token.
type oidcWay struct {
	name     string
	settings credentials.OIDC
	endpoint simulator.Endpoint // of the request with the ID token
	requests int                // of an exchange
	life     time.Duration      // of the keys
}

func oidcWays() []oidcWay {
	return []oidcWay{
		{"STS", credentials.OIDC{
			ProviderURN: providerURN, AgencyURN: agencyURN, SessionName: "a.session", Duration: time.Hour,
		}, simulator.AssumeWithOIDC, 1, time.Hour},
		{"IAM", credentials.OIDC{IDPID: idpID}, simulator.IDTokens, 2, 6 * time.Hour},
	}
}

// exchanges returns the number of exchanges that began.
func (w oidcWay) exchanges(c *testCloud) int { return c.Requested(w.endpoint) }

// eachWay runs a test in virtual time with a cloud that trusts an identity provider, and a file with a valid token.
func eachWay(t *testing.T, test func(t *testing.T, c *testCloud, w oidcWay, file string)) {
	t.Helper()
	for _, way := range oidcWays() {
		t.Run(way.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.SetIdentityProvider(provider())
				writeFile(t, file, c.IDToken("exporter", "", 24*time.Hour)+"\n")
				test(t, c, way, file)
			})
		})
	}
}

func provider() simulator.IdentityProvider {
	return simulator.IdentityProvider{ID: idpID, URN: providerURN, AgencyURN: agencyURN}
}

// withOIDC adds a source that exchanges the token in a file. Options that are set later do not affect it.
func withOIDC(w oidcWay, token cloud.CredentialSource) func(*csstest.Options) {
	return func(o *csstest.Options) {
		w.settings.Endpoint = o.IAMEndpoint
		o.Credentials = credentials.NewOIDC(o.Options, w.settings, token)
	}
}

// isExchange reports whether a request exchanges a token. IAM has another one of that path, which is signed.
func isExchange(r *http.Request) bool {
	unsigned := r.Header.Get("Authorization") == "" && r.Header.Get("X-Auth-Token") == ""
	return r.URL.Path == stsPath || r.URL.Path == idTokenPath || (r.URL.Path == securityTokenPath && unsigned)
}

func checkExchange(t *testing.T, r *http.Request) {
	t.Helper()
	equal(t, "method of an exchange", r.Method, http.MethodPost)
	equal(t, "user agent of an exchange", r.UserAgent(), "test/1")
	equal(t, "type of an exchange", r.Header.Get("Content-Type"), "application/json")
	equal(t, "X-Idp-Id sent", r.Header.Get("X-Idp-Id") != "", r.URL.Path == idTokenPath)
	for _, name := range []string{"Authorization", "X-Auth-Token", "X-Project-Id", "X-Sdk-Date", "X-Security-Token"} {
		if r.Header.Get(name) != "" {
			t.Errorf("%s: got the header %s, want none", r.URL.Path, name)
		}
	}
}

func tokenFile(path string) cloud.CredentialSource { return credentials.NewToken("", path) }

func TestOneExchangeServesAllReads(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		client := c.client(t, withOIDC(w, tokenFile(file)), withoutProjectID)
		equal(t, "parallel reads", readAll(t.Context(), client, 32), outcomes{"": 32})
		mustRead(t, client, "later")
		equal(t, "exchanges", w.exchanges(c), 1)
		equal(t, "lookups", c.Requested(simulator.Projects), 1)
		equal(t, "all requests", len(c.Requests()), 33+1+w.requests)
	})
}

func TestTokenFromTheConfiguration(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, _ string) {
		token := credentials.NewToken(c.IDToken("exporter", "", time.Hour), "")
		mustRead(t, c.client(t, withOIDC(w, token)), "without a token file")
	})
}

// TestExchangeRequests compares the bodies with the documented form.
func TestExchangeRequests(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		bodies, tokens := map[string]any{}, map[string]string{}
		next := c.handler
		c.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				body, _ := io.ReadAll(r.Body)
				var v any
				_ = json.Unmarshal(body, &v)
				bodies[r.URL.Path+" "+r.Header.Get("X-Idp-Id")] = v
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			next.ServeHTTP(rw, r)
		})
		c.rewrite(idTokenPath, func(answer *httptest.ResponseRecorder) {
			tokens["IAM"] = answer.Header().Get("X-Subject-Token")
		})
		id := c.IDToken("exporter", "", time.Hour)
		writeFile(t, file, id)
		mustRead(t, c.client(t, withOIDC(w, tokenFile(file))), "at first")
		type object = map[string]any
		want := map[string]any{stsPath + " ": object{
			"provider_urn": providerURN, "agency_urn": agencyURN, "agency_session_name": "a.session", "id_token": id,
			"duration_seconds": 3600.0,
		}}
		if w.name == "IAM" {
			want = map[string]any{
				idTokenPath + " " + idpID: object{"auth": object{"id_token": object{"id": id}}},
				securityTokenPath + " ": object{"auth": object{"identity": object{
					"methods": []any{"token"}, "token": object{"id": tokens["IAM"], "duration_seconds": 21600.0},
				}}},
			}
		}
		if diff := cmp.Diff(want, bodies); diff != "" {
			t.Errorf("bodies (-want +got):\n%s", diff)
		}
	})
}

func TestKeysAreRenewedBeforeTheyExpire(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		p := provider()
		p.Life = 5 * time.Second
		c.SetIdentityProvider(p)
		client := c.client(t, withOIDC(w, tokenFile(file)))
		reads := 0
		for start := time.Now(); time.Since(start) < 30*time.Second; reads++ {
			mustRead(t, client, fmt.Sprint(reads))
			time.Sleep(30 * time.Millisecond)
		}
		equal(t, "requests", c.Reads(""), reads) // none was rejected
		equal(t, "exchanges", w.exchanges(c), 8) // at 0 s, and every 4 s
	})
}

func TestExpiryOfKeys(t *testing.T) {
	for layout, known := range map[string]bool{
		"2006-01-02T15:04:05.000Z": true, "2006-01-02T15:04:05.000000Z": true, "2006-01-02T15:04:05.0Z": true,
		"2006-01-02T15:04:05.000000000000Z": true, "2006-01-02T15:04:05Z": true, "2006-01-02T15:04:05.000": true,
		"2006-01-02T15:04:05.00Z07:00": true, "2006-01-02T15:04:05.000+0000": true, "soon": false,
	} {
		t.Run(layout, func(t *testing.T) {
			eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
				p := provider()
				p.TimeLayout = layout
				c.SetIdentityProvider(p)
				client := c.client(t, withOIDC(w, tokenFile(file)))
				mustRead(t, client, "at first")
				renewal := w.life * 4 / 5
				if !known {
					renewal = 8 * time.Minute // of an assumed life of ten minutes
				}
				time.Sleep(renewal - 2*time.Second)
				mustRead(t, client, "before the renewal")
				equal(t, "exchanges before the renewal", w.exchanges(c), 1)
				time.Sleep(3 * time.Second)
				mustRead(t, client, "after the renewal")
				equal(t, "exchanges after the renewal", w.exchanges(c), 2)
			})
		})
	}
}

// TestRotatedTokenFile: the keys live on, and the next exchange uses the new token.
func TestRotatedTokenFile(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		writeFile(t, file, c.IDToken("exporter", "", 10*time.Minute))
		client := c.client(t, withOIDC(w, tokenFile(file)))
		mustRead(t, client, "at first")
		for range 5 {
			time.Sleep(8 * time.Minute)
			writeFile(t, file, c.IDToken("exporter", "", 10*time.Minute))
			mustRead(t, client, "with another token in the file")
		}
		equal(t, "exchanges", w.exchanges(c), 1)
		time.Sleep(w.life*4/5 - 40*time.Minute)
		writeFile(t, file, c.IDToken("exporter", "", 10*time.Minute))
		mustRead(t, client, "after the renewal")
		equal(t, "exchanges", w.exchanges(c), 2)
		for _, r := range c.Requests() {
			if r.Status >= 400 {
				t.Errorf("got a request for %s with status %d", r.Endpoint, r.Status)
			}
		}
	})
}

// TestExpiredTokenFile: while the keys are valid nothing fails; then the hint names the token, until it is replaced.
func TestExpiredTokenFile(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		writeFile(t, file, c.IDToken("exporter", "", 10*time.Minute))
		expires := time.Now().Add(10 * time.Minute).UTC().Format(time.RFC3339)
		client := c.client(t, withOIDC(w, tokenFile(file)))
		for start := time.Now(); time.Since(start) < w.life-time.Minute; time.Sleep(time.Minute) {
			mustRead(t, client, "while the keys are valid")
		}
		time.Sleep(2 * time.Minute)
		e := failure(t, read(t.Context(), client, "c1"))
		if e.Reason != cloud.ReasonAuth || e.Operation != "oidc" || !strings.Contains(e.Hint(), "the ID token expired at "+expires) {
			t.Errorf("got %v, reason %q, operation %q, hint %q; want auth, oidc, an expired token", e, e.Reason, e.Operation, e.Hint())
		}
		writeFile(t, file, c.IDToken("exporter", "", 10*time.Minute))
		time.Sleep(refresh)
		mustRead(t, client, "with a new token")
	})
}

// TestFailedRenewalTriesAChangedTokenAtOnce: early renewals that fail are far apart, unless the token changes.
func TestFailedRenewalTriesAChangedTokenAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		client := c.client(t, withOIDC(w, tokenFile(file)))
		mustRead(t, client, "at first")
		p := provider()
		p.Denied = true
		c.SetIdentityProvider(p)
		time.Sleep(w.life * 9 / 10)
		mustRead(t, client, "with the old keys")
		equal(t, "exchanges", w.exchanges(c), 2)
		c.SetIdentityProvider(provider())
		writeFile(t, file, c.IDToken("exporter", "", time.Hour))
		time.Sleep(refresh)
		mustRead(t, client, "with a new token")
		equal(t, "exchanges", w.exchanges(c), 3)
	})
}

func TestRefusedTokenIsPaused(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		wrong := c.IDToken("exporter", "another-audience", time.Hour)
		writeFile(t, file, wrong)
		client := c.client(t, withOIDC(w, tokenFile(file)))
		for start := time.Now(); time.Since(start) < 30*time.Minute; time.Sleep(15 * time.Second) {
			ended := readAll(t.Context(), client, 10)
			if ended[cloud.ReasonAuth] != 10 {
				t.Fatalf("got %v, want 10 auth", ended)
			}
		}
		if n := w.exchanges(c); n < 3 || n > 6 {
			t.Errorf("got %d exchanges in half an hour, want 3 to 6: the pause doubles from 1 minute to 15", n)
		}
		equal(t, "requests", c.Reads(""), 0)
		before := w.exchanges(c)
		writeFile(t, file, c.IDToken("exporter", "", time.Hour))
		time.Sleep(refresh)
		mustRead(t, client, "with a valid token")
		equal(t, "exchanges", w.exchanges(c), before+1)
	})
}

func TestExchangeErrors(t *testing.T) {
	const forbidden = `{"error_code":"STS5.1","error_msg":"no","encoded_authorization_message":"HIDDENMESSAGE"}`
	for name, test := range map[string]struct {
		fault     simulator.Fault
		reason    cloud.Reason // "" for success
		exchanges int          // of three reads
		hints     string       // in that of both ways
	}{
		"unauthorized": {simulator.Fault{Status: 401}, cloud.ReasonAuth, 1, "the audience that the identity provider allows"},
		"forbidden":    {simulator.Fault{Status: 403, Body: forbidden}, cloud.ReasonDenied, 1, "refused"},
		"invalid":      {simulator.Fault{Status: 400, Body: `{"error_code":"STS5.2"}`}, cloud.ReasonInvalid, 1, "content of the token file"},
		"not found":    {simulator.Fault{Status: 404}, cloud.ReasonNotFound, 1, "_endpoint"},
		"empty":        {simulator.Fault{Status: 201, Body: `{}`}, cloud.ReasonDecode, 1, "the response is not from"},
		"no JSON":      {simulator.Fault{Status: 200, Body: `nonsense`}, cloud.ReasonDecode, 1, "the response is not from"},
		"server":       {simulator.Fault{Status: 500}, cloud.ReasonServer, 1, "failing"},
		"redirect":     {simulator.Fault{Redirect: "http://127.0.0.1:1/"}, cloud.ReasonInvalid, 1, ""},
		"gateway":      {simulator.Fault{Status: 503, For: 2}, "", 3, ""},
		"throttled":    {simulator.Fault{Status: 429, For: 1}, "", 2, ""},
		"cut":          {simulator.Fault{CutAfter: 9, For: 1}, "", 0, ""},
		"slow":         {simulator.Fault{Latency: 3 * time.Second}, "", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
				c.setFault(w.endpoint, test.fault)
				client := c.client(t, withOIDC(w, tokenFile(file)))
				for range 3 {
					err := read(t.Context(), client, "c1")
					equal(t, "reason", reasonOf(err), test.reason)
					if err == nil {
						continue
					}
					e := failure(t, err)
					if e.Operation != "oidc" || !strings.Contains(e.Hint(), test.hints) {
						t.Errorf("got operation %q, hint %q; want oidc, %q", e.Operation, e.Hint(), test.hints)
					}
					noSecret(t, "error", fmt.Sprintf("%v %+v %#v", err, err, err), "HIDDENMESSAGE")
				}
				if n := w.exchanges(c); test.exchanges > 0 && n != test.exchanges {
					t.Errorf("got %d exchanges, want %d", n, test.exchanges)
				}
			})
		})
	}
}

// TestSecondRequestToIAMFails: an IAM token is of no use without keys.
func TestSecondRequestToIAMFails(t *testing.T) {
	w := oidcWays()[1]
	for name, test := range map[string]struct {
		fault  simulator.Fault
		reason cloud.Reason
	}{
		"denied":            {simulator.Fault{Status: 403}, cloud.ReasonDenied},
		"rejected":          {simulator.Fault{Status: 401}, cloud.ReasonAuth},
		"no security token": {simulator.Fault{Status: 201, Body: `{"credential":{"access":"a","secret":"s"}}`}, cloud.ReasonDecode},
		"throttled once":    {simulator.Fault{Status: 429, For: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.SetIdentityProvider(provider())
				writeFile(t, file, c.IDToken("exporter", "", time.Hour))
				c.setFault(simulator.SecurityTokens, test.fault)
				client := c.client(t, withOIDC(w, tokenFile(file)))
				for range 3 {
					equal(t, "reason", reasonOf(read(t.Context(), client, "c1")), test.reason)
				}
				equal(t, "exchanges", w.exchanges(c), 1)
			})
		})
	}
}

func TestRejectedKeysAreExchangedAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		client := c.client(t, withOIDC(w, tokenFile(file)))
		mustRead(t, client, "at first")
		c.ExpireKeys()
		mustRead(t, client, "after the keys were revoked")
		equal(t, "exchanges", w.exchanges(c), 2)
	})
}

func TestUnusableTokenFile(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		missing := c.client(t, withOIDC(w, tokenFile(file+"-missing")))
		err := read(t.Context(), missing, "c1")
		if cloud.ReasonOf(err) != cloud.ReasonAuth || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("got %v, want a missing file and the reason auth", err)
		}
		equal(t, "exchanges", w.exchanges(c), 0)

		client := c.client(t, withOIDC(w, tokenFile(file)))
		mustRead(t, client, "with a valid file")
		writeFile(t, file, "two\nlines\n")
		time.Sleep(w.life)
		mustRead(t, client, "with the last valid token")
	})
}

// TestTwoAgenciesWithOneToken: the rejection of a token for one agency does not pause it for another.
func TestTwoAgenciesWithOneToken(t *testing.T) {
	eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
		other := w
		other.settings.ProviderURN += "-2"
		other.settings.IDPID += "-2"
		if w.name == "STS" {
			other.settings.IDPID = ""
		}
		c.SetIdentityProvider(simulator.IdentityProvider{ID: idpID + "-2", URN: providerURN + "-2", AgencyURN: agencyURN})
		keys := cloud.NewKeys()
		shared := func(o *csstest.Options) { o.Keys = keys }
		rejected := c.client(t, shared, withOIDC(other, tokenFile(file)))
		for _, wait := range []time.Duration{0, 61 * time.Second, 121 * time.Second} { // longer than the back-off
			time.Sleep(wait)
			equal(t, "reason", reasonOf(read(t.Context(), rejected, "c1")), cloud.ReasonAuth)
		}
		equal(t, "rejected exchanges", w.exchanges(c), 3)
		mustRead(t, c.client(t, shared, withOIDC(w, tokenFile(file))), "of another provider")
	})
}

func TestPrintedOIDCSourceIsHidden(t *testing.T) {
	for _, way := range oidcWays() {
		t.Run(way.name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{})
			c.SetIdentityProvider(provider())
			var secrets []string
			c.rewrite("/v", func(answer *httptest.ResponseRecorder) {
				if token := answer.Header().Get("X-Subject-Token"); token != "" {
					secrets = append(secrets, token)
				}
			})
			id := c.IDToken("exporter", "", time.Hour)
			var options cloud.Options
			client := c.client(t, withOIDC(way, credentials.NewToken(id, "")), func(o *csstest.Options) { options = o.Options })
			source := options.Credentials
			keys, err := source.Credentials(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, id, keys.AccessKey, keys.SecretKey, keys.SecurityToken)
			values := credentials.OIDCInternals(source)
			maps.Copy(values, map[string]any{
				"source": source, "options": options, "client": client, "chain": credentials.NewChain(source), "slice": []any{source},
			})
			for name, value := range values {
				t.Run(name, func(t *testing.T) { checkHidden(t, value, secrets...) })
			}
			from, expires := credentials.Origin(credentials.NewChain(source))
			noSecret(t, "origin", from, secrets...)
			if !strings.HasPrefix(from, "the default chain: an ID token") || expires.IsZero() {
				t.Errorf("got the origin %q, expiry %s", from, expires)
			}
		})
	}
}

// TestQuotedIDTokensAreHidden: the services may quote either token.
func TestQuotedIDTokensAreHidden(t *testing.T) {
	for name, form := range quotations() {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, c *testCloud, w oidcWay, file string) {
				for endpoint, path := range map[simulator.Endpoint][]string{
					simulator.AssumeWithOIDC: {"id_token"}, simulator.IDTokens: {"auth", "id_token", "id"},
					simulator.SecurityTokens: {"auth", "identity", "token", "id"},
				} {
					var secret string
					c.setFault(w.endpoint)
					c.setFault(endpoint, simulator.Fault{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
						rw.Header().Set("X-Request-Id", form(secret))
						rw.WriteHeader(400)
						message, _ := json.Marshal("you said " + form(secret) + " and that is odd")
						fmt.Fprintf(rw, `{"error_code":"X.1","error_msg":%s}`, message)
					})})
					next := c.handler
					c.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						body, _ := io.ReadAll(r.Body)
						r.Body = io.NopCloser(bytes.NewReader(body))
						var v any
						_ = json.Unmarshal(body, &v)
						for _, name := range path {
							object, _ := v.(map[string]any)
							v = object[name]
						}
						if text, _ := v.(string); text != "" {
							secret = text
						}
						next.ServeHTTP(rw, r)
					})
					err := read(t.Context(), c.client(t, withOIDC(w, tokenFile(file))), "c1")
					c.handler = next
					if secret == "" {
						continue // of the other way
					}
					checkErrorHides(t, err, secret)
					if err != nil && !strings.Contains(err.Error(), "you said") {
						t.Errorf("got %v, want the message in it", err)
					}
				}
			})
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
)

// The caller's project and key, and the agency of the account of p1.
const (
	callerProject = "p-of-the-caller"
	callerAK      = "AKOFTHECALLER0000000"
	callerSK      = "sk-of-the-caller-0123456789"
	agencyName    = "只读 reader"
	accountName   = "分公司"
	accountID     = "0a1b2c3d"
)

const (
	iamAssumePath = "/v3.0/OS-CREDENTIAL/securitytokens"
	stsAssumePath = "/v5/agencies/assume"
)

func callerKey() cloud.CredentialSource {
	return fixed(cloud.Credentials{AccessKey: callerAK, SecretKey: callerSK})
}

// addAccount adds the caller's project, and an agency for its key and for the user.
func (c *testCloud) addAccount(changes ...func(*simulator.AccountAgency)) {
	c.AddProject(simulator.Project{
		Region: simtest.Region, ID: callerProject, Keys: []simulator.Key{{Access: callerAK, Secret: callerSK}},
	})
	a := simulator.AccountAgency{
		Name: agencyName, DomainName: accountName, DomainID: accountID,
		Callers: []string{callerAK, userDomain + "/" + userName}, Projects: []string{simtest.ProjectID},
	}
	for _, change := range changes {
		change(&a)
	}
	c.AddAgency(a)
}

func anyCaller(a *simulator.AccountAgency) { a.Callers = nil }

func living(d time.Duration) func(*simulator.AccountAgency) {
	return func(a *simulator.AccountAgency) { a.Life = d }
}

func byIAM() credentials.Agency {
	return credentials.Agency{Name: agencyName, DomainName: accountName, Duration: time.Hour}
}

func bySTS() credentials.Agency {
	return credentials.Agency{Name: agencyName, DomainID: accountID, Duration: time.Hour}
}

func bothWays(t *testing.T, test func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint)) {
	t.Helper()
	for name, way := range map[string]credentials.Agency{"IAM": byIAM(), "STS": bySTS()} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{LockKeys: true}, func(t *testing.T, c *testCloud) {
				endpoint := simulator.AgencyByIAM
				if way.DomainID != "" {
					endpoint = simulator.AgencyBySTS
				}
				test(t, c, way, endpoint)
			})
		})
	}
}

// assuming adds a source of the keys of an agency to the options.
func assuming(way credentials.Agency, caller cloud.CredentialSource) func(*csstest.Options) {
	return func(o *csstest.Options) {
		options := o.Options
		options.Credentials = caller
		way.Endpoint = o.IAMEndpoint
		o.Credentials = credentials.NewAgency(options, way)
	}
}

func TestAssumedKeysSignReadsAndTheLookUp(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount()
		client := c.client(t, withoutProjectID, assuming(way, callerKey()))
		equal(t, "reads", readAll(t.Context(), client, 32), outcomes{"": 32})
		equal(t, "assumptions", c.Requested(endpoint), 1)
		equal(t, "lookups", c.Requested(simulator.Projects), 1)
		for _, r := range c.Requests() {
			assumed := r.Endpoint != endpoint
			if (r.AccessKey == callerAK) == assumed || assumed && r.ProjectID == callerProject {
				t.Errorf("got a request for %s of project %q, with the caller's key: %t", r.Endpoint, r.ProjectID, r.AccessKey == callerAK)
			}
		}
	})
}

func TestBodiesOfAssumptions(t *testing.T) {
	type object = map[string]any
	for name, test := range map[string]struct {
		way  credentials.Agency
		path string
		want any
	}{
		"IAM": {byIAM(), iamAssumePath, object{"auth": object{"identity": object{
			"methods": []any{"assume_role"},
			"assume_role": object{
				"agency_name": agencyName, "domain_name": accountName, "duration_seconds": 3600.0,
			},
		}}}},
		"STS": {bySTS(), stsAssumePath, object{
			"agency_urn":          "iam::" + accountID + ":agency:" + agencyName,
			"agency_session_name": "css_vpcep_exporter", "duration_seconds": 3600.0,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.addAccount()
				var got any
				next := c.handler
				c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == test.path {
						body, _ := io.ReadAll(r.Body)
						r.Body = io.NopCloser(bytes.NewReader(body))
						equal(t, "content type", r.Header.Get("Content-Type"), "application/json")
						if err := json.Unmarshal(body, &got); err != nil {
							t.Error(err)
						}
					}
					next.ServeHTTP(w, r)
				})
				mustRead(t, c.client(t, assuming(test.way, callerKey())), "with assumed keys")
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("body (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAThousandReadsWithKeysThatLiveFiveSeconds reads every half second, in bursts.
func TestAThousandReadsWithKeysThatLiveFiveSeconds(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount(living(5 * time.Second))
		c.delay(cssPrefix, 50*time.Millisecond)
		c.delay(iamAssumePath, 300*time.Millisecond)
		c.delay(stsAssumePath, 300*time.Millisecond)
		client := c.client(t, withoutProjectID, assuming(way, callerKey()))
		start := time.Now()
		for range 1000 {
			if got := readAll(t.Context(), client, 4); got[""] != 4 {
				t.Fatalf("%s after the start: got %v, want no failure", time.Since(start), got)
			}
			time.Sleep(450 * time.Millisecond)
		}
		most := int(time.Since(start)/(4*time.Second)) + 1 // they are renewed after four fifths of their life
		if n := c.Requested(endpoint); n > most || n < most/2 {
			t.Errorf("got %d assumptions in %s, want at most %d", n, time.Since(start), most)
		}
	})
}

func TestRefusedAgencyIsDeniedAndBackedOff(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		client := c.client(t, withoutProjectID, assuming(way, callerKey()))
		c.addAccount(func(a *simulator.AccountAgency) { a.Callers = []string{"another key"} })
		start := time.Now()
		for time.Since(start) < time.Hour {
			e := failure(t, read(t.Context(), client, "c1"))
			equal(t, "reason", e.Reason, cloud.ReasonDenied)
			if !strings.HasPrefix(e.Code, "IAM.0002") && !strings.HasPrefix(e.Code, "STS5.") {
				t.Errorf("got code %s, want that of the answer", e.Code)
			}
			for _, want := range []string{agencyName, "trust policy", "sts:agencies:assume", "Agent Operator"} {
				if !strings.Contains(e.Hint(), want) {
					t.Errorf("got the hint %q, want %q in it", e.Hint(), want)
				}
			}
			time.Sleep(15 * time.Second)
		}
		if n := c.Requested(endpoint); n < 5 || n > 8 { // after 0, 1, 3, 7, 15, 30, 45 minutes
			t.Errorf("got %d assumptions in an hour, want 7", n)
		}
		equal(t, "locked", c.Locked(callerAK), false)
		c.addAccount()
		time.Sleep(15 * time.Minute)
		mustRead(t, client, "once the agency trusts the caller")
	})
}

func TestDeletedAgencyIsDeniedOnceItsKeysEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount()
		client := c.client(t, withoutProjectID, assuming(way, callerKey()))
		mustRead(t, client, "at first")
		c.DeleteAgency(agencyName, accountID)
		start := time.Now()
		for time.Since(start) < 59*time.Minute {
			mustRead(t, client, "with keys that are still valid")
			time.Sleep(15 * time.Second)
		}
		if n := c.Requested(endpoint); n > 6 { // the first, and after 48, 49, 51 and 55 minutes
			t.Errorf("got %d assumptions while the keys were valid, want 5", n)
		}
		time.Sleep(2 * time.Minute)
		equal(t, "reason", failure(t, read(t.Context(), client, "c1")).Reason, cloud.ReasonDenied)
		c.addAccount()
		time.Sleep(15 * time.Minute)
		mustRead(t, client, "once the agency is there again")
	})
}

func TestAssumedKeysThatExpireEarlyAreReplacedOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount()
		c.delay(cssPrefix, 10*time.Millisecond)
		client := c.client(t, assuming(way, callerKey()))
		equal(t, "reads", readAll(t.Context(), client, 32), outcomes{"": 32})
		c.ExpireKeys()
		equal(t, "reads with keys that ended early", readAll(t.Context(), client, 32), outcomes{"": 32})
		equal(t, "assumptions", c.Requested(endpoint), 2)
	})
}

func TestAssumedKeysOfADeletedAgencyExpireEarly(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, _ simulator.Endpoint) {
		c.addAccount()
		client := c.client(t, assuming(way, callerKey()))
		mustRead(t, client, "at first")
		c.DeleteAgency(agencyName, accountID)
		c.ExpireKeys()
		equal(t, "reason", failure(t, read(t.Context(), client, "c1")).Reason, cloud.ReasonDenied)
	})
}

func TestRejectedCallerIsProtected(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, _ simulator.Endpoint) {
		c.addAccount()
		client := c.client(t, assuming(way, fixed(cloud.Credentials{AccessKey: callerAK, SecretKey: "wrong-secret-key"})))
		for range 40 {
			e := failure(t, read(t.Context(), client, "c1"))
			equal(t, "reason", e.Reason, cloud.ReasonAuth)
			time.Sleep(15 * time.Second)
		}
		if _, total := c.Rejections(callerAK); total > 6 { // three, and after pauses of 1, 2 and 4 minutes
			t.Errorf("got %d rejections in 10 minutes, want at most 6", total)
		}
	})
}

func TestHintOfARejectedCaller(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, _ simulator.Endpoint) {
		c.addAccount()
		client := c.client(t, assuming(way, fixed(cloud.Credentials{AccessKey: callerAK, SecretKey: "wrong-secret-key"})))
		e := failure(t, read(t.Context(), client, "c1"))
		if !strings.Contains(e.Hint(), "the caller's credentials were rejected, not the agency") {
			t.Errorf("got the hint %q, want it to name the caller", e.Hint())
		}
		if row, _ := c.Rejections(callerAK); row > maxRejections {
			t.Errorf("got %d rejections, want at most %d", row, maxRejections)
		}
	})
}

func TestThrottledAssumptionsAreRemembered(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount()
		c.SetThrottle(simulator.Target{Endpoint: endpoint}, simulator.Throttle{RetryAfter: "120"})
		client := c.client(t, assuming(way, callerKey()))
		for range 5 {
			equal(t, "reason", failure(t, read(t.Context(), client, "c1")).Reason, cloud.ReasonThrottled)
			time.Sleep(20 * time.Second)
		}
		equal(t, "assumptions", c.Requested(endpoint), 1)
		c.RemoveThrottle(simulator.Target{Endpoint: endpoint})
		time.Sleep(time.Minute)
		mustRead(t, client, "after Retry-After")
	})
}

func TestFailingAssumptionsAreRetried(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount()
		c.setFault(endpoint, simulator.Fault{For: 2, Status: 503}, simulator.Fault{After: 2, For: 1, Drop: true})
		mustRead(t, c.client(t, assuming(way, callerKey())), "after 503 and a broken connection")
		equal(t, "assumptions", c.Requested(endpoint), 4)
	})
}

func TestTemporaryCallersAreRenewedButDoNotRenewTheAgency(t *testing.T) {
	for name, way := range map[string]credentials.Agency{"IAM": byIAM(), "STS": bySTS()} {
		t.Run(name, func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				c.addAccount(anyCaller, living(4*time.Hour))
				c.SetAgency(simulator.Agency{Life: 10 * time.Minute})
				client := c.client(t, assuming(way, credentials.NewECSAgency(c.URL)))
				for range 30 {
					mustRead(t, client, "with assumed keys")
					c.sleep(5 * time.Minute)
				}
				equal(t, "assumptions", c.Requested(simulator.AgencyByIAM)+c.Requested(simulator.AgencyBySTS), 1)
				c.ExpireKeys() // of the caller and of the agency
				mustRead(t, client, "after all keys have expired")
				c.sleep(2 * time.Minute)
				c.ExpireKeys()
				equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
			})
		})
	}
}

// TestAssumedKeysOutliveTheCallers breaks the metadata service while the keys of the agency are valid.
func TestAssumedKeysOutliveTheCallers(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		c.addAccount(anyCaller, living(2*time.Hour))
		c.SetAgency(simulator.Agency{Life: 10 * time.Minute})
		chain := credentials.NewChain(credentials.Environment(func(string) (string, bool) { return "", false }),
			credentials.NewECSAgency(c.URL))
		client := c.client(t, assuming(bySTS(), chain))
		mustRead(t, client, "at first")
		c.setFault(simulator.MetadataToken, simulator.Fault{Status: 500})
		c.setFault(simulator.SecurityKey, simulator.Fault{Status: 500})
		for range 23 {
			c.sleep(5 * time.Minute)
			mustRead(t, client, "without the metadata service")
		}
		c.sleep(6 * time.Minute)
		equal(t, "reason", failure(t, read(t.Context(), client, "c1")).Reason, cloud.ReasonAuth)
		c.setFault(simulator.MetadataToken)
		c.setFault(simulator.SecurityKey)
		c.sleep(time.Minute)
		mustRead(t, client, "with the metadata service")
	})
}

func TestUsersAndTokensAssumeByIAM(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		c.addAccount()
		user := func(o *csstest.Options) {
			caller := credentials.NewUser(o.Options, credentials.Login{
				Endpoint: o.IAMEndpoint, User: userName, Domain: userDomain, Project: o.Region,
			}, fixedPassword(userPassword))
			assuming(byIAM(), caller)(o)
		}
		client := c.client(t, user)
		mustRead(t, client, "with the keys that a user got")
		c.RevokeTokens()
		c.ExpireKeys()
		mustRead(t, client, "after the token was revoked and the keys have expired")
		equal(t, "logins", c.Requested(simulator.Tokens), 2)
		equal(t, "assumptions", c.Count(simulator.Target{Endpoint: simulator.AgencyByIAM}), 3) // one with the revoked token
	})
}

func TestChangedCallersKeyIsTriedAtOnce(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		c.addAccount(func(a *simulator.AccountAgency) { a.Callers = []string{testAK} })
		c.AddProject(simulator.Project{Region: "x", ID: "x", Keys: []simulator.Key{{Access: testAK, Secret: testSK}}})
		ak, sk := filepath.Join(t.TempDir(), "ak"), filepath.Join(t.TempDir(), "sk")
		writeFile(t, ak, callerAK)
		writeFile(t, sk, callerSK)
		client := c.client(t, assuming(byIAM(),
			credentials.NewFiles(cloud.Credentials{}, cloud.Credentials{AccessKey: ak, SecretKey: sk})))
		equal(t, "reason", failure(t, read(t.Context(), client, "c1")).Reason, cloud.ReasonDenied)
		writeFile(t, ak, testAK)
		writeFile(t, sk, testSK)
		time.Sleep(2 * time.Second)
		mustRead(t, client, "with a key that the agency trusts")
	})
}

func TestAnswersOfAssumptions(t *testing.T) {
	t.Parallel()
	iam := func(expires string) string {
		return fmt.Sprintf(`{"credential":{"access":%q,"secret":%q,"securitytoken":%q%s}}`, testAK, testSK, testToken, expires)
	}
	sts := func(expires string) string {
		return fmt.Sprintf(`{"assumed_agency":{"urn":1},"credentials":{"access_key_id":%q,"secret_access_key":%q,`+
			`"security_token":%q%s}}`, testAK, testSK, testToken, expires)
	}
	for name, test := range map[string]struct {
		status int
		body   string
		life   time.Duration // 0: not known
		reason cloud.Reason
	}{
		"microseconds": {201, iam(`,"expires_at":"2000-01-01T01:00:00.587000Z"`), time.Hour, ""},
		"milliseconds": {200, sts(`,"expiration":"2000-01-01T01:00:00.158Z"`), time.Hour, ""},
		"ten digits":   {201, iam(`,"expires_at":"2000-01-01T01:00:00.1234567890Z"`), time.Hour, ""},
		"one digit":    {201, sts(`,"expiration":"2000-01-01T01:00:00.1Z"`), time.Hour, ""},
		"comma":        {201, iam(`,"expires_at":"2000-01-01T01:00:00,5Z"`), time.Hour, ""},
		"no zone":      {201, iam(`,"expires_at":"2000-01-01T01:00:00.5"`), time.Hour, ""},
		"offset":       {200, sts(`,"expiration":"2000-01-01T09:00:00.5+08:00"`), time.Hour, ""},
		"no expiry":    {201, iam(``), 0, ""},
		"null expiry":  {201, iam(`,"expires_at":null`), 0, ""},
		"number":       {200, sts(`,"expiration":1700000000`), 0, ""},

		"expired":          {201, iam(`,"expires_at":"1999-12-31T23:59:59Z"`), 0, cloud.ReasonAuth},
		"empty":            {201, `{}`, 0, cloud.ReasonDecode},
		"no body":          {200, ``, 0, cloud.ReasonDecode},
		"HTML":             {200, `<html>`, 0, cloud.ReasonDecode},
		"no token":         {201, `{"credential":{"access":"a","secret":"b"}}`, 0, cloud.ReasonDecode},
		"null":             {200, `{"credentials":null}`, 0, cloud.ReasonDecode},
		"other content":    {202, iam(``), 0, cloud.ReasonInvalid},
		"a redirect":       {302, ``, 0, cloud.ReasonInvalid},
		"unknown agency":   {404, `{"error_code":"IAM.0004","error_msg":"no such agency"}`, 0, cloud.ReasonNotFound},
		"invalid duration": {400, `{"error_code":"STS5.1","error_msg":"duration_seconds"}`, 0, cloud.ReasonInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.addAccount()
				c.setFault(simulator.AgencyByIAM, simulator.Fault{Status: test.status, Body: test.body})
				var options cloud.Options
				c.client(t, assuming(byIAM(), callerKey()), func(o *csstest.Options) { options = o.Options })
				got, err := options.Credentials.Credentials(t.Context())
				if test.reason != "" {
					var e *cloud.Error
					if err == nil || errors.As(err, &e) && e.Reason != test.reason {
						t.Errorf("got %v, want reason %s", err, test.reason)
					}
					checkErrorHides(t, err, testSK)
					return
				}
				want := cloud.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken}
				if got != want || err != nil {
					t.Errorf("got %q, %v; want the keys of the answer", got.AccessKey, err)
				}
				from, expires := credentials.Origin(options.Credentials)
				life := time.Duration(0)
				if !expires.IsZero() {
					life = time.Until(expires).Truncate(time.Second)
				}
				equal(t, "life", life, test.life)
				if !strings.Contains(from, agencyName) || !strings.Contains(from, "the configuration file") {
					t.Errorf("got the origin %q, want the agency and the caller's", from)
				}
			})
		})
	}
}

func TestNoSecretOfAnAssumptionIsShown(t *testing.T) {
	const encoded = "ENCODED-authorization-message-0123456789"
	for name, body := range map[string]string{
		"member":  `{"error_code":"STS5.1","error_msg":"denied","encoded_authorization_message":"` + encoded + `"}`,
		"echoed":  `{"error_code":"STS5.1","error_msg":"denied, canonicalRequest: ` + callerSK + encoded + `"}`,
		"nested":  `{"error":{"code":403,"message":"denied ` + callerSK + `","encoded_authorization_message":"` + encoded + `"}}`,
		"invalid": encoded,
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.addAccount()
				c.setFault(simulator.AgencyBySTS, simulator.Fault{Status: 403, Body: body})
				err := read(t.Context(), c.client(t, assuming(bySTS(), callerKey())), "c1")
				e := failure(t, err)
				equal(t, "reason", e.Reason, cloud.ReasonDenied)
				noSecret(t, "the error and its hint", err.Error()+fmt.Sprint(cloud.LogFields(err)...), encoded, callerSK)
			})
		})
	}
}

func TestPrintedAgencySourceIsHidden(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.addAccount()
	var options cloud.Options
	client := c.client(t, assuming(bySTS(), callerKey()), func(o *csstest.Options) { options = o.Options })
	keys, err := options.Credentials.Credentials(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"source": options.Credentials, "options": options, "client": client,
		"chain": credentials.NewChain(options.Credentials), "struct": struct{ S cloud.CredentialSource }{options.Credentials},
	} {
		t.Run(name, func(t *testing.T) {
			checkHidden(t, value, keys.AccessKey, keys.SecretKey, keys.SecurityToken, callerAK, callerSK)
		})
	}
}

func TestSlowAssumptionDoesNotDelayValidKeys(t *testing.T) {
	bothWays(t, func(t *testing.T, c *testCloud, way credentials.Agency, endpoint simulator.Endpoint) {
		c.addAccount()
		client := c.client(t, assuming(way, callerKey()))
		mustRead(t, client, "at first")
		c.setFault(endpoint, simulator.Fault{Latency: time.Minute})
		time.Sleep(50 * time.Minute) // they are due, but valid
		start := time.Now()
		equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("reads took %s, want no more than the patience of an early renewal", took)
		}
	})
}

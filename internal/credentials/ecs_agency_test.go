// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

const metadataTokenPath = "/meta-data/latest/api/token" //nolint:gosec // a path

// withAgency adds an agency to the cloud, and a source of its keys to the options.
func withAgency(c *testCloud) func(*csstest.Options) {
	c.SetAgency(simulator.Agency{})
	return withSource(credentials.NewECSAgency(c.URL))
}

// equalAgencyRequests checks the numbers of requests for metadata tokens, for keys, and for connections.
func equalAgencyRequests(t *testing.T, c *testCloud, tokens, keys, reads int) {
	t.Helper()
	equal(t, "requests for metadata tokens", c.Requested(simulator.MetadataToken), tokens)
	equal(t, "requests for keys", c.Requested(simulator.SecurityKey), keys)
	equal(t, "requests", c.Reads(""), reads)
}

func TestAgencyKeysSignReadsAndTheLookUp(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		client := c.client(t, withoutProjectID, withAgency(c))
		equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
		equalAgencyRequests(t, c, 1, 1, 20)
		equal(t, "lookups", c.Requested(simulator.Projects), 1)
		c.ExpireKeys()
		mustRead(t, client, "after the keys have expired")
		equal(t, "requests for keys", c.Requested(simulator.SecurityKey), 2)
	})
}

func TestAgencyOfAServiceWithoutMetadataTokens(t *testing.T) {
	for _, status := range []int{404, 405, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				client := c.client(t, withoutProjectID, withAgency(c))
				c.SetAgency(simulator.Agency{TokenStatus: status})
				equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
				equalAgencyRequests(t, c, 1, 1, 20)
				for _, r := range c.Requests() {
					if r.Endpoint == simulator.SecurityKey && r.Header.Get("X-Metadata-Token") != "" {
						t.Error("got a metadata token in the request for keys, want none")
					}
				}
				c.ExpireKeys()
				mustRead(t, client, "after the keys have expired")
				equal(t, "requests for keys", c.Requested(simulator.SecurityKey), 2)
			})
		})
	}
}

func TestAgencyServiceFailsOnce(t *testing.T) {
	for _, test := range []struct {
		name         string
		endpoint     simulator.Endpoint
		fault        simulator.Fault
		tokens, keys int // number of requests
	}{
		{"metadata token has expired", simulator.SecurityKey, simulator.Fault{Status: 401}, 2, 2},
		{"keys 500", simulator.SecurityKey, simulator.Fault{Status: 500}, 2, 2},
		{"keys 503", simulator.SecurityKey, simulator.Fault{Status: 503}, 2, 2},
		{"keys 429", simulator.SecurityKey, simulator.Fault{Status: 429}, 2, 2},
		{"keys, broken connection", simulator.SecurityKey, simulator.Fault{Drop: true}, 2, 2},
		{"token 500", simulator.MetadataToken, simulator.Fault{Status: 500}, 2, 1},
		{"token, broken connection", simulator.MetadataToken, simulator.Fault{Drop: true}, 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				test.fault.For = 1
				c.setFault(test.endpoint, test.fault)
				equal(t, "reads", readAll(t.Context(), c.client(t, withAgency(c)), 20), outcomes{"": 20})
				equalAgencyRequests(t, c, test.tokens, test.keys, 20)
			})
		})
	}
}

func TestAgencyMetadataTokenForms(t *testing.T) {
	for name, change := range map[string]func(*httptest.ResponseRecorder){
		"201":      func(answer *httptest.ResponseRecorder) { answer.Code = 201 },
		"line end": func(answer *httptest.ResponseRecorder) { answer.Body.WriteString("\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				c.rewrite(metadataTokenPath, change)
				equal(t, "reads", readAll(t.Context(), c.client(t, withAgency(c)), 20), outcomes{"": 20})
				equalAgencyRequests(t, c, 1, 1, 20)
			})
		})
	}
}

func TestAgencyKeysAreLong(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		key := longKey()
		c.AddProject(simulator.Project{Region: simtest.Region, ID: simtest.ProjectID, Keys: []simulator.Key{key}})
		c.setFault(simulator.SecurityKey, simulator.Fault{Body: fill(`{"x":null,"credential":{"securitytoken":"{token}",`+
			`"expires_at":"2999-01-08T03:50:07.574000Z","secret":"{secret}","project":{"access":"no"},`+
			`"access":"{access}"}}`, key)})
		equal(t, "reads", readAll(t.Context(), c.client(t, withoutProjectID, withAgency(c)), 3), outcomes{"": 3})
		equalAgencyRequests(t, c, 1, 1, 3)
		equal(t, "lookups", c.Requested(simulator.Projects), 1)
	})
}

func TestAgencyServiceHasAnIPv6Address(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	c := newCloud(t, simulator.Options{})
	server := httptest.NewUnstartedServer(c)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	c.SetAgency(simulator.Agency{})
	got, err := credentials.NewECSAgency(server.URL).Credentials(bounded(t))
	if err != nil || got.SecurityToken == "" || !strings.Contains(server.URL, "[::1]") {
		t.Errorf("%s: got a security token: %t; error %v", server.URL, got.SecurityToken != "", err)
	}
}

func TestProjectsShareAnAgency(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		c.SetAgency(simulator.Agency{})
		agency, keys := credentials.NewECSAgency(c.URL), cloud.NewKeys()
		for _, source := range []cloud.CredentialSource{
			agency, agency, agency, credentials.NewChain(agency), credentials.NewChain(environment(nil), agency),
		} {
			client := c.client(t, withSource(source), func(o *csstest.Options) { o.Keys = keys })
			equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
		}
		equalAgencyRequests(t, c, 1, 1, 100)
	})
}

func TestFailedLookUpIsNotRepeatedByEachCluster(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		c.setFault(simulator.Projects, simulator.Fault{Status: 403})
		client := c.client(t, withoutProjectID, withAgency(c))
		for i := range 100 {
			equal(t, "read", reasonOf(read(t.Context(), client, clusterID(i))), cloud.ReasonDenied)
		}
		equal(t, "lookups", c.Requested(simulator.Projects), 1)
	})
}

// secretAnswer is the body of an answer, which no error may quote.
const secretAnswer = "SECRET-OF-THE-SERVICE"

// agencyFailure is a metadata service that issues no keys.
type agencyFailure struct {
	endpoint simulator.Endpoint
	fault    simulator.Fault
	want     string // part of the error
	skipped  bool   // by a chain
}

func TestAgencyErrors(t *testing.T) {
	const token, keys = simulator.MetadataToken, simulator.SecurityKey
	for name, test := range map[string]agencyFailure{
		"token rejected": {token, simulator.Fault{Status: 400, Body: secretAnswer}, "issues no token: HTTP 400", true},
		"two lines":      {token, simulator.Fault{Body: secretAnswer + "\nx"}, "issues no token: HTTP 200", true},
		"keys 500":       {keys, simulator.Fault{Status: 500, Body: secretAnswer}, "issues no keys: HTTP 500", true},
		"redirect":       {keys, simulator.Fault{Redirect: "http://127.0.0.1:1/"}, "issues no keys: HTTP 30", true},
		"no HTTP":        {keys, simulator.Fault{Garbage: secretAnswer + "\r\n\r\n"}, "malformed HTTP response", true},
		"cut":            {keys, simulator.Fault{CutAfter: 10}, "the connection broke", true},
	} {
		t.Run(name, func(t *testing.T) { onLoopback(t, test.check) })
	}
	t.Run("no agency", func(t *testing.T) {
		onLoopback(t, func(t *testing.T, c *testCloud) {
			checkAgencyError(t, c, "HTTP 401; does this ECS have an agency?", true)
		})
	})
	t.Run("nothing listens", func(t *testing.T) {
		onLoopback(t, func(t *testing.T, c *testCloud) {
			c.URL = "http://127.0.0.1:1"
			checkAgencyError(t, c, "does not answer: dial tcp 127.0.0.1:1: connect: connection refused", true)
		})
	})
}

func TestAgencyAnswersWithoutKeys(t *testing.T) {
	const noPair = "holds no access key and secret key"
	for name, test := range map[string]struct{ body, want string }{
		"no JSON":     {secretAnswer, "the body is not a JSON object"},
		"empty":       {`{}`, noPair},
		"half a pair": {`{"credential":{"access":"` + secretAnswer + `"}}`, noPair},
		"line break":  {`{"credential":{"access":"a","secret":"` + secretAnswer + `\n"}}`, noPair},
		"expired": {
			`{"credential":{"access":"a","secret":"` + secretAnswer + `","expires_at":"1999-01-08T03:50:07.574000Z"}}`,
			"expired at 1999-01-08T03:50:07Z",
		},
	} {
		failure := agencyFailure{simulator.SecurityKey, simulator.Fault{Body: test.body}, test.want, false}
		t.Run(name, func(t *testing.T) { onLoopback(t, failure.check) })
	}
}

// TestAgencyServiceDoesNotAnswer takes the 3 s of real time that the source waits: virtual time does not pass while a
// request is in flight.
func TestAgencyServiceDoesNotAnswer(t *testing.T) {
	t.Parallel()
	failure := agencyFailure{
		simulator.MetadataToken, simulator.Fault{Hang: true}, "does not answer: context deadline exceeded", true,
	}
	failure.check(t, serve(t))
}

func (f agencyFailure) check(t *testing.T, c *testCloud) {
	t.Helper()
	c.SetAgency(simulator.Agency{})
	c.setFault(f.endpoint, f.fault)
	checkAgencyError(t, c, f.want, f.skipped)
}

// checkAgencyError checks the error, and that the service is not requested again soon.
func checkAgencyError(t *testing.T, c *testCloud, want string, skipped bool) {
	t.Helper()
	source := credentials.NewECSAgency(c.URL)
	_, err := source.Credentials(bounded(t))
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "no credentials: ") {
		t.Fatalf("got %v, want an error with %q", err, want)
	}
	noSecret(t, "error", err.Error(), secretAnswer)
	requested := c.Requested(simulator.MetadataToken)
	if _, again := source.Credentials(bounded(t)); again == nil || again.Error() != err.Error() {
		t.Errorf("second request: got %v, want %v", again, err)
	}
	equal(t, "skipped by a chain", skippedByChain(t, source), skipped)
	equal(t, "requests", c.Requested(simulator.MetadataToken), requested)
}

func TestAgencyServiceIsRequestedAgainAfter15Seconds(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		client := c.client(t, withAgency(c))
		c.setFault(simulator.SecurityKey, simulator.Fault{Status: 500, For: 2})
		equal(t, "while it fails", readAll(t.Context(), client, 5), outcomes{cloud.ReasonAuth: 5})
		c.sleep(15*time.Second - time.Millisecond)
		equal(t, "before 15s", readAll(t.Context(), client, 5), outcomes{cloud.ReasonAuth: 5})
		equalAgencyRequests(t, c, 2, 2, 0)
		c.sleep(time.Millisecond)
		equal(t, "after 15s", readAll(t.Context(), client, 5), outcomes{"": 5})
		equalAgencyRequests(t, c, 3, 3, 5)
	})
}

func TestAgencyRequestsAreCancelled(t *testing.T) {
	for _, endpoint := range []simulator.Endpoint{simulator.MetadataToken, simulator.SecurityKey} {
		t.Run(string(endpoint), func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				testCancelled(t, c, endpoint, c.client(t, withAgency(c)))
			})
		})
	}
}

// testCancelled cancels reads while a request to a service on loopback is in flight. They end at once, and the next
// reads succeed.
func testCancelled(t *testing.T, c *testCloud, endpoint simulator.Endpoint, client *css.Client) {
	t.Helper()
	c.setFault(endpoint, simulator.Fault{Latency: 20 * time.Second}) // of real time
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	var group sync.WaitGroup
	group.Go(func() { equal(t, "cancelled reads", readAll(ctx, client, 5), outcomes{cloud.ReasonTimeout: 5}) })
	for c.Requested(endpoint) == 0 {
		runtime.Gosched()
	}
	cancel()
	group.Wait()
	equal(t, "time until the reads ended", time.Since(start), time.Duration(0))
	c.setFault(endpoint)
	equal(t, "reads after that", readAll(t.Context(), client, 5), outcomes{"": 5})
}

// TestReadsEndWhileTheyWaitForARetry: the deadline passes between two requests to the metadata service.
func TestReadsEndWhileTheyWaitForARetry(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		client := c.client(t, withAgency(c))
		c.setFault(simulator.SecurityKey, simulator.Fault{Status: 500})
		readsEndAtTheirDeadline(t, client)
		c.setFault(simulator.SecurityKey)
		equal(t, "reads after that", readAll(t.Context(), client, 5), outcomes{"": 5})
	})
}

func TestReadsEndWhileTheLookUpHangs(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		client := c.client(t, withoutProjectID, withAgency(c))
		c.setFault(simulator.Projects, simulator.Fault{Hang: true})
		readsEndAtTheirDeadline(t, client)
		c.setFault(simulator.Projects)
		equal(t, "reads after that", readAll(t.Context(), client, 5), outcomes{"": 5})
	})
}

// readsEndAtTheirDeadline checks that reads end after 50 ms of virtual time.
func readsEndAtTheirDeadline(t *testing.T, client *css.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	equal(t, "reads until the deadline", readAll(ctx, client, 5), outcomes{cloud.ReasonTimeout: 5})
	equal(t, "time until the reads ended", time.Since(start), 50*time.Millisecond)
}

// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
)

// rejectedAs sets the error code of answers to an invalid token.
func (c *testCloud) rejectedAs(code string) {
	c.rewrite(cssPrefix, func(answer *httptest.ResponseRecorder) {
		body := bytes.Replace(answer.Body.Bytes(), []byte(`"APIGW.0307"`), fmt.Appendf(nil, "%q", code), 1)
		answer.Body = bytes.NewBuffer(body)
	})
}

func TestRevokedTokenIsReplacedOnce(t *testing.T) {
	for _, prefix := range []string{"APIGW.", "APIG."} {
		for _, number := range []string{"0301", "0303", "0305", "0307"} {
			t.Run(prefix+number, func(t *testing.T) {
				inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
					c.rejectedAs(prefix + number)
					c.delay(cssPrefix, 10*time.Millisecond)
					client := c.client(t, withUser)
					equal(t, "reads at first", readAll(t.Context(), client, 32), outcomes{"": 32})
					c.RevokeTokens()
					equal(t, "reads after the token was revoked", readAll(t.Context(), client, 32), outcomes{"": 32})
					equal(t, "logins", c.Requested(simulator.Tokens), 2)
				})
			})
		}
	}
}

func TestFirstTokenIsRevokedBeforeItsUse(t *testing.T) {
	for _, code := range []string{"APIGW.0307", "APIG.0307"} {
		t.Run(code, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.rejectedAs(code)
				var revoke sync.Once
				c.rewrite(loginPath, func(*httptest.ResponseRecorder) { revoke.Do(c.RevokeTokens) })
				client := c.client(t, withUser)
				for range 3 {
					equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
				}
				equal(t, "logins", c.Requested(simulator.Tokens), 2)
			})
		})
	}
}

func TestTokenIsRejectedOnce(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withUser)
		mustRead(t, client, "at first")
		rejected := rejection("APIGW.0301")
		rejected.For = 1
		c.FailReads("", rejected)
		mustRead(t, client, "with a token that is rejected once")
		equal(t, "logins", c.Requested(simulator.Tokens), 2)
		equal(t, "requests", c.Reads(""), 3)
	})
}

func TestEveryTokenIsRejected(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		c.FailReads("", rejection("APIGW.0307"))
		client := c.client(t, withUser)
		for range 10 {
			equal(t, "read", reasonOf(read(t.Context(), client, "c1")), cloud.ReasonAuth)
		}
		equal(t, "logins", c.Requested(simulator.Tokens), 2)
		equal(t, "requests", c.Reads(""), 1+maxRejections)
	})
}

func TestEveryTokenIsRejectedFromNowOn(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withUser)
		mustRead(t, client, "at first")
		c.ForgetRequests()
		c.FailReads("", rejection("APIGW.0307"))
		for range 10 {
			equal(t, "read", reasonOf(read(t.Context(), client, "c1")), cloud.ReasonAuth)
		}
		equal(t, "logins", c.Requested(simulator.Tokens), 1)
		equal(t, "requests", c.Reads(""), 1+maxRejections)
	})
}

func TestEveryTokenOfParallelReadsIsRejected(t *testing.T) {
	for _, code := range []string{"APIGW.0301", "APIGW.0307"} {
		t.Run(code, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.FailReads("", rejection(code))
				client := c.client(t, withUser)
				for range 5 {
					equal(t, "reads", readAll(t.Context(), client, 50), outcomes{cloud.ReasonAuth: 50})
				}
				logins := c.Requested(simulator.Tokens)
				if logins > 2 || c.Reads("") > maxRejections*logins {
					t.Errorf("got %d logins and %d requests, want at most 2, and %d requests for each",
						logins, c.Reads(""), maxRejections)
				}
			})
		})
	}
}

// TestOneClusterRejectsEveryToken: such a cluster causes few logins, and affects no other cluster.
func TestOneClusterRejectsEveryToken(t *testing.T) {
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		rejected := rejection("APIGW.0307")
		rejected.Latency = 20 * time.Millisecond // the others are accepted meanwhile
		c.FailReads("c7", rejected)
		client := c.client(t, withUser)
		for range 20 {
			equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 19, cloud.ReasonAuth: 1})
		}
		if n := c.Requested(simulator.Tokens); n > 2 {
			t.Errorf("got %d logins, want at most 2", n)
		}
		c.RevokeTokens()
		// Two more fail: the token is new, so it is replaced only after the third rejection in a row.
		if ended := readAll(t.Context(), client, 20); ended[""] < 20-1-(maxRejections-1) {
			t.Errorf("reads after the token was revoked: got %v, want at most %d failures", ended, 1+maxRejections-1)
		}
	})
}

func TestFailedLoginIsNotRepeatedByEachRead(t *testing.T) {
	for status, logins := range map[int]int{401: 1, 403: 1, 404: 1, 500: 1, 503: 4} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				client := c.client(t, withUser)
				equal(t, "reads at first", readAll(t.Context(), client, 50), outcomes{"": 50})
				c.RevokeTokens()
				c.setFault(simulator.Tokens, simulator.Fault{Status: status})
				for range 3 {
					if ended := readAll(t.Context(), client, 50); ended[""] > 0 {
						t.Errorf("got %v, want no success", ended)
					}
				}
				equal(t, "further logins", c.Requested(simulator.Tokens)-1, logins)
			})
		})
	}
}

func TestFailedLoginIsBackedOffFrom(t *testing.T) {
	for status, waits := range map[int][]time.Duration{
		401: {time.Minute, 2 * time.Minute, 4 * time.Minute}, 403: {time.Minute, 2 * time.Minute, 4 * time.Minute},
		500: {time.Second, time.Second, time.Second}, 429: {time.Second},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.setFault(simulator.Tokens, simulator.Fault{Status: status})
				client := c.client(t, func(o *csstest.Options) { o.Retry = cloud.Retry{Tries: 1} }, withUser)
				for i, wait := range waits {
					mustFail(t, c, client, i+1)
					time.Sleep(wait - time.Millisecond)
					mustFail(t, c, client, i+1)
					time.Sleep(time.Millisecond)
				}
				mustFail(t, c, client, len(waits)+1)
			})
		})
	}
}

// mustFail checks that a read fails, and the number of logins by then.
func mustFail(t *testing.T, c *testCloud, client *css.Client, logins int) {
	t.Helper()
	if err := read(t.Context(), client, "c1"); err == nil {
		t.Error("got no error of a read")
	}
	equal(t, "logins", c.Requested(simulator.Tokens), logins)
}

// TestWrongPasswordOfManyProjects: the cloud locks a user after five wrong passwords in a row.
func TestWrongPasswordOfManyProjects(t *testing.T) {
	for name, latency := range map[string]time.Duration{"quick": 0, "slow": 1200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				keys := cloud.NewKeys()
				clients := make([]*css.Client, 10)
				for i := range clients {
					clients[i] = c.client(t, func(o *csstest.Options) { o.Keys = keys }, withUser)
				}
				readEach := func() outcomes {
					var mu sync.Mutex
					var group sync.WaitGroup
					ended := make(outcomes)
					for _, client := range clients {
						group.Go(func() {
							err := read(t.Context(), client, "c1")
							mu.Lock()
							defer mu.Unlock()
							ended[reasonOf(err)]++
						})
					}
					group.Wait()
					return ended
				}
				equal(t, "reads with the right password", readEach(), outcomes{"": 10})
				equal(t, "logins", c.Requested(simulator.Tokens), 10)
				time.Sleep(trustFor + 100*time.Millisecond)
				c.AddUser(simulator.User{Name: userName, Domain: userDomain, Password: "another password"})
				c.RevokeTokens()
				c.delay(loginPath, latency)
				for range 3 {
					equal(t, "reads with a wrong password", readEach(), outcomes{cloud.ReasonAuth: 10})
				}
				if n := c.Requested(simulator.Tokens) - 10; n > maxRejections {
					t.Errorf("got %d logins with a wrong password, want at most %d", n, maxRejections)
				}
			})
		})
	}
}

func TestScrapesWhileCredentialsChangeOften(t *testing.T) {
	t.Parallel()
	t.Run("tokens are valid for a second", func(t *testing.T) {
		inMemory(t, simulator.Options{TokenLife: time.Second}, func(t *testing.T, c *testCloud) {
			equal(t, "failed reads", scrapeOften(t, c, c.client(t, withUser), func() {}), 0)
			if n := c.Requested(simulator.Tokens); n > 5 {
				t.Errorf("got %d logins, want at most 5", n)
			}
		})
	})
	// Two reads fail the second time: credentials a second old are replaced only after the third rejection in a row.
	t.Run("tokens are revoked", func(t *testing.T) {
		inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
			if n := scrapeOften(t, c, c.client(t, withUser), c.RevokeTokens); n > maxRejections-1 {
				t.Errorf("got %d failed reads, want at most %d", n, maxRejections-1)
			}
			if n := c.Requested(simulator.Tokens); n > 4 {
				t.Errorf("got %d logins, want at most 4", n)
			}
		})
	})
	t.Run("keys of an agency expire", func(t *testing.T) {
		onLoopback(t, func(t *testing.T, c *testCloud) {
			if n := scrapeOften(t, c, c.client(t, withAgency(c)), c.ExpireKeys); n > maxRejections-1 {
				t.Errorf("got %d failed reads, want at most %d", n, maxRejections-1)
			}
			if n := c.Requested(simulator.SecurityKey); n > 4 {
				t.Errorf("got %d requests for keys, want at most 4", n)
			}
		})
	})
}

// scrapeOften runs two scrapers for 2.2 s of virtual time, and invalidates the credentials about every second, while
// requests are in flight, which take 50 ms. It returns the number of failed reads.
func scrapeOften(t *testing.T, c *testCloud, client *css.Client, invalidate func()) int64 {
	t.Helper()
	c.addClusters(300)
	c.FailReads("", simulator.Fault{Latency: 50 * time.Millisecond})
	start := time.Now()
	var failed atomic.Int64
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for time.Since(start) < 2200*time.Millisecond {
				scrape(t.Context(), client, &failed)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for range 2 {
		c.sleep(1005 * time.Millisecond)
		invalidate()
	}
	group.Wait()
	return failed.Load()
}

// scrape reads 300 clusters, 16 at a time.
func scrape(ctx context.Context, client *css.Client, failed *atomic.Int64) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for n := next.Add(1); n <= 300; n = next.Add(1) {
				if read(ctx, client, clusterID(int(n-1))) != nil {
					failed.Add(1)
				}
			}
		})
	}
	group.Wait()
}

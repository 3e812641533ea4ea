// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// withSessions sets the sessions of the first n connections of withConnections.
func (c *testCloud) withSessions(clusterID string, n int, lag time.Duration) {
	c.SetCloudEye("p1", simulator.CloudEye{Lag: lag})
	for i := range n {
		c.SetSessions(fmt.Sprintf("connection-%d-of-%s", i, clusterID), func(time.Time) (float64, float64, bool) {
			return 12, 3, true
		})
	}
}

func TestDiagnoseReadsSessions(t *testing.T) {
	for name, test := range map[string]struct {
		connections, withValues int
		settings                string
		text                    string
		facts                   map[string]string
	}{
		"some have values": {
			25, 3, "", "Cloud Eye has values for 3 of 10 connections, the newest of 2m",
			map[string]string{
				"sessions": "HTTP 200", "sessions_batch_size": "500", "sessions_values": "some (3 of 10 connections)",
			},
		},
		"all have values": {
			2, 2, "", "Cloud Eye has values for 2 of 2 connections, the newest of 2m",
			map[string]string{"sessions_values": "all (2 of 2 connections)"},
		},
		"none has values": {
			3, 0, "", "Cloud Eye has values for 0 of 3 connections; docs/metrics.md says why it may have none; asked for 6 metrics",
			map[string]string{"sessions": "HTTP 200", "sessions_values": "none (0 of 3 connections)", "sessions_newest_age": ""},
		},
		"small batches": {
			25, 25, "batch_size: 3", "Cloud Eye has values for 2 of 2 connections, the newest of 2m",
			map[string]string{"sessions_batch_size": "3", "sessions_values": "all (2 of 2 connections)"},
		},
		"one metric": {
			25, 25, "batch_size: 1", "asked for 1 metric in one request (batch_size 1)",
			map[string]string{"sessions_values": "all (1 of 1 connections)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
			c.projects[0].settings = c.sessionsOf(test.settings)
			c.addCluster("p1", "c1", withConnections(test.connections))
			c.withSessions("c1", test.withValues, 2*time.Minute)
			d := c.diagnose(t)
			got := d.step("sessions")
			if got.state != "ok" || !strings.Contains(got.text, test.text) || d.code != 0 {
				t.Errorf("got %q and exit code %d, want %q:\n%s", got, d.code, test.text, d.text)
			}
			for key, want := range test.facts {
				if got := d.fact(key); got != want {
					t.Errorf("%s: got %q, want %q", key, got, want)
				}
			}
			if age := d.fact("sessions_newest_age"); test.withValues > 0 && (age < "120 s" || age > "189 s") {
				t.Errorf("got an age of %q, want 2 to 3 minutes", age)
			}
			if proxy, ces := d.step("proxy").text, d.step("CES HTTP").state; proxy != "CSS: none; CES: none" || ces != "ok" {
				t.Errorf("got proxies %q, and %q for the HTTP of Cloud Eye", proxy, ces)
			}
			if n := c.Requested(simulator.Sessions); n != 1 {
				t.Errorf("got %d requests to Cloud Eye, want 1", n)
			}
		})
	}
}

func TestDiagnoseOfSessionsThatCannotBeRead(t *testing.T) {
	fault := func(f simulator.Fault) func(*testing.T, *testCloud) {
		return func(_ *testing.T, c *testCloud) { c.failSessions(f) }
	}
	at := func(url string) func(*testing.T, *testCloud) {
		return func(_ *testing.T, c *testCloud) {
			c.projects[0].settings = fmt.Sprintf("sessions: {endpoint: %q}", url)
		}
	}
	const code = `{"http_code":401,"message":{"details":"Incorrect.","code":"ces.0401"}}`
	for name, test := range map[string]struct {
		change             func(*testing.T, *testCloud)
		failed, says, fact string
		requests           int // to Cloud Eye
	}{
		"denied": {
			func(_ *testing.T, c *testCloud) { c.SetCloudEye("p1", simulator.CloudEye{Denied: true}) }, "sessions",
			"What to do: Allow ces:metricData:list, or remove sessions from the project.", "HTTP 403", 1,
		},
		"throttled": {
			fault(simulator.Fault{Status: 429, Body: `{"http_code":429,"message":{"details":"x","code":"ces.0429"}}`}), "sessions",
			"What to do: Cloud Eye limits the calls of an account", "HTTP 429 ces.0429", 1,
		},
		"rejected": {fault(simulator.Fault{Status: 401, Body: code}), "sessions", "HTTP 401 ces.0401", "HTTP 401 ces.0401", 1},
		"hanging": {
			fault(simulator.Fault{Hang: true}), "sessions", "timed out waiting for the answer",
			"unknown (a request failed: timeout)", 1,
		},
		"smaller batches": {
			func(_ *testing.T, c *testCloud) { c.SetCloudEye("p1", simulator.CloudEye{MaxMetrics: 10}) }, "sessions",
			"What to do: Some clouds allow fewer metrics in a call: lower sessions.batch_size, for example to 10.",
			"HTTP 400 ces.0014", 1,
		},
		"another server": {
			func(t *testing.T, c *testCloud) {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = w.Write([]byte("<html>It works!</html>"))
				}))
				t.Cleanup(server.Close)
				at(server.URL)(t, c)
			}, "sessions", "What to do: The response is not from Cloud Eye: check sessions.endpoint", "unknown (a request failed: decode)", 0,
		},
		"no such host": {at("https://ces.invalid"), "CES DNS", "ces.invalid: ", "unknown (CES cannot be reached)", 0},
		"nothing listens": {
			func(t *testing.T, c *testCloud) {
				server := httptest.NewServer(nil)
				server.Close()
				at(server.URL)(t, c)
			}, "CES TCP", "connection refused", "unknown (CES cannot be reached)", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
			c.projects[0].settings = c.sessionsOf("")
			c.addCluster("p1", "c1", withConnections(12))
			c.withSessions("c1", 12, 0)
			test.change(t, c)
			d := c.diagnose(t, "--scrape.timeout=2s", "--scrape.timeout-offset=0s")
			if got := d.named("failed"); !slices.Equal(got, []string{test.failed}) || d.code != 1 {
				t.Errorf("got these steps failed: %q, want %q:\n%s", got, test.failed, d.text)
			}
			if got := d.step(test.failed).text; !strings.Contains(got, test.says) {
				t.Errorf("got %q, want %q in it", got, test.says)
			}
			if got := d.fact("sessions"); got != test.fact || d.fact("sessions_batch_size") != "500" {
				t.Errorf("got the fact %q, want %q:\n%s", got, test.fact, d.facts)
			}
			if n := c.Requested(simulator.Sessions); n != test.requests {
				t.Errorf("got %d requests to Cloud Eye, want %d", n, test.requests)
			}
			if got := d.step("API facts"); (got.state == "skipped") != (name == "rejected") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestDiagnoseSkipsSessions: without connections there is nothing to ask, and a rejected key is not tried again.
func TestDiagnoseSkipsSessions(t *testing.T) {
	rejected := simulator.Fault{Status: 401, Body: `{"error_code":"APIGW.0301","error_msg":"Incorrect."}`}
	for name, test := range map[string]struct {
		change func(*testCloud)
		want   string
	}{
		"not configured": {func(c *testCloud) { c.projects[0].settings = "" }, "not configured"},
		"no connections": {func(c *testCloud) {
			c.UpdateCluster("c1", func(c *simulator.Cluster) { c.Connections = nil })
		}, "no connection was read"},
		"connections that cannot be asked for": {func(c *testCloud) {
			c.UpdateCluster("c1", func(c *simulator.Cluster) {
				for i, id := range []string{"", `"`, "x y"} {
					c.Connections[i].ID = id
				}
			})
		}, "no connection was read"},
		"connections that cannot be read": {func(c *testCloud) { c.FailReads("", simulator.Fault{Status: 500}) }, "no connection was read"},
		"CSS rejects the key":             {func(c *testCloud) { c.FailReads("", rejected) }, "the API rejects the credentials"},
		"wrong key":                       {func(c *testCloud) { c.projects[0].secretKey = "wrong-secret-key" }, "authentication failed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, project{})
			c.projects[0].settings = c.sessionsOf("")
			c.addCluster("p1", "c1", withConnections(3))
			test.change(c)
			d := c.diagnose(t)
			if got := d.step("sessions"); got.state != "skipped" || got.text != test.want {
				t.Errorf("got %q, want it skipped: %s", got, test.want)
			}
			fact := "unknown (" + test.want + ")"
			if name == "not configured" {
				fact = test.want
			}
			if got := d.fact("sessions"); got != fact || c.Requested(simulator.Sessions) != 0 {
				t.Errorf("got the fact %q and %d requests, want %q and none", got, c.Requested(simulator.Sessions), fact)
			}
		})
	}
}

// TestDiagnoseOfSessionsOfAnAccount: Cloud Eye is asked for the projects that are found, and not for the account.
func TestDiagnoseOfSessionsOfAnAccount(t *testing.T) {
	c := newAccount(t)
	c.AddProject(simulator.Project{
		ID: "a1", Region: "cn-north-4", Keys: []simulator.Key{{Access: accountKey, Secret: c.secrets[0]}},
	})
	c.addWithSessions("a1", "of-a1")
	d := runDiagnose(t.Context(), t, environment(nil),
		"--config.file="+c.entriesFile(t, c.entry("regions: [cn-north-4]", c.sessionsOf(""))))
	account, found, _ := strings.Cut(d.text, "\nProject ")
	const want = "Cloud Eye has values for 1 of 2 connections"
	if strings.Contains(account, "CES") || !strings.Contains(found, "CES HTTP") || !strings.Contains(d.step("sessions").text, want) {
		t.Errorf("want no step to Cloud Eye before the project, and %q:\n%s", want, d.text)
	}
}

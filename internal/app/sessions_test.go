// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// newSessionsCloud returns a cloud with a project that reads sessions, and whose clusters have two connections each: the
// first has sessions, the second none.
func newSessionsCloud(t *testing.T, clusters ...string) *testCloud {
	t.Helper()
	c := newCloud(t, simulator.Options{}, project{})
	for _, id := range clusters {
		c.addWithSessions("p1", id)
	}
	c.projects[0].settings = c.sessionsOf("batch_size: 3")
	return c
}

// sessionsOf returns the settings of a project that reads sessions.
func (c *testCloud) sessionsOf(settings string) string {
	return fmt.Sprintf("sessions: {endpoint: %q, %s}", c.URL, settings)
}

func (c *testCloud) addWithSessions(projectID, id string) {
	c.addCluster(projectID, id, func(cluster *simulator.Cluster) {
		for _, suffix := range []string{"used", "unused"} {
			cluster.Connections = append(cluster.Connections, simulator.Connection{
				ID: id + "-" + suffix, Status: "accepted", MaxSession: "3000",
			})
		}
	})
	c.SetSessions(id+"-used", func(time.Time) (sessions, active float64, ok bool) { return 12, 3.5, true })
}

func (c *testCloud) failSessions(faults ...simulator.Fault) {
	c.SetFault(simulator.Target{Endpoint: simulator.Sessions}, faults...)
}

// scrapeUntil scrapes until the exposition fulfils the condition.
func (p *program) scrapeUntil(t *testing.T, what string, condition func(exposition) bool) (e exposition) {
	t.Helper()
	p.eventually(t, what, func() bool {
		e = p.scrape(t, 10*time.Second)
		return condition(e)
	})
	return e
}

func (e exposition) has(line string) bool { return strings.Contains("\n"+e.text, "\n"+line) }

const (
	sessionsAreUp   = `css_vpcep_sessions_up{project_id="p1",region="cn-north-4"} 1`
	sessionsAreDown = `css_vpcep_sessions_up{project_id="p1",region="cn-north-4"} 0`
	lastSuccess     = `css_vpcep_sessions_last_success_timestamp_seconds{project_id="p1",region="cn-north-4"} `
)

// sessionLines returns the lines of a cluster's connections.
func sessionLines(projectID, id string) []string {
	labels := fmt.Sprintf(`{cluster_id=%q,cluster_name="name of %s",connection_id="%s-used",project_id=%q,region="cn-north-4"}`,
		id, id, id, projectID)
	return []string{"css_vpcep_connection_sessions" + labels + " 12", "css_vpcep_connection_active_sessions" + labels + " 3.5"}
}

// sessionSeries returns how many series of sessions in use there are.
func (e exposition) sessionSeries() int {
	return len(e.families["css_vpcep_connection_sessions"].GetMetric()) +
		len(e.families["css_vpcep_connection_active_sessions"].GetMetric())
}

func TestSessionsAreShownAfterTheSecondScrape(t *testing.T) {
	c := newSessionsCloud(t, "a", "b")
	p := c.start(t)
	first := p.scrape(t, 10*time.Second)
	if first.sessionSeries() > 0 || first.has("css_vpcep_sessions_up") {
		t.Error("the first scrape shows sessions before they are read")
	}
	first.checkLines(t,
		`css_vpcep_exporter_api_requests_total{code="200",operation="sessions",region="cn-north-4"} 0`,
		`css_vpcep_exporter_api_requests_total{code="429",operation="sessions",region="cn-north-4"} 0`,
		`css_vpcep_exporter_unparsable_values_total{field="average"} 0`,
	)
	e := p.scrapeUntil(t, "sessions are read", func(e exposition) bool { return e.has("css_vpcep_sessions_up") })
	e.checkLines(t, slices.Concat([]string{sessionsAreUp}, sessionLines("p1", "a"), sessionLines("p1", "b"))...)
	if n := e.sessionSeries(); n != 4 || !e.has(lastSuccess) {
		t.Errorf("got %d series of sessions, want 4, and the time of the read:\n%s", n, e.text)
	}
	for range 3 {
		p.scrape(t, 10*time.Second)
	}
	if n := c.Requested(simulator.Sessions); n != 3 { // 8 metrics, 3 in a call
		t.Errorf("got %d calls, want 3", n)
	}
	for metric, n := range c.MetricQueries() {
		if n != 1 {
			t.Errorf("%v was asked for %d times, want once", metric, n)
		}
	}
	for _, r := range c.Requests() {
		if r.Endpoint == simulator.Sessions && (r.Metrics > 3 || r.FromMoved || r.Status != http.StatusOK) {
			t.Errorf("got the query %+v", r)
		}
	}
	if n := strings.Count(p.log.String(), `msg="Reading sessions succeeded"`); n != 1 {
		t.Errorf("got %d messages about success, want 1:\n%s", n, p.log)
	}
}

func TestProbesAloneReadSessions(t *testing.T) {
	c := newSessionsCloud(t, "a", "b")
	p := c.start(t)
	p.eventually(t, "sessions are read", func() bool {
		e := p.exposition(t, "/probe?target=a", 10*time.Second)
		return e.has(sessionLines("p1", "a")[0]) && e.has(sessionLines("p1", "a")[1]) && e.sessionSeries() == 2
	})
	if n := c.Requested(simulator.Sessions); n > 3 {
		t.Errorf("got %d calls, want at most 3", n)
	}
}

func TestWhatAsksNothingOfCloudEye(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		path string
		file func(c *testCloud)
	}{
		"no series of connections": {[]string{"--no-collector.connections"}, "/metrics", nil},
		"too many connections":     {nil, "/metrics", func(c *testCloud) { c.scrape = "{max_connections: 1}" }},
		"no sessions in the file":  {nil, "/metrics", func(c *testCloud) { c.projects[0].settings = "" }},
		"the exporter's metrics":   {nil, "/metrics?collect[]=exporter", nil},
		"no clusters":              {nil, "/metrics", func(c *testCloud) { c.RemoveCluster("a") }},
		"service off": {nil, "/metrics", func(c *testCloud) {
			c.UpdateCluster("a", func(cluster *simulator.Cluster) { cluster.ServiceOff = true })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSessionsCloud(t, "a")
			if test.file != nil {
				test.file(c)
			}
			p := c.start(t, test.args...)
			for range 3 {
				if e := p.exposition(t, test.path, 10*time.Second); e.sessionSeries() > 0 || e.has("css_vpcep_sessions_") {
					t.Errorf("sessions are shown:\n%s", e.text)
				}
			}
			p.request(t, http.MethodHead, "/metrics", nil)
			p.stop(t)
			if n := c.Requested(simulator.Sessions); n != 0 {
				t.Errorf("got %d calls, want none", n)
			}
		})
	}
}

// withoutSessions returns what a scrape shows of clusters, without times and Cloud Eye's metrics.
func withoutSessions(e exposition) map[string]series {
	clusters := maps.Clone(e.clusters)
	for id, s := range clusters {
		clusters[id] = maps.Clone(s)
		maps.DeleteFunc(clusters[id], func(name string, _ float64) bool {
			return strings.HasSuffix(name, "_seconds") || strings.Contains(name, "sessions "+id)
		})
	}
	return clusters
}

// TestFailuresOfCloudEyeAffectNothingElse also shows that a failure is logged once, and no request is retried.
func TestFailuresOfCloudEyeAffectNothingElse(t *testing.T) {
	body := func(status int, code, details string) simulator.Fault {
		return simulator.Fault{
			Status: status, Body: fmt.Sprintf(`{"http_code":%d,"message":{"details":%q,"code":%q}}`, status, details, code),
		}
	}
	for name, test := range map[string]struct {
		fault             simulator.Fault
		reason, code, log string
	}{
		"denied": {
			body(403, "ces.0403", "Policy doesn't allow"), "denied", "code=ces.0403", "hint=\"allow ces:metricData:list",
		},
		"rejected":    {body(401, "ces.0401", "no"), "auth", "code=ces.0401", "rejected"},
		"throttled":   {body(429, "ces.0429", "Too Many Requests"), "throttled", "code=ces.0429", "Too Many Requests"},
		"failing":     {body(500, "ces.0007", "Internal service error"), "server", "code=ces.0007", "Internal service error"},
		"invalid":     {body(400, "ces.0014", "[metrics]"), "invalid", "code=ces.0014", "look up the code"},
		"not there":   {simulator.Fault{Status: 404, Body: "<html>"}, "not_found", "", "check sessions.endpoint"},
		"gateway":     {simulator.Fault{Status: 503, Body: "<html>"}, "server", "", ""},
		"broken":      {simulator.Fault{Drop: true}, "transport", "", ""},
		"empty":       {simulator.Fault{Body: " "}, "decode", "", "check sessions.endpoint"},
		"no answer":   {simulator.Fault{Body: "{}"}, "decode", "", "check sessions.endpoint"},
		"error as OK": {simulator.Fault{Body: `{"http_code":500,"message":{"code":"ces.0007"}}`}, "decode", "", ""},
		"garbage":     {simulator.Fault{Garbage: "no HTTP\r\n"}, "transport", "", "malformed HTTP response"},
		"cut":         {simulator.Fault{CutAfter: 40}, "transport", "", ""},
		"redirect":    {simulator.Fault{Redirect: "http://127.0.0.1:1/"}, "invalid", "", "redirect not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSessionsCloud(t, "a", "b")
			healthy := c.start(t)
			want := withoutSessions(healthy.scrapeUntil(t, "sessions are read", func(e exposition) bool {
				return e.has(sessionsAreUp)
			}))
			healthy.stop(t)
			c.ForgetRequests()
			c.failSessions(test.fault)
			p := c.start(t)
			p.scrapeUntil(t, "reading sessions failed", func(e exposition) bool { return e.has(sessionsAreDown) })
			var last exposition
			for range 3 {
				last = p.scrape(t, 10*time.Second)
				if diff := cmp.Diff(want, withoutSessions(last)); diff != "" {
					t.Errorf("clusters without (-) and with the failure (+):\n%s", diff)
				}
			}
			if last.sessionSeries() > 0 || last.has(lastSuccess) || len(last.failures()) > 0 {
				t.Errorf("got %d series of sessions, and failures %v; want none", last.sessionSeries(), last.failures())
			}
			if n := c.Requested(simulator.Sessions); n != 1 {
				t.Errorf("got %d calls, want 1", n)
			}
			message := `msg="Reading sessions failed" project=cn-north-4 region=cn-north-4 reason=` + test.reason + " "
			lines := linesWith(p.log.String(), message)
			if strings.Count(lines, "\n") != 1 || !strings.Contains(lines, test.code) || !strings.Contains(lines, test.log) {
				t.Errorf("got %q, want one line with %q and %q:\n%s", lines, test.code, test.log, p.log)
			}
			c.checkSecrets(t, "the log", p.log.String())
		})
	}
}

func TestHangingCloudEyeDelaysNothing(t *testing.T) {
	c := newSessionsCloud(t, "a", "b")
	c.failSessions(simulator.Fault{Hang: true})
	p := c.start(t)
	want := withoutSessions(p.scrape(t, 10*time.Second))
	p.eventually(t, "Cloud Eye hangs", func() bool { return c.Requested(simulator.Sessions) == 1 })
	for range 5 {
		e := p.scrape(t, 10*time.Second)
		e.checkDurations(t, 2*time.Second)
		if diff := cmp.Diff(want, withoutSessions(e)); diff != "" {
			t.Errorf("clusters before (-) and while Cloud Eye hangs (+):\n%s", diff)
		}
	}
	if n := c.Reads("a"); n != 6 {
		t.Errorf("got %d reads of a cluster, want one for each of the 6 scrapes", n)
	}
}

func TestSessionsSurviveReloads(t *testing.T) {
	c := newSessionsCloud(t, "a")
	path := c.file(t, c.projects...)
	p := start(t, "--config.file="+path, "--web.enable-lifecycle")
	lines := append(sessionLines("p1", "a"), sessionsAreUp)
	p.scrapeUntil(t, "sessions are read", func(e exposition) bool { return e.has(lines[0]) })
	calls := c.Requested(simulator.Sessions)
	other := c.projects[0]
	for name, change := range map[string]func(*project){
		"nothing":     func(*project) {},
		"budget":      func(p *project) { p.rate = 500 },
		"name":        func(p *project) { p.name = "renamed" },
		"batch size":  func(p *project) { p.settings = c.sessionsOf("batch_size: 500") },
		"credentials": func(p *project) { p.auth = "{access_key: AK-of-p1-2, secret_key: " + c.secrets[0] + "}" },
		"discovery":   func(p *project) { p.settings += "\n    discovery: {name: \".*\"}" },
	} {
		changed := other
		change(&changed)
		c.AddProject(simulator.Project{ID: "p1", Region: "cn-north-4", Keys: []simulator.Key{
			{Access: changed.withDefaults().accessKey, Secret: c.secrets[0]}, {Access: "AK-of-p1-2", Secret: c.secrets[0]},
		}})
		if status, body := p.reload(t, path, c.config(changed)); status != http.StatusOK {
			t.Fatalf("%s: got status %d: %s", name, status, body)
		}
		e := p.scrape(t, 10*time.Second)
		for _, line := range lines {
			if !e.has(line) {
				t.Errorf("%s: missing line: %s", name, line)
			}
		}
	}
	if n := c.Requested(simulator.Sessions); n != calls {
		t.Errorf("got %d calls after the reloads, want the %d before", n, calls)
	}
	other.settings = ""
	p.reload(t, path, c.config(other))
	if e := p.scrape(t, 10*time.Second); e.sessionSeries() > 0 || e.has("css_vpcep_sessions_") {
		t.Errorf("sessions are shown after they were removed from the file:\n%s", e.text)
	}
	p.reload(t, path, c.config(c.projects[0]))
	p.scrape(t, 10*time.Second).checkLines(t, lines...)
	p.stop(t)
	if n := c.Requested(simulator.Sessions); n != calls {
		t.Errorf("got %d calls after sessions were removed and added again, want the %d before", n, calls)
	}
}

func TestOnceReadsSessions(t *testing.T) {
	for name, test := range map[string]struct {
		fault simulator.Fault
		exit  int
		shown bool
		line  string
	}{
		"success": {simulator.Fault{}, 0, true, sessionsAreUp},
		"failure": {simulator.Fault{Status: 403}, 1, false, sessionsAreDown},
		"timeout": {simulator.Fault{Hang: true}, 1, false, sessionsAreDown},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSessionsCloud(t, "a")
			c.failSessions(test.fault)
			var stdout bytes.Buffer
			log := &buffer{}
			args := []string{"--once", "--scrape.timeout=3s", "--config.file=" + c.file(t, c.projects...)}
			if exit := run(t.Context(), args, environment(nil), &stdout, log); exit != test.exit {
				t.Errorf("got exit code %d, want %d:\n%s", exit, test.exit, log)
			}
			e := parse(t, stdout.String())
			e.checkLines(t, test.line)
			if up := e.labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(up, []string{"a"}) {
				t.Errorf("got clusters %v up, want a", up)
			}
			if test.shown != (e.sessionSeries() == 2) {
				t.Errorf("got %d series of sessions, want them: %v", e.sessionSeries(), test.shown)
			}
		})
	}
}

func TestSessionsOfAnAccount(t *testing.T) {
	c := newAccount(t)
	for _, id := range []string{"a1", "a2"} {
		region := map[string]string{"a1": "cn-north-4", "a2": "ap-southeast-3"}[id]
		c.AddProject(simulator.Project{
			ID: id, Region: region, Keys: []simulator.Key{{Access: accountKey, Secret: c.secrets[0]}},
		})
		c.addWithSessions(id, "of-"+id)
	}
	p := start(t, "--config.file="+c.entriesFile(t, c.entry("regions: [cn-north-4, ap-southeast-3]", c.sessionsOf(""))))
	e := p.scrapeUntil(t, "sessions are read", func(e exposition) bool { return e.sessionSeries() == 4 })
	e.checkLines(t,
		`css_vpcep_sessions_up{project_id="a1",region="cn-north-4"} 1`,
		`css_vpcep_sessions_up{project_id="a2",region="ap-southeast-3"} 1`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="sessions",region="ap-southeast-3"} 1`,
	)
	e.checkLines(t, sessionLines("a1", "of-a1")...)
}

// TestHostileConnectionIDs shows that IDs that Cloud Eye rejects leave the others' sessions.
func TestHostileConnectionIDs(t *testing.T) {
	c := newSessionsCloud(t, "a")
	c.UpdateCluster("a", func(cluster *simulator.Cluster) {
		for _, id := range []string{`"`, "x y", "你好", "a\\b", "-x", strings.Repeat("x", 2000), "a<b>"} {
			cluster.Connections = append(cluster.Connections, simulator.Connection{ID: id, Status: "accepted"})
		}
	})
	p := c.start(t)
	e := p.scrapeUntil(t, "sessions are read", func(e exposition) bool { return e.has("css_vpcep_sessions_up") })
	e.checkLines(t, append(sessionLines("p1", "a"), sessionsAreUp)...)
}

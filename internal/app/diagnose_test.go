// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/diagnose"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// diagnosis is the result of --diagnose.
type diagnosis struct {
	code  int
	text  string // standard output
	log   string
	steps []stepLine
	facts string // from the heading on
}

// stepLine is a step of the report with its wrapped lines joined.
type stepLine struct{ state, name, text string }

func runDiagnose(ctx context.Context, t *testing.T, env config.Environment, args ...string) diagnosis {
	t.Helper()
	var out, log bytes.Buffer
	code := run(ctx, append(args, "--diagnose", "--log.level=debug"), env, &out, &log)
	d := diagnosis{code: code, text: out.String(), log: log.String()}
	checks, facts, _ := strings.Cut(d.text, "\nAPI facts (safe to share)\n")
	d.facts = strings.ReplaceAll(facts, "\n    ", " ")
	for line := range strings.Lines(checks) {
		step := regexp.MustCompile(`^(ok|failed|skipped) +(\S.{15}) (.*)\n`).FindStringSubmatch(line)
		last := len(d.steps) - 1
		switch {
		case step != nil:
			d.steps = append(d.steps, stepLine{step[1], strings.TrimSpace(step[2]), step[3]})
		case strings.HasPrefix(line, "   ") && last >= 0:
			d.steps[last].text += " " + strings.TrimSpace(line)
		}
	}
	for line := range strings.Lines(d.text) {
		if n := utf8.RuneCountInString(line); n > 81 {
			t.Errorf("a line has %d columns: %s", n-1, line)
		}
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == 0x202e }) {
			t.Errorf("a line can control a terminal: %q", line)
		}
	}
	return d
}

// diagnose runs --diagnose for a cloud, and checks what must hold in every case.
func (c *testCloud) diagnose(t *testing.T, args ...string) diagnosis {
	t.Helper()
	return c.diagnoseIn(t, environment(nil), args...)
}

func (c *testCloud) diagnoseIn(t *testing.T, env config.Environment, args ...string) diagnosis {
	t.Helper()
	d := runDiagnose(t.Context(), t, env, append(args, "--config.file="+c.file(t, c.projects...))...)
	c.checkSecrets(t, "the report", d.text)
	c.checkSecrets(t, "the log", d.log)
	c.checkRequests(t)
	if failing := d.named("failed"); (d.code == 0) != (len(failing) == 0) {
		t.Errorf("got exit code %d with these steps failed: %q\n%s", d.code, failing, d.text)
	}
	return d
}

func (c *testCloud) checkRequests(t *testing.T) {
	t.Helper()
	if n := len(c.Requests()); n > len(c.projects)*diagnose.MaxRequests {
		t.Errorf("got %d requests, want at most %d for each project", n, diagnose.MaxRequests)
	}
	for _, p := range c.projects {
		if inARow, _ := c.Rejections(p.withDefaults().accessKey); inARow > 1 {
			t.Errorf("the key was rejected %d times, want at most once", inARow)
		}
	}
}

// named returns the names of the steps with this state.
func (d *diagnosis) named(state string) (names []string) {
	for _, s := range d.steps {
		if s.state == state {
			names = append(names, s.name)
		}
	}
	return names
}

// step returns the first step of that name.
func (d *diagnosis) step(name string) stepLine {
	for _, s := range d.steps {
		if s.name == name {
			return s
		}
	}
	return stepLine{name: name}
}

// fact returns the value of a key, or "".
func (d *diagnosis) fact(key string) string {
	match := regexp.MustCompile(`(?m)^` + key + `: (.*)$`).FindStringSubmatch(d.facts)
	if match == nil {
		return ""
	}
	return match[1]
}

// withConnections returns a change that gives a cluster n accepted connections.
func withConnections(n int) func(*simulator.Cluster) {
	return func(c *simulator.Cluster) {
		c.UpdateSwitch = "false"
		for i := range n {
			c.Connections = append(c.Connections, simulator.Connection{
				ID: fmt.Sprintf("connection-%d-of-%s", i, c.ID), Status: "accepted", MaxSession: simulator.Text("3000"),
				IP: fmt.Sprintf("192.168.1.%d", i), CreatedAt: simulator.Text("2024-06-11T09:36:24Z"), DomainID: "account-of-x",
			})
		}
	}
}

func TestDiagnoseOfAHealthyCloud(t *testing.T) {
	for name, test := range map[string]struct {
		project  project
		requests int
		steps    map[string]string // part of the text, by step
	}{
		"discovery, ID looked up": {project{lookUpID: true}, 12, map[string]string{ //nolint:gosec // shortened
			"credentials": "access key AK-o…1 from the configuration file", "proxy": "CSS: none; IAM: none",
			"IAM HTTP": "HTTP/1.1, answered in", "authentication": "IAM accepts the credentials",
			"project ID": "p1, found in IAM", "cluster list": "2 clusters, 2 to be scraped",
			"connections 1/2": "name of c1 (c1): enabled; 25 connections (25 accepted), 1 page", "scrape timeout": "2 clusters",
		}},
		"one cluster, ID given": {project{clusters: []string{"c1"}}, 8, map[string]string{
			"authentication": "CSS accepts the credentials", "project ID": "p1, from the configuration",
			"connections 1/1": "c1: enabled; 25 connections", "sessions": "not configured", "agency": "not configured",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{}, test.project)
			c.addCluster("p1", "c1", withConnections(25))
			c.addCluster("p1", "c2")
			d := c.diagnose(t)
			for step, want := range test.steps {
				if got := d.step(step); got.state == "failed" || !strings.Contains(got.text, want) {
					t.Errorf("step %q: got %q, want %q in it", step, got, want)
				}
			}
			if n := len(c.Requests()); n != test.requests || d.code != 0 {
				t.Errorf("got %d requests and exit code %d, want %d and 0:\n%s", n, d.code, test.requests, d.text)
			}
		})
	}
}

// TestDiagnoseCannotBeWritten: a report that is lost is no success.
func TestDiagnoseCannotBeWritten(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{})
	c.addCluster("p1", "c1", withConnections(2))
	file, err := os.Open(c.file(t, c.projects...)) // cannot be written to
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var log bytes.Buffer
	code := run(t.Context(), []string{"--diagnose", "--config.file=" + file.Name()}, environment(nil), file, &log)
	if code != 1 || strings.Count(log.String(), "Writing the report failed") != 1 {
		t.Errorf("got exit code %d and %q", code, log.String())
	}
}

func TestDiagnoseNeedsToRunAlone(t *testing.T) {
	for _, args := range [][]string{{"--diagnose", "--once"}, {"--diagnose", "--config.check"}} {
		code, stdout, stderr := execute(t, args...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "--diagnose: it cannot be combined with "+args[1]) {
			t.Errorf("%v: got exit code %d, %q and %q", args, code, stdout, stderr)
		}
	}
}

func TestDiagnoseOfAnInvalidFile(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{settings: "projekt: x"})
	file := "--config.file=" + c.file(t, c.projects...)
	_, want, _ := execute(t, "--config.check", file)
	code, got, _ := execute(t, "--diagnose", file)
	if code != 1 || got != want || !strings.Contains(got, `unknown key`) {
		t.Errorf("got exit code %d and %q, want 1 and %q", code, got, want)
	}
	if n := len(c.Requests()); n != 0 {
		t.Errorf("got %d requests, want none", n)
	}
}

func TestDiagnoseOfOneBrokenProject(t *testing.T) {
	c := newCloud(t, simulator.Options{},
		project{name: "broken", id: "p1", secretKey: "wrong-secret-key"}, project{name: "healthy", id: "p2"})
	c.addCluster("p2", "c2", withConnections(2))
	d := c.diagnose(t)
	broken, healthy, found := strings.Cut(d.text, "Project healthy")
	if !found || !strings.Contains(broken, "failed   authentication") || strings.Contains(healthy, "failed ") {
		t.Errorf("got:\n%s", d.text)
	}
	if !strings.Contains(d.facts, "\nproject: 2 of 2\n") || strings.Contains(d.facts, "healthy") {
		t.Errorf("facts:\n%s", d.facts)
	}
	if d.code != 1 {
		t.Errorf("got exit code %d, want 1", d.code)
	}
}

// TestDiagnoseTriesASharedKeyThreeTimes: the cloud locks a key after five rejections in a row.
func TestDiagnoseTriesASharedKeyThreeTimes(t *testing.T) {
	var projects []project
	for i := range 6 {
		projects = append(projects, project{
			name: fmt.Sprintf("project-%d", i), id: fmt.Sprintf("p%d", i+1), accessKey: "shared-key", secretKey: "wrong-secret-key",
		})
	}
	c := newCloud(t, simulator.Options{}, projects...)
	d := runDiagnose(t.Context(), t, environment(nil), "--config.file="+c.file(t, c.projects...))
	if _, total := c.Rejections("shared-key"); total > 3 || total == 0 {
		t.Errorf("the key was rejected %d times, want 1 to 3", total)
	}
	if n := strings.Count(d.text, "failed   authentication"); n != len(projects) {
		t.Errorf("got %d failed authentications, want %d:\n%s", n, len(projects), d.text)
	}
}

// TestDiagnoseTriesAKeyThreeTimesThatIAMAccepts: acceptances in between do not make up for rejections.
func TestDiagnoseTriesAKeyThreeTimesThatIAMAccepts(t *testing.T) {
	var projects []project
	for i := range 6 {
		projects = append(projects, project{name: fmt.Sprintf("project-%d", i), accessKey: "shared-key", lookUpID: true})
	}
	c := newCloud(t, simulator.Options{}, projects...)
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters},
		simulator.Fault{Status: 401, Body: `{"error_code":"APIGW.0301","error_msg":"Incorrect."}`})
	d := c.diagnose(t)
	lists, lookups := strings.Count(d.text, "failed   cluster list"), strings.Count(d.text, "failed   authentication")
	if n := c.Requested(simulator.Clusters); n != 3 || lists != 3 || lookups != 3 {
		t.Errorf("got %d rejections, %d failed lists and %d failed authentications, want 3 of each:\n%s", n, lists, lookups, d.text)
	}
	if !strings.Contains(strings.Join(strings.Fields(d.text), " "), "credentials: they were rejected 3 times, and are not tried again") {
		t.Errorf("got:\n%s", d.text)
	}
}

// TestDiagnoseKeepsToTheRate: the requests take as long as the budget says, and none times out because of it.
func TestDiagnoseKeepsToTheRate(t *testing.T) {
	slow(t)
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}, rate: 1})
	c.addCluster("p1", "c1", withConnections(25))
	start := time.Now()
	d := c.diagnose(t, "--scrape.timeout=900ms", "--scrape.timeout-offset=0s")
	n := len(c.Requests())
	if least := time.Duration(n-2) * time.Second; time.Since(start) < least-100*time.Millisecond || d.code != 0 {
		t.Errorf("%d requests took %s, want at least %s, and exit code 0:\n%s", n, time.Since(start), least, d.text)
	}
}

func TestDiagnoseJudgesTheTimeout(t *testing.T) {
	ids := clusterIDs("c", 60)
	c := newCloud(t, simulator.Options{}, project{clusters: ids, rate: 5})
	d := c.diagnose(t, "--scrape.timeout=2s")
	s := d.step("scrape timeout")
	const want = "60 clusters: a scrape takes about 11s at requests_per_second and scrape.concurrency, which needs a " +
		"scrape_timeout of 12s or more; assumed: 2s (--scrape.timeout), of which 500ms are kept for the response " +
		"What to do: Set scrape_timeout: 12s or more, and " +
		"scrape_interval at least as long, in Prometheus, and --scrape.timeout=12s here"
	if s.state != "failed" || !strings.Contains(s.text, want) {
		t.Errorf("got %q, want it to fail with %q", s, want)
	}
}

func TestDiagnoseShowsWhereCredentialsComeFrom(t *testing.T) {
	soon := time.Now().Add(90 * time.Minute)
	c := newCloud(t, simulator.Options{TokenLife: time.Until(soon)},
		project{name: "chain", id: "p1", noAuth: true}, project{name: "login", id: "p2",
			auth: "{user: {name: reader, domain: company, password: password-of-reader}}"},
		project{name: "agency", id: "p3", auth: "{ecs_agency: true}"})
	c.SetAgency(simulator.Agency{Projects: []string{"p3"}, Life: time.Until(soon)})
	c.AddUser(simulator.User{Name: "reader", Domain: "company", Password: "password-of-reader"})
	c.addSecret("password-of-reader")
	d := c.diagnoseIn(t, environment(map[string]string{
		"HUAWEICLOUD_SDK_AK": simtest.AccessKey + "-p1", "HUAWEICLOUD_SDK_SK": simtest.SecretKey,
		"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": c.URL,
	}))
	const variables = "access key AK-o…1 from the default chain: the variables HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; " +
		"no known expiry"
	if got := d.step("credentials"); got.text != variables {
		t.Errorf("got %q, want %q", got, variables)
	}
	login := d.step("login")
	if want := "; it expires at " + soon.UTC().Format("2006-01-02 15:04 UTC"); login.state != "ok" ||
		!strings.Contains(login.text, want) ||
		!strings.Contains(login.text, "token (not shown) from a login of the IAM user reader of company") {
		t.Errorf("got %q, want %q in it", login, want)
	}
	agency := d.steps[slices.IndexFunc(d.steps, func(s stepLine) bool { return strings.Contains(s.text, "agency of this ECS") })]
	want := regexp.MustCompile(`^access key HSTS….. with a security token from the agency of this ECS, from the metadata ` +
		`service at http://\S+; it expires at ` + soon.UTC().Format("2006-01-02 15:04 UTC") + `, in 1h30m0s$`)
	if agency.name != "credentials" || !want.MatchString(agency.text) {
		t.Errorf("got %q, want %s", agency, want)
	}
	if d.code != 0 || !slices.Contains(d.named("ok"), "IAM HTTP") {
		t.Errorf("got exit code %d:\n%s", d.code, d.text)
	}
}

// TestDiagnoseOfConnectionsWithoutIDs counts them, as the exporter does.
func TestDiagnoseOfConnectionsWithoutIDs(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{clusters: []string{"c1"}})
	c.addCluster("p1", "c1", withConnections(3), func(c *simulator.Cluster) {
		for i := range c.Connections {
			c.Connections[i].ID = ""
		}
	})
	d := c.diagnose(t)
	if got := d.step("connections 1/1"); !strings.Contains(got.text, "enabled; 3 connections (3 accepted), 1 page") {
		t.Errorf("got %q", got)
	}
}

// TestDiagnoseOfOddNames: nothing that the cloud sends reaches the terminal as it is.
func TestDiagnoseOfOddNames(t *testing.T) {
	c := newCloud(t, simulator.Options{}, project{})
	c.addCluster("p1", "c1", func(c *simulator.Cluster) {
		c.Name = "\x1b]0;owned\x07\u202egnp.exe\r\n搜索-" + strings.Repeat("长", 200)
		c.Engine = "elasticsearch"
	})
	c.addCluster("p1", "c2")
	c.FailReads("c2", simulator.Fault{Status: 403, Body: `{"errCode":"CSS.0015","externalMessage":"\u001b[31mdenied \u202e"}`})
	d := c.diagnose(t)
	if !strings.Contains(d.text, "<U+202E>") || strings.ContainsAny(d.text, "\x1b\u202e\r\x07") {
		t.Errorf("got:\n%q", d.text)
	}
}

// TestDiagnoseSendsAtMostTwentyRequests: short pages, long lists, a login and a lookup take the most. Sessions take the
// place of further pages.
func TestDiagnoseSendsAtMostTwentyRequests(t *testing.T) {
	for _, withSessions := range []bool{false, true} {
		t.Run(fmt.Sprint("sessions ", withSessions), func(t *testing.T) { diagnoseLongLists(t, withSessions) })
	}
}

func diagnoseLongLists(t *testing.T, withSessions bool) {
	t.Helper()
	c := newCloud(t, simulator.Options{ClusterPageCap: 2, ConnectionPageCap: 10, ConnectionsPaging: simulator.ByOffsetFromOne},
		project{lookUpID: true, auth: "{user: {name: reader, domain: company, password: password-of-reader}}"})
	c.AddUser(simulator.User{Name: "reader", Domain: "company", Password: "password-of-reader"})
	for i := range 30 {
		c.addCluster("p1", fmt.Sprintf("c%d", i), withConnections(200))
	}
	if withSessions {
		c.projects[0].settings = c.sessionsOf("")
	}
	d := c.diagnose(t)
	if got := d.step("sessions").state; (got == "ok") != withSessions {
		t.Errorf("sessions: got %s", got)
	}
	if n := len(c.Requests()); n < 18 || n > diagnose.MaxRequests {
		t.Errorf("got %d requests, want almost %d", n, diagnose.MaxRequests)
	}
	for step, want := range map[string]string{
		"cluster list": "4 clusters of 30 that the API reports", "connections 1/3": "further pages were not read",
		"connections 3/3": "further pages were not read", "scrape timeout": "30 clusters: a scrape takes about ",
	} {
		if got := d.step(step); got.state != "ok" || !strings.Contains(got.text, want) {
			t.Errorf("step %s: got %q, want %q in it", step, got, want)
		}
	}
	if got := d.fact("offset"); got != "counts items from 1" {
		t.Errorf("offset: got %q", got)
	}
}

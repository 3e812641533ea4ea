// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// accountsCloud is a cloud with a caller, who has no project, and accounts with one project and some clusters each,
// whose agencies the caller may assume. It records the secrets that it issues.
type accountsCloud struct {
	*testCloud
	caller simulator.Key
	ids    []string // of all clusters
}

func accountName(n int) string { return fmt.Sprint("account-", n) }

func accountProject(n int) string { return fmt.Sprint("p-", n) }

func newAccountsCloud(t *testing.T, accounts int, change func(*simulator.AccountAgency)) accountsCloud {
	t.Helper()
	c := accountsCloud{testCloud: newUnservedCloud(simulator.Options{}), caller: keyOf("caller")}
	c.AddProject(simulator.Project{Region: "cn-north-4", ID: "p-of-the-caller", Keys: []simulator.Key{c.caller}})
	c.addSecret(c.caller.Secret)
	for n := range accounts {
		c.AddProject(simulator.Project{Region: "cn-north-4", ID: accountProject(n)})
		for i := range 3 {
			id := fmt.Sprintf("c-%d-%d", n, i)
			c.addCluster(accountProject(n), id)
			c.ids = append(c.ids, id)
		}
		c.addAgency(n, change)
	}
	issued := regexp.MustCompile(`"(?:access|secret|securitytoken|access_key_id|secret_access_key|security_token|` +
		`encoded_authorization_message)":"([^"]+)"`)
	c.serveBuffered(t, func(r *http.Request, response *httptest.ResponseRecorder) {
		if r.Method != http.MethodPost {
			return
		}
		for _, match := range issued.FindAllStringSubmatch(response.Body.String(), -1) {
			c.addSecret(match[1])
		}
	})
	return c
}

func (c accountsCloud) addAgency(n int, change func(*simulator.AccountAgency)) {
	a := simulator.AccountAgency{
		Name: "css-reader", DomainName: accountName(n), DomainID: "id-of-" + accountName(n),
		Callers: []string{c.caller.Access}, Projects: []string{accountProject(n)},
	}
	change(&a)
	c.AddAgency(a)
}

// inAccount returns a project without an ID that assumes the agency of an account.
func (c accountsCloud) inAccount(n int, name, agency string) project {
	if agency == "" {
		agency = "domain_name: " + accountName(n)
	}
	return project{
		name: name, id: accountProject(n), lookUpID: true, settings: "discovery: {}",
		auth: fmt.Sprintf("{access_key: %s, secret_key: %s, assume_agency: {name: css-reader, %s}}",
			c.caller.Access, c.caller.Secret, agency),
	}
}

func (c accountsCloud) bySTS(n int) string {
	return fmt.Sprintf("domain_id: id-of-%s, sts_endpoint: %q", accountName(n), c.URL)
}

func (c accountsCloud) assumptions() int {
	return c.Requested(simulator.AgencyByIAM) + c.Requested(simulator.AgencyBySTS)
}

// TestThousandScrapesOfThreeAccounts checks that keys that live 5 s cause neither failures nor more assumptions than
// necessary, and that no secret is shown.
func TestThousandScrapesOfThreeAccounts(t *testing.T) {
	alone(t)
	const life = 5 * time.Second
	c := newAccountsCloud(t, 3, func(a *simulator.AccountAgency) {
		a.Life, a.ExpiryLayout = life, "2006-01-02T15:04:05.0000000Z"
	})
	p := start(t, "--config.file="+c.file(t,
		c.inAccount(0, "a", ""), c.inAccount(1, "b", c.bySTS(1)), c.inAccount(2, "c", c.bySTS(2)), c.inAccount(2, "d", c.bySTS(2)),
	))
	begin := time.Now()
	for n := 0; n < 1000 || time.Since(begin) < 2*life; n++ {
		_, metrics := p.get(t, "/metrics?collect[]=clusters")
		if up := countUpSeries(metrics); up != len(c.ids) {
			t.Fatalf("scrape %d: got %d clusters up, want %d:\n%s", n, up, len(c.ids), metrics)
		}
	}
	most := 3 * (int(time.Since(begin)/(life*4/5)) + 2) // one for each account and renewal
	if n := c.assumptions(); n > most || n < 9 {
		t.Errorf("got %d assumptions in %s, want at most %d", n, time.Since(begin), most)
	}
	t.Logf("%d assumptions in %s", c.assumptions(), time.Since(begin))
	c.checkShown(t, p)
}

// countUpSeries is faster than parsing.
func countUpSeries(metrics string) (up int) {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "css_vpcep_up{") && strings.HasSuffix(line, "} 1\n") {
			up++
		}
	}
	return up
}

// checkShown fails if a page or the log contains a secret.
func (c accountsCloud) checkShown(t *testing.T, p *program) {
	t.Helper()
	for _, path := range []string{"/metrics", "/status", "/status?format=json", "/sd", "/"} {
		_, body := p.get(t, path)
		c.checkSecrets(t, path, body)
	}
	c.checkSecrets(t, "the log", p.log.String())
}

func TestProjectsShareAnAgency(t *testing.T) {
	c := newAccountsCloud(t, 2, func(*simulator.AccountAgency) {})
	same := c.inAccount(0, "a", "")
	again := c.inAccount(0, "b", "")
	again.lookUpID, again.settings, again.clusters = false, "", []string{"c-0-0"}
	same.settings = `discovery: {name: "name of c-0-[12]"}`
	other := c.inAccount(1, "c", "")
	p := start(t, "--config.file="+c.file(t, same, again, other))
	for range 3 {
		if e := p.scrape(t, 10*time.Second); e.countUp(c.ids) != len(c.ids) {
			t.Errorf("got %d clusters up, want %d", e.countUp(c.ids), len(c.ids))
		}
	}
	if n := c.assumptions(); n != 2 {
		t.Errorf("got %d assumptions for two accounts, want 2", n)
	}
	_, metrics := p.get(t, "/metrics")
	parse(t, metrics).checkLines(t,
		`css_vpcep_exporter_api_requests_total{code="200",operation="assume",region="cn-north-4"} 0`,
		`css_vpcep_exporter_api_requests_total{code="201",operation="assume",region="cn-north-4"} 2`,
		`css_vpcep_exporter_api_requests_total{code="429",operation="assume",region="cn-north-4"} 0`,
	)
}

// TestProjectsOfAnotherAccountAreFound: an entry with regions lists the projects of the agency's account, which share
// its keys.
func TestProjectsOfAnotherAccountAreFound(t *testing.T) {
	for _, by := range []string{"IAM", "STS"} {
		t.Run(by, func(t *testing.T) {
			c := newAccountsCloud(t, 1, func(a *simulator.AccountAgency) { a.Projects = append(a.Projects, "p-elsewhere") })
			c.AddProject(simulator.Project{Region: "ap-southeast-3", ID: "p-elsewhere"})
			c.addCluster("p-elsewhere", "c-elsewhere")
			ids := append(slices.Clone(c.ids), "c-elsewhere")
			agency := "domain_name: " + accountName(0)
			if by == "STS" {
				agency = c.bySTS(0)
			}
			entry := fmt.Sprintf("  - {name: org, regions: [cn-north-4, ap-southeast-3], endpoint: %q, iam_endpoint: %q, "+
				"credentials: {access_key: %s, secret_key: %s, assume_agency: {name: css-reader, %s}}}\n",
				c.URL, c.URL, c.caller.Access, c.caller.Secret, agency)
			p := start(t, "--config.file="+c.entriesFile(t, entry))
			if e := p.scrape(t, 10*time.Second); e.countUp(ids) != len(ids) || len(e.clusters) != len(ids) {
				t.Errorf("got %d of %d clusters up, want %d", e.countUp(ids), len(e.clusters), len(ids))
			}
			if n, lists := c.assumptions(), c.Requested(simulator.AccountList); n != 1 || lists != 1 {
				t.Errorf("got %d assumptions and %d listings, want one of each", n, lists)
			}
			c.checkShown(t, p)
		})
	}
}

func TestReloadKeepsAssumedKeys(t *testing.T) {
	c := newAccountsCloud(t, 1, func(*simulator.AccountAgency) {})
	first := c.inAccount(0, "a", "")
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	writeFile(t, path, c.config(first))
	p := start(t, "--web.enable-lifecycle", "--config.file="+path)
	check := func(when string, assumptions int) {
		t.Helper()
		if e := p.scrape(t, 10*time.Second); e.countUp(c.ids) != len(c.ids) {
			t.Errorf("%s: got %d clusters up, want %d", when, e.countUp(c.ids), len(c.ids))
		}
		if n := c.assumptions(); n != assumptions {
			t.Errorf("%s: got %d assumptions, want %d", when, n, assumptions)
		}
	}
	reload := func(q project) {
		t.Helper()
		if status, body := p.reload(t, path, c.config(q)); status != http.StatusOK {
			t.Fatalf("got %d from the reload: %s", status, body)
		}
	}
	check("at first", 1)
	changed := first
	changed.rate = 500
	reload(changed)
	check("after another rate", 1)
	changed.name = "renamed"
	reload(changed)
	check("after another name", 1)
	reload(c.inAccount(0, "renamed", "domain_name: account-0, duration: 2h"))
	check("after another duration", 2)
	reload(c.inAccount(0, "renamed", c.bySTS(0)))
	check("after another way", 3)
	c.checkShown(t, p)
}

// TestProjectIDOfTheEnvironmentIsNotUsedForAnotherAccount uses the default chain.
func TestProjectIDOfTheEnvironmentIsNotUsedForAnotherAccount(t *testing.T) {
	c := newAccountsCloud(t, 1, func(*simulator.AccountAgency) {})
	q := c.inAccount(0, "a", "")
	q.auth = "{assume_agency: {name: css-reader, domain_name: account-0}}"
	p := startIn(t, environment(map[string]string{
		"HUAWEICLOUD_SDK_AK": c.caller.Access, "HUAWEICLOUD_SDK_SK": c.caller.Secret,
		"HUAWEICLOUD_SDK_PROJECT_ID": "p-of-the-caller",
	}), "--config.file="+c.file(t, q))
	if e := p.scrape(t, 10*time.Second); e.countUp(c.ids) != len(c.ids) {
		t.Errorf("got %d clusters up, want %d", e.countUp(c.ids), len(c.ids))
	}
}

// TestUserAssumesAnAgency checks that the user logs in to a project of the caller's account, not to that of the agency's.
func TestUserAssumesAnAgency(t *testing.T) {
	c := newAccountsCloud(t, 1, func(a *simulator.AccountAgency) { a.Callers = []string{"caller/watcher"} })
	c.AddUser(simulator.User{
		Name: "watcher", Domain: "caller", Password: "password-of-the-caller", Projects: []string{"p-of-the-caller"},
	})
	c.addSecret("password-of-the-caller")
	q := c.inAccount(0, "a", "")
	q.lookUpID = false
	q.auth = "{user: {name: watcher, domain: caller, password: password-of-the-caller}, " +
		"assume_agency: {name: css-reader, domain_name: account-0}}"
	p := start(t, "--config.file="+c.file(t, q))
	if e := p.scrape(t, 10*time.Second); e.countUp(c.ids) != len(c.ids) {
		t.Errorf("got %d clusters up, want %d", e.countUp(c.ids), len(c.ids))
	}
	c.checkShown(t, p)
}

func TestRefusedAgencyIsShown(t *testing.T) {
	c := newAccountsCloud(t, 2, func(*simulator.AccountAgency) {})
	p := start(t, "--config.file="+c.file(t, c.inAccount(0, "a", c.bySTS(0)), c.inAccount(1, "b", c.bySTS(1))))
	if e := p.scrape(t, 10*time.Second); e.countUp(c.ids) != len(c.ids) {
		t.Fatalf("got %d clusters up at first, want %d", e.countUp(c.ids), len(c.ids))
	}
	c.DeleteAgency("css-reader", "id-of-account-0")
	c.ExpireKeys()
	e := p.scrape(t, 10*time.Second)
	if e.countDown(c.ids[:3]) != 3 || e.countUp(c.ids[3:]) != 3 {
		t.Errorf("got the clusters %v, want those of account-0 down and the others up", e.clusters)
	}
	_, metrics := p.get(t, "/metrics")
	_, status := p.get(t, "/status")
	for where, text := range map[string]string{
		metrics: `css_vpcep_failure_info{cluster_id="c-0-0",cluster_name="name of c-0-0",code="STS5.0003",`,
		status:  "its trust policy, which must name the caller&#39;s account",
	} {
		if !strings.Contains(where, text) {
			t.Errorf("got no %q in %.3000s", text, where)
		}
	}
	if !strings.Contains(p.log.String(), "reason=denied code=STS5.0003") {
		t.Errorf("got the log %s, want the reason and the code", p.log.String())
	}
	c.checkShown(t, p)
}

func TestDiagnoseAssumesTheAgency(t *testing.T) {
	c := newAccountsCloud(t, 2, func(*simulator.AccountAgency) {})
	c.DeleteAgency("css-reader", "id-of-account-1")
	path := c.file(t, c.inAccount(0, "a", c.bySTS(0)), c.inAccount(1, "b", ""))
	var out, log buffer
	code := run(t.Context(), []string{"--diagnose", "--config.file=" + path}, os.LookupEnv, &out, &log)
	text := regexp.MustCompile(`\s+`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{
		"ok STS endpoint " + c.URL,
		"from the agency css-reader of the account id-of-account-0, assumed with the configuration file; it expires at",
		"failed agency assume: HTTP 403 IAM.0002",
		"What to do: Check the name of the agency \"css-reader\" and its account \"account-1\"",
		"skipped authentication the agency was not assumed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got no %q in the report:\n%s", want, out.String())
		}
	}
	if code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	keys := regexp.MustCompile(`access key \S+`).FindAllString(text, -1)
	if len(keys) != 3 { // two of the caller, and one of the agency
		t.Errorf("got the keys %q, want 3", keys)
	}
	c.checkSecrets(t, "the report", out.String()+log.String())
}

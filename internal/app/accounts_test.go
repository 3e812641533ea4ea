// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
)

const accountKey = "AK-of-the-account"

// inAccount is a project of the account in the cloud, with a cluster of the same ID.
type inAccount struct {
	id, region, name   string // the name is by default that of the region
	disabled, isDomain bool
}

// newAccount returns a cloud with an account that has these projects.
func newAccount(t *testing.T, projects ...inAccount) *testCloud {
	t.Helper()
	c := newCloud(t, simulator.Options{})
	c.addSecret(accountKey)
	for _, p := range projects {
		c.addToAccount(p)
	}
	return c
}

func (c *testCloud) addToAccount(p inAccount) {
	c.AddProject(simulator.Project{
		ID: p.id, Region: p.region, IAMName: p.name, Disabled: p.disabled, IsDomain: p.isDomain,
		Keys: []simulator.Key{{Access: accountKey, Secret: simtest.SecretKey}},
	})
	c.addCluster(p.id, "of-"+p.id)
}

// entry returns an entry of the configuration for the account.
func (c *testCloud) entry(settings ...string) string {
	lines := append([]string{
		"endpoint: " + c.URL, "iam_endpoint: " + c.URL, "requests_per_second: 1000",
		fmt.Sprintf("credentials: {access_key: %s, secret_key: %s}", accountKey, simtest.SecretKey),
	}, settings...)
	return "  - " + strings.Join(lines, "\n    ") + "\n"
}

func (c *testCloud) entriesFile(t *testing.T, entries ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "css_vpcep.yml")
	writeFile(t, path, "projects:\n"+strings.Join(entries, ""))
	return path
}

func (c *testCloud) failListing(faults ...simulator.Fault) {
	c.SetFault(simulator.Target{Endpoint: simulator.AccountList}, faults...)
}

type statusOfAccounts struct {
	Accounts []struct {
		Name, State string
		Projects    *int
		Error       struct{ Reason, Hint, Message string }
	}
	Projects []struct{ Name, Region, State string }
}

func (p *program) accountStatus(t *testing.T) (s statusOfAccounts) {
	t.Helper()
	_, body := p.get(t, "/status?format=json")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	return s
}

func ofAccount() []inAccount {
	return []inAccount{
		{id: "a1", region: "cn-north-4"},
		{id: "a2", region: "cn-north-4", name: "cn-north-4_团队 \"a\"\n/b"},
		{id: "a3", region: "ap-southeast-3"},
		{id: "a4", region: "eu-west-101"},
		{id: "a5", region: "cn-north-1", disabled: true},
		{id: "a6", region: "cn-north-9", isDomain: true},
		{id: "a7", region: "MOS"},
		{id: "a8", region: "cn-north-4", name: "cn-north-4_"},
		{id: "a9", region: "nowhere-1"},
	}
}

func TestProjectsOfAnAccountAreFound(t *testing.T) {
	c := newAccount(t, ofAccount()...)
	for regions, want := range map[string][]string{
		"regions: [cn-north-4, ap-southeast-3]":             {"of-a1", "of-a3"},
		"regions: [cn-north-4]\n    subprojects: true":      {"of-a1", "of-a2"},
		"regions: [cn-north-1, cn-north-9, ap-southeast-3]": {"of-a3"},
		`regions: ["*"]`:                                               {"of-a1", "of-a3", "of-a4"},
		"regions: ['*']\n    subprojects: true":                        {"of-a1", "of-a2", "of-a3", "of-a4"},
		"regions: [ap-southeast-3]\n    discovery: {engine: logstash}": nil,
	} {
		t.Run(regions, func(t *testing.T) {
			c.ForgetRequests()
			p := start(t, "--config.file="+c.entriesFile(t, c.entry("name: org", regions)))
			e := p.scrape(t, 10*time.Second)
			if diff := cmp.Diff(want, e.labelValues("css_vpcep_up", "cluster_id", 1)); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			e.checkLines(t, `css_vpcep_account_discovery_up{project="org"} 1`)
			if want != nil {
				e.checkLines(t, fmt.Sprintf(`css_vpcep_account_discovery_projects{project="org"} %d`, len(want)))
			}
			status, body := p.get(t, "/sd")
			if status != http.StatusOK || strings.Count(body, "__meta_css_cluster_id") != len(want) {
				t.Errorf("/sd: got %d %s, want the %d clusters", status, body, len(want))
			}
			_, page := p.get(t, "/status")
			for where, text := range map[string]string{"the log": p.log.String(), "/status": page, "/metrics": e.text} {
				c.checkSecrets(t, where, text)
			}
			if n := c.Requested(simulator.AccountList); n != 1 {
				t.Errorf("got %d listings, want 1", n)
			}
		})
	}
}

func TestNamesAndCountersOfFoundProjects(t *testing.T) {
	c := newAccount(t, ofAccount()...)
	p := start(t, "--config.file="+c.entriesFile(t, c.entry("regions: [cn-north-4, ap-southeast-3]", "subprojects: true")))
	e := p.scrape(t, 10*time.Second)
	want := []string{"cn-north-4/ap-southeast-3", "cn-north-4/cn-north-4", "cn-north-4/cn-north-4_团队 \"a\"\n/b"}
	if diff := cmp.Diff(want, e.labelValues("css_vpcep_cluster_info", "project", 1)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	e.checkLines(t,
		`css_vpcep_exporter_api_requests_total{code="200",operation="account_projects",region="cn-north-4"} 1`,
		`css_vpcep_exporter_api_requests_total{code="429",operation="account_projects",region="cn-north-4"} 0`,
		`css_vpcep_exporter_api_requests_total{code="200",operation="connections",region="ap-southeast-3"} 1`,
		`css_vpcep_discovery_up{project_id="a3",region="ap-southeast-3"} 1`,
	)
	for _, r := range c.Requests() {
		scoped := r.Query != "" || r.Header.Get("X-Project-Id") != ""
		if r.Endpoint == simulator.AccountList && (scoped || r.AccessKey != accountKey) {
			t.Errorf("got the listing %+v, want one without parameters and project, signed with the account's key", r)
		}
	}
	if status, _ := p.get(t, "/probe?target=of-a3&project=cn-north-4%2Fap-southeast-3"); status != http.StatusOK {
		t.Errorf("/probe: got status %d, want 200", status)
	}
}

// TestAnAccountThatCannotBeListed also shows that the other projects are read meanwhile.
func TestAnAccountThatCannotBeListed(t *testing.T) {
	slow(t)
	for name, test := range map[string]struct {
		fault        simulator.Fault
		reason, hint string
	}{
		"denied":    {simulator.Fault{Status: 403, Body: `{"error":{"code":403}}`}, "denied", "needs no permission"},
		"failing":   {simulator.Fault{Status: 500}, "server", "keeps trying"},
		"no answer": {simulator.Fault{Body: `{"projects":null}`}, "decode", "not from IAM"},
		"empty":     {simulator.Fault{Body: `{"projects":[]}`}, "", "kept for three listings"},
		"odd":       {simulator.Fault{Body: `{"projects":[7,{"id":"../x"}]}`}, "", "kept for three listings"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"}, inAccount{id: "b1", region: "cn-north-9"})
			c.failListing(test.fault)
			p := start(t, "--config.file="+c.entriesFile(t, c.entry("name: org", "regions: [cn-north-4]"),
				c.entry("region: cn-north-9", "project_id: b1")))
			e := p.scrape(t, 10*time.Second)
			if got := e.labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(got, []string{"of-b1"}) {
				t.Errorf("got clusters %v, want that of the other project", got)
			}
			e.checkLines(t, `css_vpcep_account_discovery_up{project="org"} 0`)
			if strings.Contains(e.text, "css_vpcep_account_discovery_projects{") {
				t.Error("the number of projects is shown before it is known")
			}
			if status, body := p.get(t, "/sd"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"org"`) {
				t.Errorf("/sd: got %d %s, want 503 with the entry's name", status, body)
			}
			s := p.accountStatus(t)
			if len(s.Accounts) != 1 || s.Accounts[0].Name != "org" || s.Accounts[0].State != "failing" ||
				s.Accounts[0].Error.Reason != test.reason || !strings.Contains(s.Accounts[0].Error.Hint, test.hint) {
				t.Errorf("/status: got %+v, want %s with the hint %q", s.Accounts, test.reason, test.hint)
			}
			if _, page := p.get(t, "/status"); !strings.Contains(page, "1 account&#39;s projects cannot be listed") {
				t.Errorf("the page does not show the failure:\n%s", page)
			}
			c.failListing()
			p.eventually(t, "the account is listed again", func() bool {
				status, body := p.get(t, "/sd")
				return status == http.StatusOK && strings.Contains(body, "of-a1")
			})
			if s := p.accountStatus(t); s.Accounts[0].State != "ok" || *s.Accounts[0].Projects != 1 {
				t.Errorf("/status: got %+v, want ok with 1 project", s.Accounts)
			}
		})
	}
}

// TestReloadFromAProjectToItsAccount hangs the listing after the reload, so that the project is known from before only.
func TestReloadFromAProjectToItsAccount(t *testing.T) {
	c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"}, inAccount{id: "a3", region: "ap-southeast-3"})
	path := c.entriesFile(t, c.entry("region: cn-north-4", "project_id: a1"))
	p := start(t, "--web.enable-lifecycle", "--config.file="+path)
	p.scrape(t, 10*time.Second)
	c.ForgetRequests()
	c.failListing(simulator.Fault{Hang: true})
	c.FailReads("of-a1", simulator.Fault{Status: 403, Body: `{"errCode":"CSS.0015"}`})
	status, body := p.reload(t, path, "scrape: {max_staleness: 1h}\nprojects:\n"+c.entry("name: org", `regions: ["*"]`))
	if status != http.StatusOK {
		t.Fatalf("reload: got %d %s", status, body)
	}
	e := p.scrape(t, 10*time.Second)
	if got := e.labelValues("css_vpcep_cluster_info", "project", 1); !slices.Equal(got, []string{"org/cn-north-4"}) {
		t.Errorf("got projects %v, want that of the file before", got)
	}
	if _, kept := e.clusters["of-a1"]["reported_connections"]; !kept {
		t.Errorf("the list of the cluster is lost:\n%v", e.clusters)
	}
	// A reload does not wait for the listing, and another one restarts it.
	c.failListing()
	c.FailReads("of-a1")
	if status, body := p.reload(t, path, "projects:\n"+c.entry("name: org", "regions: [cn-north-4, ap-southeast-3]",
		"tls_config: {insecure_skip_verify: true}")); status != http.StatusOK {
		t.Fatalf("reload: got %d %s", status, body)
	}
	p.eventually(t, "both projects are read", func() bool {
		return p.scrape(t, 10*time.Second).countUp([]string{"of-a1", "of-a3"}) == 2
	})
	// Back to an entry of its own.
	before := c.Requested(simulator.Clusters)
	if status, body := p.reload(t, path, "projects:\n"+c.entry("region: cn-north-4", "project_id: a1",
		"tls_config: {insecure_skip_verify: true}")); status != http.StatusOK {
		t.Fatalf("reload: got %d %s", status, body)
	}
	e = p.scrape(t, 10*time.Second)
	if got := e.labelValues("css_vpcep_up", "cluster_id", 1); !slices.Equal(got, []string{"of-a1"}) {
		t.Errorf("got clusters %v, want that of the remaining project", got)
	}
	if strings.Contains(e.text, "css_vpcep_account_discovery") {
		t.Error("the metrics of the account remain")
	}
	t.Logf("requests for cluster lists: %d before and %d after", before, c.Requested(simulator.Clusters))
}

func TestEntriesWithTheSameLoginShareAListing(t *testing.T) {
	c := newAccount(t, ofAccount()...)
	path := c.entriesFile(t, c.entry("name: a", "regions: [cn-north-4]"), c.entry("name: b", `regions: ["*"]`),
		c.entry("name: c", "region: ap-southeast-3", "project_id: a3"), c.entry("name: d", "region: eu-west-101"))
	p := start(t, "--web.enable-lifecycle", "--config.file="+path)
	e := p.scrape(t, 10*time.Second)
	want := []string{"a/cn-north-4", "c", "d"} // each project once, although the ID of d is not in the file
	if diff := cmp.Diff(want, e.labelValues("css_vpcep_cluster_info", "project", 1)); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
	for range 3 {
		if status, body := p.request(t, http.MethodPost, "/-/reload", nil); status != http.StatusOK {
			t.Errorf("reload: got %d %s", status, body)
		}
	}
	if n := c.Requested(simulator.AccountList); n != 1 {
		t.Errorf("got %d listings, want 1", n)
	}
}

func TestOnceListsAccountsFirst(t *testing.T) {
	slow(t)
	c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"}, inAccount{id: "b1", region: "cn-north-9"})
	path := c.entriesFile(t, c.entry("name: org", "regions: [cn-north-4]"),
		c.entry("region: cn-north-9", "project_id: b1"))
	for name, test := range map[string]struct {
		fault []simulator.Fault
		code  int
		up    []string
	}{
		"all read": {nil, 0, []string{"of-a1", "of-b1"}},
		"denied":   {[]simulator.Fault{{Status: 403}}, 1, []string{"of-b1"}},
		"hangs":    {[]simulator.Fault{{Hang: true}}, 1, []string{"of-b1"}},
	} {
		c.failListing(test.fault...)
		code, stdout, stderr := execute(t, "--once", "--scrape.timeout=6s", "--config.file="+path)
		e := parse(t, stdout)
		if got := e.labelValues("css_vpcep_up", "cluster_id", 1); code != test.code || !slices.Equal(got, test.up) {
			t.Errorf("%s: got exit code %d and clusters %v, want %d and %v:\n%s", name, code, got, test.code, test.up, stderr)
		}
	}
}

func TestUsersListTheirProjects(t *testing.T) {
	c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"}, inAccount{id: "a3", region: "ap-southeast-3"})
	c.AddUser(simulator.User{
		Name: "reader", Domain: "org", Password: "password-of-the-test", Projects: []string{"a1", "a3"},
	})
	entry := strings.ReplaceAll(c.entry("name: org", "regions: [cn-north-4, ap-southeast-3]"),
		fmt.Sprintf("{access_key: %s, secret_key: %s}", accountKey, simtest.SecretKey),
		"{user: {name: reader, domain: org, password: password-of-the-test}}")
	p := start(t, "--config.file="+c.entriesFile(t, entry))
	if e := p.scrape(t, 10*time.Second); e.countUp([]string{"of-a1", "of-a3"}) != 2 {
		t.Errorf("got clusters %v, want both up:\n%s", e.clusters, p.log)
	}
}

func TestDiagnoseWalksTheFirstProjectsOfAnAccount(t *testing.T) {
	c := newAccount(t, ofAccount()...)
	for i := range 3 {
		c.addToAccount(inAccount{id: fmt.Sprintf("sub%d", i), region: "cn-north-4", name: fmt.Sprintf("cn-north-4_%d", i)})
	}
	for name, test := range map[string]struct {
		settings string
		fault    []simulator.Fault
		want     stepLine // contains the text
		walked   int
	}{
		"found": {
			"regions: [cn-north-4]\n    subprojects: true", nil,
			stepLine{
				"ok", "account",
				`IAM lists 11 projects, 5 of them to be read; the first 3 are diagnosed; left out: ap-southeast-3`,
			}, 3,
		},
		"none": {
			"regions: [sa-brazil-1]", nil,
			stepLine{"failed", "account", "0 of them to be read; left out: cn-north-4, "}, 0,
		},
		"denied": {
			"regions: [cn-north-4]", []simulator.Fault{{Status: 403}},
			stepLine{"failed", "account", "needs no permission"}, 0,
		},
		"empty": {
			"regions: [cn-north-4]", []simulator.Fault{{Body: `{"projects":[]}`}},
			stepLine{"failed", "account", "IAM lists no projects"}, 0,
		},
	} {
		c.failListing(test.fault...)
		c.ForgetRequests()
		path := c.entriesFile(t, c.entry("name: org", test.settings))
		d := runDiagnose(t.Context(), t, environment(nil), "--config.file="+path)
		c.checkSecrets(t, name+": the report", d.text)
		got := d.step("account")
		if got.state != test.want.state || !strings.Contains(got.text, test.want.text) {
			t.Errorf("%s: got %+v, want %+v:\n%s", name, got, test.want, d.text)
		}
		if walked := strings.Count(d.text, "\nProject org/"); walked != test.walked {
			t.Errorf("%s: got %d projects, want %d:\n%s", name, walked, test.walked, d.text)
		}
		if (d.code == 0) != (test.want.state == "ok") {
			t.Errorf("%s: got exit code %d:\n%s", name, d.code, d.text)
		}
	}
}

// TestLargeAccountsAreBounded: each project has a client and refreshes of its own.
func TestLargeAccountsAreBounded(t *testing.T) {
	alone(t)
	c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"})
	var list strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&list, `,{"id":"x%d","name":"cn-north-4_%d"}`, i, i)
	}
	c.failListing(simulator.Fault{Body: `{"projects":[{"id":"a1","name":"cn-north-4"}` + list.String() + "]}"})
	p := start(t, "--config.file="+c.entriesFile(t, c.entry("name: org", "regions: [cn-north-4]",
		"subprojects: true")))
	e := p.exposition(t, "/metrics?collect[]=exporter", 10*time.Second)
	e.checkLines(t, `css_vpcep_account_discovery_up{project="org"} 0`,
		`css_vpcep_account_discovery_projects{project="org"} 1000`)
	s := p.accountStatus(t)
	const want = "the account has more projects than one entry may have; left out: 1501"
	if s.Accounts[0].Error.Message != want || !strings.HasPrefix(s.Accounts[0].Error.Hint, "list fewer regions") {
		t.Errorf("/status: got %+v, want %q with a hint", s.Accounts[0].Error, want)
	}
	if got := p.scrape(t, 30*time.Second).countUp([]string{"of-a1"}); got != 1 {
		t.Error("the cluster of the first project is not up")
	}
}

// TestProjectsAreDisabledOrRemoved: a disabled project is dropped at once, a removed one is kept for two more listings.
func TestProjectsAreDisabledOrRemoved(t *testing.T) {
	c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"}, inAccount{id: "a3", region: "ap-southeast-3"},
		inAccount{id: "a9", region: "cn-north-9"})
	path := c.entriesFile(t, c.entry(`regions: ["*"]`))
	p := start(t, "--web.enable-lifecycle", "--config.file="+path)
	all := []string{"of-a1", "of-a3", "of-a9"}
	if up := p.scrape(t, 10*time.Second).countUp(all); up != 3 {
		t.Errorf("got %d clusters up at first, want 3", up)
	}
	c.addToAccount(inAccount{id: "a1", region: "cn-north-4", disabled: true})
	c.RemoveProject("a3")
	// Another login is listed at once.
	status, body := p.reload(t, path, "projects:\n"+c.entry(`regions: ["*"]`, "tls_config: {insecure_skip_verify: true}"))
	if status != http.StatusOK {
		t.Fatalf("reload: got %d %s", status, body)
	}
	p.eventually(t, "the disabled project is dropped", func() bool {
		return len(p.accountStatus(t).Projects) == 2
	})
	e := p.scrape(t, 10*time.Second)
	if up, down := e.countUp(all), e.countDown(all); up != 1 || down != 1 {
		t.Errorf("got %d clusters up and %d down, want one of each:\n%s", up, down, e.text)
	}
	c.addToAccount(inAccount{id: "a1", region: "cn-north-4"})
	status, body = p.reload(t, path, "projects:\n"+c.entry(`regions: ["*"]`))
	if status != http.StatusOK {
		t.Fatalf("reload: got %d %s", status, body)
	}
	p.eventually(t, "the project is read again", func() bool {
		return p.scrape(t, 10*time.Second).countUp([]string{"of-a1"}) == 1
	})
}

func TestExitDuringAListing(t *testing.T) {
	c := newAccount(t, inAccount{id: "a1", region: "cn-north-4"})
	c.failListing(simulator.Fault{Hang: true})
	p := launch(t, environment(nil), "--config.file="+c.entriesFile(t, c.entry("regions: [cn-north-4]")))
	p.eventually(t, "the listing hangs", func() bool { return c.InFlight() == 1 })
	if status, _ := p.get(t, "/-/ready"); status != http.StatusServiceUnavailable {
		t.Errorf("/-/ready: got status %d before the first listing has ended, want 503", status)
	}
	start := time.Now()
	p.stop(t)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the program took %s to exit", took)
	}
}

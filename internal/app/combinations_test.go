// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"
)

// federatedCloud is an accountsCloud with account 0, whose callers have an ID token, for which they get keys of the caller's account.
type federatedCloud struct {
	accountsCloud
	token string // path
}

func newFederatedCloud(t *testing.T, life time.Duration) federatedCloud {
	t.Helper()
	c := federatedCloud{newAccountsCloud(t, 1, func(a *simulator.AccountAgency) {
		a.Callers, a.Life = nil, life
	}), filepath.Join(t.TempDir(), "id-token")}
	c.SetIdentityProvider(simulator.IdentityProvider{
		ID: "cluster-idp", URN: oidcProvider, AgencyURN: oidcAgency, Projects: []string{"p-of-the-caller"}, Life: life,
	})
	token := c.IDToken("exporter", "", time.Hour)
	c.addSecret(token)
	writeFile(t, c.token, token)
	return c
}

// ways returns the settings of both exchanges of ID tokens, by the endpoint of the simulator that they use.
func (c federatedCloud) ways() map[simulator.Endpoint]string {
	inner := func(way string) string {
		return strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(way, "DIR/id-token", c.token), "{"), "}")
	}
	return map[simulator.Endpoint]string{
		simulator.AssumeWithOIDC: inner(oidcBySTS(c.URL)), simulator.IDTokens: inner(oidcByIAM),
	}
}

// agencies returns the settings of the agency of account 0 by IAM and by STS.
func (c federatedCloud) agencies() map[simulator.Endpoint]string {
	return map[simulator.Endpoint]string{
		simulator.AgencyByIAM: "assume_agency: {name: css-reader, domain_name: " + accountName(0) + "}",
		simulator.AgencyBySTS: "assume_agency: {name: css-reader, " + c.bySTS(0) + "}",
	}
}

// combine calls test for each exchange with each way to the agency of account 0.
func combine(t *testing.T, life time.Duration, test func(
	t *testing.T, c federatedCloud, exchange, agency simulator.Endpoint, credentials string,
)) {
	t.Helper()
	for _, exchange := range []simulator.Endpoint{simulator.AssumeWithOIDC, simulator.IDTokens} {
		for _, agency := range []simulator.Endpoint{simulator.AgencyByIAM, simulator.AgencyBySTS} {
			t.Run(string(exchange)+" "+string(agency), func(t *testing.T) {
				t.Parallel()
				c := newFederatedCloud(t, life)
				test(t, c, exchange, agency, "{"+c.ways()[exchange]+", "+c.agencies()[agency]+"}")
			})
		}
	}
}

// checkOnlyUp checks that exactly these clusters are read.
func (p *program) checkOnlyUp(t *testing.T, ids []string) {
	t.Helper()
	if e := p.scrape(t, 10*time.Second); e.countUp(ids) != len(ids) || len(e.clusters) != len(ids) {
		t.Errorf("got %d of %d clusters up, want %d:\n%s", e.countUp(ids), len(e.clusters), len(ids), p.log)
	}
}

// TestIDTokenAssumesAnAgency: the keys for the ID token, which may not read the other account, sign the request for
// those of the agency. Projects with and without the agency share the former, and reloads keep both.
func TestIDTokenAssumesAnAgency(t *testing.T) {
	combine(t, 0, func(t *testing.T, c federatedCloud, exchange, agency simulator.Endpoint, credentials string) {
		t.Helper()
		c.addCluster("p-of-the-caller", "own")
		all := append(slices.Clone(c.ids), "own")
		projects := []project{
			{name: "a", id: accountProject(0), lookUpID: true, auth: credentials, settings: `discovery: {name: ".*c-0-0"}`},
			{name: "b", id: accountProject(0), auth: credentials, clusters: []string{"c-0-1", "c-0-2"}},
			{name: "c", id: "p-of-the-caller", auth: "{" + c.ways()[exchange] + "}", clusters: []string{"own"}},
		}
		path := c.file(t, projects...)
		p := start(t, "--web.enable-lifecycle", "--config.file="+path)
		_, before := p.get(t, "/metrics?collect[]=exporter")
		for _, operation := range []string{"oidc", "assume"} {
			want := `_requests_total{code="200",operation="` + operation + `",region="cn-north-4"}`
			if !strings.Contains(before, want) {
				t.Errorf("got no series %s before the first scrape", want)
			}
		}
		p.checkOnlyUp(t, all)
		for i := range projects {
			projects[i].rate = 500
		}
		if status, body := p.reload(t, path, c.config(projects...)); status != http.StatusOK {
			t.Fatalf("got %d from the reload: %s", status, body)
		}
		p.checkOnlyUp(t, all)
		for _, endpoint := range []simulator.Endpoint{exchange, agency} {
			if n := c.Requested(endpoint); n != 1 {
				t.Errorf("got %d requests for %s, want 1", n, endpoint)
			}
		}
		for _, r := range c.Requests() {
			if r.Endpoint == agency && !strings.HasPrefix(r.AccessKey, "HSTSIM") {
				t.Errorf("got an assumption by the key %s, want a temporary one", r.AccessKey)
			}
		}
		c.checkShown(t, p)
	})
}

// TestIDTokenAndAgencyAreRenewed: keys that live 5 s cause no failure, and no more requests than necessary.
func TestIDTokenAndAgencyAreRenewed(t *testing.T) {
	slow(t)
	const life = 5 * time.Second
	combine(t, life, func(t *testing.T, c federatedCloud, exchange, agency simulator.Endpoint, credentials string) {
		t.Helper()
		p := start(t, "--config.file="+c.file(t, project{
			id: accountProject(0), auth: credentials, settings: "discovery: {}",
		}))
		begin := time.Now()
		for time.Since(begin) < 13*time.Second && !t.Failed() {
			p.checkOnlyUp(t, c.ids)
			time.Sleep(200 * time.Millisecond)
		}
		most := 2 + int(time.Since(begin)/(life*4/5))
		for _, endpoint := range []simulator.Endpoint{exchange, agency} {
			if n := c.Requested(endpoint); n < 3 || n > most {
				t.Errorf("got %d requests for %s, want 3 to %d", n, endpoint, most)
			}
		}
	})
}

// TestRefusedIDTokenAssumesNothing: the exchange is backed off like that of a project without an agency.
func TestRefusedIDTokenAssumesNothing(t *testing.T) {
	combine(t, 0, func(t *testing.T, c federatedCloud, exchange, agency simulator.Endpoint, credentials string) {
		t.Helper()
		c.SetIdentityProvider(simulator.IdentityProvider{ID: "cluster-idp", URN: oidcProvider, AgencyURN: oidcAgency, Denied: true})
		p := start(t, "--config.file="+c.file(t, project{id: accountProject(0), auth: credentials, clusters: c.ids}))
		for range 5 {
			if e := p.scrape(t, 10*time.Second); e.countDown(c.ids) != len(c.ids) || e.failures()["denied"] == 0 {
				t.Errorf("got the failures %v, want denied", e.failures())
			}
		}
		if e, a := c.Requested(exchange), c.Requested(agency); e != 1 || a != 0 {
			t.Errorf("got %d exchanges and %d assumptions, want 1 and none", e, a)
		}
		if _, page := p.get(t, "/status"); !strings.Contains(page, "identity provider") {
			t.Errorf("got no hint about the identity provider:\n%s", page)
		}
		c.checkShown(t, p)
	})
}

// TestChainWithIDTokenAssumesAnAgency takes the ID token from the environment, whose project ID is the caller's.
func TestChainWithIDTokenAssumesAnAgency(t *testing.T) {
	for agency := range newFederatedCloud(t, 0).agencies() {
		t.Run(string(agency), func(t *testing.T) {
			c := newFederatedCloud(t, 0)
			q := c.inAccount(0, "a", "")
			q.auth = "{" + c.agencies()[agency] + "}"
			p := startIn(t, environment(map[string]string{
				"HUAWEICLOUD_SDK_IDP_ID": "cluster-idp", "HUAWEICLOUD_SDK_ID_TOKEN_FILE": c.token,
				"HUAWEICLOUD_SDK_PROJECT_ID": "p-of-the-caller",
			}), "--config.file="+c.file(t, q))
			p.checkOnlyUp(t, c.ids)
			if e, a := c.Requested(simulator.IDTokens), c.Requested(agency); e != 1 || a != 1 {
				t.Errorf("got %d exchanges and %d assumptions, want one of each", e, a)
			}
			c.checkShown(t, p)
		})
	}
}

// TestIDTokenListsAnAccount: the listing and all projects that are found share the keys for an ID token, or for the
// agency that they assume.
func TestIDTokenListsAnAccount(t *testing.T) {
	for _, exchange := range []simulator.Endpoint{simulator.AssumeWithOIDC, simulator.IDTokens} {
		for _, agency := range []simulator.Endpoint{"", simulator.AgencyByIAM, simulator.AgencyBySTS} {
			t.Run(fmt.Sprint(exchange, " ", agency), func(t *testing.T) {
				t.Parallel()
				c := newFederatedCloud(t, 0)
				c.AddProject(simulator.Project{Region: "ap-southeast-3", ID: "p-elsewhere"})
				c.addCluster("p-elsewhere", "c-elsewhere")
				c.SetIdentityProvider(simulator.IdentityProvider{
					ID: "cluster-idp", URN: oidcProvider, AgencyURN: oidcAgency, Projects: []string{accountProject(0), "p-elsewhere"},
				})
				credentials, want := c.ways()[exchange], append(slices.Clone(c.ids), "c-elsewhere")
				if agency != "" {
					credentials, want = credentials+", "+c.agencies()[agency], c.ids // those that the agency may read
				}
				p := start(t, "--config.file="+c.entriesFile(t, c.federatedEntry(credentials)))
				p.checkOnlyUp(t, want)
				for endpoint, want := range map[simulator.Endpoint]int{exchange: 1, agency: 1, simulator.AccountList: 1} {
					if n := c.Requested(endpoint); endpoint != "" && n != want {
						t.Errorf("got %d requests for %s, want %d", n, endpoint, want)
					}
				}
				_, metrics := p.get(t, "/metrics?collect[]=exporter")
				parse(t, metrics).checkLines(t,
					`css_vpcep_exporter_api_requests_total{code="429",operation="oidc",region="cn-north-4"} 0`)
				c.checkShown(t, p)
			})
		}
	}
}

func (c federatedCloud) federatedEntry(credentials string) string {
	return fmt.Sprintf("  - {name: org, regions: [cn-north-4, ap-southeast-3], endpoint: %q, iam_endpoint: %q, "+
		"credentials: {%s}}\n", c.URL, c.URL, credentials)
}

// TestDiagnoseWithIDTokenAndAgency: both logins have a step, and each endpoint is shown once.
func TestDiagnoseWithIDTokenAndAgency(t *testing.T) {
	combine(t, 0, func(t *testing.T, c federatedCloud, exchange, agency simulator.Endpoint, credentials string) {
		t.Helper()
		endpoints := map[string]int{"CSS": 1, "IAM": 0, "STS": 0}
		if exchange == simulator.IDTokens || agency == simulator.AgencyByIAM {
			endpoints["IAM"] = 1
		}
		if exchange == simulator.AssumeWithOIDC || agency == simulator.AgencyBySTS {
			endpoints["STS"] = 1
		}
		c.projects = []project{{id: accountProject(0), auth: credentials, clusters: c.ids[:1]}}
		d := c.diagnose(t)
		if d.code != 0 {
			t.Errorf("got exit code %d:\n%s", d.code, d.text)
		}
		for service, want := range endpoints {
			if n := strings.Count(d.text, service+" endpoint "); n != want {
				t.Errorf("got the endpoint of %s %d times, want %d:\n%s", service, n, want, d.text)
			}
		}
		for step, want := range map[string]string{
			"login": "from an ID token", "agency": "assumed with an ID token", "authentication": "accepts the credentials",
		} {
			if got := d.step(step); got.state != "ok" || !strings.Contains(got.text, want) {
				t.Errorf("step %s: got %+v, want %q:\n%s", step, got, want, d.text)
			}
		}
	})
}

// TestEndpointsThatKeysDependOn: projects share keys only if all requests for them go to the same endpoints.
func TestEndpointsThatKeysDependOn(t *testing.T) {
	for name, test := range map[string]struct {
		oidc   *config.OIDC
		agency config.AssumeAgency
		same   bool // with another IAM
	}{
		"keys, agency by IAM":        {nil, config.AssumeAgency{DomainName: "d"}, false},
		"keys, agency by STS":        {nil, config.AssumeAgency{DomainID: "d"}, true},
		"OIDC by IAM, agency by IAM": {&config.OIDC{IDPID: "i"}, config.AssumeAgency{DomainName: "d"}, false},
		"OIDC by IAM, agency by STS": {&config.OIDC{IDPID: "i"}, config.AssumeAgency{DomainID: "d"}, false},
		"OIDC by STS, agency by STS": {&config.OIDC{STSEndpoint: "s"}, config.AssumeAgency{DomainID: "d"}, true},
	} {
		p := &config.Project{IAMEndpoint: "a", Credentials: config.Credentials{OIDC: test.oidc, AssumeAgency: &test.agency}}
		other := *p
		other.IAMEndpoint = "b"
		if same := reflect.DeepEqual(agencySettings(p), agencySettings(&other)); same != test.same {
			t.Errorf("%s: got the same keys: %t, want %t", name, same, test.same)
		}
	}
}

func TestDiagnoseWithTwoEndpointsOfSTS(t *testing.T) {
	c := newFederatedCloud(t, 0)
	c.projects = []project{{
		id: accountProject(0), clusters: c.ids[:1],
		auth: "{" + c.ways()[simulator.AssumeWithOIDC] +
			", assume_agency: {name: css-reader, domain_id: d, sts_endpoint: 'http://127.0.0.1:1'}}",
	}}
	d := c.diagnose(t)
	for step, want := range map[string]string{
		"STS endpoint": "ok", "login": "ok", "agency STS TCP": "failed", "agency": "skipped", "authentication": "skipped",
	} {
		if got := d.step(step); got.state != want {
			t.Errorf("step %s: got %+v, want %s:\n%s", step, got, want, d.text)
		}
	}
}

// TestDiagnoseWithIDTokenOfAnAccount: the entry and each of its projects log in, and assume the agency.
func TestDiagnoseWithIDTokenOfAnAccount(t *testing.T) {
	c := newFederatedCloud(t, 0)
	credentials := c.ways()[simulator.AssumeWithOIDC] + ", " + c.agencies()[simulator.AgencyBySTS]
	path := c.entriesFile(t, c.federatedEntry(credentials))
	d := runDiagnose(t.Context(), t, environment(nil), "--config.file="+path)
	c.checkSecrets(t, "the report", d.text)
	if d.code != 0 {
		t.Errorf("got exit code %d:\n%s", d.code, d.text)
	}
	for text, want := range map[string]int{
		"STS endpoint": 2, "\nok       login": 2, "\nok       agency": 2, "\nok       account": 1, "\nProject org/": 1,
	} {
		if n := strings.Count(d.text, text); n != want {
			t.Errorf("got %q %d times, want %d:\n%s", text, n, want, d.text)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// organization is a fleet with one account in virtual time, and what the program does after a listing.
type organization struct {
	*simtest.Cloud
	fleet   *Fleet
	account Account
	clients map[string]*css.Client
	applied int
	fails   atomic.Bool // applying
}

var errApplying = errors.New("tls_config: no such file")

func newOrganization(t *testing.T, projects int) *organization {
	t.Helper()
	o := &organization{
		Cloud: simtest.NewUnserved(simulator.Options{}), clients: make(map[string]*css.Client),
		fleet: NewFleet(nil, slog.New(slog.DiscardHandler)),
	}
	o.RemoveProject(simtest.ProjectID)
	for i := range projects {
		o.add(fmt.Sprintf("id-%02d", i))
	}
	o.account = Account{Key: "account", Name: "org", Lister: o.newLister()}
	o.fleet.OnListing(func() error {
		o.applied++
		if o.fails.Load() {
			return errApplying
		}
		o.apply()
		return nil
	})
	o.apply()
	return o
}

func (o *organization) newLister() *iam.Account {
	return iam.NewAccount(cloud.NewClient(cloud.Options{
		Region: simtest.Region, UserAgent: "test/1", Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1},
		Transport: &simtest.RoundTripper{Handler: o.Cloud},
		Credentials: credentials.NewFiles(
			cloud.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}, cloud.Credentials{}),
	}), "http://cloud.invalid")
}

func (o *organization) add(id string) {
	o.AddProject(simulator.Project{
		Region: simtest.Region, IAMName: simtest.Region + "_" + id, ID: id,
		Keys: []simulator.Key{{Access: simtest.AccessKey, Secret: simtest.SecretKey}},
	})
}

func (o *organization) apply() {
	known, exists := o.fleet.KnownProjects(o.account.Key)
	if !exists {
		known = o.account.Initial
	}
	var projects []Project
	for _, p := range known {
		client := o.clients[p.ID]
		if client == nil {
			client = csstest.InMemory(o.Cloud, func(options *csstest.Options) { options.ProjectID = p.ID })
			o.clients[p.ID] = client
		}
		projects = append(projects, Project{
			Key: p.ID, Name: "org/" + p.Name, Region: simtest.Region, Account: o.account.Key, Client: client,
			Search: sharedSearch,
		})
	}
	o.fleet.Apply(projects, o.account)
}

var sharedSearch = &Search{RefreshInterval: 5 * time.Minute} //nolint:gochecknoglobals // one pointer

// run runs the fleet until stop is called.
func (o *organization) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.fleet.Run(ctx)
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-done
	}
}

func (o *organization) ids() (ids []string) {
	for _, s := range o.fleet.States() {
		ids = append(ids, strings.TrimPrefix(s.Project.Key, "id-"))
	}
	slices.Sort(ids)
	return ids
}

func (o *organization) check(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := o.ids(); !slices.Equal(got, want) {
		t.Errorf("%s: got projects %v, want %v", when, got, want)
	}
}

func later(listings int) { time.Sleep(time.Duration(listings)*time.Hour + time.Second) }

// TestCallsOfAnAccountWithFiftyProjects counts the requests of an hour.
func TestCallsOfAnAccountWithFiftyProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 50)
		defer o.run(t)()
		if got := len(o.ids()); got != 50 || !o.fleet.Ready() {
			t.Errorf("got %d projects at first, want 50 and ready", got)
		}
		time.Sleep(30 * time.Minute)
		o.ForgetRequests()
		time.Sleep(time.Hour)
		listings, refreshes := o.Requested(simulator.AccountList), o.Requested(simulator.Clusters)
		t.Logf("an hour: %d listings of the account, %d cluster lists", listings, refreshes)
		if total := len(o.Requests()); listings != 1 || refreshes < 550 || refreshes > 650 || total != listings+refreshes {
			t.Errorf("got %d requests, %d of them listings and %d cluster lists; want 1 and about 600",
				total, listings, refreshes)
		}
		if o.applied != 1 {
			t.Errorf("the projects were applied %d times, want once: the others changed nothing", o.applied)
		}
	})
}

func TestProjectsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 3)
		defer o.run(t)()
		o.check(t, "start", "00", "01", "02")
		o.add("id-03")
		o.RemoveProject("id-01")
		later(1)
		o.check(t, "one listing later", "00", "01", "02", "03")
		if !o.fleet.Ready() {
			t.Error("the fleet is unready again")
		}
		later(1)
		o.check(t, "two listings later", "00", "01", "02", "03")
		o.add("id-01")
		later(1)
		o.RemoveProject("id-01")
		later(2)
		o.check(t, "two listings after its return", "00", "01", "02", "03")
		later(1)
		o.check(t, "three listings in a row", "00", "02", "03")
		if known, missing := o.fleet.KnownForSD(); known == nil || missing != nil {
			t.Errorf("/sd misses %v", missing)
		}
	})
}

func TestEmptyAndFailedListingsKeepProjects(t *testing.T) {
	for name, test := range map[string]struct {
		fault simulator.Fault
		lost  bool // after three
	}{
		"empty":      {simulator.Fault{Body: `{"projects":[]}`}, true},
		"partial":    {simulator.Fault{Body: `{"projects":[{"id":"id-00","name":"cn-north-4"}]}`}, true},
		"unusable":   {simulator.Fault{Body: `{"projects":[{"id":"a/b","name":"cn-north-4"},"x",null,{}]}`}, true},
		"no list":    {simulator.Fault{Body: `{"projects":null}`}, false},
		"object":     {simulator.Fault{Body: `{"projects":{"id":"id-00"}}`}, false},
		"other body": {simulator.Fault{Body: `{"clusters":[]}`}, false},
		"cut":        {simulator.Fault{Body: `{"projects":[{"id":"id-00","name":"cn-`}, false},
		"page":       {simulator.Fault{Body: `<html>`}, false},
		"denied":     {simulator.Fault{Status: 403}, false},
		"failing":    {simulator.Fault{Status: 500}, false},
		"throttled":  {simulator.Fault{Status: 429}, false},
		"hanging":    {simulator.Fault{Hang: true}, false},
		"dropped":    {simulator.Fault{Drop: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrganization(t, 2)
				defer o.run(t)()
				o.SetFault(simulator.Target{Endpoint: simulator.AccountList}, test.fault)
				later(2)
				o.check(t, "two listings", "00", "01")
				state := o.fleet.Accounts()[0]
				if wantErr := name != "partial"; (state.Err != nil) != wantErr || !state.Tried {
					t.Errorf("got the error %v, want one: %v", state.Err, wantErr)
				}
				later(2)
				lost := len(o.ids()) < 2
				if lost != test.lost {
					t.Errorf("projects lost after more listings: got %v, want %v", lost, test.lost)
				}
				o.SetFault(simulator.Target{Endpoint: simulator.AccountList})
				later(1)
				o.check(t, "recovered", "00", "01")
			})
		})
	}
}

func TestFailedListingsAreRetriedSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 2)
		o.SetFault(simulator.Target{Endpoint: simulator.AccountList}, simulator.Fault{Status: 500})
		defer o.run(t)()
		if !o.fleet.Ready() {
			t.Error("not ready after the first try")
		}
		if _, missing := o.fleet.KnownForSD(); !slices.Equal(missing, []string{"org"}) {
			t.Errorf("/sd misses %v, want the entry", missing)
		}
		later(1)
		tries := o.Requested(simulator.AccountList)
		if tries < 14 || tries > 22 { // 5 s, doubling up to 5 minutes
			t.Errorf("got %d listings in an hour, want about 18", tries)
		}
		if _, missing := o.fleet.KnownForSD(); missing != nil {
			t.Errorf("/sd still misses %v", missing)
		}
		o.SetFault(simulator.Target{Endpoint: simulator.AccountList})
		time.Sleep(6 * time.Minute)
		o.check(t, "recovered", "00", "01")
	})
}

// TestALaterProjectThatFailsDoesNotHoldUpTheOthers: Prometheus has no targets of it that it could lose.
func TestALaterProjectThatFailsDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 1)
		defer o.run(t)()
		o.add("id-01")
		o.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Status: 403})
		later(1)
		o.check(t, "one listing later", "00", "01")
		if _, missing := o.fleet.KnownForSD(); missing != nil {
			t.Errorf("/sd waits for %q", missing)
		}
		replaced := *o.fleet.States()[0].Project
		replaced.Key = "another" // as after a reload with another endpoint
		o.fleet.Apply([]Project{replaced}, o.account)
		synctest.Wait()
		if _, missing := o.fleet.KnownForSD(); !slices.Equal(missing, []string{replaced.Name}) {
			t.Errorf("/sd waits for %q, want %q", missing, replaced.Name)
		}
	})
}

func TestAnotherAccountReplacesProjectsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 2)
		defer o.run(t)()
		o.SetFault(simulator.Target{Endpoint: simulator.AccountList},
			simulator.Fault{Body: `{"projects":[{"id":"new","name":"cn-north-4","domain_id":"other"}]}`})
		o.account.Lister = o.newLister() // as after a reload with other credentials
		o.apply()
		o.check(t, "listed with other credentials", "new")
	})
}

// TestInitialProjectsMustBeConfirmed: those of an explicit project before a reload.
func TestInitialProjectsMustBeConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 1)
		o.fleet.Apply(nil)
		o.account.Key = "changed"
		o.account.Initial = []iam.Listed{{ID: "id-00", Name: "cn-north-4"}, {ID: "id-99", Name: "cn-north-4"}}
		o.apply()
		o.check(t, "before the listing", "00", "99")
		defer o.run(t)()
		o.check(t, "after the listing", "00")
	})
}

func TestProjectsThatCannotBeAppliedAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 1)
		o.fails.Store(true)
		defer o.run(t)()
		if err := o.fleet.Accounts()[0].Err; !errors.Is(err, errApplying) {
			t.Errorf("got the error %v, want %v", err, errApplying)
		}
		o.fails.Store(false)
		time.Sleep(time.Minute)
		o.check(t, "later", "00")
		if n := o.Requested(simulator.AccountList); n != 1 {
			t.Errorf("got %d listings, want 1: the list was known", n)
		}
	})
}

func TestAccountMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrganization(t, 2)
		names := []string{"css_vpcep_account_discovery_up", "css_vpcep_account_discovery_projects"}
		if n := testutil.CollectAndCount(o.fleet, names...); n != 0 {
			t.Errorf("got %d series before the first listing, want none", n)
		}
		defer o.run(t)()
		const want = `# HELP css_vpcep_account_discovery_projects Number of the account's projects that are read.
# TYPE css_vpcep_account_discovery_projects gauge
css_vpcep_account_discovery_projects{project="org"} 2
# HELP css_vpcep_account_discovery_up Whether the last listing of the account's projects succeeded (1) or not (0).
# TYPE css_vpcep_account_discovery_up gauge
css_vpcep_account_discovery_up{project="org"} 1
`
		if err := testutil.CollectAndCompare(o.fleet, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
		o.account.LeftOut = 7
		o.apply()
		want2 := strings.Replace(want, "up{project=\"org\"} 1", "up{project=\"org\"} 0", 1)
		if err := testutil.CollectAndCompare(o.fleet, strings.NewReader(want2), names...); err != nil {
			t.Error(err)
		}
		hint := IncompleteHint(o.fleet.Accounts()[0].Err)
		if diff := cmp.Diff("list fewer regions, or use several entries", hint); diff != "" {
			t.Errorf("hint (-want +got):\n%s", diff)
		}
	})
}

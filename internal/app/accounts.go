// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
)

// maxAccountProjects bounds the projects of an account that are read. Each has a client and refreshes of its own.
const maxAccountProjects = 1000

// loadedAccount is an entry of the configuration with regions.
type loadedAccount struct {
	settings config.Project
	client   *cloud.Client // may be shared with accounts that have the same login
	account  discovery.Account
}

// applyListing puts the projects into use that accounts have now.
func (e *exporter) applyListing() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	fleet, err := e.load(e.config)
	if err != nil {
		return err
	}
	before := len(e.projects)
	e.use(e.config, fleet)
	e.logger.Info("Projects of accounts applied", "projects", len(e.projects), "before", before)
	return nil
}

// loadAccount returns the account of an entry, and the settings of its projects. taken are the accounts and projects
// before it in the configuration.
func (e *exporter) loadAccount(p *config.Project, taken *loaded) (loadedAccount, []foundProject, error) {
	a := loadedAccount{settings: *p, account: discovery.Account{Name: p.Name}}
	if old := matchAccount(e.accounts, p, taken.accounts); old != nil {
		a.account.Key, a.account.Initial = old.account.Key, old.account.Initial
	} else {
		e.lastKey++
		a.account.Key = strconv.Itoa(e.lastKey)
		a.account.Initial = e.presumed(p)
	}
	if err := e.addLister(&a, taken.accounts); err != nil {
		return loadedAccount{}, nil, err
	}
	known, exists := e.fleet.KnownProjects(a.account.Key)
	if !exists {
		known = a.account.Initial
	}
	var found []foundProject
	for _, listed := range known {
		settings, wanted := p.Found(listed.Name, listed.ID)
		if listed.Disabled || !wanted || taken.covers(&settings, listed.Name) {
			continue
		}
		if len(found) == maxAccountProjects {
			a.account.LeftOut++
			continue
		}
		found = append(found, foundProject{settings, a.account.Key, listed})
	}
	return a, found, nil
}

// foundProject is a project of an account, or of the configuration if account is empty.
type foundProject struct {
	settings config.Project
	account  string // Key
	listed   iam.Listed
}

// matchAccount returns the old account that an entry continues: the one with the same login and name, or else the same
// name, or else the same login.
func matchAccount(old []loadedAccount, p *config.Project, taken []loadedAccount) *loadedAccount {
	for _, continues := range []func(a *loadedAccount) bool{
		func(a *loadedAccount) bool { return a.settings.Name == p.Name },
		func(a *loadedAccount) bool { return reflect.DeepEqual(loginSettings(&a.settings), loginSettings(p)) },
	} {
		for i := range old {
			a := &old[i]
			free := !slices.ContainsFunc(taken, func(t loadedAccount) bool { return t.account.Key == a.account.Key })
			if free && continues(a) {
				return a
			}
		}
	}
	return nil
}

// loginSettings returns the settings that decide which account is listed, and how.
func loginSettings(p *config.Project) config.Project {
	login := config.Project{
		IAMEndpoint: p.IAMEndpoint, Credentials: p.Credentials, TLSConfig: p.TLSConfig, ProxyURL: p.ProxyURL,
	}
	if p.Credentials.User != nil {
		login.Region = p.Region // the project of the token
	}
	return login
}

// addLister shares the lister of an account with the same login, so that its projects are listed once.
func (e *exporter) addLister(a *loadedAccount, taken []loadedAccount) error {
	for _, other := range slices.Concat(taken, e.accounts) {
		if reflect.DeepEqual(loginSettings(&other.settings), loginSettings(&a.settings)) {
			a.client, a.account.Lister = other.client, other.account.Lister
			return nil
		}
	}
	p := &a.settings
	route, err := e.newRoute(p)
	if err != nil {
		return err
	}
	options := e.clientOptions(p, route.transport())
	if options.Credentials, err = e.source(p, options); err != nil {
		return err
	}
	a.client = cloud.NewClient(options)
	a.account.Lister = iam.NewAccount(a.client, p.IAMEndpoint)
	return nil
}

// expectAccountRequests expects requests in the regions that are known before the first listing.
func (e *exporter) expectAccountRequests(p *config.Project) {
	e.metrics.ExpectRequests(cmp.Or(p.Region, "*"), append(credentialOperations(&p.Credentials), iam.OpAccountProjects)...)
	for _, region := range p.Regions {
		if region != "*" {
			e.metrics.ExpectRequests(region, css.OpConnections, css.OpClusters)
			if p.Sessions != nil {
				e.metrics.ExpectRequests(region, ces.OpSessions)
			}
		}
	}
}

// presumed returns the old projects that a new account may have, so that they are kept until it is listed.
func (e *exporter) presumed(p *config.Project) []iam.Listed {
	var list []iam.Listed
	for i := range e.projects {
		old := &e.projects[i]
		listed := old.listed
		if listed.ID == "" {
			listed = iam.Listed{ID: old.id.KnownID(), Name: old.settings.Region}
		}
		found, wanted := p.Found(listed.Name, listed.ID)
		if wanted && listed.ID != "" && found.Endpoint == old.settings.Endpoint {
			list = append(list, listed)
		}
	}
	return list
}

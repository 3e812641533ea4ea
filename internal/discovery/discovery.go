// SPDX-License-Identifier: Apache-2.0

// Package discovery maintains the list of clusters to scrape.
package discovery

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/sessions"
)

// Project is a project of the configuration file or of an account.
type Project struct {
	Key     string // unique; it says which project of Apply continues which
	Name    string
	Region  string
	Account string // Key of the account that has it; empty: the project is in the configuration file
	Client  *css.Client
	Listed  []Listed
	Search  *Search // nil turns discovery off

	Sessions *sessions.Reader // nil: not read; changes only with Client
}

// Listed is a cluster of the configuration file.
type Listed struct {
	ID     string
	Name   string
	Labels map[string]string
}

// Fleet holds all projects and their clusters.
type Fleet struct {
	logger    *slog.Logger
	metrics   metrics
	onListing func() error

	mu       sync.Mutex // guards projects and accounts
	projects []*project
	accounts []*account
	known    *Known // nil after a change
	ready    bool   // every project and account was tried once

	start        func(*project) // nil unless Run is running
	startAccount func(*account) // as above
}

type project struct {
	*Project
	state

	stop context.CancelFunc
}

// state is what a project keeps when its configuration changes.
type state struct {
	since  time.Time // zero: service discovery need not wait for it
	id     string
	list   []css.Cluster
	missed map[string]int // incomplete lists in a row without a cluster of list, by ID
	found  []css.Cluster  // those of list that match
	read   bool           // list was read completely once
	tried  bool
	err    error
	lastOK time.Time
}

// State is the result of a project's refreshes.
type State struct {
	Project     *Project
	Tried       bool
	Err         error
	LastSuccess time.Time // may be zero
	Found       int
}

// NewFleet returns a Fleet that has only the listed clusters.
func NewFleet(projects []Project, logger *slog.Logger) *Fleet {
	f := &Fleet{logger: logger, metrics: newMetrics()}
	f.Apply(projects)
	return f
}

// Apply replaces the projects and accounts. Those with the same Key keep their clusters, of which those are shown that
// match the new Search. If discovery is new, the clusters that were listed are kept until the list is read.
func (f *Fleet) Apply(projects []Project, accounts ...Account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = f.ready || len(f.projects)+len(f.accounts) > 0 && f.allTried()
	f.applyAccounts(accounts)
	before := make(map[string]*project, len(f.projects))
	for _, p := range f.projects {
		before[p.Key] = p
	}
	previous := f.projects
	f.projects, f.known = nil, nil
	for _, config := range projects {
		old := before[config.Key]
		if old != nil && old.Client == config.Client && old.Search == config.Search {
			delete(before, config.Key)
			old.Project = &config // its refreshes continue
			f.projects = append(f.projects, old)
			continue
		}
		p := &project{Project: &config, state: state{since: time.Now()}}
		switch {
		case old == nil:
			if f.foundLater(&config, previous) {
				p.since = time.Time{}
			}
		case (old.Search == nil) == (config.Search == nil):
			p.state = old.state
			p.filter()
		case config.Search != nil:
			p.id = old.id
			for _, l := range old.Listed {
				p.list = append(p.list, css.Cluster{ID: l.ID, Name: l.Name})
			}
			p.found = p.list
		}
		f.projects = append(f.projects, p)
		if f.start != nil {
			f.start(p)
		}
	}
	for _, replaced := range before {
		if replaced.stop != nil {
			replaced.stop()
		}
	}
}

// foundLater reports whether a project is new in an account that was listed before. Prometheus has no targets of it.
func (f *Fleet) foundLater(p *Project, previous []*project) bool {
	return slices.ContainsFunc(f.accounts, func(a *account) bool { return a.Key == p.Account && a.read }) &&
		!slices.ContainsFunc(previous, func(old *project) bool { return old.Name == p.Name })
}

// Run refreshes every project, lists every account regularly, and reads sessions when they are due, until ctx is done.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	f.mu.Lock()
	f.start = func(p *project) {
		var projectCtx context.Context
		projectCtx, p.stop = context.WithCancel(ctx)
		config := p.Project
		wg.Go(func() { f.keepRefreshed(projectCtx, p, config) })
		if config.Sessions != nil {
			wg.Go(func() { config.Sessions.Run(projectCtx) })
		}
	}
	f.startAccount = func(a *account) {
		var accountCtx context.Context
		accountCtx, a.stop = context.WithCancel(ctx)
		config := a.Account
		wg.Go(func() { f.keepListed(accountCtx, a, config) })
	}
	for _, p := range f.projects {
		f.start(p)
	}
	for _, a := range f.accounts {
		f.startAccount(a)
	}
	f.mu.Unlock()

	<-ctx.Done()
	f.mu.Lock()
	f.start, f.startAccount = nil, nil
	f.mu.Unlock()
	wg.Wait()
}

// States returns the states of all projects, in order.
func (f *Fleet) States() []State {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]State, len(f.projects))
	for i, p := range f.projects {
		states[i] = State{Project: p.Project, Tried: p.tried, Err: p.err, LastSuccess: p.lastOK, Found: len(p.found)}
	}
	return states
}

// Refresh lists every account and refreshes every project once, and returns the joined errors.
func (f *Fleet) Refresh(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards errs
	var errs []error
	record := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	started := make(map[*project]struct{}) // guarded by f.mu
	refreshNew := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.projects {
			if _, again := started[p]; again {
				continue
			}
			started[p] = struct{}{}
			config := p.Project
			wg.Go(func() { record(f.refresh(ctx, p, config)) })
		}
	}
	refreshNew()
	f.mu.Lock()
	for _, a := range f.accounts {
		config := a.Account
		wg.Go(func() {
			_, err := f.list(ctx, a, config)
			record(err)
			refreshNew()
		})
	}
	f.mu.Unlock()
	wg.Wait()
	return errors.Join(errs...)
}

// Ready reports whether every account was listed and every project refreshed, successfully or not. It stays true when
// projects are added.
func (f *Fleet) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = f.ready || f.allTried()
	return f.ready
}

func (f *Fleet) allTried() bool {
	return !slices.ContainsFunc(f.projects, func(p *project) bool { return !p.tried }) &&
		!slices.ContainsFunc(f.accounts, func(a *account) bool { return !a.tried })
}

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
)

// Project is a project of the configuration file.
type Project struct {
	Key    string // unique; it says which project of Apply continues which
	Name   string
	Region string
	Client *css.Client
	Listed []Listed
	Search *Search // nil turns discovery off
}

// Listed is a cluster of the configuration file.
type Listed struct {
	ID     string
	Name   string
	Labels map[string]string
}

// Fleet holds all projects and their clusters.
type Fleet struct {
	logger  *slog.Logger
	metrics metrics

	mu       sync.Mutex // guards projects
	projects []*project
	known    *Known         // nil after a change
	ready    bool           // every project was tried once
	start    func(*project) // nil unless Run is running
}

type project struct {
	*Project
	state

	stop context.CancelFunc
}

// state is what a project keeps when its configuration changes.
type state struct {
	since  time.Time
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

// Apply replaces the projects. Those with the same Key keep their clusters, of which those are shown that match the new
// Search. If discovery is new, the clusters that were listed are kept until the list is read.
func (f *Fleet) Apply(projects []Project) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := make(map[string]*project, len(f.projects))
	for _, p := range f.projects {
		before[p.Key] = p
	}
	f.ready = f.ready || len(f.projects) > 0 && f.allTried()
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

// Run refreshes every project regularly until ctx is done.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	f.mu.Lock()
	f.start = func(p *project) {
		var projectCtx context.Context
		projectCtx, p.stop = context.WithCancel(ctx)
		config := p.Project
		wg.Go(func() { f.keepRefreshed(projectCtx, p, config) })
	}
	for _, p := range f.projects {
		f.start(p)
	}
	f.mu.Unlock()

	<-ctx.Done()
	f.mu.Lock()
	f.start = nil
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

// Refresh refreshes every project once and returns the joined errors.
func (f *Fleet) Refresh(ctx context.Context) error {
	f.mu.Lock()
	projects := f.projects
	errs := make([]error, len(projects))
	var wg sync.WaitGroup
	for i, p := range projects {
		config := p.Project
		wg.Go(func() { errs[i] = f.refresh(ctx, p, config) })
	}
	f.mu.Unlock()
	wg.Wait()
	return errors.Join(errs...)
}

// Ready reports whether every project was refreshed, successfully or not. It stays true when projects are added.
func (f *Fleet) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = f.ready || f.allTried()
	return f.ready
}

func (f *Fleet) allTried() bool {
	return !slices.ContainsFunc(f.projects, func(p *project) bool { return !p.tried })
}

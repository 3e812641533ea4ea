// SPDX-License-Identifier: Apache-2.0

// Package discovery maintains the list of clusters to scrape.
package discovery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"css_vpcep_exporter/internal/css"
)

// Project is a project of the configuration file.
type Project struct {
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

	mu       sync.Mutex
	projects []*project
	known    *Known         // nil after a change
	start    func(*project) // nil unless Run is running
}

type project struct {
	Project

	mu     sync.Mutex
	found  []css.Cluster
	tried  bool
	err    error
	lastOK time.Time
	stop   context.CancelFunc
}

// State is the result of a project's refreshes.
type State struct {
	Project     *Project
	Tried       bool
	Err         error     // of the last refresh
	LastSuccess time.Time // of discovery; may be zero
	Found       int
}

// NewFleet returns a Fleet that has only the listed clusters.
func NewFleet(projects []Project, logger *slog.Logger) *Fleet {
	f := &Fleet{logger: logger, metrics: newMetrics()}
	f.Apply(projects)
	return f
}

// Apply replaces the projects. Those with the same Client keep their clusters.
func (f *Fleet) Apply(projects []Project) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := make(map[*css.Client]*project, len(f.projects))
	for _, p := range f.projects {
		before[p.Client] = p
	}
	f.projects, f.known = nil, nil
	for _, p := range projects {
		if same := before[p.Client]; same != nil {
			delete(before, p.Client)
			f.projects = append(f.projects, same)
			continue
		}
		added := &project{Project: p}
		f.projects = append(f.projects, added)
		if f.start != nil {
			f.start(added)
		}
	}
	for _, gone := range before {
		if gone.stop != nil {
			gone.stop()
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
		wg.Go(func() { f.keepRefreshed(projectCtx, p) })
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
	projects := f.current()
	states := make([]State, len(projects))
	for i, p := range projects {
		p.mu.Lock()
		states[i] = State{Project: &p.Project, Tried: p.tried, Err: p.err, LastSuccess: p.lastOK, Found: len(p.found)}
		p.mu.Unlock()
	}
	return states
}

func (f *Fleet) current() []*project {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.projects
}

// Refresh refreshes every project once and returns the joined errors.
func (f *Fleet) Refresh(ctx context.Context) error {
	projects := f.current()
	errs := make([]error, len(projects))
	var wg sync.WaitGroup
	for i, p := range projects {
		wg.Go(func() { errs[i] = f.refresh(ctx, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Ready reports whether every project was refreshed, successfully or not.
func (f *Fleet) Ready() bool {
	for _, p := range f.current() {
		p.mu.Lock()
		tried := p.tried
		p.mu.Unlock()
		if !tried {
			return false
		}
	}
	return true
}

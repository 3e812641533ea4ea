// SPDX-License-Identifier: Apache-2.0

// Package discovery knows which clusters there are: those that the file lists, and those that the API finds. A Fleet
// lives as long as the process, and refreshes what it knows in the background.
//
// It talks to the cloud through each project's Client, and to nobody else.
package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"

	"css_vpcep_exporter/css"
)

// retryAtFirst is how soon a failed refresh is tried again, if the refresh interval is not shorter; the wait doubles up to
// that.
const retryAtFirst = 5 * time.Second

// Project is one project of the cloud, in one region, with one set of credentials.
type Project struct {
	Name   string // as in the file
	Region string
	Client *css.Client
	Listed []Listed // the clusters that the file lists
	Search *Search  // nil: only these
}

// Listed is a cluster as the file lists it.
type Listed struct {
	ID     string
	Name   string // may be empty
	Labels map[string]string
}

// Search says which of the clusters that the API lists are wanted. Its regular expressions are anchored; nil ones let any
// through, but for Engine, which then wants one that has a VPC endpoint service.
type Search struct {
	RefreshInterval     time.Duration
	Name                *regexp.Regexp
	Engine              *regexp.Regexp
	EnterpriseProjectID *regexp.Regexp
	Tags                map[string]*regexp.Regexp // tags that a cluster must have, by key
	LabelsFromTags      []string
}

// Fleet is all projects with their clusters.
type Fleet struct {
	logger  *slog.Logger
	metrics metrics

	mu       sync.Mutex
	projects []*project
	known    *Known         // nil: to be put together when it is asked for
	start    func(*project) // nil while Run does not run
}

// project is a Project with what is known of it.
type project struct {
	Project

	mu     sync.Mutex
	found  []css.Cluster
	tried  bool
	err    error // of the last try
	lastOK time.Time
	stop   context.CancelFunc // ends its run; nil if it has none
}

// State is how a project's refreshes are doing.
type State struct {
	Project     *Project
	Tried       bool      // whether there has been one
	Err         error     // of the last one
	LastSuccess time.Time // of a cluster list; zero if there was none
	Found       int       // clusters that were found and are wanted
}

// NewFleet makes a fleet that knows only what the file lists. Run makes it learn the rest.
func NewFleet(projects []Project, logger *slog.Logger) *Fleet {
	f := &Fleet{logger: logger, metrics: newMetrics()}
	f.Apply(projects)
	return f
}

// Apply puts projects in the place of those that were there. One with the same Client is the same as before, and keeps
// what is known of it.
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

// Run refreshes what is known until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	f.mu.Lock()
	f.start = func(p *project) {
		var own context.Context
		own, p.stop = context.WithCancel(ctx)
		wg.Go(func() { f.follow(own, p) })
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

// States tells of every project, in the order of the file.
func (f *Fleet) States() []State {
	projects := f.list()
	states := make([]State, len(projects))
	for i, p := range projects {
		p.mu.Lock()
		states[i] = State{Project: &p.Project, Tried: p.tried, Err: p.err, LastSuccess: p.lastOK, Found: len(p.found)}
		p.mu.Unlock()
	}
	return states
}

// list is the projects as they are now.
func (f *Fleet) list() []*project {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.projects // Apply makes another slice
}

// Refresh looks at every project once, and fails if that failed for one.
func (f *Fleet) Refresh(ctx context.Context) error {
	projects := f.list()
	errs := make([]error, len(projects))
	var wg sync.WaitGroup
	for i, p := range projects {
		wg.Go(func() {
			errs[i] = f.refresh(ctx, p)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Ready says whether every project has been looked at once, with success or without.
func (f *Fleet) Ready() bool {
	for _, p := range f.list() {
		p.mu.Lock()
		tried := p.tried
		p.mu.Unlock()
		if !tried {
			return false
		}
	}
	return true
}

// follow refreshes one project until ctx ends: its id if the file does not tell it, and its clusters if they are to be
// found.
func (f *Fleet) follow(ctx context.Context, p *project) {
	wait := p.firstRetry()
	for {
		err := f.refresh(ctx, p)
		switch {
		case ctx.Err() != nil, err == nil && p.Search == nil:
			return
		case err == nil:
			wait = p.firstRetry()
			if !sleep(ctx, jitter(p.Search.RefreshInterval)) {
				return
			}
		default:
			if !sleep(ctx, jitter(wait)) {
				return
			}
			wait = min(2*wait, p.interval())
		}
	}
}

func (p *project) firstRetry() time.Duration { return min(retryAtFirst, p.interval()) }

// refresh asks the API once, and tells what came of it, unless ctx ended it.
func (f *Fleet) refresh(ctx context.Context, p *project) error {
	err := p.refresh(ctx)
	if ctx.Err() != nil {
		return err
	}
	f.mu.Lock()
	f.known = nil // before anybody hears that there has been a refresh
	f.mu.Unlock()
	p.recordResult(err, f.logger.With("project", p.Name, "region", p.Region))
	return err
}

// interval is how far apart tries are at most.
func (p *project) interval() time.Duration {
	if p.Search == nil {
		return time.Minute
	}
	return p.Search.RefreshInterval
}

// refresh asks the API once.
func (p *project) refresh(ctx context.Context) error {
	if _, err := p.Client.ProjectID(ctx); err != nil || p.Search == nil {
		return err
	}
	clusters, err := p.Client.Clusters(ctx)
	if err != nil && !errors.Is(err, css.ErrIncomplete) {
		return err
	}
	found := slices.DeleteFunc(clusters, func(c css.Cluster) bool { return !p.Search.wants(&c) })

	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil { // what is missing may still be there
		found = union(found, p.found)
	}
	p.found = found
	if err == nil {
		p.lastOK = time.Now()
	}
	return err
}

// recordResult stores the result of a refresh and logs the first one and changes.
func (p *project) recordResult(err error, logger *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, before, reason := !p.tried, reasonOf(p.err), reasonOf(err)
	p.tried, p.err = true, err
	switch {
	case !first && before == reason:
	case err != nil:
		logger.With("reason", reason).Warn("Discovery failed", css.LogFields(err)...)
	case p.Search != nil:
		logger.Info("Discovery succeeded", "clusters", len(p.found))
	case !first:
		logger.Info("Project is readable again")
	}
}

// reasonOf returns the reason of a failed refresh, or "" if err is nil.
func reasonOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, css.ErrIncomplete):
		return "incomplete"
	}
	return string(css.ReasonOf(err))
}

// wants says whether the API's cluster is to be scraped. One that is being created or has failed is not, nor is one of
// Logstash, which has no VPC endpoint service, unless it is asked for.
func (s *Search) wants(c *css.Cluster) bool {
	switch {
	case c.Status == css.ClusterCreating, c.Status == css.ClusterUnavailable:
		return false
	case s.Engine == nil && c.Engine == "logstash":
		return false
	case s.Engine != nil && !s.Engine.MatchString(c.Engine):
		return false
	case s.Name != nil && !s.Name.MatchString(c.Name):
		return false
	case s.EnterpriseProjectID != nil && !s.EnterpriseProjectID.MatchString(c.EnterpriseProjectID):
		return false
	}
	for key, wanted := range s.Tags {
		if value, ok := c.Tags[key]; !ok || !wanted.MatchString(value) {
			return false
		}
	}
	return true
}

// union adds to clusters those of further ones that are not among them.
func union(clusters, further []css.Cluster) []css.Cluster {
	known := make(map[string]struct{}, len(clusters))
	for i := range clusters {
		known[clusters[i].ID] = struct{}{}
	}
	for _, c := range further {
		if _, there := known[c.ID]; !there {
			clusters = append(clusters, c)
		}
	}
	return clusters
}

// jitter spreads the refreshes of many projects and exporters: d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // jitter needs no secret randomness
}

// sleep waits and says whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

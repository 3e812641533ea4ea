// SPDX-License-Identifier: Apache-2.0

// Package discovery maintains the list of clusters to scrape: those of the configuration file and those of the API.
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

	"css_vpcep_exporter/internal/css"
)

// firstRetryDelay doubles with each retry of a failed refresh, up to the refresh interval.
const firstRetryDelay = 5 * time.Second

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

// Search selects discovered clusters by anchored regular expressions. nil matches everything; a nil Engine matches all
// engines but Logstash.
type Search struct {
	RefreshInterval     time.Duration
	Name                *regexp.Regexp
	Engine              *regexp.Regexp
	EnterpriseProjectID *regexp.Regexp
	Tags                map[string]*regexp.Regexp // of values by key; a cluster must have all keys
	LabelsFromTags      []string
}

// Fleet holds all projects and their clusters.
type Fleet struct {
	logger  *slog.Logger
	metrics metrics

	mu       sync.Mutex
	projects []*project
	known    *Known         // nil after a change, until Known builds it
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
	Err         error
	LastSuccess time.Time // of discovery; zero if there was none
	Found       int       // discovered clusters
}

// NewFleet returns a fleet that has only the listed clusters at first.
func NewFleet(projects []Project, logger *slog.Logger) *Fleet {
	f := &Fleet{logger: logger, metrics: newMetrics()}
	f.Apply(projects)
	return f
}

// Apply replaces the projects. Those with an unchanged Client keep their clusters.
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

// Run refreshes every project regularly until ctx ends.
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

// current returns the projects. The slice does not change.
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

// Ready reports whether every project has been refreshed once, successfully or not.
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

// keepRefreshed refreshes p until ctx ends or, without discovery, until its ID is known.
func (f *Fleet) keepRefreshed(ctx context.Context, p *project) {
	wait := p.firstRetry()
	for {
		err := f.refresh(ctx, p)
		switch {
		case ctx.Err() != nil, err == nil && p.Search == nil:
			return
		case err == nil:
			wait = p.firstRetry()
			if !css.Sleep(ctx, jitter(p.Search.RefreshInterval)) {
				return
			}
		default:
			if !css.Sleep(ctx, jitter(wait)) {
				return
			}
			wait = min(2*wait, p.interval())
		}
	}
}

func (p *project) firstRetry() time.Duration { return min(firstRetryDelay, p.interval()) }

func (f *Fleet) refresh(ctx context.Context, p *project) error {
	err := p.refresh(ctx)
	if ctx.Err() != nil {
		return err
	}
	f.mu.Lock()
	f.known = nil // before Ready reports true
	f.mu.Unlock()
	p.recordResult(err, f.logger.With("project", p.Name, "region", p.Region))
	return err
}

func (p *project) interval() time.Duration {
	if p.Search == nil {
		return time.Minute
	}
	return p.Search.RefreshInterval
}

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
	if err != nil { // a missing cluster may still exist
		found = union(found, p.found)
	}
	p.found = found
	if err == nil {
		p.lastOK = time.Now()
	}
	return err
}

// recordResult stores the result of a refresh, and logs it unless it is the same as before.
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

func reasonOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, css.ErrIncomplete):
		return "incomplete"
	}
	return string(css.ReasonOf(err))
}

// wants reports whether s selects c. Logstash has no VPC endpoint service.
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

func union(clusters, more []css.Cluster) []css.Cluster {
	known := make(map[string]struct{}, len(clusters))
	for i := range clusters {
		known[clusters[i].ID] = struct{}{}
	}
	for _, c := range more {
		if _, exists := known[c.ID]; !exists {
			clusters = append(clusters, c)
		}
	}
	return clusters
}

// jitter returns d plus or minus 10%, so that refreshes spread.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // jitter needs no secret randomness
}

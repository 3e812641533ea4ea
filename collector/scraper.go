// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"

	"golang.org/x/sync/semaphore"
)

// ScrapeOptions configure a Scraper.
type ScrapeOptions struct {
	Concurrency  int
	MinInterval  time.Duration // younger lists are not read again
	MaxStaleness time.Duration // of a list shown after a failure
}

// Scraper reads targets. Concurrent scrapes share reads.
type Scraper struct {
	metrics *ExporterMetrics
	logger  *slog.Logger
	reads   sync.WaitGroup

	mu       sync.Mutex
	options  ScrapeOptions
	slots    *semaphore.Weighted
	clusters map[clusterKey]*clusterState
}

// NewScraper returns a Scraper.
func NewScraper(options ScrapeOptions, metrics *ExporterMetrics, logger *slog.Logger) *Scraper {
	s := &Scraper{metrics: metrics, logger: logger, clusters: make(map[clusterKey]*clusterState)}
	s.Configure(options)
	return s
}

// Configure replaces the options of later reads.
func (s *Scraper) Configure(options ScrapeOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
	s.slots = semaphore.NewWeighted(int64(options.Concurrency))
}

type clusterKey struct{ project, cluster string } // a project's Key, an ID

// State is the result of a cluster's scrapes so far.
type State struct {
	List     *css.ConnectionList // nil before the first success
	ReadAt   time.Time
	Err      error     // of the last scrape
	Failing  time.Time // first failure in a row
	FailedAt time.Time
}

type clusterState struct {
	State
	history
	read      *inflight
	projectID string
	triedAt   time.Time
	timedOut  bool
}

// shows reports whether the list is of the target's project: other credentials may find another one in the region.
func (c *clusterState) shows(t *Target) bool {
	return c.List != nil && c.projectID == t.Reader.KnownProjectID()
}

// Scrape reads the targets until ctx is done and yields the outcomes in order.
func (s *Scraper) Scrape(ctx context.Context, targets []Target) iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		start := time.Now()
		pending := s.joinOrStart(ctx, start, targets)
		done := 0
		defer func() { // for a consumer that stops early
			for _, p := range pending[done:] {
				if p.read != nil {
					s.abandon(p.read)
				}
			}
		}()
		for i, p := range pending {
			o := Outcome{Target: targets[i], List: p.list, ReadAt: p.readAt}
			if p.read != nil {
				o = s.await(ctx, start, p.read, targets[i])
			}
			if o.Target.ProjectID == "" {
				o.Target.ProjectID = targets[i].Reader.KnownProjectID() // it may be new
			}
			done++
			if !yield(o) {
				return
			}
		}
	}
}

// State returns the state of a cluster.
func (s *Scraper) State(projectKey, clusterID string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[clusterKey{projectKey, clusterID}]; c != nil {
		return c.State
	}
	return State{}
}

// Changes returns the last changes of a cluster, oldest first, and when its first comparable list was read. The slice
// must not be modified.
func (s *Scraper) Changes(projectKey, clusterID string) (changes []css.Change, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[clusterKey{projectKey, clusterID}]; c != nil {
		return c.changes, c.since
	}
	return nil, time.Time{}
}

// Wait blocks until no read is in flight.
func (s *Scraper) Wait() { s.reads.Wait() }

// Retain drops the state of all other clusters.
func (s *Scraper) Retain(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	retain(s.clusters, targets)
}

func retain[V any](clusters map[clusterKey]V, targets []Target) {
	keep := make(map[clusterKey]bool, len(targets))
	for i := range targets {
		keep[keyOf(targets[i])] = true
	}
	maps.DeleteFunc(clusters, func(key clusterKey, _ V) bool { return !keep[key] })
}

func keyOf(t Target) clusterKey { return clusterKey{t.Key, t.Cluster.ID} }

func (s *Scraper) loggerOf(t *Target) *slog.Logger {
	return s.logger.With("project", t.Project, "region", t.Region,
		"cluster_id", t.Cluster.ID, "cluster_name", t.Cluster.Name)
}

func (s *Scraper) await(ctx context.Context, start time.Time, r *inflight, t Target) Outcome {
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	o := Outcome{Target: t}
	select {
	case <-r.done: // even if ctx is done too
		o.List, o.ReadAt, o.Err, o.Duration = r.list, r.ended, r.err, r.spent(start, r.ended)
		s.abandon(r)
	default:
		o.Err, o.Duration = cloud.NewTimeoutError(css.OpConnections, r.waitingFor(), ctx.Err()), r.spent(start, time.Now())
		if s.abandon(r) {
			o.Err = cmp.Or(r.awaitTimeout(ctx), o.Err)
		}
	}
	s.recordOutcome(ctx, &o)
	return o
}

func (s *Scraper) abandon(r *inflight) (cancelled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.removeWaiter() {
		return false
	}
	// No scrape may join a cancelled read.
	if c := s.clusters[keyOf(r.target)]; c != nil && c.read == r {
		c.read = nil
	}
	return true
}

// recordOutcome counts a failure, logs changes, and adds the last list. A cancelled scrape is not a failure.
func (s *Scraper) recordOutcome(ctx context.Context, o *Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clusters[keyOf(o.Target)]
	if c == nil {
		c = &clusterState{}
	}
	logger := s.loggerOf(&o.Target)
	if o.Err == nil {
		if c.Err != nil {
			c.Err = nil
			logger.Info("Cluster scrape succeeded again")
		}
		return
	}
	if time.Since(c.ReadAt) <= s.options.MaxStaleness && c.shows(&o.Target) {
		o.List, o.ReadAt = c.List, c.ReadAt
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	reason, before, now := cloud.ReasonOf(o.Err), c.Err, time.Now()
	s.metrics.countFailure(reason)
	if before == nil {
		c.Failing = now
	}
	c.Err, c.FailedAt = o.Err, now
	if before != nil && cloud.ReasonOf(before) == reason {
		return
	}
	logger.With("reason", string(reason)).Warn("Cluster scrape failed", cloud.LogFields(o.Err)...)
}

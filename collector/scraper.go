// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"time"

	"css_vpcep_exporter/internal/css"

	"golang.org/x/sync/semaphore"
)

// ScrapeOptions are options of the configuration's scrape section.
type ScrapeOptions struct {
	Concurrency  int           // clusters read at once, over all projects
	MinInterval  time.Duration // lists younger than this are served again
	MaxStaleness time.Duration // if a read fails, a list up to this age is shown
}

// Scraper reads targets. Concurrent scrapes share reads. A failure is logged when it begins and ends.
type Scraper struct {
	metrics *ExporterMetrics
	logger  *slog.Logger
	reads   sync.WaitGroup

	mu       sync.Mutex
	options  ScrapeOptions
	slots    *semaphore.Weighted
	clusters map[clusterKey]*clusterState
}

// NewScraper returns a Scraper that has read nothing yet.
func NewScraper(options ScrapeOptions, metrics *ExporterMetrics, logger *slog.Logger) *Scraper {
	s := &Scraper{metrics: metrics, logger: logger, clusters: make(map[clusterKey]*clusterState)}
	s.Configure(options)
	return s
}

// Configure replaces the options, except for reads in flight.
func (s *Scraper) Configure(options ScrapeOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
	s.slots = semaphore.NewWeighted(int64(options.Concurrency))
}

type clusterKey struct{ project, cluster string }

// State is the result of a cluster's scrapes so far.
type State struct {
	List     *css.ConnectionList // last list; nil before the first
	ReadAt   time.Time           // when List was read
	Err      error               // of the last scrape
	Failing  time.Time           // first failure in a row
	FailedAt time.Time           // last failure
}

// clusterState is a State with the Scraper's bookkeeping.
type clusterState struct {
	State
	read     *inflight // nil if none is in flight
	triedAt  time.Time // when the last request ended
	timedOut bool      // whether it timed out
}

// Scrape reads the targets until ctx ends and yields their outcomes in order, each as soon as possible. A target that
// another scrape is reading is not read again.
func (s *Scraper) Scrape(ctx context.Context, targets []Target) iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		start := time.Now()
		pending := s.start(ctx, start, targets)
		done := 0
		defer func() { // the consumer stopped early
			for _, p := range pending[done:] {
				if p.read != nil {
					s.leave(p.read)
				}
			}
		}()
		for i, p := range pending {
			o := Outcome{Target: targets[i], List: p.list, ReadAt: p.readAt}
			if p.read != nil {
				o = s.await(ctx, start, p.read, targets[i])
			}
			done++
			if !yield(o) {
				return
			}
		}
	}
}

// State returns the state of a cluster; project is the project's configured name.
func (s *Scraper) State(project, clusterID string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[clusterKey{project, clusterID}]; c != nil {
		return c.State
	}
	return State{}
}

// Wait waits until no read is in flight.
func (s *Scraper) Wait() { s.reads.Wait() }

// Retain drops the state of all clusters except those of targets.
func (s *Scraper) Retain(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	retain(s.clusters, targets)
}

// retain deletes all clusters except those of targets.
func retain[V any](clusters map[clusterKey]V, targets []Target) {
	keep := make(map[clusterKey]bool, len(targets))
	for i := range targets {
		keep[keyOf(targets[i])] = true
	}
	maps.DeleteFunc(clusters, func(key clusterKey, _ V) bool { return !keep[key] })
}

func keyOf(t Target) clusterKey { return clusterKey{t.Project, t.Cluster.ID} }

func (s *Scraper) await(ctx context.Context, start time.Time, r *inflight, t Target) Outcome {
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	o := Outcome{Target: t}
	select {
	case <-r.done:
		o.List, o.ReadAt, o.Err, o.Duration = r.list, r.ended, r.err, r.spent(start, r.ended)
	default:
		o.Err, o.Duration = css.NewTimeoutError(r.waitsFor(), ctx.Err()), r.spent(start, time.Now())
	}
	s.leave(r)
	if t.ProjectID == "" {
		o.Target.ProjectID = t.Reader.KnownProjectID()
	}
	s.recordOutcome(ctx, &o)
	return o
}

// leave stops waiting for r. If that cancels r, no further scrape may join it.
func (s *Scraper) leave(r *inflight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.removeWaiter() {
		return
	}
	if c := s.clusters[keyOf(r.target)]; c != nil && c.read == r {
		c.read = nil
	}
}

// recordOutcome adds the last list to a failed outcome, counts the failure and logs changes. A cancelled scrape is not
// counted.
func (s *Scraper) recordOutcome(ctx context.Context, o *Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clusters[keyOf(o.Target)]
	if c == nil {
		c = &clusterState{}
	}
	logger := s.logger.With("project", o.Target.Project, "region", o.Target.Region,
		"cluster_id", o.Target.Cluster.ID, "cluster_name", o.Target.Cluster.Name)
	if o.Err == nil {
		if c.Err != nil {
			c.Err = nil
			logger.Info("Cluster scrape succeeded again")
		}
		return
	}
	if age := time.Since(c.ReadAt); c.List != nil && age <= s.options.MaxStaleness {
		o.List, o.ReadAt = c.List, c.ReadAt
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	reason, before, now := css.ReasonOf(o.Err), c.Err, time.Now()
	s.metrics.failed(reason)
	if before == nil {
		c.Failing = now
	}
	c.Err, c.FailedAt = o.Err, now
	if before != nil && css.ReasonOf(before) == reason {
		return
	}
	logger.With("reason", string(reason)).Warn("Cluster scrape failed", css.LogFields(o.Err)...)
}

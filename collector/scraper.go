// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"css_vpcep_exporter/internal/css"

	"golang.org/x/sync/semaphore"
)

// longestSlot is the maximum of slotTime.
const longestSlot = 2 * time.Second

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

// pending is a read, or the list to serve again.
type pending struct {
	read   *inflight
	list   *css.ConnectionList
	readAt time.Time
}

// queued is a read without a slot.
type queued struct {
	read  *inflight
	ctx   context.Context //nolint:containedctx // of the read
	last  *css.ConnectionList
	state clusterState // when the read was queued
}

func (s *Scraper) start(ctx context.Context, now time.Time, targets []Target) []pending {
	all := make([]pending, len(targets))
	queues := make(map[string][]queued) // by project

	s.mu.Lock()
	for i, t := range targets {
		c := s.clusters[keyOf(t)]
		if c == nil {
			c = &clusterState{}
			s.clusters[keyOf(t)] = c
		}
		if c.List != nil && now.Sub(c.ReadAt) < s.options.MinInterval {
			all[i] = pending{list: c.List, readAt: c.ReadAt}
			continue
		}
		if c.read == nil {
			var readCtx context.Context
			c.read, readCtx = newInflight(ctx, t)
			queues[t.Project] = append(queues[t.Project], queued{c.read, readCtx, c.List, *c})
		}
		c.read.addWaiter(ctx)
		all[i].read = c.read
	}
	slots, slotTime := s.slots, s.slotTime(ctx, now, len(targets))
	s.mu.Unlock()

	for _, queue := range queues {
		slices.SortStableFunc(queue, byUrgency)
		// One goroutine per project, so that the projects take turns at the slots.
		s.reads.Go(func() {
			for _, q := range queue {
				s.run(q, slots, slotTime)
			}
		})
	}
	return all
}

// slotTime returns how long a hanging read keeps its slot. All reads together need some rounds, which share half of the
// scrape's time; the other half is left for healthy clusters. All known clusters count: each may be probed by itself.
func (s *Scraper) slotTime(ctx context.Context, now time.Time, targets int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return longestSlot
	}
	concurrency := s.options.Concurrency
	rounds := (max(targets, len(s.clusters)) + concurrency - 1) / concurrency
	return min(deadline.Sub(now)/2/time.Duration(max(rounds, 1)), longestSlot)
}

// byUrgency orders reads by the last try, the oldest first; clusters that timed out come last.
func byUrgency(a, b queued) int {
	if a.state.timedOut != b.state.timedOut {
		if a.state.timedOut {
			return 1
		}
		return -1
	}
	return a.state.triedAt.Compare(b.state.triedAt)
}

// run waits for the request budget and a slot, then starts the read.
func (s *Scraper) run(q queued, slots *semaphore.Weighted, slotTime time.Duration) {
	if err := q.read.target.Reader.Reserve(q.ctx, q.read.target.Cluster.ID); err != nil {
		s.finish(q.read, nil, err)
		return
	}
	if err := slots.Acquire(q.ctx, 1); err != nil {
		s.finish(q.read, nil, css.NewTimeoutError(q.read.waitsFor(), err))
		return
	}
	release := sync.OnceFunc(func() { slots.Release(1) })
	timer := time.AfterFunc(slotTime, release)
	q.read.markStarted()
	s.reads.Go(func() {
		defer release()
		defer timer.Stop()
		list, err := q.read.target.Reader.Connections(q.ctx, q.read.target.Cluster.ID, q.last)
		s.finish(q.read, list, err)
	})
}

func (s *Scraper) finish(r *inflight, list *css.ConnectionList, err error) {
	r.list, r.err, r.ended = list, err, time.Now()
	if list != nil {
		s.metrics.unparsable(list.Unparsable)
	}

	s.mu.Lock()
	if c := s.clusters[keyOf(r.target)]; c != nil {
		// If nothing was sent, the cluster keeps its place in the order of tries.
		if e, ok := errors.AsType[*css.Error](err); err == nil || ok && e.Sent() {
			c.triedAt, c.timedOut = r.ended, err != nil && e.Reason == css.ReasonTimeout
		}
		if c.read == r {
			c.read = nil
			if err == nil {
				c.List, c.ReadAt = list, r.ended
			}
		}
	}
	s.mu.Unlock()

	close(r.done)
	r.cancel()
}

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

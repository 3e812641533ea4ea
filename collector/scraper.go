// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"css_vpcep_exporter/css"

	"golang.org/x/sync/semaphore"
)

// longestSlot bounds how long a read keeps its slot without an answer.
const longestSlot = 2 * time.Second

// ScrapeOptions are the file's `scrape` section, as far as reading goes.
type ScrapeOptions struct {
	Concurrency  int           // clusters read at once, over all projects
	MinInterval  time.Duration // a list younger than this is served again
	MaxStaleness time.Duration // a list up to this age is shown when it cannot be refreshed
}

// Scraper reads targets. It lives as long as the process, so that scrapes at the same moment share their reads, lists can be
// kept, and a failure is logged when it starts and when it ends instead of at every scrape.
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

// Configure replaces the options. Reads in flight keep their slots of before.
func (s *Scraper) Configure(options ScrapeOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
	s.slots = semaphore.NewWeighted(int64(options.Concurrency))
}

type clusterKey struct{ project, cluster string }

// State is what is remembered of a target from scrape to scrape.
type State struct {
	List     *css.ConnectionList // the last one that could be read; nil if none ever was
	ReadAt   time.Time           // when that was
	Err      error               // why the last scrape could not read it; nil if it could, or if there was none
	Failing  time.Time           // when Err's failures in a row began
	FailedAt time.Time           // when the last of them was
}

// clusterState is a State with what only the Scraper needs.
type clusterState struct {
	State
	read     *inflight // nil if the cluster is not being read
	triedAt  time.Time // when the last request ended
	timedOut bool      // how it ended
}

// Scrape reads the targets, each at most once however many scrapes ask at the same moment. The outcome of a target is yielded
// as soon as that one and all before it have been read, or ctx has ended; outcomes are in the order of targets.
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

// State returns what is remembered of a cluster; project is its name in the file.
func (s *Scraper) State(project, clusterID string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[clusterKey{project, clusterID}]; c != nil {
		return c.State
	}
	return State{}
}

// Wait returns when no read is in flight any more. Reads end when no scrape waits for them.
func (s *Scraper) Wait() { s.reads.Wait() }

// Retain forgets all clusters but those of targets.
func (s *Scraper) Retain(targets []Target) {
	keep := make(map[clusterKey]bool, len(targets))
	for i := range targets {
		keep[keyOf(targets[i])] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.clusters {
		if !keep[key] {
			delete(s.clusters, key)
		}
	}
}

func keyOf(t Target) clusterKey { return clusterKey{t.Project, t.Cluster.ID} }

// pending is what a scrape waits for of one target.
type pending struct {
	read   *inflight // nil if the list is young enough to be served again
	list   *css.ConnectionList
	readAt time.Time
}

// queued is a read that has no slot yet.
type queued struct {
	read  *inflight
	ctx   context.Context //nolint:containedctx // of the read
	last  *css.ConnectionList
	state clusterState // as it was when the read was queued
}

// start joins the reads that are in flight and starts those that are missing.
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
		// Each project's clusters wait one after the other, so that slots go round between the projects.
		s.reads.Go(func() {
			for _, q := range queue {
				s.run(q, slots, slotTime)
			}
		})
	}
	return all
}

// slotTime is how long a read keeps its slot without an answer: half of the scrape's time, divided by the rounds that all
// clusters need. Any number of clusters may hang, and the others are still read in the other half. All known clusters count,
// because each may be scraped by a request of its own.
func (s *Scraper) slotTime(ctx context.Context, now time.Time, targets int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return longestSlot
	}
	concurrency := s.options.Concurrency
	rounds := (max(targets, len(s.clusters)) + concurrency - 1) / concurrency
	return min(deadline.Sub(now)/2/time.Duration(max(rounds, 1)), longestSlot)
}

// byUrgency orders reads by the age of the last try, so that under a tight request budget every cluster is read in turn.
// Clusters that timed out come last.
func byUrgency(a, b queued) int {
	if a.state.timedOut != b.state.timedOut {
		if a.state.timedOut {
			return 1
		}
		return -1
	}
	return a.state.triedAt.Compare(b.state.triedAt)
}

// run waits for the project's request budget and for a slot, and starts the read.
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

// finish stores the result of a read.
func (s *Scraper) finish(r *inflight, list *css.ConnectionList, err error) {
	r.list, r.err, r.ended = list, err, time.Now()
	if list != nil {
		s.metrics.unparsable(list.Unparsable)
	}

	s.mu.Lock()
	if c := s.clusters[keyOf(r.target)]; c != nil {
		if e, ok := errors.AsType[*css.Error](err); err == nil || ok && e.Sent() { // otherwise it is still the cluster's turn
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

// await waits for a read, or for the end of ctx.
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

// leave takes a read that nobody waits for any more out of the way of the next scrape.
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

// recordOutcome lets the last list stand in for a failure, counts the failure, and logs changes. A cancelled scrape is not
// counted as a failure.
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
	logger = logger.With("reason", string(reason))
	if e, ok := errors.AsType[*css.Error](o.Err); ok {
		if e.Code != "" {
			logger = logger.With("code", e.Code)
		}
		if e.RequestID != "" {
			logger = logger.With("request_id", e.RequestID)
		}
		logger = logger.With("hint", e.Hint())
	}
	logger.Warn("Cluster scrape failed", "err", o.Err)
}

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

// ScrapeOptions are the file's `scrape` section, as far as reading goes.
type ScrapeOptions struct {
	Concurrency  int           // clusters read at once, over all projects
	Projects     int           // how many there are; with more than one, none takes all of the concurrency
	MinInterval  time.Duration // a list younger than this is served again
	MaxStaleness time.Duration // a list up to this age is shown when it cannot be refreshed
}

// Scraper reads targets. It lives as long as the process, so that scrapes at the same moment share their calls, lists
// can be kept, and a failure is logged when it starts and when it ends instead of at every scrape.
type Scraper struct {
	metrics *ExporterMetrics
	logger  *slog.Logger
	flights sync.WaitGroup

	mu       sync.Mutex
	options  ScrapeOptions
	slots    *semaphore.Weighted
	clusters map[clusterKey]*clusterState
	shares   map[string]*semaphore.Weighted // of the slots, by project
}

// NewScraper makes a Scraper that has read nothing yet.
func NewScraper(options ScrapeOptions, metrics *ExporterMetrics, logger *slog.Logger) *Scraper {
	s := &Scraper{metrics: metrics, logger: logger, clusters: make(map[clusterKey]*clusterState)}
	s.Configure(options)
	return s
}

// Configure puts options in the place of those that were there. Requests that are under way do not count any more.
func (s *Scraper) Configure(options ScrapeOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
	s.slots = semaphore.NewWeighted(int64(options.Concurrency))
	s.shares = make(map[string]*semaphore.Weighted)
}

type clusterKey struct{ project, cluster string }

// clusterState is what is remembered of a cluster between scrapes.
type clusterState struct {
	flight   *flight // nil if nobody reads it now
	list     *css.ConnectionList
	readAt   time.Time
	triedAt  time.Time
	timedOut bool      // the last try
	err      error     // of the last scrape; nil if that was a success
	failing  time.Time // since when, if err is not nil
	failedAt time.Time
}

// State is what is remembered of a target from scrape to scrape.
type State struct {
	List     *css.ConnectionList // the last one that could be read; nil if none ever was
	ReadAt   time.Time           // when that was
	Err      error               // why the last scrape could not read it; nil if it could, or if there was none
	Failing  time.Time           // when it could first not be read, if Err is not nil
	FailedAt time.Time           // when it could last not be read, likewise
}

// Scrape reads the targets, each at most once however many scrapes ask at the same moment. What it got of one is there as
// soon as that one and all before it have been read, or ctx has ended; outcomes are in the order of targets.
func (s *Scraper) Scrape(ctx context.Context, targets []Target) iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		start := time.Now()
		waits := s.launch(ctx, start, targets)
		got := 0
		defer func() { // of what is not wanted any more
			for _, w := range waits[got:] {
				if w.flight != nil {
					s.leave(w.flight)
				}
			}
		}()
		for i, w := range waits {
			o := Outcome{Target: targets[i], List: w.list, ReadAt: w.readAt}
			if w.flight != nil {
				o = s.await(ctx, start, w.flight, targets[i])
			}
			got++
			if !yield(o) {
				return
			}
		}
	}
}

// State tells what is remembered of a cluster; the name is that of its project in the file.
func (s *Scraper) State(project, clusterID string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clusters[clusterKey{project, clusterID}]
	if c == nil {
		return State{}
	}
	return State{List: c.list, ReadAt: c.readAt, Err: c.err, Failing: c.failing, FailedAt: c.failedAt}
}

// Wait returns when no call is under way any more. Calls end when nobody waits for them.
func (s *Scraper) Wait() { s.flights.Wait() }

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

// wait is what a scrape waits for of one target.
type wait struct {
	flight *flight // nil if the list is young enough to be served again
	list   *css.ConnectionList
	readAt time.Time
}

// launch joins the flights that are under way and starts those that are missing.
func (s *Scraper) launch(ctx context.Context, now time.Time, targets []Target) []wait {
	type launched struct {
		flight *flight
		ctx    context.Context //nolint:containedctx // on its way to start
		state  clusterState
	}
	waits := make([]wait, len(targets))
	missing := make(map[string][]launched) // by project

	s.mu.Lock()
	for i, t := range targets {
		c := s.clusters[keyOf(t)]
		if c == nil {
			c = &clusterState{}
			s.clusters[keyOf(t)] = c
		}
		if c.list != nil && now.Sub(c.readAt) < s.options.MinInterval {
			waits[i] = wait{list: c.list, readAt: c.readAt}
			continue
		}
		if c.flight == nil {
			f, flightCtx := newFlight(ctx, t)
			missing[t.Project] = append(missing[t.Project], launched{f, flightCtx, *c})
			c.flight = f
		}
		c.flight.join(ctx)
		waits[i].flight = c.flight
	}
	s.mu.Unlock()

	for _, queue := range missing {
		// The longest untried first, so that under a tight budget every cluster gets its turn; those that hung the
		// last time come after the others, so that they do not hold them up.
		slices.SortStableFunc(queue, func(a, b launched) int {
			if a.state.timedOut != b.state.timedOut {
				if a.state.timedOut {
					return 1
				}
				return -1
			}
			return a.state.triedAt.Compare(b.state.triedAt)
		})
		// Each project's clusters wait for one turn at a time, so that turns go round between the projects.
		s.flights.Go(func() {
			for _, l := range queue {
				s.start(l.ctx, l.flight)
			}
		})
	}
	return waits
}

// start waits for the flight's turn and lets it go.
func (s *Scraper) start(ctx context.Context, f *flight) {
	if err := f.target.Reader.Resting(ctx); err != nil {
		s.land(f, nil, err)
		return
	}
	leave, err := s.turn(ctx, f.target)
	if err != nil {
		s.land(f, nil, tooLate("it was this cluster's turn", err))
		return
	}
	f.begin()
	s.flights.Go(func() {
		defer leave()
		// The first request has its turn already; each further one (a page, a retry) waits for its own.
		first := true
		list, err := f.target.Reader.Connections(ctx, f.target.Cluster.ID, s.last(f.target), func(ctx context.Context) (func(), error) {
			if err := f.ask(); err != nil {
				return nil, err
			}
			if first {
				first = false
				return leave, nil
			}
			return s.turn(ctx, f.target)
		})
		s.land(f, list, err)
	})
}

// last is the list that was last read of a target; nil if there is none.
func (s *Scraper) last(t Target) *css.ConnectionList {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[keyOf(t)]; c != nil {
		return c.list
	}
	return nil
}

// turn waits until the project's budget and the limit of concurrent requests allow a request. What it returns ends the
// request and may be called more than once.
func (s *Scraper) turn(ctx context.Context, t Target) (leave func(), err error) {
	if err := t.Budget.Wait(ctx); err != nil {
		return nil, err
	}
	share, slots := s.limits(t.Project)
	if err := share.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := slots.Acquire(ctx, 1); err != nil {
		share.Release(1)
		return nil, err
	}
	return sync.OnceFunc(func() {
		slots.Release(1)
		share.Release(1)
	}), nil
}

// limits are the slots, and how many of them the project may take: a quarter is kept for the others, should all of its
// calls hang.
func (s *Scraper) limits(project string) (share, slots *semaphore.Weighted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shares[project] == nil {
		size := s.options.Concurrency
		if s.options.Projects > 1 {
			size = max(size-max(size/4, 1), 1)
		}
		s.shares[project] = semaphore.NewWeighted(int64(size))
	}
	return s.shares[project], s.slots
}

// land takes a flight's result.
func (s *Scraper) land(f *flight, list *css.ConnectionList, err error) {
	f.list, f.err, f.ended = list, err, time.Now()
	if list != nil {
		s.metrics.unparsable(list.Unparsable)
	}

	s.mu.Lock()
	if c := s.clusters[keyOf(f.target)]; c != nil && c.flight == f {
		c.flight = nil
		if f.hasAsked() { // else its turn is still to come
			c.triedAt = f.ended
			c.timedOut = err != nil && css.ReasonOf(err) == css.ReasonTimeout
		}
		if err == nil {
			c.list, c.readAt = list, f.ended
		}
	}
	s.mu.Unlock()

	close(f.done)
	f.cancel()
}

// await waits for a flight, or for the end of ctx.
func (s *Scraper) await(ctx context.Context, start time.Time, f *flight, t Target) Outcome {
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	o := Outcome{Target: t}
	select {
	case <-f.done:
		o.List, o.ReadAt, o.Err, o.Duration = f.list, f.ended, f.err, f.spent(start, f.ended)
	default:
		o.Err, o.Duration = tooLate("the answer", ctx.Err()), f.spent(start, time.Now())
	}
	s.leave(f)
	if t.ProjectID == "" {
		o.Target.ProjectID = t.Reader.KnownProjectID()
	}
	s.settle(ctx, &o)
	return o
}

// tooLate says which wait the deadline ended.
func tooLate(waitedFor string, cause error) *css.Error {
	return &css.Error{
		Reason: css.ReasonTimeout, Operation: "connections", Err: cause, Message: "the deadline came before " + waitedFor,
	}
}

// leave takes a flight that nobody waits for any more out of the way of the next scrape.
func (s *Scraper) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.leave() {
		return
	}
	if c := s.clusters[keyOf(f.target)]; c != nil && c.flight == f {
		c.flight = nil
		if f.hasAsked() {
			c.triedAt, c.timedOut = time.Now(), true
		}
	}
}

// settle lets the last good list stand in for a failure, counts the failure, and tells of changes. A scrape whose
// caller went away failed for nobody.
func (s *Scraper) settle(ctx context.Context, o *Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clusters[keyOf(o.Target)]
	if c == nil {
		c = &clusterState{}
	}
	if o.Err == nil {
		if c.err != nil {
			c.err = nil
			s.log(o).Info("Cluster can be read again")
		}
		return
	}
	if age := time.Since(c.readAt); c.list != nil && age <= s.options.MaxStaleness {
		o.List, o.ReadAt = c.list, c.readAt
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	reason, before, now := css.ReasonOf(o.Err), c.err, time.Now()
	s.metrics.failed(reason)
	if before == nil {
		c.failing = now
	}
	c.err, c.failedAt = o.Err, now
	if before != nil && css.ReasonOf(before) == reason {
		return
	}
	logger := s.log(o).With("reason", string(reason))
	if e := (*css.Error)(nil); errors.As(o.Err, &e) {
		if e.Code != "" {
			logger = logger.With("code", e.Code)
		}
		if e.RequestID != "" {
			logger = logger.With("request_id", e.RequestID)
		}
		logger = logger.With("hint", e.Hint())
	}
	logger.Warn("Cluster cannot be read", "err", o.Err)
}

func (s *Scraper) log(o *Outcome) *slog.Logger {
	return s.logger.With("project", o.Target.Project, "region", o.Target.Region,
		"cluster_id", o.Target.Cluster.ID, "cluster_name", o.Target.Cluster.Name)
}

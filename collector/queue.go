// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"

	"golang.org/x/sync/semaphore"
)

const maxSlotTime = 2 * time.Second

// pending is a read or, if that is nil, a recent list.
type pending struct {
	read   *inflight
	list   *css.ConnectionList
	readAt time.Time
}

type queued struct {
	read  *inflight
	ctx   context.Context //nolint:containedctx // of the read
	state clusterState
}

func (s *Scraper) joinOrStart(ctx context.Context, now time.Time, targets []Target) []pending {
	all := make([]pending, len(targets))
	queues := make(map[string][]queued) // by project

	s.mu.Lock()
	for i, t := range targets {
		c := s.clusters[keyOf(t)]
		if c == nil {
			c = &clusterState{}
			s.clusters[keyOf(t)] = c
		}
		if now.Sub(c.ReadAt) < s.options.MinInterval && c.shows(&t) {
			all[i] = pending{list: c.List, readAt: c.ReadAt}
			continue
		}
		if c.read == nil || c.read.target.Reader != t.Reader { // a reload replaced the client
			var readCtx context.Context
			c.read, readCtx = newInflight(ctx, t)
			queues[t.Project] = append(queues[t.Project], queued{c.read, readCtx, *c})
		}
		c.read.addWaiter(ctx)
		all[i].read = c.read
	}
	slots, slotTime := s.slots, s.slotTime(ctx, now, len(targets))
	s.mu.Unlock()

	for _, queue := range queues {
		slices.SortStableFunc(queue, byUrgency)
		// One goroutine per project, so that a slow project delays no other.
		s.reads.Go(func() {
			for _, q := range queue {
				s.run(q, slots, slotTime)
			}
		})
	}
	return all
}

// slotTime returns how long a hanging read keeps its slot: half of the scrape's time, divided by the rounds that all
// known clusters need, because each cluster may be probed by itself.
func (s *Scraper) slotTime(ctx context.Context, now time.Time, targets int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return maxSlotTime
	}
	concurrency := s.options.Concurrency
	rounds := (max(targets, len(s.clusters)) + concurrency - 1) / concurrency
	return min(deadline.Sub(now)/2/time.Duration(max(rounds, 1)), maxSlotTime)
}

// byUrgency puts the oldest try first and clusters that timed out last.
func byUrgency(a, b queued) int {
	if a.state.timedOut != b.state.timedOut {
		if a.state.timedOut {
			return 1
		}
		return -1
	}
	return a.state.triedAt.Compare(b.state.triedAt)
}

func (s *Scraper) run(q queued, slots *semaphore.Weighted, slotTime time.Duration) {
	if err := q.read.target.Reader.Reserve(q.ctx, q.read.target.Cluster.ID); err != nil {
		s.finish(q.read, nil, err)
		return
	}
	if err := slots.Acquire(q.ctx, 1); err != nil {
		s.finish(q.read, nil, cloud.NewTimeoutError(css.OpConnections, q.read.waitingFor(), err))
		return
	}
	release := sync.OnceFunc(func() { slots.Release(1) })
	timer := time.AfterFunc(slotTime, release)
	q.read.markStarted()
	s.reads.Go(func() {
		defer release()
		defer timer.Stop()
		list, err := q.read.target.Reader.Connections(q.ctx, q.read.target.Cluster.ID, q.state.List)
		s.finish(q.read, list, err)
	})
}

func (s *Scraper) finish(r *inflight, list *css.ConnectionList, err error) {
	r.list, r.err, r.ended = list, err, time.Now()
	var changes []css.Change
	s.mu.Lock()
	if c := s.clusters[keyOf(r.target)]; c != nil {
		// A read that sent no request is not a try.
		if e, ok := errors.AsType[*cloud.Error](err); err == nil || ok && e.Sent {
			c.triedAt, c.timedOut = r.ended, err != nil && e.Reason == cloud.ReasonTimeout
		}
		if c.read == r {
			c.read = nil
			if err == nil {
				changes = c.replaceList(list, r.ended, r.target.Reader.KnownProjectID())
			}
		}
	}
	s.mu.Unlock()

	if len(changes) > 0 {
		logChanges(s.loggerOf(&r.target), changes)
	}
	close(r.done)
	r.cancel()
}

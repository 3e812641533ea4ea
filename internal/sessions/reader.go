// SPDX-License-Identifier: Apache-2.0

// Package sessions keeps the sessions in use of a project's connections, which it reads from Cloud Eye at most once a
// minute.
package sessions

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
)

const (
	interval = time.Minute
	// early is how much less than an interval after the last read another one may be offered: scrapes are not exactly a
	// minute apart.
	early = 2 * time.Second
	// delivery bounds how long a call is on its way to the server, which counts it when it arrives.
	delivery = time.Second
	// publishEvery bounds the age of values during a long read.
	publishEvery = 5 * time.Second
)

// Reader reads the sessions of a project. It is safe for concurrent use.
type Reader struct {
	client    *ces.Client
	batchSize int // metrics in a call
	logger    *slog.Logger
	offers    chan func() []string
	memory    *memory
}

// New returns a Reader. batchSize is at most ces.MaxMetrics.
func New(client *ces.Client, batchSize int, logger *slog.Logger) *Reader {
	return &Reader{
		client: client, batchSize: batchSize, logger: logger, offers: make(chan func() []string, 1), memory: newMemory(),
	}
}

// Inherit takes over what an older Reader knows. Both may run at once for a while; then one waits for the other. Call it
// before the first read.
func (r *Reader) Inherit(older *Reader) { r.memory = older.memory }

// Close closes connections as soon as they are idle. Calls in flight complete.
func (r *Reader) Close() { r.client.Close() }

// State is the result of the reads so far.
type State struct {
	Tried       bool
	Err         error     // of the last read
	LastSuccess time.Time // may be zero
}

// State returns the result of the reads so far.
func (r *Reader) State() State {
	projectID := r.client.KnownProjectID()
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	if r.memory.projectID != projectID {
		return State{}
	}
	return r.memory.state
}

// Values returns the present values. Until they change, it is the same pointer. It is nil if there are none.
func (r *Reader) Values() *Values { return r.memory.present(r.client.KnownProjectID()) }

// Due reports whether an offer may start a read.
func (r *Reader) Due() bool {
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	return r.memory.startedAt.IsZero() || time.Since(r.memory.startedAt) >= interval-early
}

// Offer lets Run read the sessions of connections, if a read is due. ids is called in another goroutine. Offer does not
// block.
func (r *Reader) Offer(ids func() []string) {
	select {
	case r.offers <- ids:
	default: // an older offer waits, and its ids are the present ones when they are read
	}
}

// Run reads what is offered until ctx is done. Its requests delay no others of the project.
func (r *Reader) Run(ctx context.Context) {
	select {
	case r.memory.running <- struct{}{}:
		defer func() { <-r.memory.running }()
	case <-ctx.Done():
		return
	}
	for {
		select {
		case ids := <-r.offers:
			if r.Due() {
				_ = r.read(ctx, ids(), true) // logged, and exposed as a metric
			}
		case <-ctx.Done():
			return
		}
	}
}

// Read reads the sessions of connections now, in a process that does not call Run.
func (r *Reader) Read(ctx context.Context, ids []string) error { return r.read(ctx, ids, false) }

// read reads in batches, one after another, and stops at the first that fails. The next read begins with the batch after
// that, so that a batch that always fails hides no others.
func (r *Reader) read(ctx context.Context, ids []string, spare bool) error {
	metrics := metricsOf(ids)
	projectID, batches := r.client.KnownProjectID(), slices.Collect(slices.Chunk(metrics, r.batchSize))
	m := r.memory
	if len(batches) == 0 || projectID == "" {
		m.forgetFailure()
		return nil
	}
	first, ok := m.begin(ctx, projectID)
	published := time.Now()
	var err error
	for i := 0; i < len(batches) && err == nil && ok; i++ {
		n := (first + i) % len(batches)
		if ok = m.waitForCall(ctx, len(batches)); !ok {
			break
		}
		var values []ces.Value
		var sent time.Time
		call, cancel := context.WithTimeout(ctx, ces.MaxAge) // of waiting: then all values are too old
		values, sent, err = r.client.Query(call, batches[n], spare)
		cancel()
		m.record(batches[n], values, sent)
		switch {
		case err == nil:
			m.setNext(first)
		case sent.IsZero():
			m.setNext(n)
		default:
			m.setNext(n + 1)
		}
		if time.Since(published) >= publishEvery {
			published = time.Now()
			m.publish()
		}
	}
	m.publish()
	if errors.Is(ctx.Err(), context.Canceled) { // replaced, or stopped
		return ctx.Err()
	}
	if err == nil && !ok {
		e := cloud.NewTimeoutError(ces.OpSessions, "the lists of connections", ctx.Err())
		err = e.WithHint("raise --scrape.timeout")
	}
	r.recordResult(err, len(metrics)/int(ces.Kinds))
	return err
}

// metricsOf returns both metrics of each connection, always in the same order.
func metricsOf(ids []string) []ces.Metric {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !ces.Askable(id) })
	slices.Sort(ids)
	return ces.MetricsOf(slices.Compact(ids))
}

func (r *Reader) recordResult(err error, connections int) {
	before, withValues := r.memory.recordResult(err)
	reason := reasonOf(err)
	switch {
	case before.Tried && reasonOf(before.Err) == reason:
	case err != nil:
		r.logger.With("reason", reason).Warn("Reading sessions failed", cloud.LogFields(err)...)
	default:
		r.logger.Info("Reading sessions succeeded", "connections", connections, "with_values", withValues)
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return string(cloud.ReasonOf(err))
}

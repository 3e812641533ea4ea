// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"context"
	"sync"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
)

// Count is a number of sessions, unless it is unknown.
type Count struct {
	Value float64
	Known bool
}

// InUse are the sessions of a connection.
type InUse struct{ Sessions, Active Count }

// Values are the sessions of connections at a time. They are immutable.
type Values struct {
	byID  map[string]InUse
	until time.Time // when the first one is too old
}

// NewValues returns Values that do not age.
func NewValues(byID map[string]InUse) *Values { return &Values{byID: byID} }

// Of returns the sessions of a connection. v may be nil.
func (v *Values) Of(connectionID string) InUse {
	if v == nil {
		return InUse{}
	}
	return v.byID[connectionID]
}

// memory is what survives a change of the settings.
type memory struct {
	running chan struct{} // held by Run

	mu        sync.Mutex
	projectID string
	values    map[string][ces.Kinds]ces.Value
	published *Values // nil if there are none
	state     State
	startedAt time.Time   // of the last read
	calls     []time.Time // of the last interval, when the server had them at the latest
	next      int         // batch of the next read
}

func newMemory() *memory {
	return &memory{running: make(chan struct{}, 1), values: make(map[string][ces.Kinds]ces.Value)}
}

// begin waits until an interval has passed since the last read began, and returns the first batch. It forgets another
// project, which other credentials have found in the region. It reports false if ctx ends first.
func (m *memory) begin(ctx context.Context, projectID string) (first int, ok bool) {
	m.mu.Lock()
	wait := time.Until(m.startedAt.Add(interval))
	m.mu.Unlock()
	if wait > 0 && !cloud.Sleep(ctx, wait) {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.startedAt = time.Now()
	if m.projectID != projectID {
		m.projectID, m.published, m.state = projectID, nil, State{}
		clear(m.values)
	}
	return m.next, true
}

// waitForCall waits until fewer calls than limit were sent in the last interval. It reports false if ctx ends first.
func (m *memory) waitForCall(ctx context.Context, limit int) bool {
	for {
		m.mu.Lock()
		for len(m.calls) > 0 && time.Since(m.calls[0]) >= interval {
			m.calls = m.calls[1:]
		}
		if len(m.calls) < limit {
			m.mu.Unlock()
			return ctx.Err() == nil
		}
		wait := time.Until(m.calls[len(m.calls)-limit].Add(interval))
		m.mu.Unlock()
		if !cloud.Sleep(ctx, wait) {
			return false
		}
	}
}

func (m *memory) setNext(batch int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = batch
}

// record stores the values of a call. It keeps newer ones: the answers may come from several servers.
func (m *memory) record(metrics []ces.Metric, values []ces.Value, sent time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !sent.IsZero() {
		m.calls = append(m.calls, sent.Add(min(time.Since(sent), delivery)))
	}
	for i, v := range values {
		id, kind := metrics[i].EndpointID, metrics[i].Kind
		if known := m.values[id]; !v.At.IsZero() && !v.At.Before(known[kind].At) {
			known[kind] = v
			m.values[id] = known
		}
	}
}

// publish replaces the published Values, without those that are too old.
func (m *memory) publish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.publishLocked()
}

func (m *memory) publishLocked() {
	now := time.Now()
	next := &Values{byID: make(map[string]InUse, len(m.values)), until: now.Add(ces.MaxAge)}
	count := func(v ces.Value) Count {
		if v.At.IsZero() || now.Sub(v.At) > ces.MaxAge {
			return Count{}
		}
		if until := v.At.Add(ces.MaxAge); until.Before(next.until) {
			next.until = until
		}
		return Count{v.Value, true}
	}
	for id, v := range m.values {
		inUse := InUse{Sessions: count(v[ces.Sessions]), Active: count(v[ces.ActiveSessions])}
		if inUse == (InUse{}) {
			delete(m.values, id)
			continue
		}
		next.byID[id] = inUse
	}
	m.published = next
	if len(next.byID) == 0 {
		m.published = nil
	}
}

func (m *memory) present(projectID string) *Values {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.published == nil || m.projectID != projectID {
		return nil
	}
	if time.Now().After(m.published.until) {
		m.publishLocked()
	}
	return m.published
}

// forgetFailure keeps a failure from lasting after the last connection is gone.
func (m *memory) forgetFailure() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Err != nil {
		m.state = State{}
	}
}

// recordResult returns the state before, and how many connections have values.
func (m *memory) recordResult(err error) (before State, withValues int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before = m.state
	m.state.Tried, m.state.Err = true, err
	if err == nil {
		m.state.LastSuccess = time.Now()
	}
	if m.published != nil {
		withValues = len(m.published.byID)
	}
	return before, withValues
}

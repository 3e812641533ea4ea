// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
)

// condition is the state of a cluster or project: the worst that applies.
type condition string

const (
	failing   condition = "failing"   // the last scrape of a cluster, or refresh of a project, failed
	rejected  condition = "rejected"  // rejected or failed connections
	truncated condition = "truncated" // fewer connections are listed than reported
	pending   condition = "pending"   // connections pending acceptance
	unlisted  condition = "unlisted"  // accepted connections of accounts not in the allowlist
	off       condition = "off"       // the service is off
	unread    condition = "unread"    // not read yet
	ok        condition = "ok"
)

// rank orders conditions from worst to best.
func (c condition) rank() int {
	if c == unlisted { // ranks as pending
		c = pending
	}
	return slices.Index([]condition{failing, rejected, truncated, pending, off, unread, ok}, c)
}

// view is the content of the page. Programs read it as JSON. Unknown values are omitted, totals ignore the filter,
// and the counts of a failing cluster are those of its last successful read.
type view struct {
	Version  string          `json:"version"`
	Ready    bool            `json:"ready"`
	Time     time.Time       `json:"time"`
	Config   *configStatus   `json:"config,omitempty"`
	Totals   totals          `json:"totals"`
	Projects []projectStatus `json:"projects"`
	Clusters []clusterStatus `json:"clusters"`
}

type configStatus struct {
	OK          bool      `json:"last_reload_successful"`
	LastSuccess time.Time `json:"last_reload_success_time,omitzero"`
}

type totals struct {
	Projects        int                `json:"projects"`
	FailingProjects int                `json:"failing_projects"`
	Clusters        int                `json:"clusters"`
	States          map[condition]int  `json:"states"`
	Connections     map[css.Status]int `json:"connections,omitempty"`
}

type projectStatus struct {
	Name      string          `json:"name"`
	Region    string          `json:"region"`
	ID        string          `json:"project_id,omitempty"`
	State     condition       `json:"state"`
	Discovery discoveryStatus `json:"discovery"`
	Error     *failure        `json:"error,omitempty"`
}

type discoveryStatus struct {
	Enabled     bool      `json:"enabled"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Age         *int64    `json:"age_seconds,omitempty"`
	Clusters    *int      `json:"clusters,omitempty"`
}

type clusterStatus struct {
	Project       string             `json:"project"`
	Region        string             `json:"region"`
	ProjectID     string             `json:"project_id,omitempty"`
	ID            string             `json:"id"`
	Name          string             `json:"name,omitempty"`
	Engine        string             `json:"engine,omitempty"`
	EngineVersion string             `json:"engine_version,omitempty"`
	State         condition          `json:"state"`
	Enabled       *bool              `json:"enabled,omitempty"`
	Reported      *float64           `json:"reported_connections,omitempty"`
	Connections   map[css.Status]int `json:"connections,omitempty"`
	Truncated     *bool              `json:"truncated,omitempty"`
	Unlisted      *int               `json:"unlisted_connections,omitempty"`
	LastSuccess   time.Time          `json:"last_success,omitzero"`
	Age           *int64             `json:"age_seconds,omitempty"`
	Error         *failure           `json:"error,omitempty"`
}

type failure struct {
	Reason     cloud.Reason `json:"reason,omitempty"`
	HTTPStatus int          `json:"http_status,omitempty"`
	Code       string       `json:"code,omitempty"`
	RequestID  string       `json:"request_id,omitempty"`
	Message    string       `json:"message,omitempty"`
	Hint       string       `json:"hint,omitempty"`
	Since      time.Time    `json:"since,omitzero"`
	Last       time.Time    `json:"last,omitzero"`
}

// newView returns a view; states[i] is the state of targets[i].
func newView(
	projects []discovery.State, targets []discovery.Target, states []collector.State, now time.Time,
) *view {
	v := &view{
		Time:     utc(now),
		Projects: make([]projectStatus, 0, len(projects)),
		Clusters: make([]clusterStatus, 0, len(targets)),
		Totals:   totals{Projects: len(projects), Clusters: len(targets), States: make(map[condition]int)},
	}
	for _, c := range []condition{failing, rejected, truncated, pending, unlisted, off, unread, ok} {
		v.Totals.States[c] = 0
	}
	for i := range projects {
		p := newProjectStatus(&projects[i], now)
		if p.State == failing {
			v.Totals.FailingProjects++
		}
		v.Projects = append(v.Projects, p)
	}
	for i := range targets {
		c := newClusterStatus(&targets[i], &states[i], now)
		v.Totals.States[c.State]++
		for status, count := range c.Connections {
			if v.Totals.Connections == nil {
				v.Totals.Connections = make(map[css.Status]int)
			}
			v.Totals.Connections[status] += count
		}
		v.Clusters = append(v.Clusters, c)
	}
	return v
}

func newProjectStatus(s *discovery.State, now time.Time) projectStatus {
	p := projectStatus{
		Name: s.Project.Name, Region: s.Project.Region, ID: s.Project.Client.KnownProjectID(),
		State: unread, Discovery: discoveryStatus{Enabled: s.Project.Search != nil},
	}
	switch {
	case s.Err != nil:
		p.State, p.Error = failing, newFailure(s.Err)
	case s.Tried:
		p.State = ok
	}
	if !p.Discovery.Enabled {
		return p
	}
	if !s.LastSuccess.IsZero() {
		p.Discovery.LastSuccess, p.Discovery.Age = utc(s.LastSuccess), seconds(now.Sub(s.LastSuccess))
	}
	if !s.LastSuccess.IsZero() || s.Found > 0 { // an incomplete list counts
		p.Discovery.Clusters = new(s.Found)
	}
	return p
}

func newClusterStatus(t *discovery.Target, s *collector.State, now time.Time) clusterStatus {
	c := clusterStatus{
		Project: t.Project.Name, Region: t.Project.Region, ProjectID: t.Project.Client.KnownProjectID(),
		ID: t.Cluster.ID, Name: t.Cluster.Name, Engine: t.Cluster.Engine, EngineVersion: t.Cluster.EngineVersion,
	}
	if s.Err != nil {
		c.Error = newFailure(s.Err)
		c.Error.Since, c.Error.Last = utc(s.Failing), utc(s.FailedAt)
	}
	if list := s.List; list != nil {
		c.LastSuccess, c.Age, c.Enabled = utc(s.ReadAt), seconds(now.Sub(s.ReadAt)), new(list.Enabled)
		if list.Enabled {
			c.addList(list)
		}
	}
	c.State = c.condition()
	return c
}

func (c *clusterStatus) addList(list *css.ConnectionList) {
	if list.Reported.Set {
		c.Reported = new(list.Reported.Value)
	}
	c.Truncated = new(list.Truncated())
	if unlisted, ok := collector.Unlisted(list); ok {
		c.Unlisted = new(len(unlisted))
	}
	c.Connections = collector.CountByStatus(list.Connections)
	for _, status := range css.Statuses() {
		c.Connections[status] += 0
	}
}

func (c *clusterStatus) condition() condition {
	switch {
	case c.Error != nil:
		return failing
	case c.Enabled == nil:
		return unread
	case !*c.Enabled:
		return off
	case c.Connections[css.StatusRejected] > 0, c.Connections[css.StatusFailed] > 0:
		return rejected
	case *c.Truncated:
		return truncated
	case c.Connections[css.StatusPendingAcceptance] > 0:
		return pending
	case c.Unlisted != nil && *c.Unlisted > 0:
		return unlisted
	}
	return ok
}

func newFailure(err error) *failure {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		return &failure{
			Reason: e.Reason, HTTPStatus: e.Status, Code: e.Code, RequestID: e.RequestID, Message: e.Message, Hint: e.Hint(),
		}
	}
	f := &failure{Message: clean.Text(err.Error(), clean.MaxLength)}
	if errors.Is(err, css.ErrIncomplete) {
		f.Hint = css.IncompleteHint
	} else {
		f.Reason = cloud.ReasonOf(err)
	}
	return f
}

func (v *view) filterAndSort(p parameters) {
	if p.show == showFailing {
		v.Projects = slices.DeleteFunc(v.Projects, func(p projectStatus) bool { return p.State != failing })
		v.Clusters = slices.DeleteFunc(v.Clusters, func(c clusterStatus) bool { return c.State != failing })
	}
	byName := p.sort == sortName
	slices.SortFunc(v.Projects, func(a, b projectStatus) int {
		if byName {
			return cmp.Compare(a.Name, b.Name)
		}
		return cmp.Or(cmp.Compare(a.State.rank(), b.State.rank()), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(v.Clusters, func(a, b clusterStatus) int {
		if byName {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Project, b.Project), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(cmp.Compare(a.State.rank(), b.State.rank()),
			cmp.Compare(a.Project, b.Project), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// seconds returns 0 if the clock was set back.
func seconds(d time.Duration) *int64 { return new(int64(max(d, 0) / time.Second)) }

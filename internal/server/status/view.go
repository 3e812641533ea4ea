// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
)

// view is the content of the page. Programs read it as JSON. Unknown values are omitted, totals ignore the filter,
// and the counts of a failing cluster are those of its last successful read.
type view struct {
	Build
	Demo     bool            `json:"demo,omitempty"`
	Ready    bool            `json:"ready"`
	Time     time.Time       `json:"time"`
	Config   *configStatus   `json:"config,omitempty"`
	Totals   totals          `json:"totals"`
	Accounts []accountStatus `json:"accounts,omitempty"`
	Projects []projectStatus `json:"projects"`
	Clusters []clusterStatus `json:"clusters"`

	projectNames []string // before filtering
}

type configStatus struct {
	OK          bool      `json:"last_reload_successful"`
	LastSuccess time.Time `json:"last_reload_success_time,omitzero"`
}

type totals struct {
	Projects        int                `json:"projects"`
	FailingProjects int                `json:"failing_projects"`
	FailingAccounts int                `json:"failing_accounts,omitempty"`
	FailingSessions int                `json:"failing_sessions,omitempty"`
	Clusters        int                `json:"clusters"`
	Attention       int                `json:"clusters_needing_attention"`
	States          map[condition]int  `json:"states"` // a cluster counts under each of its conditions
	Connections     map[css.Status]int `json:"connections,omitempty"`
}

type projectStatus struct {
	Name      string          `json:"name"`
	Region    string          `json:"region"`
	ID        string          `json:"project_id,omitempty"`
	State     condition       `json:"state"`
	Discovery discoveryStatus `json:"discovery"`
	Error     *failure        `json:"error,omitempty"`
	Sessions  *sessionsStatus `json:"sessions,omitempty"` // only if they are to be read
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
	State         condition          `json:"state"`  // the worst
	Conditions    []condition        `json:"states"` // all
	Enabled       *bool              `json:"enabled,omitempty"`
	Reported      *float64           `json:"reported_connections,omitempty"`
	Connections   map[css.Status]int `json:"connections,omitempty"`
	Truncated     *bool              `json:"truncated,omitempty"`
	Unlisted      *int               `json:"unlisted_connections,omitempty"`
	Permissions   *int               `json:"permissions,omitempty"`
	Wildcard      *bool              `json:"permissions_wildcard,omitempty"`
	Limited       *bool              `json:"connections_limited,omitempty"`
	LastSuccess   time.Time          `json:"last_success,omitzero"`
	Age           *int64             `json:"age_seconds,omitempty"`
	Error         *failure           `json:"error,omitempty"`
	Details       *details           `json:"details,omitempty"` // only with the parameter cluster

	list                *css.ConnectionList // may be nil
	usage               *usage              // nil if sessions in use are not to be read
	almostFull, filling int                 // connections
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
	projects []discovery.State, targets []*discovery.Target, states []collector.State, metrics collector.Options,
	now time.Time,
) *view {
	v := &view{
		Time:     utc(now),
		Projects: make([]projectStatus, 0, len(projects)),
		Clusters: make([]clusterStatus, 0, len(targets)),
		Totals:   totals{Projects: len(projects), Clusters: len(targets), States: make(map[condition]int)},
	}
	for _, what := range worstFirst() {
		v.Totals.States[what] = 0
	}
	for i := range projects {
		p := newProjectStatus(&projects[i], now)
		if p.State == failing {
			v.Totals.FailingProjects++
		}
		if p.Sessions.Fail() {
			v.Totals.FailingSessions++
		}
		v.Projects = append(v.Projects, p)
		v.projectNames = append(v.projectNames, p.Name)
	}
	slices.Sort(v.projectNames)
	var last *discovery.Project
	var u *usage
	for i := range targets {
		if p := targets[i].Project; p != last { // targets of a project follow each other
			last, u = p, newUsage(p.Sessions, now)
		}
		c := newClusterStatus(targets[i], &states[i], u, metrics, now)
		for _, what := range c.Conditions {
			v.Totals.States[what]++
		}
		if c.needsAttention() {
			v.Totals.Attention++
		}
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
	if u := newUsage(s.Project.Sessions, now); u != nil {
		p.Sessions = u.status
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

func newClusterStatus(
	t *discovery.Target, s *collector.State, u *usage, metrics collector.Options, now time.Time,
) clusterStatus {
	c := clusterStatus{
		Project: t.Project.Name, Region: t.Project.Region, ProjectID: t.Project.Client.KnownProjectID(),
		ID: t.Cluster.ID, Name: t.Cluster.Name, Engine: t.Cluster.Engine, EngineVersion: t.Cluster.EngineVersion,
		list: s.List, usage: u,
	}
	if s.Err != nil {
		c.Error = newFailure(s.Err)
		c.Error.Since, c.Error.Last = utc(s.Failing), utc(s.FailedAt)
	}
	if list := s.List; list != nil {
		c.LastSuccess, c.Age, c.Enabled = utc(s.ReadAt), seconds(now.Sub(s.ReadAt)), new(list.Enabled)
		if list.Enabled {
			c.addList(list)
			c.Limited = new(metrics.Limits(list))
			c.almostFull, c.filling = u.countNearLimit(list)
		}
	}
	c.Conditions = c.conditions()
	c.State = c.Conditions[0]
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
	if list.Permissions.Set {
		c.Permissions = new(len(list.Permissions.Value))
		c.Wildcard = new(slices.ContainsFunc(list.Permissions.Value, css.Permission.Wildcard))
	}
	c.Connections = collector.CountByStatus(list.Connections)
	for _, status := range css.Statuses() {
		c.Connections[status] += 0
	}
}

func newFailure(err error) *failure {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		return &failure{
			Reason: e.Reason, HTTPStatus: e.Status, Code: e.Code, RequestID: e.RequestID, Message: e.Message, Hint: e.Hint(),
		}
	}
	f := &failure{Message: clean.Text(err.Error(), clean.MaxLength)}
	if f.Hint = discovery.IncompleteHint(err); f.Hint == "" {
		f.Reason = cloud.ReasonOf(err)
	}
	return f
}

func (v *view) filterAndSort(p parameters) {
	v.Projects = slices.DeleteFunc(v.Projects, func(s projectStatus) bool { return !p.matchesProject(&s) })
	v.Clusters = slices.DeleteFunc(v.Clusters, func(c clusterStatus) bool { return !p.matchesCluster(&c) })
	byName := p.sort == sortName
	slices.SortFunc(v.Projects, func(a, b projectStatus) int {
		if byName {
			return cmp.Compare(a.Name, b.Name)
		}
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(v.Clusters, func(a, b clusterStatus) int {
		if byName {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Project, b.Project), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(cmp.Compare(a.State.rank(), b.State.rank()),
			cmp.Compare(a.Project, b.Project), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

func (p *parameters) matchesProject(s *projectStatus) bool {
	shown := p.show == showAll || s.State == failing || p.show == showAttention && s.Sessions.Fail()
	return (p.project == "" || s.Name == p.project) && shown && contains(p.text, s.Name, s.Region, s.ID)
}

// rank orders projects by trouble.
func (s *projectStatus) rank() int {
	if s.State != failing && s.Sessions.Fail() {
		return failing.rank() + 1
	}
	return s.State.rank()
}

func (p *parameters) matchesCluster(c *clusterStatus) bool {
	switch {
	case p.project != "" && c.Project != p.project:
		return false
	case p.show == showAttention && !c.needsAttention(),
		p.show != showAll && p.show != showAttention && !c.is(condition(p.show)):
		return false
	case contains(p.text, c.ID, c.Name, c.Project, c.ProjectID, c.Region, c.Engine):
		return true
	case c.Error != nil && contains(p.text, string(c.Error.Reason), c.Error.Code, c.Error.RequestID):
		return true
	case c.list == nil:
		return false
	}
	connection := func(c css.Connection) bool { return connectionContains(&c, p.text) }
	permission := func(entry css.Permission) bool { return contains(p.text, entry.Text) }
	return slices.ContainsFunc(c.list.Connections, connection) || slices.ContainsFunc(c.list.Permissions.Value, permission)
}

func connectionContains(c *css.Connection, text string) bool {
	return contains(text, c.ID, c.DomainID, c.IP, c.IPv6, c.DNSName)
}

// contains reports whether one of the fields contains the text, ignoring case.
func contains(text string, fields ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(fields, func(field string) bool { return strings.Contains(strings.ToLower(field), text) })
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// seconds returns 0 if the clock was set back.
func seconds(d time.Duration) *int64 { return new(int64(max(d, 0) / time.Second)) }

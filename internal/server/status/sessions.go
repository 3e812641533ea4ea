// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"math"
	"strconv"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/sessions"
)

// Shares of the allowed sessions, like those of the alert CSSVPCEPSessionsNearLimit.
const (
	shareOfFilling    = 0.8
	shareOfAlmostFull = 0.95
)

// sessionsStatus is the result of reading a project's sessions in use.
type sessionsStatus struct {
	State       condition `json:"state"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Age         *int64    `json:"age_seconds,omitempty"`
	Error       *failure  `json:"error,omitempty"`
}

// Fail reports whether the last read has failed. s may be nil.
func (s *sessionsStatus) Fail() bool { return s != nil && s.Error != nil }

// usage is what is known of the sessions in use of a project's connections.
type usage struct {
	status  *sessionsStatus
	values  *sessions.Values
	missing string // why a connection has no value
}

// newUsage returns what a reader knows, or nil without a reader.
func newUsage(reader *sessions.Reader, now time.Time) *usage {
	if reader == nil {
		return nil
	}
	state := reader.State()
	u := &usage{status: &sessionsStatus{State: unread}, values: reader.Values(), missing: "no value"}
	switch {
	case state.Err != nil:
		u.status.State, u.status.Error = failing, newFailure(state.Err)
	case state.Tried:
		u.status.State = ok
	}
	if state.LastSuccess.IsZero() {
		u.missing = "not read"
		return u
	}
	age := now.Sub(state.LastSuccess)
	u.status.LastSuccess, u.status.Age = utc(state.LastSuccess), seconds(age)
	if age > ces.MaxAge {
		u.missing = "not read for 10 minutes"
	}
	return u
}

// countNearLimit counts the connections that are close to their limit. u may be nil.
func (u *usage) countNearLimit(list *css.ConnectionList) (almostFull, filling int) {
	if u == nil || u.values == nil {
		return 0, 0
	}
	for i := range list.Connections {
		c := &list.Connections[i]
		switch share, _ := usedShare(u.values.Of(c.ID), c); {
		case share > shareOfAlmostFull:
			almostFull++
		case share > shareOfFilling:
			filling++
		}
	}
	return almostFull, filling
}

func usedShare(inUse sessions.InUse, c *css.Connection) (share float64, known bool) {
	if !inUse.Sessions.Known || !c.MaxSessions.Set || c.MaxSessions.Value <= 0 {
		return 0, false
	}
	return inUse.Sessions.Value / c.MaxSessions.Value, true
}

// addSessions adds what is known of the connection's sessions. u may be nil.
func (s *connectionStatus) addSessions(c *css.Connection, u *usage) {
	if u == nil {
		return
	}
	s.missing = u.missing
	if !ces.Askable(c.ID) {
		s.missing = "not read"
	}
	inUse := u.values.Of(c.ID)
	if inUse.Sessions.Known {
		s.Sessions = new(inUse.Sessions.Value)
	}
	if inUse.Active.Known {
		s.ActiveSessions = new(inUse.Active.Value)
	}
	if share, known := usedShare(inUse, c); known {
		s.UsedRatio = new(share)
	}
}

// nearLimit returns almostFull, filling or "".
func (s *connectionStatus) nearLimit() condition {
	switch {
	case s.UsedRatio == nil:
	case *s.UsedRatio > shareOfAlmostFull:
		return almostFull
	case *s.UsedRatio > shareOfFilling:
		return filling
	}
	return ""
}

// compareUse orders connections that are close to their limit by their share of it, and others not at all.
func compareUse(a, b connectionStatus) int {
	if a.nearLimit() == "" || b.nearLimit() == "" {
		return 0
	}
	return cmp.Compare(*a.UsedRatio, *b.UsedRatio)
}

// Missing says why there is no number of sessions in use.
func (s *connectionStatus) Missing() string { return s.missing }

// NearLimit returns a mark for a connection that is close to its limit, or nil.
func (s *connectionStatus) NearLimit() *finding {
	what := s.nearLimit()
	if what == "" {
		return nil
	}
	k := kinds()[what]
	return &finding{Text: k.label, Tone: k.tone}
}

// UsesSessions reports whether sessions in use are to be read.
func (c *clusterStatus) UsesSessions() bool { return c.usage != nil }

// SessionsError returns why the sessions in use could not be read, or nil.
func (c *clusterStatus) SessionsError() *failure {
	if c.usage == nil {
		return nil
	}
	return c.usage.status.Error
}

// SessionsNote says where the numbers of sessions in use come from.
func (c *clusterStatus) SessionsNote() string {
	if c.Details.unasked {
		return "Sessions in use are read only for clusters whose connections the metrics show."
	}
	return "Sessions in use are values of Cloud Eye that are at most 10 minutes old. docs/metrics.md says what they count."
}

// number groups digits by thousands, and rounds fractions.
func number(n float64) string {
	const maxExact = 1 << 53
	switch rounded := math.Round(n*100) / 100; {
	case n == math.Trunc(n) && n <= maxExact:
	case n > maxExact:
		return strconv.FormatFloat(n, 'g', 4, 64)
	case n > 0 && rounded == 0:
		return "below 0.01"
	default:
		n = rounded
	}
	whole, fraction := math.Modf(n)
	digits := strconv.FormatFloat(whole, 'f', -1, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if fraction == 0 {
		return digits
	}
	return digits + strconv.FormatFloat(math.Round(fraction*100)/100, 'f', -1, 64)[1:]
}

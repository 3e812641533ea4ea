// SPDX-License-Identifier: Apache-2.0

package css

import (
	"slices"
	"strings"
	"time"
)

// ChangeKind says what changed.
type ChangeKind string

// The kinds of changes.
const (
	ConnectionAppeared      ChangeKind = "connection_appeared"
	ConnectionDisappeared   ChangeKind = "connection_disappeared"
	ConnectionStatusChanged ChangeKind = "connection_status_changed"
	PermissionAdded         ChangeKind = "permission_added"
	PermissionRemoved       ChangeKind = "permission_removed"
	ServiceEnabled          ChangeKind = "service_enabled"
	ServiceDisabled         ChangeKind = "service_disabled"
)

// Change is a difference between two lists of a cluster.
type Change struct {
	At           time.Time // when the later list was read
	Kind         ChangeKind
	ConnectionID string
	DomainID     string
	IP           string
	From, To     Status
	Permission   string
}

// Comparable reports whether Compare looks for changes in the list. A connection that is missing in a truncated list may
// still exist, and so may one that is missing in a list with a connection without ID.
func (l *ConnectionList) Comparable() bool {
	return l.Enabled && !l.Truncated() &&
		!slices.ContainsFunc(l.Connections, func(c Connection) bool { return c.ID == "" }) &&
		!slices.ContainsFunc(l.Permissions.Value, func(p Permission) bool { return textOf(p) == "" })
}

// textOf identifies a permission. IDs do not matter: an entry that was removed and added again between two reads allows
// the same as before.
func textOf(p Permission) string { return strings.TrimSpace(p.Text) }

// Baseline is what the next list is compared with.
type Baseline struct {
	connections []Connection
	permissions []Permission // of the last list that had them, even if there were none; nil before that
}

// Compare returns how a list differs from the one before, and the next baseline. b is nil before the first one.
func (b *Baseline) Compare(before, after *ConnectionList, at time.Time) ([]Change, *Baseline) {
	var changes []Change
	if before != nil && before.Enabled != after.Enabled {
		kind := ServiceDisabled
		if after.Enabled {
			kind = ServiceEnabled
		}
		changes = append(changes, Change{At: at, Kind: kind})
	}
	if !after.Comparable() {
		return changes, b
	}
	next := &Baseline{connections: after.Connections, permissions: after.Permissions.Value}
	if b == nil {
		return changes, next
	}
	changes = append(changes, connectionChanges(b.connections, after.Connections, at)...)
	switch {
	case next.permissions == nil:
		next.permissions = b.permissions
	case b.permissions != nil:
		changes = append(changes, missing(b.permissions, next.permissions, PermissionRemoved, at)...)
		changes = append(changes, missing(next.permissions, b.permissions, PermissionAdded, at)...)
	}
	return changes, next
}

func connectionChanges(before, after []Connection, at time.Time) []Change {
	var changes []Change
	add := func(kind ChangeKind, c *Connection, from, to Status) {
		changes = append(changes, Change{
			At: at, Kind: kind, ConnectionID: c.ID, DomainID: c.DomainID, IP: c.IP, From: from, To: to,
		})
	}
	left := make(map[string]*Connection, len(before))
	for i := range before {
		left[before[i].ID] = &before[i]
	}
	for i := range after {
		c := &after[i]
		old := left[c.ID]
		delete(left, c.ID)
		switch {
		case old == nil:
			add(ConnectionAppeared, c, "", c.KnownStatus())
		case old.KnownStatus() != c.KnownStatus():
			add(ConnectionStatusChanged, c, old.KnownStatus(), c.KnownStatus())
		}
	}
	for i := range before {
		if c := &before[i]; left[c.ID] == c {
			add(ConnectionDisappeared, c, c.KnownStatus(), "")
		}
	}
	return changes
}

// missing returns a change for each permission of a that is not in b.
func missing(a, b []Permission, kind ChangeKind, at time.Time) []Change {
	known := make(map[string]struct{}, len(b))
	for _, p := range b {
		known[textOf(p)] = struct{}{}
	}
	var changes []Change
	for _, p := range a {
		text := textOf(p)
		if _, found := known[text]; !found {
			known[text] = struct{}{} // may be repeated
			changes = append(changes, Change{At: at, Kind: kind, Permission: text})
		}
	}
	return changes
}

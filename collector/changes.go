// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/css"
)

const (
	maxChanges       = 50   // kept for each cluster
	maxLoggedChanges = 1000 // of a list
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
	From, To     css.Status
	Permission   string
}

// Comparable reports whether changes of a list are recorded. A connection that is missing in a truncated list may still
// exist, and so may one of a list in which a connection has no ID.
func Comparable(list *css.ConnectionList) bool {
	return list.Enabled && !list.Truncated() &&
		!slices.ContainsFunc(list.Connections, func(c css.Connection) bool { return c.ID == "" }) &&
		!slices.ContainsFunc(list.Permissions.Value, func(p css.Permission) bool { return textOf(p) == "" })
}

// textOf identifies a permission. IDs do not matter: an entry that was removed and added again between two reads allows
// the same as before.
func textOf(p css.Permission) string { return strings.TrimSpace(p.Text) }

// baseline is what the next list is compared with.
type baseline struct {
	connections []css.Connection
	permissions []css.Permission // of the last list that had them, even if there were none; nil before that
}

// compare returns how a list differs from the one before, and the next baseline. b is nil before the first one.
func (b *baseline) compare(before, after *css.ConnectionList, at time.Time) ([]Change, *baseline) {
	var changes []Change
	if before != nil && before.Enabled != after.Enabled {
		kind := ServiceDisabled
		if after.Enabled {
			kind = ServiceEnabled
		}
		changes = append(changes, Change{At: at, Kind: kind})
	}
	if !Comparable(after) {
		return changes, b
	}
	next := &baseline{connections: after.Connections, permissions: after.Permissions.Value}
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

func connectionChanges(before, after []css.Connection, at time.Time) []Change {
	var changes []Change
	add := func(kind ChangeKind, c *css.Connection, from, to css.Status) {
		changes = append(changes, Change{
			At: at, Kind: kind, ConnectionID: c.ID, DomainID: c.DomainID, IP: c.IP, From: from, To: to,
		})
	}
	left := make(map[string]*css.Connection, len(before))
	for i := range before {
		left[before[i].ID] = &before[i]
	}
	for i := range after {
		c := &after[i]
		old := left[c.ID]
		delete(left, c.ID)
		switch {
		case old == nil:
			add(ConnectionAppeared, c, "", statusOf(c))
		case statusOf(old) != statusOf(c):
			add(ConnectionStatusChanged, c, statusOf(old), statusOf(c))
		}
	}
	for i := range before {
		if c := &before[i]; left[c.ID] == c {
			add(ConnectionDisappeared, c, statusOf(c), "")
		}
	}
	return changes
}

// missing returns a change for each permission of a that is not in b.
func missing(a, b []css.Permission, kind ChangeKind, at time.Time) []Change {
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

// history is what is known about the changes of a cluster.
type history struct {
	baseline *baseline // nil before the first comparable list
	changes  []Change  // the last ones, oldest first
	since    time.Time // first comparable list
}

// replaceList stores a list that was read, and returns how it differs from the one before.
func (c *clusterState) replaceList(list *css.ConnectionList, at time.Time, projectID string) []Change {
	if c.projectID != projectID { // of another cluster with the same ID
		c.List, c.history = nil, history{}
	}
	var changes []Change
	if list != c.List {
		changes, c.baseline = c.baseline.compare(c.List, list, at)
	}
	if c.since.IsZero() && c.baseline != nil {
		c.since = at
	}
	if len(changes) > 0 { // a new slice, because Changes has returned the old one
		kept := slices.Concat(c.changes, changes)
		c.changes = slices.Clone(kept[max(len(kept)-maxChanges, 0):])
	}
	c.List, c.ReadAt, c.projectID = list, at, projectID
	return changes
}

func logChanges(logger *slog.Logger, changes []Change) {
	for i := range changes {
		if i == maxLoggedChanges {
			logger.Info("Further changes are not logged", "changes", len(changes)-i)
			return
		}
		c := &changes[i]
		of := logger.With("connection_id", c.ConnectionID, "domain_id", c.DomainID, "ip", c.IP)
		switch c.Kind {
		case ConnectionAppeared:
			of.Info("Connection appeared", "status", string(c.To))
		case ConnectionDisappeared:
			of.Info("Connection disappeared", "status", string(c.From))
		case ConnectionStatusChanged:
			of.Info("Connection status changed", "from", string(c.From), "to", string(c.To))
		case PermissionAdded:
			logger.Info("Permission added", "permission", c.Permission)
		case PermissionRemoved:
			logger.Info("Permission removed", "permission", c.Permission)
		case ServiceEnabled:
			logger.Info("VPC endpoint service enabled")
		case ServiceDisabled:
			logger.Info("VPC endpoint service disabled")
		}
	}
}

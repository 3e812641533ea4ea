// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"log/slog"
	"slices"
	"time"

	"css_vpcep_exporter/internal/css"
)

const (
	maxChanges       = 50
	maxLoggedChanges = 1000
)

type history struct {
	baseline *css.Baseline // nil before the first comparable list
	changes  []css.Change  // the last ones, oldest first
	since    time.Time     // first comparable list
}

// replaceList stores a list that was read, and returns how it differs from the one before.
func (c *clusterState) replaceList(list *css.ConnectionList, at time.Time, projectID string) []css.Change {
	if c.projectID != projectID { // of another cluster with the same ID
		c.List, c.history = nil, history{}
	}
	var changes []css.Change
	if list != c.List {
		changes, c.baseline = c.baseline.Compare(c.List, list, at)
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

func logChanges(logger *slog.Logger, changes []css.Change) {
	for i := range changes {
		if i == maxLoggedChanges {
			logger.Info("Further changes are not logged", "changes", len(changes)-i)
			return
		}
		c := &changes[i]
		of := logger.With("connection_id", c.ConnectionID, "domain_id", c.DomainID, "ip", c.IP)
		switch c.Kind {
		case css.ConnectionAppeared:
			of.Info("Connection appeared", "status", string(c.To))
		case css.ConnectionDisappeared:
			of.Info("Connection disappeared", "status", string(c.From))
		case css.ConnectionStatusChanged:
			of.Info("Connection status changed", "from", string(c.From), "to", string(c.To))
		case css.PermissionAdded:
			logger.Info("Permission added", "permission", c.Permission)
		case css.PermissionRemoved:
			logger.Info("Permission removed", "permission", c.Permission)
		case css.ServiceEnabled:
			logger.Info("VPC endpoint service enabled")
		case css.ServiceDisabled:
			logger.Info("VPC endpoint service disabled")
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"

	"css_vpcep_exporter/internal/css"
)

// CountByStatus counts connections by status; those without one are unknown.
func CountByStatus(connections []css.Connection) map[css.Status]int {
	counts := make(map[css.Status]int)
	for i := range connections {
		counts[statusOf(&connections[i])]++
	}
	return counts
}

func statusOf(c *css.Connection) css.Status {
	if c.Status == "" {
		return css.StatusUnknown
	}
	return c.Status
}

func wildcard(permissions []css.Permission) bool {
	return slices.ContainsFunc(permissions, css.Permission.Wildcard)
}

// Unlisted returns the accepted connections whose account no permission names. It returns false if that is unknown: the
// meaning of an empty allowlist is undocumented.
func Unlisted(list *css.ConnectionList) (unlisted []*css.Connection, ok bool) {
	permissions := list.Permissions.Value
	switch {
	case len(permissions) == 0:
		return nil, false
	case wildcard(permissions):
		return nil, true
	}
	listed := make(map[string]struct{}, len(permissions))
	for _, p := range permissions {
		id, ok := p.Domain()
		if !ok {
			return nil, false
		}
		listed[id] = struct{}{}
	}
	for i := range list.Connections {
		c := &list.Connections[i]
		if c.Status != css.StatusAccepted {
			continue
		}
		if c.DomainID == "" {
			return nil, false
		}
		if _, named := listed[c.DomainID]; !named {
			unlisted = append(unlisted, c)
		}
	}
	return unlisted, true
}

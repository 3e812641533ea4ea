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
		counts[connections[i].KnownStatus()]++
	}
	return counts
}

func wildcard(permissions []css.Permission) bool {
	return slices.ContainsFunc(permissions, css.Permission.Wildcard)
}

// Allowlist is what the permissions of a cluster say about accounts.
type Allowlist struct {
	accounts map[string]struct{}
	wildcard bool
	complete bool // every permission names an account
}

// NewAllowlist returns an Allowlist.
func NewAllowlist(permissions []css.Permission) Allowlist {
	a := Allowlist{accounts: make(map[string]struct{}, len(permissions)), wildcard: wildcard(permissions)}
	a.complete = len(permissions) > 0 // the meaning of an empty allowlist is undocumented
	for _, p := range permissions {
		id, ok := p.Domain()
		a.accounts[id] = struct{}{}
		a.complete = a.complete && ok
	}
	delete(a.accounts, "")
	return a
}

// Allows reports whether a permission allows an account to connect, and whether that is known.
func (a Allowlist) Allows(domainID string) (allowed, known bool) {
	_, allowed = a.accounts[domainID]
	allowed = allowed || a.wildcard
	return allowed, allowed || a.complete && domainID != ""
}

// Unlisted returns the accepted connections whose account no permission names. It returns false if that is unknown.
func Unlisted(list *css.ConnectionList) (unlisted []*css.Connection, ok bool) {
	allowlist := NewAllowlist(list.Permissions.Value)
	ok = allowlist.wildcard || allowlist.complete
	if !ok {
		return nil, false
	}
	for i := range list.Connections {
		c := &list.Connections[i]
		allowed, known := allowlist.Allows(c.DomainID)
		switch {
		case c.Status != css.StatusAccepted:
		case !known:
			ok = false
		case !allowed:
			unlisted = append(unlisted, c)
		}
	}
	return unlisted, ok || len(unlisted) > 0
}

// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"slices"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
)

// details is what the page of a single cluster adds.
type details struct {
	ServiceName  string             `json:"service_name,omitempty"`
	UpdateSwitch *bool              `json:"update_switch,omitempty"`
	Connections  []connectionStatus `json:"connections"`
	Permissions  []permissionStatus `json:"permissions"`
	Changes      []changeStatus     `json:"changes"` // newest first
	ChangesSince time.Time          `json:"changes_since,omitzero"`

	unasked bool // sessions in use are not read of the cluster's connections
}

type connectionStatus struct {
	ID             string     `json:"id"`
	Status         css.Status `json:"status"`
	DomainID       string     `json:"domain_id,omitempty"`
	Allowed        *bool      `json:"in_allowlist,omitempty"`
	IP             string     `json:"ip,omitempty"`
	IPv6           string     `json:"ipv6,omitempty"`
	DNSName        string     `json:"dns_name,omitempty"`
	Specification  string     `json:"specification_name,omitempty"`
	MaxSessions    *float64   `json:"max_sessions,omitempty"`
	Sessions       *float64   `json:"sessions,omitempty"`
	ActiveSessions *float64   `json:"active_sessions,omitempty"`
	UsedRatio      *float64   `json:"sessions_used_ratio,omitempty"`
	Created        time.Time  `json:"created,omitzero"`
	Updated        time.Time  `json:"updated,omitzero"`

	missing string // why there are no sessions
}

type permissionStatus struct {
	ID         string    `json:"id,omitempty"`
	Permission string    `json:"permission"`
	Type       string    `json:"permission_type,omitempty"`
	DomainID   string    `json:"domain_id,omitempty"` // "*" for every account
	Created    time.Time `json:"created,omitzero"`
}

type changeStatus struct {
	Time         time.Time      `json:"time"`
	Kind         css.ChangeKind `json:"change"`
	ConnectionID string         `json:"connection_id,omitempty"`
	DomainID     string         `json:"domain_id,omitempty"`
	IP           string         `json:"ip,omitempty"`
	From         css.Status     `json:"from,omitempty"`
	To           css.Status     `json:"to,omitempty"`
	Permission   string         `json:"permission,omitempty"`
}

// addDetails adds the details of each cluster; clusters[i] is that of targets[i].
func (h *Handler) addDetails(clusters []clusterStatus, targets []*discovery.Target, text string) {
	for i, t := range targets {
		changes, since := h.scraper.Changes(t.Project.Key, t.Cluster.ID)
		u := clusters[i].usage
		unasked := len(h.options.Metrics().ConnectionIDs(clusters[i].list)) == 0
		if u != nil && unasked {
			u = &usage{u.status, u.values, "not read"}
		}
		d := newDetails(clusters[i].list, u, text)
		d.unasked = unasked
		for _, c := range slices.Backward(changes) {
			d.Changes = append(d.Changes, changeStatus{
				utc(c.At), c.Kind, c.ConnectionID, c.DomainID, c.IP, c.From, c.To, c.Permission,
			})
		}
		if !since.IsZero() {
			d.ChangesSince = utc(since)
		}
		clusters[i].Details = d
	}
}

// newDetails returns the details of a list, which may be nil, with the connections that contain the text.
func newDetails(list *css.ConnectionList, u *usage, text string) *details {
	d := &details{Connections: []connectionStatus{}, Permissions: []permissionStatus{}, Changes: []changeStatus{}}
	if list == nil {
		return d
	}
	d.ServiceName = list.ServiceName
	if list.UpdateSwitch.Set {
		d.UpdateSwitch = new(list.UpdateSwitch.Value)
	}
	allowlist := collector.NewAllowlist(list.Permissions.Value)
	for i := range list.Connections {
		c := &list.Connections[i]
		if !connectionContains(c, text) {
			continue
		}
		s := connectionStatus{
			ID: c.ID, Status: c.KnownStatus(), DomainID: c.DomainID, IP: c.IP, IPv6: c.IPv6,
			DNSName: c.DNSName, Specification: c.SpecificationName,
			Created: ofAPI(c.CreatedAt.Value), Updated: ofAPI(c.UpdatedAt.Value),
		}
		if allowed, known := allowlist.Allows(c.DomainID); known {
			s.Allowed = new(allowed)
		}
		if c.MaxSessions.Set {
			s.MaxSessions = new(c.MaxSessions.Value)
		}
		s.addSessions(c, u)
		d.Connections = append(d.Connections, s)
	}
	slices.SortFunc(d.Connections, func(a, b connectionStatus) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), compareUse(b, a), b.Updated.Compare(a.Updated), b.Created.Compare(a.Created),
			cmp.Compare(a.ID, b.ID))
	})
	for _, p := range list.Permissions.Value {
		domain, _ := p.Domain()
		d.Permissions = append(d.Permissions, permissionStatus{p.ID, p.Text, p.Type, domain, ofAPI(p.CreatedAt.Value)})
	}
	return d
}

// rank orders connections by trouble.
func (c *connectionStatus) rank() int {
	nearLimit := c.nearLimit()
	return slices.Index([]bool{
		c.Status == css.StatusFailed, nearLimit == almostFull, c.unlisted(), c.Status == css.StatusRejected,
		nearLimit == filling, c.Status == css.StatusPendingAcceptance, c.Status == css.StatusCreating,
		c.Status == css.StatusDeleting, c.Status == css.StatusUnknown, true,
	}, true)
}

func (c *connectionStatus) unlisted() bool {
	return c.Status == css.StatusAccepted && c.Allowed != nil && !*c.Allowed
}

// ofAPI omits times that JSON cannot have.
func ofAPI(t time.Time) time.Time {
	if t = utc(t); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

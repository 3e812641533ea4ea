// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"cmp"
	"slices"

	"css_vpcep_exporter/internal/css"
)

// source holds everything that perList metrics depend on.
type source struct {
	list       *css.ConnectionList
	options    Options
	cluster    [4]string
	info       []string // of infoLabels and configured
	configured []string
}

func newSource(o *Outcome, configured []string, options Options) source {
	t, c := &o.Target, &o.Target.Cluster
	s := source{
		list:       o.List,
		options:    options,
		cluster:    [4]string{labelValue(c.ID), labelValue(c.Name), labelValue(t.ProjectID), labelValue(t.Region)},
		info:       []string{t.Project, c.Engine, c.EngineVersion, c.EnterpriseProjectID, c.VPCID},
		configured: configured,
	}
	for _, name := range configured {
		s.info = append(s.info, t.Labels[name])
	}
	return s
}

// id excludes the cluster's name.
func (s *source) id() [3]string { return [3]string{s.cluster[0], s.cluster[2], s.cluster[3]} }

func (s *source) equal(other *source) bool {
	return s.list == other.list && s.options == other.options && s.cluster == other.cluster &&
		slices.Equal(s.info, other.info) && slices.Equal(s.configured, other.configured)
}

type view struct {
	source
	shown       *css.ConnectionList // nil if the VPC endpoint service is off
	connections []connection
	permissions []css.Permission
	limited     bool
	unlisted    []*css.Connection
	judged      bool // unlisted is known
}

func newView(s *source) *view {
	v := &view{source: *s}
	if s.list == nil || !s.list.Enabled {
		return v
	}
	v.shown = s.list
	v.unlisted, v.judged = Unlisted(v.shown)
	v.limited = s.options.Limits(s.list)
	v.connections = s.options.shown(s.list)
	if s.options.Permissions && len(s.list.Permissions.Value) <= s.options.MaxConnections {
		v.permissions = distinctPermissions(s.list.Permissions.Value)
	}
	return v
}

// shown returns the connections that have series of their own.
func (o Options) shown(list *css.ConnectionList) []connection {
	if !o.Connections || len(list.Connections) > o.MaxConnections {
		return nil
	}
	return distinct(list.Connections)
}

// ConnectionIDs returns the IDs of the connections that have series of their own. The list may be nil.
func (o Options) ConnectionIDs(list *css.ConnectionList) []string {
	if list == nil {
		return nil
	}
	var ids []string
	for _, c := range o.shown(list) {
		ids = append(ids, c.id)
	}
	return ids
}

type connection struct {
	id string
	*css.Connection
}

// distinct returns the connections that have an ID, sorted and without duplicates, which a registry rejects.
func distinct(connections []css.Connection) []connection {
	sorted := make([]connection, 0, len(connections))
	for i := range connections {
		if id := labelValue(connections[i].ID); id != "" {
			sorted = append(sorted, connection{id, &connections[i]})
		}
	}
	slices.SortStableFunc(sorted, func(a, b connection) int { return cmp.Compare(a.id, b.id) })
	return slices.CompactFunc(sorted, func(a, b connection) bool { return a.id == b.id })
}

// distinctPermissions merges permissions with the same ID, or without one, the same text and type. It drops those with
// neither ID nor text.
func distinctPermissions(permissions []css.Permission) []css.Permission {
	var distinct []css.Permission
	seen := make(map[css.Permission]struct{}, len(permissions))
	for _, p := range permissions {
		p.ID, p.Text, p.Type = labelValue(p.ID), labelValue(p.Text), labelValue(p.Type)
		key := css.Permission{ID: p.ID}
		if p.ID == "" {
			key = css.Permission{Text: p.Text, Type: p.Type}
		}
		if _, known := seen[key]; !known && (p.ID != "" || p.Text != "") {
			seen[key] = struct{}{}
			distinct = append(distinct, p)
		}
	}
	return distinct
}

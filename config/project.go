// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/network"

	"go.yaml.in/yaml/v4"
)

type project struct {
	Project

	node       *yaml.Node
	keys       *projectKeys
	chain      bool
	incomplete bool
}

func (d *decoder) config(f *field[fileKeys]) *Config {
	scrape, list := &f.value.Scrape.value, &f.value.Projects
	c := &Config{Scrape: Scrape{
		Concurrency:    d.integer(&scrape.Concurrency, 16, 1, maxConcurrency),
		MinInterval:    time.Duration(scrape.MinInterval.value),
		MaxStaleness:   time.Duration(scrape.MaxStaleness.value),
		MaxConnections: d.integer(&scrape.MaxConnections, 2000, 0, math.MaxInt32),
	}}
	switch {
	case f.isMapping() && !list.isSet():
		d.reportf(d.placeIn(f.node, "projects"), "missing; list at least one project")
	case list.ok && len(list.value) == 0:
		d.reportf(d.places[list.node], "empty; list at least one project")
	}
	var projects []*project
	for i := range list.value {
		if item := &list.value[i]; item.isMapping() {
			projects = append(projects, d.project(item))
		}
	}
	d.checkSources(projects)
	d.checkIAMEndpoints(projects)
	d.checkProxies(projects)
	d.checkNames(projects)
	d.checkClusters(projects)
	d.checkOverlaps(projects)
	for _, p := range projects {
		c.Projects = append(c.Projects, p.Project)
	}
	return c
}

func (d *decoder) integer(f *field[number], defaultValue, minimum, maximum int) int {
	n := float64(f.valueOr(number(defaultValue)))
	if n != math.Trunc(n) || n < float64(minimum) || n > float64(maximum) {
		d.reportf(d.places[f.node], "must be a whole number from %d to %d, not %s", minimum, maximum, quote(f.node.Value))
		return defaultValue
	}
	return int(n)
}

func (d *decoder) project(f *field[projectKeys]) *project {
	keys := &f.value
	p := &project{node: f.node, keys: keys}
	p.Region = string(keys.Region.value)
	p.Name = string(keys.Name.valueOr(labelValue(p.Region)))
	p.ProjectID = string(keys.ProjectID.value)
	d.setEndpoints(p)
	p.RequestsPerSecond = float64(keys.RequestsPerSecond.valueOr(20))
	if r := p.RequestsPerSecond; !(r > 0 && r <= 10_000) { // NaN fails both
		node := keys.RequestsPerSecond.node
		d.reportf(d.places[node], "must be above 0 and at most 10000, not %s", quote(node.Value))
	}
	p.Credentials, p.chain = d.credentials(&keys.Credentials)
	p.Clusters = d.clusters(keys)
	p.Discovery = d.discovery(keys)
	p.TLSConfig = d.tls(&keys.TLSConfig)
	p.ProxyURL = keys.ProxyURL.value.URL
	return p
}

func (d *decoder) setEndpoints(p *project) {
	css, iam, known := RegionEndpoints(p.Region)
	switch {
	case !p.keys.Region.isSet():
		d.reportf(d.placeIn(p.node, "region"), "missing; set the region of the project, such as cn-north-4")
	case p.keys.Region.ok && !known && !p.keys.Endpoint.isSet():
		hint := "."
		if near := similarRegions(p.Region); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		d.reportf(d.places[p.keys.Region.node], `unknown region %s%s To use a region that is not built in, set "endpoint"`,
			quote(p.Region), hint)
	}
	p.Endpoint = string(p.keys.Endpoint.valueOr(endpoint(css)))
	p.IAMEndpoint = string(p.keys.IAMEndpoint.valueOr(endpoint(iam)))
}

func (d *decoder) clusters(keys *projectKeys) []Cluster {
	list := &keys.Clusters
	if list.ok && len(list.value) == 0 && !keys.Discovery.isSet() {
		d.reportf(d.places[list.node], "empty; list a cluster, or remove the key to discover all")
	}
	var clusters []Cluster
	for _, item := range list.value {
		c := Cluster{ID: string(item.value.ID.value), Name: string(item.value.Name.value)}
		if item.isMapping() && !item.value.ID.isSet() {
			d.reportf(d.placeIn(item.node, "id"), "missing; copy the cluster's ID from the console")
		}
		labels := item.value.Labels.value
		if len(labels) > 0 {
			c.Labels = map[string]string{}
		}
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			if fault := labelNameFault(name); fault != "" {
				d.reportf(d.places[labels[name].node], "%s", fault)
			}
			c.Labels[name] = string(labels[name].value)
		}
		clusters = append(clusters, c)
	}
	return clusters
}

func (d *decoder) discovery(project *projectKeys) *Discovery {
	if !project.Discovery.isSet() && project.Clusters.isSet() {
		return nil
	}
	keys := &project.Discovery.value
	search := &Discovery{
		RefreshInterval:     time.Duration(keys.RefreshInterval.valueOr(duration(5 * time.Minute))),
		Name:                keys.Name.value.Regexp,
		Engine:              keys.Engine.value.Regexp,
		EnterpriseProjectID: keys.EnterpriseProjectID.value.Regexp,
	}
	if search.RefreshInterval < time.Second {
		node := keys.RefreshInterval.node
		d.reportf(d.places[node], "must be at least 1s, not %s", quote(node.Value))
	}
	if keys.Tags.isSet() {
		search.Tags = map[string]*regexp.Regexp{}
	}
	for key, value := range keys.Tags.value {
		if key == "" {
			d.reportf(d.places[value.node], "empty tag key; name the tag")
		}
		search.Tags[key] = value.value.Regexp
	}
	if keys.LabelsFromTags.isSet() {
		search.LabelsFromTags = d.labelsFromTags(&keys.LabelsFromTags.value)
	}
	return search
}

func (d *decoder) labelsFromTags(t *tagLabels) map[string]string {
	labels, lines := map[string]string{}, map[tagLabel]int{}
	for _, item := range t.list {
		if line, twice := lines[item.value]; twice && item.ok {
			d.reportf(d.places[item.node], "duplicate label %q, first listed on line %d; remove one", item.value, line)
		}
		lines[item.value] = item.node.Line
		labels[string(item.value)] = string(item.value)
	}
	for _, label := range slices.Sorted(maps.Keys(t.mapping)) {
		key := t.mapping[label]
		if fault := labelNameFault(label); fault != "" {
			d.reportf(d.places[key.node], "%s", fault)
		}
		labels[label] = string(key.value)
	}
	return labels
}

// discoversAll reports whether discovery is valid and has no filter.
func (p *project) discoversAll() bool {
	s := p.Discovery
	return s != nil && s.Name == nil && s.Engine == nil && s.EnterpriseProjectID == nil && len(s.Tags) == 0 &&
		(p.keys.Discovery.ok || !p.keys.Discovery.isSet())
}

func (d *decoder) checkIAMEndpoints(projects []*project) {
	for _, p := range projects {
		keys := p.keys
		if p.IAMEndpoint != "" || p.incomplete || keys.IAMEndpoint.isSet() || !keys.Region.ok || !keys.Endpoint.isSet() {
			continue // without "endpoint", the unknown region is already reported
		}
		at := d.placeIn(p.node, "iam_endpoint")
		switch {
		case p.Credentials.User != nil:
			d.reportf(at, "missing; set it, because credentials.user needs IAM and region %s is not built in", quote(p.Region))
		case p.ProjectID == "" && !keys.ProjectID.isSet():
			d.reportf(at, "missing; set it or project_id, because region %s is not built in", quote(p.Region))
		}
	}
}

func (d *decoder) checkProxies(projects []*project) {
	if i := slices.IndexFunc(projects, func(p *project) bool { return !p.keys.ProxyURL.isSet() }); i >= 0 {
		env, at := network.Environment(d.env), d.placeIn(projects[i].node, "proxy_url")
		for _, name := range env.InvalidProxies() {
			d.reportf(at, "the default, variable %s, has an %s", name, proxyFault)
		}
		if name := env.InvalidExceptions(); name != "" {
			d.reportf(at, "the exceptions from the default, variable %s, have an invalid entry (not shown); write hosts, "+
				"domains or networks like css.example.com,.example.com,10.0.0.0/8, without http:// and quotes", name)
		}
	}
}

func (d *decoder) checkNames(projects []*project) {
	lines := map[string]int{}
	for _, p := range projects {
		line, twice := lines[p.Name]
		switch {
		case p.Name == "": // already reported
		case !twice:
			lines[p.Name] = p.node.Line
		case p.keys.Name.isSet():
			d.reportf(d.places[p.keys.Name.node], "duplicate name %s, first used by the project on line %d; choose another",
				quote(p.Name), line)
		default:
			d.reportf(d.placeIn(p.node, "name"), "missing; the default, region %s, is already the name of the project on "+
				"line %d; name both", quote(p.Region), line)
		}
	}
}

// checkClusters reports clusters with the same ID, region and project ID. If a project ID is unknown, the endpoints are
// compared instead.
func (d *decoder) checkClusters(projects []*project) {
	type listed struct {
		*project
		line int
	}
	known := map[[2]string][]listed{}
	for _, p := range projects {
		for i, c := range p.Clusters {
			id := p.keys.Clusters.value[i].value.ID
			if !id.ok || !p.keys.Region.ok {
				continue
			}
			at := [2]string{p.Region, c.ID}
			same := slices.IndexFunc(known[at], func(l listed) bool {
				unknownID := l.ProjectID == "" || p.ProjectID == ""
				if unknownID && l.project != p && (l.incomplete || p.incomplete) {
					return false
				}
				return l.ProjectID == p.ProjectID || (unknownID && l.Endpoint == p.Endpoint)
			})
			if same >= 0 {
				line := known[at][same].line
				d.reportf(d.places[id.node], "duplicate cluster %s, first listed on line %d; remove one", quote(c.ID), line)
				continue
			}
			known[at] = append(known[at], listed{p, id.node.Line})
		}
	}
}

func (d *decoder) checkOverlaps(projects []*project) {
	known := map[[3]string][]*project{}
	for _, p := range projects {
		if p.ProjectID == "" || !p.keys.Region.ok {
			continue // these may be two accounts
		}
		at := [3]string{p.Region, p.ProjectID, p.Endpoint}
		overlap := slices.IndexFunc(known[at], func(other *project) bool { return p.discoversAll() || other.discoversAll() })
		if overlap >= 0 {
			d.reportf(d.places[p.node], "same region and project_id as the project on line %d, and one of them discovers "+
				"all clusters; merge them, or set a filter in discovery", known[at][overlap].node.Line)
		}
		known[at] = append(known[at], p)
	}
}

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
	"css_vpcep_exporter/internal/regions"
	"css_vpcep_exporter/internal/syntax"

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
	scrape, list := &f.Value.Scrape.Value, &f.Value.Projects
	c := &Config{Scrape: Scrape{
		Concurrency:    d.Integer(&scrape.Concurrency, 16, 1, maxConcurrency),
		MinInterval:    time.Duration(scrape.MinInterval.Value),
		MaxStaleness:   time.Duration(scrape.MaxStaleness.Value),
		MaxConnections: d.Integer(&scrape.MaxConnections, 2000, 0, math.MaxInt32),
	}}
	switch {
	case f.IsMapping() && !list.IsSet():
		d.Reportf(d.PlaceIn(f.Node, "projects"), "missing; list at least one project")
	case list.OK && len(list.Value) == 0:
		d.Reportf(d.Place(list.Node), "empty; list at least one project")
	}
	var projects []*project
	for i := range list.Value {
		if item := &list.Value[i]; item.IsMapping() {
			projects = append(projects, d.project(item))
		}
	}
	d.checkSources(projects)
	d.checkIAMEndpoints(projects)
	d.checkAccounts(projects)
	d.setSTSEndpoints(projects)
	d.checkProxies(projects)
	d.checkNames(projects)
	d.checkFoundNames(projects)
	d.checkClusters(projects)
	d.checkOverlaps(projects)
	for _, p := range projects {
		c.Projects = append(c.Projects, p.Project)
	}
	return c
}

func (d *decoder) project(f *field[projectKeys]) *project {
	keys := &f.Value
	p := &project{node: f.Node, keys: keys}
	name := labelValue(keys.Region.Value)
	if keys.Regions.IsSet() {
		d.setRegions(p)
		name = labelValue(strings.Join(p.Regions[:min(1, len(p.Regions))], ""))
	} else {
		d.checkWithoutRegions(p)
		p.Region = string(keys.Region.Value)
		p.ProjectID = string(keys.ProjectID.Value)
		d.setEndpoints(p)
	}
	p.Name = string(keys.Name.ValueOr(name))
	p.RequestsPerSecond = float64(keys.RequestsPerSecond.ValueOr(20))
	if r := p.RequestsPerSecond; !(r > 0 && r <= 10_000) { // NaN fails both
		node := keys.RequestsPerSecond.Node
		d.Reportf(d.Place(node), "must be above 0 and at most 10000, not %s", quote(node.Value))
	}
	p.Credentials, p.chain = d.credentials(&keys.Credentials)
	p.Clusters = d.clusters(keys)
	p.Discovery = d.discovery(keys)
	p.Sessions = d.sessions(p)
	p.TLSConfig = d.tls(&keys.TLSConfig)
	p.ProxyURL = keys.ProxyURL.Value.URL
	return p
}

func (d *decoder) setEndpoints(p *project) {
	css, iam, known := regions.Endpoints(p.Region)
	switch {
	case !p.keys.Region.IsSet():
		d.Reportf(d.PlaceIn(p.node, "region"), "missing; set the region of the project, such as cn-north-4")
	case p.keys.Region.OK && !known && !p.keys.Endpoint.IsSet():
		d.Reportf(d.Place(p.keys.Region.Node), `unknown region %s%s To use a region that is not built in, set "endpoint"`,
			quote(p.Region), regions.DidYouMean(p.Region))
	}
	p.Endpoint = string(p.keys.Endpoint.ValueOr(endpointPattern(css)))
	p.IAMEndpoint = string(p.keys.IAMEndpoint.ValueOr(endpoint(iam)))
}

func (d *decoder) clusters(keys *projectKeys) []Cluster {
	list := &keys.Clusters
	if list.OK && len(list.Value) == 0 && !keys.Discovery.IsSet() {
		d.Reportf(d.Place(list.Node), "empty; list a cluster, or remove the key to discover all")
	}
	var clusters []Cluster
	for _, item := range list.Value {
		c := Cluster{ID: string(item.Value.ID.Value), Name: string(item.Value.Name.Value)}
		if item.IsMapping() && !item.Value.ID.IsSet() {
			d.Reportf(d.PlaceIn(item.Node, "id"), "missing; copy the cluster's ID from the console")
		}
		labels := item.Value.Labels.Value
		if len(labels) > 0 {
			c.Labels = map[string]string{}
		}
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			if fault := syntax.LabelNameFault(name); fault != "" {
				d.Reportf(d.Place(labels[name].Node), "%s", fault)
			}
			c.Labels[name] = string(labels[name].Value)
		}
		clusters = append(clusters, c)
	}
	return clusters
}

func (d *decoder) discovery(project *projectKeys) *Discovery {
	if !project.Discovery.IsSet() && project.Clusters.IsSet() {
		return nil
	}
	keys := &project.Discovery.Value
	search := &Discovery{
		RefreshInterval:     time.Duration(keys.RefreshInterval.ValueOr(duration(5 * time.Minute))),
		Name:                keys.Name.Value.Regexp,
		Engine:              keys.Engine.Value.Regexp,
		EnterpriseProjectID: keys.EnterpriseProjectID.Value.Regexp,
	}
	if search.RefreshInterval < time.Second {
		node := keys.RefreshInterval.Node
		d.Reportf(d.Place(node), "must be at least 1s, not %s", quote(node.Value))
	}
	if keys.Tags.IsSet() {
		search.Tags = map[string]*regexp.Regexp{}
	}
	for key, value := range keys.Tags.Value {
		if key == "" {
			d.Reportf(d.Place(value.Node), "empty tag key; name the tag")
		}
		search.Tags[key] = value.Value.Regexp
	}
	if keys.LabelsFromTags.IsSet() {
		search.LabelsFromTags = d.labelsFromTags(&keys.LabelsFromTags.Value)
	}
	return search
}

func (d *decoder) labelsFromTags(t *tagLabels) map[string]string {
	labels, lines := map[string]string{}, map[tagLabel]int{}
	for _, item := range t.list {
		if line, twice := lines[item.Value]; twice && item.OK {
			d.Reportf(d.Place(item.Node), "duplicate label %q, first listed on line %d; remove one", item.Value, line)
		}
		lines[item.Value] = item.Node.Line
		labels[string(item.Value)] = string(item.Value)
	}
	for _, label := range slices.Sorted(maps.Keys(t.mapping)) {
		key := t.mapping[label]
		if fault := syntax.LabelNameFault(label); fault != "" {
			d.Reportf(d.Place(key.Node), "%s", fault)
		}
		labels[label] = string(key.Value)
	}
	return labels
}

// discoversAll reports whether discovery is valid and has no filter.
func (p *project) discoversAll() bool {
	return p.Discovery.all() && (p.keys.Discovery.OK || !p.keys.Discovery.IsSet())
}

func (d *decoder) checkIAMEndpoints(projects []*project) {
	for _, p := range projects {
		keys := p.keys
		if p.IAMEndpoint != "" || p.incomplete || keys.IAMEndpoint.IsSet() || !keys.Region.OK || !keys.Endpoint.IsSet() {
			continue // without "endpoint", the unknown region is already reported
		}
		at := d.PlaceIn(p.node, "iam_endpoint")
		switch {
		case p.Credentials.User != nil:
			d.Reportf(at, "missing; set it, because credentials.user needs IAM and region %s is not built in", quote(p.Region))
		case p.Credentials.OIDC.usesIAM():
			d.Reportf(at, "missing; set it, because OIDC with idp_id needs IAM and region %s is not built in", quote(p.Region))
		case p.Credentials.AssumeAgency != nil && p.Credentials.AssumeAgency.DomainName != "":
			d.Reportf(at, "missing; set it, because credentials.assume_agency with domain_name needs IAM and region %s is not "+
				"built in", quote(p.Region))
		case p.ProjectID == "" && !keys.ProjectID.IsSet():
			d.Reportf(at, "missing; set it or project_id, because region %s is not built in", quote(p.Region))
		}
	}
}

func (d *decoder) checkProxies(projects []*project) {
	if i := slices.IndexFunc(projects, func(p *project) bool { return !p.keys.ProxyURL.IsSet() }); i >= 0 {
		env, at := network.Environment(d.env), d.PlaceIn(projects[i].node, "proxy_url")
		for _, name := range env.InvalidProxies() {
			d.Reportf(at, "the default, variable %s, has an %s", name, proxyFault)
		}
		if name := env.InvalidExceptions(); name != "" {
			d.Reportf(at, "the exceptions from the default, variable %s, have an invalid entry (not shown); write hosts, "+
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
		case p.keys.Name.IsSet():
			d.Reportf(d.Place(p.keys.Name.Node), "duplicate name %s, first used by the project on line %d; choose another",
				quote(p.Name), line)
		default:
			d.Reportf(d.PlaceIn(p.node, "name"), "missing; the default, region %s, is already the name of the project on "+
				"line %d; name both", quote(p.Name), line)
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
			id := p.keys.Clusters.Value[i].Value.ID
			if !id.OK || !p.keys.Region.OK {
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
				d.Reportf(d.Place(id.Node), "duplicate cluster %s, first listed on line %d; remove one", quote(c.ID), line)
				continue
			}
			known[at] = append(known[at], listed{p, id.Node.Line})
		}
	}
}

func (d *decoder) checkOverlaps(projects []*project) {
	known := map[[3]string][]*project{}
	for _, p := range projects {
		if p.ProjectID == "" || !p.keys.Region.OK {
			continue // these may be two accounts
		}
		at := [3]string{p.Region, p.ProjectID, p.Endpoint}
		overlap := slices.IndexFunc(known[at], func(other *project) bool { return p.discoversAll() || other.discoversAll() })
		if overlap >= 0 {
			d.Reportf(d.Place(p.node), "same region and project_id as the project on line %d, and one of them discovers "+
				"all clusters; merge them, or set a filter in discovery", known[at][overlap].node.Line)
		}
		known[at] = append(known[at], p)
	}
}

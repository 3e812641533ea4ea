// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// project is a Project with what the checks over all projects need.
type project struct {
	Project

	fields       fields
	chain        bool  // no credentials are named: the default chain applies
	profileKey   value // credentials.profile, if it is there
	unsure       bool  // mistakes of the profile hide what it would give
	clusterLines []int
}

func decodeConfig(root value) *Config {
	f, ok := root.fields("scrape", "projects")
	c := &Config{Scrape: decodeScrape(f)}
	if !ok {
		return c
	}
	list, ok := f.known["projects"]
	if !ok {
		f.missing("projects", "list at least one project")
		return c
	}
	if len(list.node.Content) == 0 && (list.node.Kind == yaml.SequenceNode || isNull(list.node)) {
		list.mistake("is empty: list at least one project")
		return c
	}
	items, ok := list.items()
	if !ok {
		return c
	}
	var projects []*project
	for _, item := range items {
		if p := decodeProject(item); p != nil {
			projects = append(projects, p)
		}
	}
	env, known := root.d.env, sections{}
	checkProfiles(projects, env, known)
	checkChain(projects, env, known)
	checkMetadata(projects, env)
	checkIAM(projects)
	checkNames(projects)
	checkOverlap(projects)
	for _, p := range projects {
		c.Projects = append(c.Projects, p.Project)
	}
	return c
}

func decodeScrape(root fields) Scrape {
	f := fields{}
	if v, ok := root.known["scrape"]; ok {
		f, _ = v.fields(scrapeKeys()...)
	}
	return Scrape{
		Concurrency:    f.number("concurrency", 16, 1, 1024),
		MinInterval:    f.duration("min_interval", 0, 0),
		MaxStaleness:   f.duration("max_staleness", 0, 0),
		MaxConnections: f.number("max_connections", 2000, 0, math.MaxInt32),
	}
}

func decodeProject(v value) *project {
	f, ok := v.fields(projectKeys()...)
	if !ok {
		return nil
	}
	p := &project{fields: f, chain: true}
	p.Region = f.region()
	p.Name = f.label("name")
	if p.Name == "" {
		p.Name = p.Region
	}
	p.ProjectID = f.projectID()
	p.Endpoint, p.IAMEndpoint = f.addresses(p.Region)
	p.RequestsPerSecond = f.rate("requests_per_second", 20, 10_000)
	if c, ok := f.known["credentials"]; ok {
		p.decodeCredentials(c)
	}
	p.decodeClusters()
	if d, ok := f.known["discovery"]; ok {
		p.Discovery = decodeDiscovery(d)
	} else if !f.has("clusters") {
		p.Discovery = &Discovery{RefreshInterval: defaultRefresh}
	}
	if t, ok := f.known["tls_config"]; ok {
		p.TLSConfig, p.TLSDigest = decodeTLS(t)
	}
	p.ProxyURL = f.proxy()
	return p
}

// region goes into a host name and, as a project's name, into a query of IAM.
func (f fields) region() string {
	if !f.has("region") {
		f.missing("region", "name the region of the project, such as cn-north-4")
		return ""
	}
	region := f.text("region")
	if region != "" && (strings.Trim(region, "abcdefghijklmnopqrstuvwxyz-"+digits) != "" ||
		len(region) > 63 || strings.HasPrefix(region, "-") || strings.HasSuffix(region, "-")) {
		v := f.known["region"]
		v.mistake("is %s, but a region is up to 63 lower-case letters, digits and inner dashes, such as cn-north-4", v.echo())
		return ""
	}
	return region
}

func (f fields) projectID() string {
	id := f.text("project_id")
	if id != "" && !validProjectID(id) {
		v := f.known["project_id"]
		v.mistake("is %s, but a project id is up to 64 letters, digits, underscores and dashes: copy it from the console", v.echo())
	}
	return id
}

func validProjectID(id string) bool {
	return len(id) <= 64 && strings.Trim(id, letters+digits+"_-") == ""
}

// checkIAM reports projects that need IAM and have no address of it.
func checkIAM(projects []*project) {
	for _, p := range projects {
		f := p.fields
		if p.IAMEndpoint != "" || p.unsure || f.has("iam_endpoint") || p.Region == "" || !f.has("endpoint") {
			continue // the lack of an endpoint is a mistake of its own
		}
		switch {
		case p.Credentials.User != nil:
			f.missing("iam_endpoint", "credentials.user needs IAM, whose address is not known for the region "+
				quote(p.Region)+": set it")
		case p.ProjectID == "" && !f.has("project_id"):
			f.missing("iam_endpoint", "the project id is looked up in IAM, whose address is not known for the region "+
				quote(p.Region)+": set project_id or iam_endpoint")
		}
	}
}

func checkNames(projects []*project) {
	first := map[string]*project{}
	for _, p := range projects {
		other, twice := first[p.Name]
		switch {
		case p.Name == "": // a mistake of its own
		case !twice:
			first[p.Name] = p
		case p.fields.has("name"):
			p.fields.known["name"].mistake("is %s, the name of the project on line %d too: names must be unique",
				quote(p.Name), other.fields.line)
		default:
			p.fields.missing("name", fmt.Sprintf("it would be the region %s, the name of the project on line %d too: name both",
				quote(p.Region), other.fields.line))
		}
	}
}

// place is what tells clusters of the same id apart: the region with the
// project id, or with the address.
type place struct{ region, in, cluster string }

// served is a cluster at an address.
type served struct {
	line     int
	anywhere bool // its project id is still to be looked up, and may be any
}

// watched holds the clusters of the projects so far.
type watched struct {
	byProject map[place]int // lines
	byAddress map[place]served
}

// add adds a cluster of a project, or gives the line where it is already.
func (w watched) add(p *project, i int) (first int, twice bool) {
	id, line := p.Clusters[i].ID, p.clusterLines[i]
	if id == "" || p.Region == "" {
		return 0, false // a mistake of its own
	}
	inProject, atAddress := place{p.Region, p.ProjectID, id}, place{p.Region, p.Endpoint, id}
	if first, twice = w.byProject[inProject]; twice {
		return first, true
	}
	other, ok := w.byAddress[atAddress]
	if ok && (other.anywhere || p.ProjectID == "") {
		return other.line, true
	}
	w.byProject[inProject] = line
	if !ok {
		w.byAddress[atAddress] = served{line, p.ProjectID == ""}
	}
	return 0, false
}

// checkOverlap reports clusters that would be watched twice: as the same id,
// or by two projects of which one discovers everything.
func checkOverlap(projects []*project) {
	known := watched{map[place]int{}, map[place]served{}}
	all := map[place]*project{}
	several := map[place]*project{}
	for _, p := range projects {
		for i, c := range p.Clusters {
			if first, twice := known.add(p, i); twice {
				p.fields.d.mistake(p.clusterLines[i], p.clusterPath(i)+".id",
					"is %s, as on line %d: a cluster can be watched only once", quote(c.ID), first)
			}
		}
		if p.ProjectID == "" || p.Region == "" {
			continue // two accounts may be meant
		}
		at := place{p.Region, p.ProjectID, p.Endpoint}
		other := all[at]
		if other == nil && p.Discovery.everything() {
			other = several[at]
		}
		if other != nil {
			p.fields.mistake("has the region and project_id of the project on line %d, and one of them discovers all clusters: "+
				"merge them, or give the discovery a filter", other.fields.line)
		}
		several[at] = p
		if p.Discovery.everything() {
			all[at] = p
		}
	}
}

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
	chain        bool // no credentials are named: the default chain applies
	clusterLines []int
}

func decodeConfig(root value, env Environment) *Config {
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
	checkEnvironment(projects, env)
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
		f, _ = v.fields("concurrency", "min_interval", "max_staleness", "max_connections")
	}
	return Scrape{
		Concurrency:    f.number("concurrency", 16, 1, 1024),
		MinInterval:    f.duration("min_interval", 0, 0),
		MaxStaleness:   f.duration("max_staleness", 0, 0),
		MaxConnections: f.number("max_connections", 2000, 0, math.MaxInt32),
	}
}

func decodeProject(v value) *project {
	f, ok := v.fields("name", "region", "project_id", "endpoint", "iam_endpoint", "requests_per_second",
		"credentials", "clusters", "discovery", "tls_config", "proxy_url")
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
		p.Credentials, p.chain = decodeCredentials(c)
	}
	p.decodeClusters()
	if d, ok := f.known["discovery"]; ok {
		p.Discovery = decodeDiscovery(d)
	} else if !f.has("clusters") {
		p.Discovery = &Discovery{RefreshInterval: defaultRefresh}
	}
	if t, ok := f.known["tls_config"]; ok {
		p.TLSConfig = decodeTLS(t)
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

// checkEnvironment gives HUAWEICLOUD_SDK_PROJECT_ID to the projects that take
// their credentials from the environment too, and checks what they would take.
func checkEnvironment(projects []*project, env Environment) {
	var chain []*project
	for _, p := range projects {
		if p.chain {
			chain = append(chain, p)
		}
	}
	if len(chain) == 0 {
		return
	}
	if !checkVariables(chain[0], env) {
		return
	}
	const variable = "HUAWEICLOUD_SDK_PROJECT_ID"
	id, _ := env(variable)
	if id == "" {
		return
	}
	var first *project
	for _, p := range chain {
		at := p.fields
		switch {
		case at.has("project_id"):
		case first == nil && !validProjectID(id):
			at.missing("project_id", variable+" would be taken, but it is no project id: set project_id or correct the variable")
			return
		case first == nil:
			first = p
			p.ProjectID = id
		case p.Region != first.Region:
			at.missing("project_id", variable+" belongs to one region, and "+first.fields.path+
				" of another region takes it already: set project_id in both")
		default:
			p.ProjectID = id
		}
	}
}

// checkVariables checks the credentials in the environment, for the first
// project that would take them, and reports whether there are any.
func checkVariables(p *project, env Environment) bool {
	at := value{d: p.fields.d, line: p.fields.line, path: p.fields.join("credentials")}
	get := func(name string) string {
		s, _ := env(name)
		if fault := secretFault(s); fault != "" {
			at.mistake("come from the environment, but %s %s: correct the variable", name, fault)
		}
		return s
	}
	pair := func(prefix string) bool {
		key, secret := prefix+"_AK", prefix+"_SK"
		hasKey, hasSecret := get(key) != "", get(secret) != ""
		if hasKey && !hasSecret {
			key, secret = secret, key
		}
		if hasKey != hasSecret {
			at.mistake("come from the environment, but %s is set without %s: set both or none", secret, key)
		}
		return hasKey && hasSecret
	}
	vendor, sample := pair("HUAWEICLOUD_SDK"), pair("CLOUD_SDK")
	get("HUAWEICLOUD_SDK_SECURITY_TOKEN")
	return vendor || sample
}

// checkIAM reports projects that need IAM and have no address of it.
func checkIAM(projects []*project) {
	for _, p := range projects {
		f := p.fields
		if p.IAMEndpoint != "" || f.has("iam_endpoint") || p.Region == "" || !f.has("endpoint") {
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

// place is what tells clusters of the same id apart.
type place struct{ region, projectID, cluster string }

// checkOverlap reports clusters that would be watched twice: as the same id,
// or by two projects of which one discovers everything.
func checkOverlap(projects []*project) {
	lines := map[place]int{}
	all := map[place]*project{}
	several := map[place]*project{}
	for _, p := range projects {
		for i, c := range p.Clusters {
			at := place{p.Region, p.ProjectID, c.ID}
			if first, twice := lines[at]; twice && c.ID != "" {
				p.fields.d.mistake(p.clusterLines[i], p.clusterPath(i)+".id",
					"is %s, as on line %d: a cluster can be watched only once", quote(c.ID), first)
				continue
			}
			lines[at] = p.clusterLines[i]
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

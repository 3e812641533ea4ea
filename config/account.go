// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/regions"
	"css_vpcep_exporter/internal/syntax"

	"go.yaml.in/yaml/v4"
)

const (
	allRegions    = "*"
	defaultRegion = "cn-north-4"
)

type (
	wantedRegion    string // or allRegions
	endpointPattern string // an endpoint that may contain syntax.RegionInAddress
)

func (r *wantedRegion) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, r, func(s string) string {
		if s == allRegions {
			return ""
		}
		return syntax.RegionFault(s)
	})
}

func (e *endpointPattern) UnmarshalYAML(n *yaml.Node) error {
	const region = "region-0-of-the-project" // braces are invalid in a host
	err := decodeText(n, e, func(s string) string {
		_, fault := syntax.ParseEndpoint(strings.ReplaceAll(s, syntax.RegionInAddress, region))
		return strings.ReplaceAll(fault, region, syntax.RegionInAddress)
	})
	address, _ := syntax.ParseEndpoint(strings.ReplaceAll(string(*e), syntax.RegionInAddress, region))
	*e = endpointPattern(strings.ReplaceAll(address, region, syntax.RegionInAddress))
	return err
}

// IsAccount reports whether the projects of the entry are listed in IAM. Region is then that of the IAM, or empty, and
// Endpoint may be empty or contain {region}.
func (p *Project) IsAccount() bool { return len(p.Regions) > 0 }

// Found returns the settings of a project that IAM lists, unless the entry does not want it.
func (p *Project) Found(name, id string) (found Project, wanted bool) {
	region, suffix, sub := strings.Cut(name, "_")
	if sub && (suffix == "" || !p.Subprojects) || syntax.RegionFault(region) != "" {
		return Project{}, false
	}
	css, _, known := regions.Endpoints(region)
	switch {
	case !slices.Contains(p.Regions, allRegions):
		wanted = slices.Contains(p.Regions, region)
	case strings.Contains(p.Endpoint, syntax.RegionInAddress):
		wanted = strings.Contains(region, "-") // the others, such as MOS, are no regions
	default:
		wanted = known
	}
	if !wanted {
		return Project{}, false
	}
	found = *p
	found.Name = clean.Text(p.Name+"/"+name, clean.MaxLength)
	found.Region, found.ProjectID = region, id
	found.Regions, found.Subprojects = nil, false
	found.Endpoint = strings.ReplaceAll(p.Endpoint, syntax.RegionInAddress, region)
	if found.Endpoint == "" {
		found.Endpoint = css
	}
	found.Sessions = p.Sessions.of(region)
	return found, true
}

// CoveredBy reports whether both have the same region, ID and endpoint, and the other one discovers all clusters.
func (p *Project) CoveredBy(other *Project) bool {
	return p.Region == other.Region && p.ProjectID == other.ProjectID && p.Endpoint == other.Endpoint &&
		other.Discovery.all()
}

func (s *Discovery) all() bool {
	return s != nil && s.Name == nil && s.Engine == nil && s.EnterpriseProjectID == nil && len(s.Tags) == 0
}

// setRegions sets the regions of an entry and what is derived from them.
func (d *decoder) setRegions(p *project) {
	keys := p.keys
	const conflict = "conflicts with regions, whose projects are found in IAM; remove one of them"
	for _, node := range []*yaml.Node{keys.Region.Node, keys.ProjectID.Node, keys.Clusters.Node} {
		if node != nil {
			d.Reportf(d.Place(node), conflict)
		}
	}
	if keys.Regions.OK && len(keys.Regions.Value) == 0 {
		d.Reportf(d.Place(keys.Regions.Node), `empty; list regions, or write ["*"] for all`)
	}
	p.Subprojects = bool(keys.Subprojects.Value)
	lines := map[wantedRegion]int{}
	for _, item := range keys.Regions.Value {
		if !item.OK {
			continue
		}
		line, twice := lines[item.Value]
		switch {
		case twice:
			d.Reportf(d.Place(item.Node), "duplicate region %s, first listed on line %d; remove one",
				quote(string(item.Value)), line)
		case item.Value == allRegions && len(keys.Regions.Value) > 1:
			d.Reportf(d.Place(item.Node), `"*" means all regions; remove it, or the others`)
		case item.Value != allRegions:
			d.checkWantedRegion(p, string(item.Value), d.Place(item.Node))
		}
		lines[item.Value] = item.Node.Line
		p.Regions = append(p.Regions, string(item.Value))
	}
	p.Endpoint = string(keys.Endpoint.Value)
	p.IAMEndpoint = string(keys.IAMEndpoint.Value)
	p.Region = p.regionOfIAM()
	if _, iam, known := regions.Endpoints(p.Region); known && !keys.IAMEndpoint.IsSet() {
		p.IAMEndpoint = iam
	}
}

func (d *decoder) checkWantedRegion(p *project, region string, at place) {
	keys := p.keys
	_, iam, known := regions.Endpoints(region)
	_, first, firstKnown := regions.Endpoints(strings.Join(p.Regions[:min(1, len(p.Regions))], ""))
	switch {
	case !known && (keys.Endpoint.OK || !keys.Endpoint.IsSet()) &&
		!strings.Contains(string(keys.Endpoint.Value), syntax.RegionInAddress):
		d.Reportf(at, `unknown region %s%s To use a region that is not built in, set "endpoint" with {region} in it`,
			quote(region), regions.DidYouMean(region))
	case known && firstKnown && !keys.IAMEndpoint.IsSet() && !regions.SameSite(iam, first):
		d.Reportf(at, "region %s has another IAM than %s; write a project entry of its own for it, or set iam_endpoint",
			quote(region), quote(p.Regions[0]))
	}
}

// regionOfIAM returns the region whose IAM lists the projects, or "" if it is not known.
func (p *project) regionOfIAM() string {
	switch {
	case len(p.Regions) == 0:
		return ""
	case p.Regions[0] != allRegions:
		return p.Regions[0]
	case p.IAMEndpoint != "":
		return regions.OfIAM(p.IAMEndpoint)
	case !p.keys.IAMEndpoint.IsSet() && !p.keys.Endpoint.IsSet():
		return defaultRegion
	}
	return ""
}

// checkWithoutRegions reports keys that need regions.
func (d *decoder) checkWithoutRegions(p *project) {
	keys := p.keys
	if keys.Subprojects.IsSet() {
		d.Reportf(d.Place(keys.Subprojects.Node), `needs "regions"; set it instead of region, or remove subprojects`)
	}
	for _, endpoint := range []*field[endpointPattern]{&keys.Endpoint, &keys.Sessions.Value.Endpoint} {
		if strings.Contains(string(endpoint.Value), syntax.RegionInAddress) {
			d.Reportf(d.Place(endpoint.Node), `{region} needs "regions"; write the region instead`)
			endpoint.OK = false
		}
	}
}

// checkAccounts reports what the entries with regions lack.
func (d *decoder) checkAccounts(projects []*project) {
	for _, p := range projects {
		keys := p.keys
		if !p.IsAccount() || !keys.Regions.OK || p.incomplete {
			continue
		}
		p.Region = p.regionOfIAM() // a profile may have set the IAM endpoint
		everywhere := p.Regions[0] == allRegions
		at := d.PlaceIn(p.node, "iam_endpoint")
		switch _, _, known := regions.Endpoints(p.Region); {
		case p.IAMEndpoint == "" && !keys.IAMEndpoint.IsSet() && everywhere:
			d.Reportf(at, `missing; set it, because with endpoint and regions ["*"] it cannot be derived`)
		case p.IAMEndpoint == "" && !keys.IAMEndpoint.IsSet() && !known &&
			strings.Contains(p.Endpoint, syntax.RegionInAddress): // otherwise, the unknown region is already reported
			d.Reportf(at, "missing; set it, because region %s is not built in", quote(p.Region))
		case p.Credentials.User != nil && p.IAMEndpoint != "" && p.Region == "":
			d.Reportf(d.PlaceIn(p.node, "regions"),
				`credentials.user logs in to the first region, which is not known; list the regions instead of "*"`)
		}
	}
}

// checkFoundNames reports names that a project of an account may get.
func (d *decoder) checkFoundNames(projects []*project) {
	for _, p := range projects {
		i := slices.IndexFunc(projects, func(account *project) bool {
			return account.IsAccount() && account.Name != "" && strings.HasPrefix(p.Name, account.Name+"/")
		})
		if i >= 0 && !p.IsAccount() && p.keys.Name.IsSet() {
			d.Reportf(d.Place(p.keys.Name.Node),
				"the projects of the entry on line %d get names that begin with %s; choose another",
				projects[i].node.Line, quote(projects[i].Name+"/"))
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"

	"css_vpcep_exporter/internal/idtoken"
	"css_vpcep_exporter/internal/regions"
)

// setSTSEndpoints derives the endpoints of STS that are not set, for exchanges of ID tokens and for agencies, and
// reports those that are not known.
func (d *decoder) setSTSEndpoints(projects []*project) {
	for _, p := range projects {
		d.setSTS(p)
	}
}

func (d *decoder) setSTS(p *project) {
	region := quote(cmp.Or(p.Region, allRegions))
	const missing = "missing; set it, because no STS endpoint is known for region %s"
	if o := p.Credentials.OIDC; o != nil && o.ProviderURN != "" && o.AgencyURN != "" && !o.usesIAM() {
		keys := &p.keys.Credentials.Value.OIDC
		switch {
		case p.findSTS(&o.STSEndpoint, keys.Value.STSEndpoint.IsSet()):
		case o.Environment:
			d.Reportf(d.PlaceIn(p.node, "credentials"), "variable %s needs STS, whose endpoint is not known for region %s; "+
				"set oidc with sts_endpoint in the file", idtoken.ProviderVariable, region)
		default:
			d.Reportf(d.PlaceIn(keys.Node, "sts_endpoint"), missing, region)
		}
	}
	keys := &p.keys.Credentials.Value.AssumeAgency
	if a := p.Credentials.AssumeAgency; a != nil && keys.Value.DomainID.IsSet() && d.canSign(p) &&
		!p.findSTS(&a.STSEndpoint, keys.Value.STSEndpoint.IsSet()) {
		d.Reportf(d.PlaceIn(keys.Node, "sts_endpoint"), missing+", or set domain_name instead of domain_id", region)
	}
}

// findSTS sets an endpoint unless the file does, even to an invalid one. It returns false if none is known for a region
// that is valid.
func (p *project) findSTS(endpoint *string, inFile bool) bool {
	if !inFile {
		*endpoint = regions.STS(p.Region)
	}
	_, _, known := regions.Endpoints(p.Region)
	switch {
	case inFile || *endpoint != "":
		return true
	case p.IsAccount():
		return !p.keys.Regions.OK || p.Region == "" && p.incomplete // a profile may say which IAM, and so which region
	}
	return !p.keys.Region.OK || !known && !p.keys.Endpoint.IsSet() // already reported
}

// canSign reports an agency whose caller cannot sign.
func (d *decoder) canSign(p *project) bool {
	keys, unsigned := &p.keys.Credentials.Value, ""
	switch {
	case keys.User.IsSet():
		unsigned = "user"
	case keys.TokenFile.IsSet():
		unsigned = "token_file"
	default:
		return true
	}
	d.Reportf(d.Place(keys.AssumeAgency.Value.DomainID.Node),
		"needs the signature of an access key, and %s has none; set domain_name instead, or use an access key", unsigned)
	return false
}

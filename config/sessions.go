// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"slices"
	"strings"

	"css_vpcep_exporter/internal/regions"
	"css_vpcep_exporter/internal/syntax"
)

// Sessions configures reading the sessions in use. With Regions, Endpoint may be empty or contain {region}.
type Sessions struct {
	Endpoint  string // a URL without a path
	BatchSize int    // metrics in a call
}

type sessionsKeys struct {
	Endpoint  field[endpointPattern] `yaml:"endpoint"`
	BatchSize field[number]          `yaml:"batch_size"`
}

func (d *decoder) sessions(p *project) *Sessions {
	f, keys := &p.keys.Sessions, &p.keys.Sessions.Value
	if !f.IsMapping() {
		return nil
	}
	s := &Sessions{Endpoint: string(keys.Endpoint.Value), BatchSize: d.Integer(&keys.BatchSize, 500, 1, 500)}
	switch reason, at := p.underivable(), d.PlaceIn(f.Node, "endpoint"); {
	case reason == "" || keys.Endpoint.IsSet() && (!keys.Endpoint.OK || !p.IsAccount()):
	case !p.IsAccount():
		d.Reportf(at, "missing; set it, because %s", reason)
	case !strings.Contains(s.Endpoint, syntax.RegionInAddress):
		d.Reportf(at, "set it with {region} in it, because %s", reason)
	}
	if p.IsAccount() {
		return s
	}
	return s.of(p.Region)
}

// underivable says why a region may have no known endpoint, or "", also if that is already reported.
func (p *project) underivable() string {
	for _, region := range append(slices.Clone(p.Regions), p.Region) {
		_, _, known := regions.Endpoints(region)
		if !known && region != "" && region != allRegions && p.keys.Endpoint.IsSet() {
			return "region " + quote(region) + " is not built in"
		}
	}
	if slices.Contains(p.Regions, allRegions) && strings.Contains(p.Endpoint, syntax.RegionInAddress) {
		return `endpoint and regions ["*"] may lead to regions that are not built in`
	}
	return ""
}

// of returns the settings in one region.
func (s *Sessions) of(region string) *Sessions {
	if s == nil {
		return nil
	}
	endpoint := strings.ReplaceAll(s.Endpoint, syntax.RegionInAddress, region)
	return &Sessions{Endpoint: cmp.Or(endpoint, regions.CES(region)), BatchSize: s.BatchSize}
}

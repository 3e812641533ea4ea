// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"time"

	"css_vpcep_exporter/internal/syntax"

	"go.yaml.in/yaml/v4"
)

// AssumeAgency is an agency of another account, whose temporary keys replace the credentials.
type AssumeAgency struct {
	Name                 string
	DomainName, DomainID string // the account, by one of them
	Duration             time.Duration
	STSEndpoint          string // a URL without a path; with DomainID only
}

type assumeAgencyKeys struct {
	Name        field[agencyName] `yaml:"name"`
	DomainName  field[name]       `yaml:"domain_name"`
	DomainID    field[accountID]  `yaml:"domain_id"`
	Duration    field[duration]   `yaml:"duration"`
	STSEndpoint field[endpoint]   `yaml:"sts_endpoint"`
}

// The types of single values. An invalid value is zero.
type (
	agencyName string
	accountID  string
)

func (a *agencyName) UnmarshalYAML(n *yaml.Node) error {
	var s name
	if err := s.UnmarshalYAML(n); err != nil {
		return err
	}
	return decodeText(n, a, func(s string) string {
		if strings.HasPrefix(s, "iam::") {
			return "expected the agency's name, not its URN; write what follows \":agency:\""
		}
		return ""
	})
}

func (a *accountID) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, a, func(s string) string {
		if syntax.ProjectIDFault(s) != "" {
			return "invalid account ID (not shown); copy it from the console"
		}
		return ""
	})
}

const (
	defaultAgencyDuration = time.Hour
	minAgencyDuration     = 15 * time.Minute
	maxAgencyDuration     = 24 * time.Hour
	maxSTSDuration        = 12 * time.Hour
)

func (d *decoder) assumeAgency(f *field[assumeAgencyKeys]) *AssumeAgency {
	if !f.IsMapping() {
		return nil
	}
	keys := &f.Value
	if !keys.Name.IsSet() {
		d.Reportf(d.PlaceIn(f.Node, "name"), "missing; set the name of the agency to assume")
	}
	byName, byID := keys.DomainName.IsSet(), keys.DomainID.IsSet()
	longest, suffix := maxAgencyDuration, ""
	switch {
	case byName && byID:
		d.Reportf(d.Place(keys.DomainID.Node), "conflicts with domain_name; keep one of them")
	case byID:
		longest, suffix = maxSTSDuration, " with domain_id"
	case !byName:
		d.Reportf(d.PlaceIn(f.Node, "domain_name"),
			"missing; set domain_name or domain_id, the account that the agency belongs to")
	}
	if keys.STSEndpoint.IsSet() && byName && !byID {
		d.Reportf(d.Place(keys.STSEndpoint.Node), "not used with domain_name; remove it, or set domain_id instead")
	}
	life := time.Duration(keys.Duration.ValueOr(duration(defaultAgencyDuration)))
	if keys.Duration.OK && (life < minAgencyDuration || life > longest) {
		node := keys.Duration.Node
		d.Reportf(d.Place(node), "must be from 15m to %dh%s, not %s", int(longest.Hours()), suffix, quote(node.Value))
	}
	return &AssumeAgency{
		Name:        string(keys.Name.Value),
		DomainName:  string(keys.DomainName.Value),
		DomainID:    string(keys.DomainID.Value),
		Duration:    life,
		STSEndpoint: string(keys.STSEndpoint.Value),
	}
}

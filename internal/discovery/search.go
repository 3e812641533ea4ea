// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"regexp"
	"time"

	"css_vpcep_exporter/internal/css"
)

// Search selects discovered clusters by anchored regular expressions. nil matches everything; a nil Engine does not
// match Logstash, which has no VPC endpoint service. Clusters that are being created never match; unavailable ones do, so
// that their alerts do not resolve.
type Search struct {
	RefreshInterval     time.Duration
	Name                *regexp.Regexp
	Engine              *regexp.Regexp
	EnterpriseProjectID *regexp.Regexp
	Tags                map[string]*regexp.Regexp // all must match
	LabelsFromTags      map[string]string         // keys of tags, by label
}

func (s *Search) matches(c *css.Cluster) bool { return s.LeftOut(c) == "" }

// LeftOut returns why a cluster does not match, or "".
func (s *Search) LeftOut(c *css.Cluster) string {
	switch {
	case c.Status == css.ClusterCreating:
		return "being created"
	case s.Engine == nil && c.Engine == "logstash":
		return "Logstash"
	case s.Engine != nil && !s.Engine.MatchString(c.Engine):
		return "discovery.engine"
	case s.Name != nil && !s.Name.MatchString(c.Name):
		return "discovery.name"
	case s.EnterpriseProjectID != nil && !s.EnterpriseProjectID.MatchString(c.EnterpriseProjectID):
		return "discovery.enterprise_project_id"
	}
	for key, pattern := range s.Tags {
		if value, ok := c.Tags[key]; !ok || !pattern.MatchString(value) {
			return "discovery.tags"
		}
	}
	return ""
}

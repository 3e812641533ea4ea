// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"regexp"
	"time"

	"css_vpcep_exporter/internal/css"
)

// Search selects discovered clusters by anchored regular expressions. nil matches everything; a nil Engine matches all
// engines but Logstash.
type Search struct {
	RefreshInterval     time.Duration
	Name                *regexp.Regexp
	Engine              *regexp.Regexp
	EnterpriseProjectID *regexp.Regexp
	Tags                map[string]*regexp.Regexp // of values by key; a cluster must have all keys
	LabelsFromTags      []string
}

// wants reports whether s selects c. Logstash has no VPC endpoint service.
func (s *Search) wants(c *css.Cluster) bool {
	switch {
	case c.Status == css.ClusterCreating, c.Status == css.ClusterUnavailable:
		return false
	case s.Engine == nil && c.Engine == "logstash":
		return false
	case s.Engine != nil && !s.Engine.MatchString(c.Engine):
		return false
	case s.Name != nil && !s.Name.MatchString(c.Name):
		return false
	case s.EnterpriseProjectID != nil && !s.EnterpriseProjectID.MatchString(c.EnterpriseProjectID):
		return false
	}
	for key, wanted := range s.Tags {
		if value, ok := c.Tags[key]; !ok || !wanted.MatchString(value) {
			return false
		}
	}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"css_vpcep_exporter/internal/css"
)

func anchored(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }

// tags returns anchored patterns by key.
func tags(keysAndPatterns ...string) map[string]*regexp.Regexp {
	m := make(map[string]*regexp.Regexp)
	for pair := range slices.Chunk(keysAndPatterns, 2) {
		m[pair[0]] = anchored(pair[1])
	}
	return m
}

func TestSearchMatches(t *testing.T) {
	cluster := css.Cluster{
		ID: "c1", Name: "search-prod", Status: css.ClusterAvailable, Engine: "elasticsearch", EnterpriseProjectID: "0",
		Tags: map[string]string{"team": "search", "stage": "prod"},
	}
	changed := func(change func(*css.Cluster)) css.Cluster {
		c := cluster
		c.Tags = maps.Clone(cluster.Tags)
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		search  Search
		cluster css.Cluster
		want    bool
	}{
		"any":            {Search{}, cluster, true},
		"unknown status": {Search{}, changed(func(c *css.Cluster) { c.Status = "" }), true},
		"being created":  {Search{}, changed(func(c *css.Cluster) { c.Status = "100" }), false},
		"unavailable":    {Search{}, changed(func(c *css.Cluster) { c.Status = "303" }), true},
		"logstash":       {Search{}, changed(func(c *css.Cluster) { c.Engine = "logstash" }), false},
		"logstash, selected": {
			Search{Engine: anchored("logstash")}, changed(func(c *css.Cluster) { c.Engine = "logstash" }), true,
		},
		"another engine":             {Search{Engine: anchored("opensearch")}, cluster, false},
		"name":                       {Search{Name: anchored("search-.*")}, cluster, true},
		"part of the name":           {Search{Name: anchored("search")}, cluster, false},
		"enterprise project":         {Search{EnterpriseProjectID: anchored("0")}, cluster, true},
		"another enterprise project": {Search{EnterpriseProjectID: anchored("1")}, cluster, false},
		"either enterprise project":  {Search{EnterpriseProjectID: anchored("0|ep-.*")}, cluster, true},
		"tags":                       {Search{Tags: tags("team", "search", "stage", "prod")}, cluster, true},
		"a pattern of tags":          {Search{Tags: tags("team", "sea.*|orders", "stage", ".+")}, cluster, true},
		"another value":              {Search{Tags: tags("team", "logs")}, cluster, false},
		"part of the value":          {Search{Tags: tags("team", "sea")}, cluster, false},
		"one of two tags":            {Search{Tags: tags("team", "search", "stage", "test")}, cluster, false},
		"no such tag":                {Search{Tags: tags("owner", "")}, cluster, false},
		"any value of no such tag":   {Search{Tags: tags("owner", ".*")}, cluster, false},
	} {
		if got := tc.search.matches(&tc.cluster); got != tc.want {
			t.Errorf("%s: got %t, want %t", name, got, tc.want)
		}
	}
}

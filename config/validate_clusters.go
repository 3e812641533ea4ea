// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	defaultRefresh = 5 * time.Minute
	leastRefresh   = time.Second
	maxLabelValue  = 1024 // bytes
)

// everything reports whether no filter is set.
func (d *Discovery) everything() bool {
	return d != nil && d.Name == nil && d.Engine == nil && d.EnterpriseProjectID == nil && len(d.Tags) == 0
}

func (p *project) clusterPath(i int) string {
	return fmt.Sprintf("%s[%d]", p.fields.join("clusters"), i)
}

func (p *project) decodeClusters() {
	list, ok := p.fields.known["clusters"]
	if !ok {
		return
	}
	items, ok := list.items()
	if ok && len(items) == 0 && !p.fields.has("discovery") {
		list.mistake("is empty: list a cluster, or remove the key to discover all")
	}
	for _, item := range items {
		c, line := decodeCluster(item)
		p.Clusters = append(p.Clusters, c)
		p.clusterLines = append(p.clusterLines, line)
	}
}

// decodeCluster gives a cluster and the line of its id.
func decodeCluster(v value) (Cluster, int) {
	f, ok := v.fields(clusterKeys()...)
	if !ok {
		return Cluster{}, v.line
	}
	c := Cluster{Name: f.label("name")}
	if labels, ok := f.known["labels"]; ok {
		c.Labels = labels.texts(checkLabel)
	}
	if !f.has("id") {
		f.missing("id", "copy the cluster's id from the console")
		return c, v.line
	}
	id := f.known["id"]
	c.ID = f.text("id")
	if c.ID != "" && !validClusterID(c.ID) {
		id.mistake("is %s, but a cluster id is up to 128 letters, digits, dots, underscores and dashes: copy it from the console", id.echo())
	}
	return c, id.line
}

// validClusterID lets nothing through that would change the path of a request.
func validClusterID(id string) bool {
	return id != "." && id != ".." && len(id) <= 128 && strings.Trim(id, letters+digits+"_.-") == ""
}

// label gives the key's text, which becomes the value of a label.
func (f fields) label(key string) string {
	s := f.text(key)
	if fault := labelValueFault(s); fault != "" {
		f.known[key].mistake("becomes the value of a label, but %s", fault)
	}
	return s
}

// checkLabel reports what Prometheus would not take, or what another label
// of css_vpcep_cluster_info is called.
func checkLabel(e entry, s string) {
	if fault := labelNameFault(e.key); fault != "" {
		e.mistake("%s", fault)
	}
	if fault := labelValueFault(s); fault != "" {
		e.mistake("is the value of a label, but %s", fault)
	}
}

func labelNameFault(name string) string {
	switch {
	case name == "" || strings.Trim(name, letters+digits+"_") != "" || strings.Contains(digits, name[:1]):
		return "is no name of a label: use letters, digits and underscores, and no digit at the start"
	case strings.HasPrefix(name, "__"):
		return "is a name that Prometheus keeps for itself: begin it with fewer underscores"
	case slices.Contains(ownLabels(), name):
		return "is a label that css_vpcep_cluster_info has already: choose another name"
	case name == "le" || name == "quantile":
		return "is a label that only histograms and summaries may have: choose another name"
	}
	return ""
}

func labelValueFault(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "it is not in UTF-8: save the file in this encoding"
	case len(s) > maxLabelValue:
		return fmt.Sprintf("it has %d bytes: shorten it to 1,024", len(s))
	}
	return ""
}

// ownLabels are the labels of css_vpcep_cluster_info that the exporter sets.
func ownLabels() []string {
	return []string{
		"region", "project_id", "cluster_id", "cluster_name", "project",
		"engine", "engine_version", "enterprise_project_id", "vpc_id",
	}
}

func decodeDiscovery(v value) *Discovery {
	if isNull(v.node) {
		v.mistake("has no value: write discovery: {} to discover all clusters, or remove the key")
		return nil
	}
	f, ok := v.fields(discoveryKeys()...)
	if !ok {
		return nil
	}
	d := &Discovery{
		RefreshInterval:     f.duration("refresh_interval", defaultRefresh, leastRefresh),
		Name:                f.pattern("name"),
		Engine:              f.pattern("engine"),
		EnterpriseProjectID: f.pattern("enterprise_project_id"),
	}
	if tags, ok := f.known["tags"]; ok {
		d.Tags = tags.patterns()
	}
	if labels, ok := f.known["labels_from_tags"]; ok {
		d.LabelsFromTags = decodeTagLabels(labels)
	}
	return d
}

func checkTag(e entry, _ string) {
	if e.key == "" {
		e.mistake("has an empty key: name the tag")
	}
}

// pattern gives the key's regular expression, anchored, or nil.
func (f fields) pattern(key string) *regexp.Regexp {
	s := f.text(key)
	if s == "" {
		return nil
	}
	return f.known[key].pattern(s)
}

// pattern gives the value's text as a regular expression, anchored, or nil.
func (v value) pattern(s string) *regexp.Regexp {
	// On its own first: "a)(b" is valid only inside the anchors.
	if _, err := regexp.Compile(s); err != nil {
		v.mistake("is no regular expression: %s", cut(err.Error()))
		return nil
	}
	re, err := regexp.Compile("^(?:" + s + ")$")
	if err != nil {
		v.mistake("is no regular expression once it is anchored: %s", cut(err.Error()))
		return nil
	}
	return re
}

// patterns gives the regular expressions of a mapping of tags. An empty one
// wants a tag that has no value.
func (v value) patterns() map[string]*regexp.Regexp {
	patterns := map[string]*regexp.Regexp{}
	v.texts(func(e entry, s string) {
		checkTag(e, s)
		patterns[e.key] = e.pattern(s)
	})
	return patterns
}

func decodeTagLabels(v value) []string {
	items, _ := v.items()
	var names []string
	lines := map[string]int{}
	for _, item := range items {
		name, ok := item.text()
		if !ok {
			continue
		}
		fault := labelNameFault(name)
		first, twice := lines[name]
		switch {
		case fault != "":
			item.mistake("%s %s", item.echo(), fault)
		case twice:
			item.mistake("%s is here twice, first on line %d: remove one", item.echo(), first)
		default:
			lines[name] = item.line
			names = append(names, name)
		}
	}
	return names
}

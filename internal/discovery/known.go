// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"maps"
	"slices"
	"time"

	"css_vpcep_exporter/internal/css"
)

// Target is a cluster to be scraped.
type Target struct {
	Project *Project
	Cluster css.Cluster // only ID and name if it was not discovered
	Labels  map[string]string
}

// Known is an immutable snapshot of a Fleet's clusters.
type Known struct {
	Targets []Target
	Labels  []string // sorted

	byID, byName map[string][]int
}

// Known returns the current clusters: the same pointer until the next refresh or Apply.
func (f *Fleet) Known() *Known {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.currentKnown()
}

// patience is how long service discovery waits for a project's list.
const patience = 15 * time.Minute

// KnownForSD returns the current clusters, and the names of the projects whose clusters are not known yet: Prometheus
// would drop those that are missing. An account or a project is named until its list was read completely once, or could
// not be read for 15 minutes; a project of a later listing until one try. Without discovery, its clusters are those of
// the file.
func (f *Fleet) KnownForSD() (known *Known, missing []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.accounts {
		if !a.tried || !a.read && time.Since(a.since) < patience {
			missing = append(missing, a.Name)
		}
	}
	for _, p := range f.projects {
		if !p.tried || p.Search != nil && !p.read && time.Since(p.since) < patience {
			missing = append(missing, p.Name)
		}
	}
	return f.currentKnown(), missing
}

func (f *Fleet) currentKnown() *Known {
	if f.known == nil {
		var targets []Target
		for _, p := range f.projects {
			targets = append(targets, p.targets()...)
		}
		f.known = newKnown(targets)
	}
	return f.known
}

func newKnown(targets []Target) *Known {
	k := &Known{Targets: targets, byID: make(map[string][]int), byName: make(map[string][]int)}
	labels := make(map[string]struct{})
	for i := range targets {
		t := &targets[i]
		k.byID[t.Cluster.ID] = append(k.byID[t.Cluster.ID], i)
		if t.Cluster.Name != "" {
			k.byName[t.Cluster.Name] = append(k.byName[t.Cluster.Name], i)
		}
		for name := range t.Labels {
			labels[name] = struct{}{}
		}
	}
	k.Labels = slices.Sorted(maps.Keys(labels))
	return k
}

// Find returns the clusters with that ID or else with that name. An empty project matches all projects.
func (k *Known) Find(idOrName, project string) []*Target {
	for _, index := range []map[string][]int{k.byID, k.byName} {
		var found []*Target
		for _, i := range index[idOrName] {
			if t := &k.Targets[i]; project == "" || t.Project.Name == project {
				found = append(found, t)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// targets merges listed and discovered clusters. Listed names and labels take precedence.
func (p *project) targets() []Target {
	known := make(map[string]css.Cluster, len(p.found))
	for _, c := range p.found {
		known[c.ID] = c
	}
	targets := make([]Target, 0, len(p.Listed)+len(p.found))
	for _, l := range p.Listed {
		c := known[l.ID]
		delete(known, l.ID)
		labels := p.Search.labels(&c)
		maps.Copy(labels, l.Labels)
		c.ID = l.ID
		if l.Name != "" {
			c.Name = l.Name
		}
		targets = append(targets, Target{Project: p.Project, Cluster: c, Labels: labels})
	}
	for _, c := range p.found {
		if _, left := known[c.ID]; left {
			targets = append(targets, Target{Project: p.Project, Cluster: c, Labels: p.Search.labels(&c)})
		}
	}
	return targets
}

func (s *Search) labels(c *css.Cluster) map[string]string {
	labels := make(map[string]string)
	if s == nil {
		return labels
	}
	for label, key := range s.LabelsFromTags {
		if value, ok := c.Tags[key]; ok {
			labels[label] = value
		}
	}
	return labels
}

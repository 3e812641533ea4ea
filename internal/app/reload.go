// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"errors"
	"reflect"
	"slices"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
)

// loadedProject is a project with the settings that it was built from.
type loadedProject struct {
	settings config.Project
	client   *cloud.Client
	id       *iam.Project
	project  discovery.Project
}

// reload loads the configuration and applies it. An invalid one changes nothing. Projects with the same region, project
// ID and endpoint as before keep their clusters and lists; those with the same settings keep their clients, too.
func (e *exporter) reload() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cfg, projects, err := e.prepare()
	e.metrics.ConfigLoaded(err == nil)
	if err != nil {
		problems, ok := errors.AsType[config.Errors](err)
		if !ok {
			e.logger.Error("Invalid configuration", "err", err)
		}
		for _, p := range problems {
			e.logger.Error("Invalid configuration", "err", p)
		}
		return err
	}

	var fleet []discovery.Project
	for _, p := range projects {
		fleet = append(fleet, p.project)
	}
	e.scraper.Configure(collector.ScrapeOptions{
		Concurrency:  cfg.Scrape.Concurrency,
		MinInterval:  cfg.Scrape.MinInterval,
		MaxStaleness: cfg.Scrape.MaxStaleness,
	})
	e.server.Configure(collector.Options{Connections: e.flags.connections, MaxConnections: cfg.Scrape.MaxConnections})
	e.fleet.Apply(fleet)
	for _, old := range e.projects {
		if !slices.ContainsFunc(projects, func(p loadedProject) bool { return p.project.Client == old.project.Client }) {
			old.project.Client.Close()
		}
	}
	e.projects = projects
	e.logger.Info("Configuration loaded", "projects", len(projects))
	return nil
}

// prepare loads the configuration and builds the projects whose settings are new.
func (e *exporter) prepare() (*config.Config, []loadedProject, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, nil, err
	}
	var projects []loadedProject
	continued := match(e.projects, cfg.Projects)
	for i, settings := range cfg.Projects {
		old := continued[i]
		if old != nil && reflect.DeepEqual(old.settings, settings) {
			projects = append(projects, *old)
			continue
		}
		project, err := e.newProject(&settings, old)
		if err != nil {
			return nil, nil, err
		}
		projects = append(projects, project)
	}
	return cfg, projects, nil
}

// match returns which old project, if any, each project continues: one of the same scope, by its name or else in the
// order of names.
func match(old []loadedProject, projects []config.Project) []*loadedProject {
	byName := func(a, b int) int { return cmp.Compare(projects[a].Name, projects[b].Name) }
	left := make(map[string][]*loadedProject) // by scope
	for i := range old {
		left[scope(&old[i].settings)] = append(left[scope(&old[i].settings)], &old[i])
	}
	for _, same := range left {
		slices.SortFunc(same, func(a, b *loadedProject) int { return cmp.Compare(a.settings.Name, b.settings.Name) })
	}
	matched := make([]*loadedProject, len(projects))
	var unmatched []int
	for i := range projects {
		same := left[scope(&projects[i])]
		j := slices.IndexFunc(same, func(p *loadedProject) bool { return p.settings.Name == projects[i].Name })
		if j < 0 {
			unmatched = append(unmatched, i)
			continue
		}
		matched[i] = same[j]
		left[scope(&projects[i])] = slices.Delete(same, j, j+1)
	}
	slices.SortFunc(unmatched, byName)
	for _, i := range unmatched {
		if same := left[scope(&projects[i])]; len(same) > 0 {
			matched[i], left[scope(&projects[i])] = same[0], same[1:]
		}
	}
	return matched
}

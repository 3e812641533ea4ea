// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"reflect"
	"slices"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
)

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
	if errors.Is(err, errInterrupted) {
		e.logger.Warn("Interrupted while loading the configuration")
		return err
	}
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
	e.server.Configure(collector.Options{
		Connections:    e.flags.connections,
		Permissions:    e.flags.permissions,
		MaxConnections: cfg.Scrape.MaxConnections,
	})
	e.fleet.Apply(fleet)
	for _, old := range e.projects {
		if !slices.ContainsFunc(projects, func(p loadedProject) bool { return p.project.Client == old.project.Client }) {
			old.project.Client.Close()
		}
	}
	e.projects = projects
	e.expectRequests(cfg.Projects)
	e.logger.Info("Configuration loaded", "projects", len(projects))
	return nil
}

func (e *exporter) expectRequests(projects []config.Project) {
	for _, p := range projects {
		operations := []string{css.OpConnections}
		if p.Discovery != nil {
			operations = append(operations, css.OpClusters)
		}
		if p.ProjectID == "" {
			operations = append(operations, iam.OpProjects)
		}
		if p.Credentials.User != nil {
			operations = append(operations, credentials.OpToken)
		}
		e.metrics.ExpectRequests(p.Region, operations...)
	}
}

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

// match returns which old project, if any, each project continues. The best matches go first.
func match(old []loadedProject, projects []config.Project) []*loadedProject {
	matched, taken := make([]*loadedProject, len(projects)), make([]bool, len(old))
	for _, continues := range []func(p *config.Project, old *loadedProject) bool{
		func(p *config.Project, old *loadedProject) bool {
			return scope(p) == scope(&old.settings) && p.Name == old.settings.Name
		},
		func(p *config.Project, old *loadedProject) bool { return scope(p) == scope(&old.settings) },
		func(p *config.Project, old *loadedProject) bool {
			return p.Region == old.settings.Region && p.Endpoint == old.settings.Endpoint &&
				(p.ProjectID == old.id.KnownID() || p.ProjectID == "" && p.Name == old.settings.Name)
		},
	} {
		for i := range projects {
			for j := range old {
				if matched[i] == nil && !taken[j] && continues(&projects[i], &old[j]) {
					matched[i], taken[j] = &old[j], true
				}
			}
		}
	}
	return matched
}

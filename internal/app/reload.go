// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"reflect"
	"slices"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/discovery"
)

// loadedProject is a project with the settings that it was built from.
type loadedProject struct {
	settings config.Project
	project  discovery.Project
}

// reload loads the configuration and applies it. An invalid one changes nothing. Projects with the same settings as
// before keep their clients and their discovered clusters.
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
	for _, settings := range cfg.Projects {
		i := slices.IndexFunc(e.projects, func(old loadedProject) bool { return reflect.DeepEqual(old.settings, settings) })
		if i >= 0 {
			projects = append(projects, e.projects[i])
			continue
		}
		project, err := e.newProject(&settings)
		if err != nil {
			return nil, nil, err
		}
		projects = append(projects, loadedProject{settings, project})
	}
	return cfg, projects, nil
}

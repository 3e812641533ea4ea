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

// loadedProject is a project with the configuration that it was built from.
type loadedProject struct {
	file    config.Project
	project discovery.Project
}

// reload loads the configuration and applies it. If it is invalid, nothing changes. Projects whose configuration is
// unchanged keep their clients and their discovered clusters.
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

// prepare loads the configuration and builds the projects that are new or changed.
func (e *exporter) prepare() (*config.Config, []loadedProject, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, nil, err
	}
	var projects []loadedProject
	for _, file := range cfg.Projects {
		i := slices.IndexFunc(e.projects, func(old loadedProject) bool { return reflect.DeepEqual(old.file, file) })
		if i >= 0 {
			projects = append(projects, e.projects[i])
			continue
		}
		project, err := e.newProject(&file)
		if err != nil {
			return nil, nil, err
		}
		projects = append(projects, loadedProject{file, project})
	}
	return cfg, projects, nil
}

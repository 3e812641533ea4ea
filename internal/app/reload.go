// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/yamlfile"
)

type loadedProject struct {
	settings config.Project
	client   *cloud.Client
	id       *iam.Project
	project  discovery.Project
}

// Changed content is loaded once it has been the same for settleTime, because an editor or a copy may write a file in
// several steps. Until then it is read every settlePoll.
const (
	settleTime = time.Second
	settlePoll = 100 * time.Millisecond
)

// reload loads the configuration and applies it. An invalid one changes nothing. Projects with the same region, project
// ID and endpoint as before keep their clusters and lists; those with the same settings keep their clients, too.
func (e *exporter) reload() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failure = "" // whoever asks for a reload sees the same errors again
	return e.apply(e.file.read())
}

// checkFile reloads the configuration file if its content has changed since the last attempt, or if that failed. It
// returns when to call it again.
func (e *exporter) checkFile() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	file := e.file.read()
	switch id := file.id(); {
	case id == e.tried && e.failure == "":
		e.changed = ""
	case id != e.changed:
		e.changed, e.changedAt = id, time.Now()
		return settlePoll
	case time.Since(e.changedAt) < settleTime:
		return settlePoll
	default:
		_ = e.apply(file) // logged, and exposed as a metric
	}
	return e.flags.autoReload
}

// apply puts a valid configuration into use. It logs an error unless the last attempt failed with the same one.
func (e *exporter) apply(file snapshot) error {
	cfg, projects, err := e.prepare(file)
	if errors.Is(err, errInterrupted) {
		e.logger.Warn("Interrupted while loading the configuration")
		return err
	}
	e.metrics.ConfigLoaded(err == nil)
	e.tried = file.id()
	if err != nil {
		if err.Error() != e.failure {
			e.logInvalid(err)
		}
		e.failure = err.Error()
		return err
	}
	e.failure = ""

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

func (e *exporter) logInvalid(err error) {
	problems, ok := errors.AsType[yamlfile.Errors](err)
	if !ok {
		e.logger.Error("Invalid configuration", "err", err)
	}
	for _, p := range problems {
		e.logger.Error("Invalid configuration", "err", p)
	}
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
		if p.Credentials.OIDC != nil {
			operations = append(operations, credentials.OpOIDC)
		}
		e.metrics.ExpectRequests(p.Region, operations...)
	}
}

func (e *exporter) prepare(file snapshot) (*config.Config, []loadedProject, error) {
	cfg, err := e.file.parse(file)
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
	sameName := func(p *config.Project, old *loadedProject) bool { return p.Name == old.settings.Name }
	sameScope := func(p *config.Project, old *loadedProject) bool { return scope(p) == scope(&old.settings) }
	sameLookedUpID := func(p *config.Project, old *loadedProject) bool {
		return p.Region == old.settings.Region && p.Endpoint == old.settings.Endpoint &&
			(p.ProjectID == old.id.KnownID() || p.ProjectID == "" && sameName(p, old))
	}
	matched, taken := make([]*loadedProject, len(projects)), make([]bool, len(old))
	for _, continues := range []func(p *config.Project, old *loadedProject) bool{
		func(p *config.Project, old *loadedProject) bool { return sameScope(p, old) && sameName(p, old) },
		sameScope,
		sameLookedUpID,
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

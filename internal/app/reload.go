// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/sessions"
	"css_vpcep_exporter/internal/yamlfile"
)

type loadedProject struct {
	settings config.Project
	listed   iam.Listed // if it was found in an account
	client   *cloud.Client
	id       *iam.Project
	project  discovery.Project

	sessionsClient *cloud.Client    // nil if sessions are not read
	lastSessions   *sessions.Reader // outlives a configuration without sessions
}

func (p *loadedProject) close() {
	p.project.Client.Close()
	if p.project.Sessions != nil {
		p.project.Sessions.Close()
	}
}

// loaded is what a configuration makes of the entries.
type loaded struct {
	projects []loadedProject
	accounts []loadedAccount
	settings []foundProject
}

// covers reports whether an earlier project reads all these clusters. One without an ID has the region's name in IAM.
func (l *loaded) covers(p *config.Project, nameInIAM string) bool {
	return slices.ContainsFunc(l.settings, func(found foundProject) bool {
		other := found.settings
		if other.ProjectID == "" && other.Region == nameInIAM &&
			reflect.DeepEqual(loginSettings(&other), loginSettings(p)) {
			other.ProjectID = p.ProjectID
		}
		return p.CoveredBy(&other)
	})
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
	return e.flags.AutoReload
}

// apply puts a valid configuration into use. It logs an error unless the last attempt failed with the same one.
func (e *exporter) apply(file snapshot) error {
	cfg, err := e.file.parse(file)
	var next *loaded
	if err == nil {
		next, err = e.load(cfg)
	}
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
	e.scraper.Configure(collector.ScrapeOptions{
		Concurrency:  cfg.Scrape.Concurrency,
		MinInterval:  cfg.Scrape.MinInterval,
		MaxStaleness: cfg.Scrape.MaxStaleness,
	})
	e.server.Configure(collector.Options{
		Connections:    e.flags.Connections,
		Permissions:    e.flags.Permissions,
		MaxConnections: cfg.Scrape.MaxConnections,
	})
	e.use(cfg, next)
	e.logger.Info("Configuration loaded", "projects", len(next.projects))
	return nil
}

// use replaces the projects and accounts, and closes the clients that are no longer needed.
func (e *exporter) use(cfg *config.Config, next *loaded) {
	var projects []discovery.Project
	for _, p := range next.projects {
		projects = append(projects, p.project)
	}
	var accounts []discovery.Account
	for _, a := range next.accounts {
		accounts = append(accounts, a.account)
	}
	e.fleet.Apply(projects, accounts...)
	for _, old := range e.projects {
		if !slices.ContainsFunc(next.projects, func(p loadedProject) bool { return p.project.Client == old.project.Client }) {
			old.close()
		}
	}
	for _, old := range e.accounts {
		if !slices.ContainsFunc(next.accounts, func(a loadedAccount) bool { return a.client == old.client }) {
			old.client.Close()
		}
	}
	e.config, e.projects, e.accounts = cfg, next.projects, next.accounts
	e.expectRequests(cfg.Projects)
	used := slices.Clone(cfg.Projects)
	for _, p := range next.projects {
		if p.project.Account != "" {
			e.expectRequests([]config.Project{p.settings})
			used = append(used, p.settings)
		}
	}
	e.dropShared(used)
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
		if p.IsAccount() {
			e.expectAccountRequests(&p)
			continue
		}
		operations := []string{css.OpConnections}
		if p.Discovery != nil {
			operations = append(operations, css.OpClusters)
		}
		if p.Sessions != nil {
			operations = append(operations, ces.OpSessions)
		}
		if p.ProjectID == "" {
			operations = append(operations, iam.OpProjects)
		}
		operations = append(operations, credentialOperations(&p.Credentials)...)
		e.metrics.ExpectRequests(p.Region, operations...)
	}
}

// credentialOperations returns the operations that credentials need.
func credentialOperations(c *config.Credentials) (operations []string) {
	if c.User != nil {
		operations = append(operations, credentials.OpToken)
	}
	if c.OIDC != nil {
		operations = append(operations, credentials.OpOIDC)
	}
	if c.AssumeAgency != nil {
		operations = append(operations, credentials.OpAssume)
	}
	return operations
}

// load makes projects and accounts of a configuration. It changes nothing that is in use.
func (e *exporter) load(cfg *config.Config) (*loaded, error) {
	next := &loaded{}
	for _, p := range cfg.Projects { // first, because they take precedence over those that are found
		if !p.IsAccount() {
			next.settings = append(next.settings, foundProject{settings: p})
		}
	}
	for _, p := range cfg.Projects {
		if !p.IsAccount() {
			continue
		}
		account, found, err := e.loadAccount(&p, next)
		if err != nil {
			return nil, err
		}
		next.accounts = append(next.accounts, account)
		next.settings = append(next.settings, found...)
	}
	continued := match(e.projects, next.settings)
	for i, found := range next.settings {
		project, err := e.loadProject(&found, continued[i])
		if err != nil {
			return nil, err
		}
		next.projects = append(next.projects, project)
	}
	return next, nil
}

func (e *exporter) loadProject(found *foundProject, old *loadedProject) (loadedProject, error) {
	var project loadedProject
	var err error
	if old != nil && reflect.DeepEqual(old.settings, found.settings) {
		project = *old
	} else {
		project, err = e.newProject(&found.settings, old)
	}
	project.listed, project.project.Account = found.listed, found.account
	return project, err
}

// match returns which old project, if any, each project continues. The best matches go first.
func match(old []loadedProject, projects []foundProject) []*loadedProject {
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
				if matched[i] == nil && !taken[j] && continues(&projects[i].settings, &old[j]) {
					matched[i], taken[j] = &old[j], true
				}
			}
		}
	}
	return matched
}

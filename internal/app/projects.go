// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/sessions"

	"github.com/prometheus/common/version"
	"golang.org/x/time/rate"
)

// newProject returns a project. old, if not nil, is the one that it continues: a client with the same settings is kept.
func (e *exporter) newProject(p *config.Project, old *loadedProject) (loadedProject, error) {
	loaded := loadedProject{settings: *p}
	project := &loaded.project
	*project = discovery.Project{Name: p.Name, Region: p.Region, Search: newSearch(p.Discovery)}
	for _, c := range p.Clusters {
		project.Listed = append(project.Listed, discovery.Listed{ID: c.ID, Name: c.Name, Labels: c.Labels})
	}
	if old == nil {
		e.lastKey++
		project.Key = strconv.Itoa(e.lastKey)
	} else {
		project.Key = old.project.Key
		if reflect.DeepEqual(clientSettings(old.settings), clientSettings(*p)) {
			loaded.client, loaded.id, project.Client = old.client, old.id, old.project.Client
			loaded.sessionsClient, project.Sessions = old.sessionsClient, old.project.Sessions
			loaded.lastSessions = old.lastSessions
			return loaded, nil
		}
	}
	err := e.addClient(&loaded, old)
	return loaded, err
}

func clientSettings(p config.Project) config.Project {
	p.Clusters, p.Discovery = nil, nil
	return p
}

func newSearch(d *config.Discovery) *discovery.Search {
	if d == nil {
		return nil
	}
	return &discovery.Search{
		RefreshInterval:     d.RefreshInterval,
		Name:                d.Name,
		Engine:              d.Engine,
		EnterpriseProjectID: d.EnterpriseProjectID,
		Tags:                d.Tags,
		LabelsFromTags:      d.LabelsFromTags,
	}
}

func (e *exporter) addClient(to, old *loadedProject) error {
	p := &to.settings
	route, err := e.newRoute(p)
	if err != nil {
		return err
	}
	options := e.clientOptions(p, route.transport())
	if options.Credentials, err = e.source(p, options); err != nil {
		return err
	}
	to.client = cloud.NewClient(options)
	to.id = iam.NewProject(to.client, p.IAMEndpoint, p.Region, p.ProjectID)
	sameID := false
	if old != nil {
		to.lastSessions = old.lastSessions
		sameID = p.ProjectID != "" || old.settings.ProjectID == "" &&
			p.IAMEndpoint == old.settings.IAMEndpoint && reflect.DeepEqual(p.Credentials, old.settings.Credentials)
		to.id.Inherit(old.id, sameID)
		if sameID {
			to.client.Inherit(old.client)
		}
	}
	to.project.Client = css.NewClient(to.client, p.Endpoint, to.id, e.metrics.CountUnparsable)
	if p.Sessions != nil {
		options.Transport = route.sessionsTransport()
		e.addSessions(to, old, options, sameID)
	}
	return nil
}

// addSessions adds a client of its own, so that Cloud Eye's failures do not affect the project's other requests. The
// options have the project's credentials and budget.
func (e *exporter) addSessions(to, old *loadedProject, options cloud.Options, sameID bool) {
	p := &to.settings
	options.Scope = sessionsScope
	options.Retry = cloud.Retry{Tries: 1}
	to.sessionsClient = cloud.NewClient(options)
	client := ces.NewClient(to.sessionsClient, p.Sessions.Endpoint, to.id, e.metrics.CountUnparsable)
	to.project.Sessions = sessions.New(client, p.Sessions.BatchSize, e.logger.With("project", p.Name, "region", p.Region))
	if to.lastSessions != nil {
		to.project.Sessions.Inherit(to.lastSessions)
	}
	to.lastSessions = to.project.Sessions
	if sameID && old.settings.Sessions != nil && p.Sessions.Endpoint == old.settings.Sessions.Endpoint {
		to.sessionsClient.Inherit(old.sessionsClient)
	}
}

// sessionsScope is one for all projects, so that a Cloud Eye that rejects a key does so for one project at a time.
const sessionsScope = ces.OpSessions

// clientOptions returns all options but the credentials.
func (e *exporter) clientOptions(p *config.Project, transport http.RoundTripper) cloud.Options {
	return cloud.Options{
		Region:    cmp.Or(p.Region, "*"), // the region of an account may be unknown
		Scope:     scope(p),
		UserAgent: name + "/" + cmp.Or(version.Version, "devel"),
		Keys:      e.keys,
		Transport: transport,
		Budget:    rate.NewLimiter(rate.Limit(p.RequestsPerSecond), int(math.Ceil(p.RequestsPerSecond))),
		Observe:   e.observe(p.Name),
	}
}

// scope identifies a project of the cloud, as far as the file says it.
func scope(p *config.Project) string {
	return strings.Join([]string{p.Endpoint, p.Region, p.ProjectID}, " ")
}

func (e *exporter) observe(project string) func(cloud.Exchange) {
	logger := e.logger.With("project", project)
	return func(x cloud.Exchange) {
		e.metrics.Observe(x)
		logger.Debug("API request", "operation", x.Operation, "status", x.Status, "code", x.ErrorCode,
			"duration", x.Duration, "request_id", x.RequestID)
	}
}

// source returns the credentials of a project: those of its agency, if it has one.
func (e *exporter) source(p *config.Project, options cloud.Options) (cloud.CredentialSource, error) {
	if p.Credentials.AssumeAgency == nil {
		return e.caller(p, options)
	}
	return e.share(p, agencySettings(p), func(options cloud.Options) (cloud.CredentialSource, error) {
		var err error
		options.Credentials, err = e.caller(p, options)
		return newAgency(p, options), err
	})
}

// caller returns the credentials of a project without regard to an agency to assume.
func (e *exporter) caller(p *config.Project, options cloud.Options) (cloud.CredentialSource, error) {
	if p.Credentials.OIDC == nil {
		return e.credentials(p, options), nil
	}
	return e.share(p, oidcSettings(p), func(options cloud.Options) (cloud.CredentialSource, error) {
		return newOIDC(p, options), nil
	})
}

// credentials is like caller, but the keys for ID tokens are not shared with other projects.
func (e *exporter) credentials(p *config.Project, options cloud.Options) cloud.CredentialSource {
	c, projectID := p.Credentials, p.ProjectID
	if c.AssumeAgency != nil { // the caller is in another account than the project
		c.AssumeAgency, projectID = nil, ""
	}
	switch {
	case c == config.Credentials{}:
		return e.chain
	case c.ECSAgency:
		return e.agency
	case c.Profile != nil:
		return credentials.NewProfile(c.Profile.File, c.Profile.Section)
	case c.OIDC != nil:
		return newOIDC(p, options)
	case c.User != nil:
		password := credentials.NewPassword(string(c.User.Password), c.User.PasswordFile)
		return credentials.NewUser(options, credentials.Login{
			Endpoint: p.IAMEndpoint, User: c.User.Name, Domain: c.User.Domain, ProjectID: projectID, Project: p.Region,
		}, password)
	}
	return credentials.NewFiles(
		cloud.Credentials{
			AccessKey: string(c.AccessKey), SecretKey: string(c.SecretKey), SecurityToken: string(c.SecurityToken),
		},
		cloud.Credentials{
			AccessKey: c.AccessKeyFile, SecretKey: c.SecretKeyFile, SecurityToken: c.SecurityTokenFile,
			AuthToken: c.TokenFile,
		},
	)
}

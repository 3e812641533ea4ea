// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"

	"github.com/prometheus/common/version"
	"golang.org/x/time/rate"
)

func (e *exporter) newProject(p *config.Project) (discovery.Project, error) {
	transport, err := e.newTransport(p)
	if err != nil {
		return discovery.Project{}, fmt.Errorf("project %s: tls_config: %w", p.Name, err)
	}
	options := cloud.Options{
		Region:    p.Region,
		Scope:     strings.Join([]string{p.Endpoint, p.Region, p.ProjectID}, " "),
		UserAgent: name + "/" + cmp.Or(version.Version, "devel"),
		Keys:      e.keys,
		Transport: transport,
		Budget:    rate.NewLimiter(rate.Limit(p.RequestsPerSecond), int(math.Ceil(p.RequestsPerSecond))),
		Observe:   e.observe(p.Name),
	}
	options.Credentials = e.credentials(p, options)
	client := cloud.NewClient(options)
	id := iam.NewProject(client, p.IAMEndpoint, p.Region, p.ProjectID)
	project := discovery.Project{Name: p.Name, Region: p.Region, Client: css.NewClient(client, p.Endpoint, id)}
	for _, c := range p.Clusters {
		project.Listed = append(project.Listed, discovery.Listed{ID: c.ID, Name: c.Name, Labels: c.Labels})
	}
	if d := p.Discovery; d != nil {
		project.Search = &discovery.Search{
			RefreshInterval:     d.RefreshInterval,
			Name:                d.Name,
			Engine:              d.Engine,
			EnterpriseProjectID: d.EnterpriseProjectID,
			Tags:                d.Tags,
			LabelsFromTags:      d.LabelsFromTags,
		}
	}
	return project, nil
}

// observe returns a function that counts and logs a project's requests.
func (e *exporter) observe(project string) func(cloud.Exchange) {
	logger := e.logger.With("project", project)
	return func(x cloud.Exchange) {
		e.metrics.Observe(x)
		logger.Debug("API request", "operation", x.Operation, "status", x.Status, "code", x.ErrorCode,
			"duration", x.Duration, "request_id", x.RequestID)
	}
}

// credentials returns the configured source. options are those of the project's client.
func (e *exporter) credentials(p *config.Project, options cloud.Options) cloud.CredentialSource {
	c := &p.Credentials
	switch {
	case *c == config.Credentials{}:
		return e.chain
	case c.ECSAgency:
		return e.agency
	case c.Profile != nil:
		return credentials.NewProfile(c.Profile.File, c.Profile.Section)
	case c.User != nil:
		password := credentials.NewPassword(string(c.User.Password), c.User.PasswordFile)
		return credentials.NewUser(options, credentials.Login{
			Endpoint: p.IAMEndpoint, User: c.User.Name, Domain: c.User.Domain, ProjectID: p.ProjectID, Project: p.Region,
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

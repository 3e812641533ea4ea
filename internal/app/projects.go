// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math"
	"net/http"
	"net/url"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"
	"golang.org/x/time/rate"
)

func (e *exporter) newProject(p *config.Project) (discovery.Project, error) {
	transport, err := newTransport(&p.TLSConfig, p.ProxyURL)
	if err != nil {
		return discovery.Project{}, fmt.Errorf("project %s: tls_config: %w", p.Name, err)
	}
	options := css.Options{
		Region:      p.Region,
		ProjectID:   p.ProjectID,
		Endpoint:    p.Endpoint,
		IAMEndpoint: p.IAMEndpoint,
		UserAgent:   name + "/" + cmp.Or(version.Version, "devel"),
		Keys:        e.keys,
		Transport:   transport,
		Budget:      rate.NewLimiter(rate.Limit(p.RequestsPerSecond), int(math.Ceil(p.RequestsPerSecond))),
		Observe:     e.observe(p.Name),
	}
	options.Credentials = e.credentials(&p.Credentials, options)
	project := discovery.Project{Name: p.Name, Region: p.Region, Client: css.NewClient(options)}
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
func (e *exporter) observe(project string) func(css.Exchange) {
	logger := e.logger.With("project", project)
	return func(x css.Exchange) {
		e.metrics.Observe(x)
		logger.Debug("API request", "operation", x.Operation, "status", x.Status, "code", x.ErrorCode,
			"duration", x.Duration, "request_id", x.RequestID)
	}
}

// newTransport returns a transport that reads the files of c again when they change.
func newTransport(c *promconfig.TLSConfig, proxy *url.URL) (http.RoundTripper, error) {
	tlsConfig, err := promconfig.NewTLSConfig(c)
	if err != nil {
		return nil, err
	}
	newTransport := func(c *tls.Config) (http.RoundTripper, error) { return css.NewTransport(c, proxy), nil }
	var files promconfig.TLSRoundTripperSettings
	for _, f := range []struct {
		path   string
		reader *promconfig.SecretReader
	}{{c.CAFile, &files.CA}, {c.CertFile, &files.Cert}, {c.KeyFile, &files.Key}} {
		if f.path != "" {
			*f.reader = promconfig.NewFileSecret(f.path)
		}
	}
	if files == (promconfig.TLSRoundTripperSettings{}) {
		return newTransport(tlsConfig)
	}
	return promconfig.NewTLSRoundTripper(tlsConfig, files, newTransport)
}

// credentials returns the configured source. options are those of the project's client.
func (e *exporter) credentials(c *config.Credentials, options css.Options) css.CredentialSource {
	switch {
	case *c == config.Credentials{}:
		return e.chain
	case c.ECSAgency:
		return e.agency
	case c.Profile != nil:
		return css.NewProfile(c.Profile.File, c.Profile.Section)
	case c.User != nil:
		password := css.NewFiles(
			css.Credentials{SecretKey: string(c.User.Password)}, css.Credentials{SecretKey: c.User.PasswordFile})
		return css.NewIAMToken(options, css.User{Name: c.User.Name, Domain: c.User.Domain}, password)
	}
	return css.NewFiles(
		css.Credentials{
			AccessKey: string(c.AccessKey), SecretKey: string(c.SecretKey), SecurityToken: string(c.SecurityToken),
		},
		css.Credentials{
			AccessKey: c.AccessKeyFile, SecretKey: c.SecretKeyFile, SecurityToken: c.SecurityTokenFile,
			AuthToken: c.TokenFile,
		},
	)
}

// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"reflect"
	"slices"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
)

// sharedSource issues temporary keys to all projects with the same settings, and survives reloads.
type sharedSource struct {
	settings  config.Project
	source    cloud.CredentialSource
	transport http.RoundTripper
}

// oidcSettings returns the settings on which the keys for ID tokens depend.
func oidcSettings(p *config.Project) config.Project {
	o := p.Credentials.OIDC
	settings := config.Project{Credentials: config.Credentials{OIDC: o}, TLSConfig: p.TLSConfig, ProxyURL: p.ProxyURL}
	if o.IDPID != "" {
		settings.IAMEndpoint = p.IAMEndpoint
	}
	return settings
}

// agencySettings returns the settings on which the keys of an agency, and those of its caller, depend.
func agencySettings(p *config.Project) config.Project {
	c := &p.Credentials
	settings := config.Project{Credentials: *c, TLSConfig: p.TLSConfig, ProxyURL: p.ProxyURL}
	if c.AssumeAgency.DomainID == "" || c.OIDC != nil && c.OIDC.IDPID != "" {
		settings.IAMEndpoint = p.IAMEndpoint
	}
	if c.User != nil { // a login is one to the region's project
		settings.Region = p.Region
	}
	return settings
}

// share returns the source with the settings, which it makes if no project has it.
func (e *exporter) share(
	p *config.Project, settings config.Project, makeSource func(cloud.Options) (cloud.CredentialSource, error),
) (cloud.CredentialSource, error) {
	for _, known := range e.shared {
		if reflect.DeepEqual(known.settings, settings) {
			return known.source, nil
		}
	}
	route, err := e.newRoute(p)
	if err != nil {
		return nil, err
	}
	transport := route.transport()
	source, err := makeSource(e.clientOptions(p, transport))
	if err != nil {
		return nil, err
	}
	e.shared = append(e.shared, sharedSource{settings, source, transport})
	return source, nil
}

// dropShared forgets the sources that no project has.
func (e *exporter) dropShared(projects []config.Project) {
	e.shared = slices.DeleteFunc(e.shared, func(s sharedSource) bool {
		used := slices.ContainsFunc(projects, func(p config.Project) bool {
			c := &p.Credentials
			return c.AssumeAgency != nil && reflect.DeepEqual(s.settings, agencySettings(&p)) ||
				c.OIDC != nil && reflect.DeepEqual(s.settings, oidcSettings(&p))
		})
		if !used {
			s.close()
		}
		return !used
	})
}

func (s *sharedSource) close() {
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// newAgency returns a source of an agency's keys. Credentials of options are the caller's.
func newAgency(p *config.Project, options cloud.Options) cloud.CredentialSource {
	a := p.Credentials.AssumeAgency
	endpoint := p.IAMEndpoint
	if a.DomainID != "" {
		endpoint = a.STSEndpoint
	}
	return credentials.NewAgency(options, credentials.Agency{
		Endpoint: endpoint, Name: a.Name, DomainName: a.DomainName, DomainID: a.DomainID, Duration: a.Duration,
	})
}

// newOIDC returns a source of the keys for ID tokens.
func newOIDC(p *config.Project, options cloud.Options) cloud.CredentialSource {
	o := p.Credentials.OIDC
	endpoint := o.STSEndpoint
	if o.IDPID != "" {
		endpoint = p.IAMEndpoint
	}
	source := credentials.NewOIDC(options, credentials.OIDC{
		Endpoint: endpoint, IDPID: o.IDPID,
		ProviderURN: o.ProviderURN, AgencyURN: o.AgencyURN, SessionName: o.SessionName, Duration: o.Duration,
	}, credentials.NewToken(string(o.IDToken), o.TokenFile))
	if o.Environment {
		return credentials.NewChain(source)
	}
	return source
}

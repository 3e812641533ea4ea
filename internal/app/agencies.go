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

// assumedAgency is an agency of another account, which projects with the same settings share.
type assumedAgency struct {
	settings  config.Project
	source    cloud.CredentialSource
	transport http.RoundTripper
}

// agencySettings returns the settings on which the keys of an agency depend.
func agencySettings(p *config.Project) config.Project {
	settings := config.Project{Credentials: p.Credentials, TLSConfig: p.TLSConfig, ProxyURL: p.ProxyURL}
	if p.Credentials.AssumeAgency.DomainID == "" {
		settings.IAMEndpoint = p.IAMEndpoint
	}
	if p.Credentials.User != nil { // a login is one to the region's project
		settings.Region = p.Region
	}
	return settings
}

// sharedAgency returns the source of a project with an agency, which survives reloads.
func (e *exporter) sharedAgency(p *config.Project) (cloud.CredentialSource, error) {
	settings := agencySettings(p)
	for _, known := range e.agencies {
		if reflect.DeepEqual(known.settings, settings) {
			return known.source, nil
		}
	}
	route, err := e.newRoute(p)
	if err != nil {
		return nil, err
	}
	transport := route.transport()
	options := e.clientOptions(p, transport)
	options.Credentials = e.credentials(p, options)
	source := newAgency(p, options)
	e.agencies = append(e.agencies, assumedAgency{settings, source, transport})
	return source, nil
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

// dropAgencies forgets the agencies that no project has.
func (e *exporter) dropAgencies(projects []config.Project) {
	e.agencies = slices.DeleteFunc(e.agencies, func(a assumedAgency) bool {
		used := slices.ContainsFunc(projects, func(p config.Project) bool {
			return p.Credentials.AssumeAgency != nil && reflect.DeepEqual(a.settings, agencySettings(&p))
		})
		if !used {
			a.close()
		}
		return !used
	})
}

func (a *assumedAgency) close() {
	if t, ok := a.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

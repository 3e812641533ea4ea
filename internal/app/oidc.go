// SPDX-License-Identifier: Apache-2.0

package app

import (
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"

	promconfig "github.com/prometheus/common/config"
)

// oidcSetup is what projects that share keys have in common.
type oidcSetup struct {
	config.OIDC

	endpoint string
	tls      promconfig.TLSConfig
	proxy    string
}

// oidcSource returns one source for all projects with the same settings, which also survives a reload.
func (e *exporter) oidcSource(p *config.Project, options cloud.Options) cloud.CredentialSource {
	o := p.Credentials.OIDC
	setup := oidcSetup{OIDC: *o, endpoint: o.STSEndpoint, tls: p.TLSConfig}
	if o.IDPID != "" {
		setup.endpoint = p.IAMEndpoint
	}
	if p.ProxyURL != nil {
		setup.proxy = p.ProxyURL.String()
	}
	if source, ok := e.oidc[setup]; ok {
		return source
	}
	source := credentials.NewOIDC(options, credentials.OIDC{
		Endpoint: setup.endpoint, IDPID: o.IDPID,
		ProviderURN: o.ProviderURN, AgencyURN: o.AgencyURN, SessionName: o.SessionName, Duration: o.Duration,
	}, credentials.NewToken(string(o.IDToken), o.TokenFile))
	if o.Environment {
		source = credentials.NewChain(source)
	}
	e.oidc[setup] = source
	return source
}

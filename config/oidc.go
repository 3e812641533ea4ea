// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"time"

	"css_vpcep_exporter/internal/idtoken"
	"css_vpcep_exporter/internal/secret"

	"go.yaml.in/yaml/v4"
)

// OIDC exchanges the ID tokens of an identity provider for temporary keys: by IAM if IDPID is set, else by STS.
type OIDC struct {
	TokenFile string
	IDToken   Secret // of the environment, instead of TokenFile

	IDPID string

	STSEndpoint            string // a URL without a path
	ProviderURN, AgencyURN string
	SessionName            string
	Duration               time.Duration

	Environment bool // these are the variables of the default chain
}

type rawOIDC OIDC

// Format prints the settings without the token.
func (o OIDC) Format(f fmt.State, verb rune) { format(f, verb, rawOIDC(o)) }

// usesIAM reports whether IAM exchanges the tokens.
func (o *OIDC) usesIAM() bool { return o != nil && o.IDPID != "" }

type (
	oidcKeys struct {
		TokenFile   field[text]        `yaml:"token_file"`
		IDPID       field[key]         `yaml:"idp_id"`
		ProviderURN field[providerURN] `yaml:"provider_urn"`
		AgencyURN   field[agencyURN]   `yaml:"agency_urn"`
		STSEndpoint field[endpoint]    `yaml:"sts_endpoint"`
	}
	providerURN string
	agencyURN   string
)

func (p *providerURN) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, p, idtoken.ProviderURNFault)
}
func (a *agencyURN) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, a, idtoken.AgencyURNFault)
}

func (d *decoder) oidc(f *field[oidcKeys]) *OIDC {
	if !f.IsMapping() {
		return nil
	}
	keys := &f.Value
	if !keys.TokenFile.IsSet() {
		d.Reportf(d.PlaceIn(f.Node, "token_file"), "missing; set the file that holds the ID token")
	}
	provider, agency := keys.ProviderURN.IsSet(), keys.AgencyURN.IsSet()
	switch {
	case keys.IDPID.IsSet() && (provider || agency):
		d.Reportf(d.Place(f.Node), "both idp_id, for IAM, and provider_urn or agency_urn, for STS; keep one of the two ways")
	case keys.IDPID.IsSet() && keys.STSEndpoint.IsSet():
		d.Reportf(d.Place(keys.STSEndpoint.Node), "conflicts with idp_id, which does not use STS; remove one of them")
	case keys.IDPID.IsSet(), provider && agency:
	case provider:
		d.Reportf(d.PlaceIn(f.Node, "agency_urn"), "missing; provider_urn needs agency_urn")
	case agency:
		d.Reportf(d.PlaceIn(f.Node, "provider_urn"), "missing; agency_urn needs provider_urn")
	default:
		d.Reportf(d.Place(f.Node), "neither idp_id, for IAM, nor provider_urn with agency_urn, for STS; set one of the two ways")
	}
	return &OIDC{
		TokenFile:   d.secretFile(&keys.TokenFile, secret.KeyFault),
		IDPID:       string(keys.IDPID.Value),
		STSEndpoint: string(keys.STSEndpoint.Value),
		ProviderURN: string(keys.ProviderURN.Value),
		AgencyURN:   string(keys.AgencyURN.Value),
		SessionName: idtoken.DefaultSession,
		Duration:    idtoken.DefaultDuration,
	}
}

// oidcVariables returns the settings in the environment, or nil if there are none or they are invalid.
func (d *decoder) oidcVariables(at place) *OIDC {
	before := len(d.Mistakes)
	v, mistakes := idtoken.Read(d.env.get)
	for _, mistake := range mistakes {
		d.Reportf(at, "%s", mistake)
	}
	if v != nil && len(mistakes) == 0 && v.TokenFile != "" {
		d.checkSecret(at, "the file in "+v.TokenFileVariable+": ", v.TokenFile, secret.KeyFault)
	}
	if v == nil || len(d.Mistakes) > before {
		return nil
	}
	return &OIDC{
		TokenFile: v.TokenFile, IDToken: v.Token, IDPID: v.IDPID, ProviderURN: v.ProviderURN, AgencyURN: v.AgencyURN,
		SessionName: v.SessionName, Duration: v.Duration, Environment: true,
	}
}

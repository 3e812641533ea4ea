// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

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

func (p *providerURN) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, p, providerURNFault) }
func (a *agencyURN) UnmarshalYAML(n *yaml.Node) error   { return decodeText(n, a, agencyURNFault) }

func providerURNFault(s string) string { return urnFault(s, "oidcProvider") }
func agencyURNFault(s string) string   { return urnFault(s, "agency") }

// urnFault does not show the URN, which may be a misplaced secret.
func urnFault(s, kind string) string {
	parts := strings.Split(s, ":") // iam::<account>:<kind>:<name>
	if len(parts) == 5 && parts[0] == "iam" && parts[1] == "" && parts[3] == kind &&
		parts[2] != "" && consistsOf(parts[2], letters+digits+"_-") &&
		parts[4] != "" && parts[4] == strings.TrimSpace(parts[4]) && secret.TextFault(parts[4]) == "" {
		return ""
	}
	return "invalid URN (not shown); write it like iam::<account ID>:" + kind + ":<name>"
}

const (
	defaultSession      = "css_vpcep_exporter"
	defaultOIDCDuration = time.Hour
)

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
		SessionName: defaultSession,
		Duration:    defaultOIDCDuration,
	}
}

// setSTSEndpoints sets the default endpoints of STS where tokens are exchanged there.
func (d *decoder) setSTSEndpoints(projects []*project) {
	for _, p := range projects {
		o := p.Credentials.OIDC
		if o == nil || o.usesIAM() || o.ProviderURN == "" || o.AgencyURN == "" {
			continue
		}
		keys := &p.keys.Credentials.Value.OIDC
		o.STSEndpoint = cmp.Or(o.STSEndpoint, stsEndpoint(p.Region))
		_, _, known := RegionEndpoints(p.Region)
		switch {
		case o.STSEndpoint != "" || keys.Value.STSEndpoint.IsSet() || !p.keys.Region.OK || !known && !p.keys.Endpoint.IsSet():
			// an invalid endpoint and an unknown region are already reported
		case o.Environment:
			d.Reportf(d.PlaceIn(p.node, "credentials"), "variable %s needs STS, whose endpoint is not known for region %s; "+
				"set oidc with sts_endpoint in the file", oidcProviderVariable, quote(p.Region))
		default:
			d.Reportf(d.PlaceIn(keys.Node, "sts_endpoint"), "missing; set it, because the endpoint of STS is not known for "+
				"region %s", quote(p.Region))
		}
	}
}

// The variables of the vendor's SDKs.
const (
	oidcProviderVariable  = "HUAWEICLOUD_OIDC_PROVIDER_URN"
	oidcAgencyVariable    = "HUAWEICLOUD_OIDC_AGENCY_URN"
	oidcTokenFileVariable = "HUAWEICLOUD_OIDC_TOKEN_FILE" //nolint:gosec // the name of a variable
	oidcTokenVariable     = "HUAWEICLOUD_OIDC_ID_TOKEN"   //nolint:gosec // the name of a variable
	oidcSessionVariable   = "HUAWEICLOUD_OIDC_SESSION_NAME"
	oidcDurationVariable  = "HUAWEICLOUD_OIDC_DURATION_SECONDS"

	idpVariable          = "HUAWEICLOUD_SDK_IDP_ID"
	idpTokenFileVariable = "HUAWEICLOUD_SDK_ID_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// oidcVariables returns the settings in the environment, or nil if there are none or they are invalid. Those for STS go
// first.
func (d *decoder) oidcVariables(at place) *OIDC {
	before := len(d.Mistakes)
	o := &OIDC{SessionName: defaultSession, Duration: defaultOIDCDuration, Environment: true}
	switch {
	case d.stsVariables(at, o):
	case d.checkPair(at, idpVariable, idpTokenFileVariable):
		d.checkVariable(at, idpVariable, secret.KeyFault)
		o.IDPID = d.variable(idpVariable)
		o.TokenFile = d.tokenFile(at, idpTokenFileVariable)
	default:
		return nil
	}
	if len(d.Mistakes) > before {
		return nil
	}
	return o
}

func (d *decoder) variable(name string) string { return secret.Trim(d.env.get(name)) }

func (d *decoder) tokenFile(at place, name string) string {
	file := d.variable(name)
	d.checkSecret(at, "the file in "+name+": ", file, secret.KeyFault)
	return file
}

// stsVariables reads the variables for STS, and reports whether any is set.
func (d *decoder) stsVariables(at place, o *OIDC) bool {
	var set, missing []string
	token := cmp.Or(d.variable(oidcTokenFileVariable), d.variable(oidcTokenVariable))
	for _, part := range []struct{ name, value string }{
		{oidcProviderVariable, d.variable(oidcProviderVariable)}, {oidcAgencyVariable, d.variable(oidcAgencyVariable)},
		{oidcTokenFileVariable, token},
	} {
		if part.value == "" {
			missing = append(missing, part.name)
		} else {
			set = append(set, part.name)
		}
	}
	switch {
	case len(set) == 0:
		return false
	case len(missing) > 0:
		if token != "" && d.variable(oidcTokenFileVariable) == "" {
			set[len(set)-1] = oidcTokenVariable
		}
		subject := "variable " + set[0] + " is"
		if len(set) > 1 {
			subject = "variables " + strings.Join(set, " and ") + " are"
		}
		d.Reportf(at, "%s set without %s; set all of them or none", subject, strings.Join(missing, " and "))
		return true
	}
	o.ProviderURN, o.AgencyURN = d.variable(oidcProviderVariable), d.variable(oidcAgencyVariable)
	if fault := providerURNFault(o.ProviderURN); fault != "" {
		d.Reportf(at, "variable %s has an %s", oidcProviderVariable, fault)
	}
	if fault := agencyURNFault(o.AgencyURN); fault != "" {
		d.Reportf(at, "variable %s has an %s", oidcAgencyVariable, fault)
	}
	switch file, token := d.variable(oidcTokenFileVariable), d.variable(oidcTokenVariable); {
	case file != "" && token != "":
		d.Reportf(at, "variable %s conflicts with %s; keep one of them", oidcTokenFileVariable, oidcTokenVariable)
	case file != "":
		o.TokenFile = d.tokenFile(at, oidcTokenFileVariable)
	default:
		d.checkVariable(at, oidcTokenVariable, secret.KeyFault)
		o.IDToken = Secret(token)
	}
	d.sessionVariables(at, o)
	return true
}

const minOIDCDuration, maxOIDCDuration = 900, 43200 // seconds

func (d *decoder) sessionVariables(at place, o *OIDC) {
	if name := d.variable(oidcSessionVariable); name != "" {
		o.SessionName = name
		if len(name) < 2 || len(name) > 128 || !consistsOf(name, letters+digits+"_+=,.@-") {
			d.Reportf(at, "variable %s has an invalid value (not shown); use 2 to 128 letters, digits and characters of _+=,.@-",
				oidcSessionVariable)
		}
	}
	if text := d.variable(oidcDurationVariable); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		o.Duration = time.Duration(seconds) * time.Second
		if err != nil || seconds < minOIDCDuration || seconds > maxOIDCDuration {
			d.Reportf(at, "variable %s has an invalid value (not shown); use %d to %d seconds, without a unit",
				oidcDurationVariable, minOIDCDuration, maxOIDCDuration)
		}
	}
}

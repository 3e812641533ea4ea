// SPDX-License-Identifier: Apache-2.0

// Package idtoken reads the variables of the vendor's SDKs about ID tokens, and checks the URNs that belong to them. It
// touches nothing.
package idtoken

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/internal/secret"
)

// The variables. Those for STS come before those for IAM.
const (
	ProviderVariable = "HUAWEICLOUD_OIDC_PROVIDER_URN"

	agencyVariable    = "HUAWEICLOUD_OIDC_AGENCY_URN"
	tokenFileVariable = "HUAWEICLOUD_OIDC_TOKEN_FILE" //nolint:gosec // the name of a variable
	tokenVariable     = "HUAWEICLOUD_OIDC_ID_TOKEN"   //nolint:gosec // the name of a variable
	sessionVariable   = "HUAWEICLOUD_OIDC_SESSION_NAME"
	durationVariable  = "HUAWEICLOUD_OIDC_DURATION_SECONDS"

	idpVariable          = "HUAWEICLOUD_SDK_IDP_ID"
	idpTokenFileVariable = "HUAWEICLOUD_SDK_ID_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// Defaults of the session in STS.
const (
	DefaultSession  = "css_vpcep_exporter"
	DefaultDuration = time.Hour

	minDuration, maxDuration = 900, 43200 // seconds
)

// Variables hold the settings of an ID token: IDPID of IAM, or the URNs of STS.
type Variables struct {
	TokenFile, TokenFileVariable string
	Token                        secret.Text // instead of a file

	IDPID                               string
	ProviderURN, AgencyURN, SessionName string
	Duration                            time.Duration
}

// Read returns the settings, or nil if there are none, and the mistakes, which show no value.
func Read(lookup func(string) string) (settings *Variables, mistakes []string) {
	r := &reader{lookup: lookup}
	v := &Variables{SessionName: DefaultSession, Duration: DefaultDuration}
	switch {
	case r.anyOf(ProviderVariable, agencyVariable, tokenFileVariable, tokenVariable):
		r.readSTS(v)
	case r.anyOf(idpVariable, idpTokenFileVariable):
		r.complete(idpVariable, idpTokenFileVariable)
		r.check(idpVariable, keyFault)
		v.IDPID = r.value(idpVariable)
		v.TokenFile, v.TokenFileVariable = r.value(idpTokenFileVariable), idpTokenFileVariable
	default:
		return nil, nil
	}
	return v, r.mistakes
}

type reader struct {
	lookup   func(string) string
	mistakes []string
}

func (r *reader) readSTS(v *Variables) {
	token := tokenFileVariable
	if r.value(tokenVariable) != "" {
		token = tokenVariable
	}
	if r.value(tokenVariable) != "" && r.value(tokenFileVariable) != "" {
		r.reportf("variable %s conflicts with %s; keep one of them", tokenFileVariable, tokenVariable)
	}
	if !r.complete(ProviderVariable, agencyVariable, token) {
		return
	}
	r.check(ProviderVariable, ProviderURNFault)
	r.check(agencyVariable, AgencyURNFault)
	r.check(tokenVariable, keyFault)
	v.ProviderURN, v.AgencyURN = r.value(ProviderVariable), r.value(agencyVariable)
	v.Token = secret.Text(r.value(tokenVariable))
	v.TokenFile, v.TokenFileVariable = r.value(tokenFileVariable), tokenFileVariable
	v.SessionName = cmp.Or(r.value(sessionVariable), v.SessionName)
	r.check(sessionVariable, sessionFault)
	r.check(durationVariable, func(text string) string {
		seconds, err := strconv.ParseUint(text, 10, 31)
		v.Duration = time.Duration(seconds) * time.Second
		if err != nil || seconds < minDuration || seconds > maxDuration {
			return fmt.Sprintf("invalid value (not shown); use %d to %d seconds, without a unit", minDuration, maxDuration)
		}
		return ""
	})
}

func (r *reader) value(name string) string { return secret.Trim(r.lookup(name)) }

func (r *reader) reportf(format string, a ...any) {
	r.mistakes = append(r.mistakes, fmt.Sprintf(format, a...))
}

func (r *reader) anyOf(names ...string) bool {
	for _, name := range names {
		if r.value(name) != "" {
			return true
		}
	}
	return false
}

// complete reports variables that are missing.
func (r *reader) complete(names ...string) bool {
	var set, missing []string
	for _, name := range names {
		if r.value(name) != "" {
			set = append(set, name)
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return true
	}
	subject, remedy := "variable "+set[0]+" is", "set both or neither"
	if len(set) > 1 {
		subject = "variables " + strings.Join(set, " and ") + " are"
	}
	if len(names) > 2 {
		remedy = "set all of them or none"
	}
	r.reportf("%s set without %s; %s", subject, strings.Join(missing, " and "), remedy)
	return false
}

// check reports the fault of a variable, if it is set.
func (r *reader) check(name string, fault func(string) string) {
	if value := r.value(name); value != "" {
		if text := fault(value); text != "" {
			r.reportf("variable %s has an %s", name, text)
		}
	}
}

func keyFault(s string) string {
	if fault := secret.KeyFault(s); fault != "" {
		return secret.Invalid(fault)
	}
	return ""
}

func sessionFault(s string) string {
	if len(s) >= 2 && len(s) <= 128 && consistsOf(s, wordCharacters+"+=,.@-") {
		return ""
	}
	return "invalid value (not shown); use 2 to 128 letters, digits and characters of _+=,.@-"
}

const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

func consistsOf(s, characters string) bool { return strings.Trim(s, characters) == "" }

// ProviderURNFault returns why s is not the URN of an identity provider, or "".
func ProviderURNFault(s string) string { return urnFault(s, "oidcProvider") }

// AgencyURNFault returns why s is not the URN of an agency, or "".
func AgencyURNFault(s string) string { return urnFault(s, "agency") }

// urnFault does not show the URN, which may be a misplaced secret.
func urnFault(s, kind string) string {
	parts := strings.Split(s, ":") // iam::<account>:<kind>:<name>
	if len(parts) == 5 && parts[0] == "iam" && parts[1] == "" && parts[3] == kind &&
		parts[2] != "" && consistsOf(parts[2], wordCharacters+"-") &&
		parts[4] != "" && parts[4] == strings.TrimSpace(parts[4]) && secret.TextFault(parts[4]) == "" {
		return ""
	}
	return "invalid URN (not shown); write it like iam::<account ID>:" + kind + ":<name>"
}

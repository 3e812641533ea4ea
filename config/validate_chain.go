// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"slices"
)

const (
	projectIDVariable       = "HUAWEICLOUD_SDK_PROJECT_ID"
	metadataVariable        = "CSS_VPCEP_EXPORTER_METADATA_ADDRESS"
	containerURIVariable    = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	containerTokensVariable = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable

	defaultMetadataAddress = "http://169.254.169.254"
)

// MetadataAddress gives where an ECS agency's credentials come from, without a
// closing slash: CSS_VPCEP_EXPORTER_METADATA_ADDRESS, or
// http://169.254.169.254 if that is not set. Load refuses a bad one where it
// would be used; it counts as not set here.
func MetadataAddress(env Environment) string {
	address, fault := parseAddress(env.get(metadataVariable))
	if fault.text != "" {
		return defaultMetadataAddress
	}
	return address
}

// checkChain gives the projects of the default chain what comes with their
// credentials, and checks where these would come from: the environment, or the
// default profile, or the machine.
func checkChain(projects []*project, env Environment, known sections) {
	var chain []*project
	for _, p := range projects {
		if p.chain {
			chain = append(chain, p)
		}
	}
	if len(chain) == 0 {
		return
	}
	at := chain[0].chainKey()
	before := len(at.d.mistakes)
	if checkVariables(at, env) {
		lendProjectID(chain, env.get(projectIDVariable))
		return
	}
	if len(at.d.mistakes) > before {
		markUnsure(chain)
		return
	}
	profile := DefaultProfile(env)
	if profile.File == "" {
		checkContainer(at, env)
		return
	}
	s := known.read(profile)
	switch {
	case s.fault == "":
		for _, p := range chain {
			p.take(s, p.chainKey(), "come from "+defaultProfileFile(env)+", but that file ")
		}
	case s.absent:
		checkContainer(at, env)
	default:
		at.mistake("come from %s, but that file %s", defaultProfileFile(env), s.fault)
		markUnsure(chain)
	}
}

// chainKey is where mistakes of the default chain are reported.
func (p *project) chainKey() value {
	return value{d: p.fields.d, line: p.fields.line, path: p.fields.join("credentials")}
}

func markUnsure(projects []*project) {
	for _, p := range projects {
		p.unsure = true
	}
}

// checkVariables checks the credentials in the environment, and reports
// whether there are any.
func checkVariables(at value, env Environment) bool {
	get := func(name string) string {
		s := env.get(name)
		if fault := secretFault(s); fault != "" {
			at.mistake("come from the environment, but %s %s: correct the variable", name, fault)
		}
		return s
	}
	pair := func(prefix string) bool {
		key, secret := prefix+"_AK", prefix+"_SK"
		hasKey, hasSecret := get(key) != "", get(secret) != ""
		if hasKey && !hasSecret {
			key, secret = secret, key
		}
		if hasKey != hasSecret {
			at.mistake("come from the environment, but %s is set without %s: set both or none", secret, key)
		}
		return hasKey && hasSecret
	}
	vendor, sample := pair("HUAWEICLOUD_SDK"), pair("CLOUD_SDK")
	get("HUAWEICLOUD_SDK_SECURITY_TOKEN")
	return vendor || sample
}

// lendProjectID gives the variable's project id to those that have none.
func lendProjectID(chain []*project, id string) {
	if id == "" {
		return
	}
	var first *project
	for _, p := range chain {
		switch {
		case p.fields.has("project_id"):
		case !validProjectID(id):
			p.fields.missing("project_id", projectIDVariable+
				" would be taken, but it is no project id: set project_id or correct the variable")
			return
		default:
			p.borrow(id, projectIDVariable, &first)
		}
	}
}

// checkContainer checks the variables of a pod's identity.
func checkContainer(at value, env Environment) {
	uri, tokens := env.get(containerURIVariable), env.get(containerTokensVariable)
	switch {
	case uri == "" && tokens == "":
	case tokens == "":
		at.mistake("come from the pod's identity, but %s is set without %s: set both or none", containerURIVariable, containerTokensVariable)
	case uri == "":
		at.mistake("come from the pod's identity, but %s is set without %s: set both or none", containerTokensVariable, containerURIVariable)
	case !validContainerURI(uri):
		at.mistake("come from the pod's identity, but %s (not shown) is no http or https address without a user and a password: "+
			"correct the variable", containerURIVariable)
	}
}

// validContainerURI lets a path and a query through.
func validContainerURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Opaque == "" && u.User == nil && slices.Contains([]string{"http", "https"}, u.Scheme) && validHost(u)
}

// checkMetadata checks the address of the metadata service, for the first
// project that may ask it.
func checkMetadata(projects []*project, env Environment) {
	s := env.get(metadataVariable)
	if s == "" {
		return
	}
	_, fault := parseAddress(s)
	if fault.text == "" {
		return
	}
	for _, p := range projects {
		if p.chain || p.Credentials.ECSAgency {
			p.chainKey().mistake("may come from the ECS agency, but %s %s", metadataVariable, fault.text)
			return
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/profile"
	"css_vpcep_exporter/internal/secret"
	"css_vpcep_exporter/internal/smallfile"
	"css_vpcep_exporter/internal/syntax"
	"css_vpcep_exporter/internal/tlsfiles"

	promconfig "github.com/prometheus/common/config"
)

func (d *decoder) credentials(f *field[credentialsKeys]) (c Credentials, chain bool) {
	keys := &f.Value
	c = Credentials{
		AccessKey:         Secret(keys.AccessKey.Value),
		AccessKeyFile:     d.secretFile(&keys.AccessKeyFile, secret.KeyFault),
		SecretKey:         Secret(keys.SecretKey.Value),
		SecretKeyFile:     d.secretFile(&keys.SecretKeyFile, secret.KeyFault),
		SecurityToken:     Secret(keys.SecurityToken.Value),
		SecurityTokenFile: d.secretFile(&keys.SecurityTokenFile, secret.KeyFault),
		TokenFile:         d.secretFile(&keys.TokenFile, secret.KeyFault),
		User:              d.user(&keys.User),
		ECSAgency:         bool(keys.ECSAgency.Value),
		Profile:           d.profile(&keys.Profile),
		OIDC:              d.oidc(&keys.OIDC),
		AssumeAgency:      d.assumeAgency(&keys.AssumeAgency),
	}
	accessKey := d.inlineOrFile("access_key", keys.AccessKey.IsSet(), &keys.AccessKeyFile)
	secretKey := d.inlineOrFile("secret_key", keys.SecretKey.IsSet(), &keys.SecretKeyFile)
	token := d.inlineOrFile("security_token", keys.SecurityToken.IsSet(), &keys.SecurityTokenFile)
	switch {
	case accessKey && !secretKey:
		d.Reportf(d.PlaceIn(f.Node, "secret_key"), "missing; access_key needs secret_key or secret_key_file")
	case secretKey && !accessKey:
		d.Reportf(d.PlaceIn(f.Node, "access_key"), "missing; secret_key needs access_key or access_key_file")
	case token && !accessKey:
		d.Reportf(d.PlaceIn(f.Node, "access_key"), "missing; security_token needs access_key and secret_key")
	}
	var kinds []string
	count := func(used bool, kind string) {
		if used {
			kinds = append(kinds, kind)
		}
	}
	count(accessKey || secretKey || token, "access_key with secret_key")
	count(keys.TokenFile.IsSet(), "token_file")
	count(keys.User.IsSet(), "user")
	count(keys.Profile.IsSet(), "profile")
	count(keys.OIDC.IsSet(), "oidc")
	count(c.ECSAgency, "ecs_agency") // false is not a kind
	if len(kinds) > 1 {
		d.Reportf(d.Place(f.Node), "several kinds of credentials: %s; keep one", strings.Join(kinds, ", "))
	}
	return c, len(kinds) == 0 && (f.OK || !f.IsSet())
}

func (d *decoder) inlineOrFile(name string, inline bool, file *field[text]) bool {
	if inline && file.IsSet() {
		d.Reportf(d.Place(file.Node), "conflicts with %s; keep one of them", name)
	}
	return inline || file.IsSet()
}

func (d *decoder) user(f *field[userKeys]) *User {
	if !f.IsMapping() {
		return nil
	}
	keys := &f.Value
	if !keys.Name.IsSet() {
		d.Reportf(d.PlaceIn(f.Node, "name"), "missing; set the name of the IAM user")
	}
	if !keys.Domain.IsSet() {
		d.Reportf(d.PlaceIn(f.Node, "domain"), "missing; set the name of the account that the user belongs to")
	}
	if !d.inlineOrFile("password", keys.Password.IsSet(), &keys.PasswordFile) {
		d.Reportf(d.PlaceIn(f.Node, "password"), "missing; set password or password_file")
	}
	return &User{
		Name:         string(keys.Name.Value),
		Domain:       string(keys.Domain.Value),
		Password:     Secret(keys.Password.Value),
		PasswordFile: d.secretFile(&keys.PasswordFile, secret.PasswordFault),
	}
}

func (d *decoder) secretFile(f *field[text], check func(string) string) string {
	path := d.path(f)
	if f.OK {
		d.checkSecret(d.Place(f.Node), "", path, check)
	}
	return path
}

func (d *decoder) checkSecret(at place, prefix, path string, check func(string) string) {
	if d.syntaxOnly {
		return
	}
	if _, err := secret.ReadFile(path, check); err != nil {
		d.Reportf(at, "%s%s", prefix, err)
	}
}

func (d *decoder) path(f *field[text]) string { return promconfig.JoinDir(d.dir, string(f.Value)) }

// pemFile returns the path of a file and, unless a mistake was reported, its content.
func (d *decoder) pemFile(f *field[text]) (path, content string) {
	path = d.path(f)
	if !f.OK || d.syntaxOnly {
		return path, ""
	}
	b, err := smallfile.Read(path)
	if err != nil {
		d.Reportf(d.Place(f.Node), "cannot read the file: %s", smallfile.WithoutPath(err))
	}
	return path, string(b)
}

func (d *decoder) tls(f *field[tlsKeys]) promconfig.TLSConfig {
	before := len(d.Mistakes)
	keys := &f.Value
	caFile, ca := d.pemFile(&keys.CAFile)
	certFile, cert := d.pemFile(&keys.CertFile)
	keyFile, key := d.pemFile(&keys.KeyFile)
	if keys.CAFile.OK && !d.syntaxOnly && len(d.Mistakes) == before && !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
		d.Reportf(d.Place(keys.CAFile.Node), "the file has no PEM certificate; set a file with CA certificates")
	}
	c := promconfig.TLSConfig{
		CA:                 string(keys.CA.Value),
		CAFile:             caFile,
		Cert:               string(keys.Cert.Value),
		CertFile:           certFile,
		Key:                promconfig.Secret(keys.Key.Value),
		KeyFile:            keyFile,
		ServerName:         string(keys.ServerName.Value),
		InsecureSkipVerify: bool(keys.InsecureSkipVerify.Value),
		MinVersion:         promconfig.TLSVersion(keys.MinVersion.Value),
		MaxVersion:         promconfig.TLSVersion(keys.MaxVersion.Value),
	}
	err := tlsfiles.Validate(c, ca, cert, key, d.syntaxOnly || len(d.Mistakes) > before)
	if f.OK && err != nil {
		d.Reportf(d.Place(f.Node), "invalid TLS settings: %s", err)
	}
	return c
}

const (
	profileVariable         = profile.PathVariable
	projectIDVariable       = "HUAWEICLOUD_SDK_PROJECT_ID"
	metadataVariable        = "CSS_VPCEP_EXPORTER_METADATA_ADDRESS"
	containerURIVariable    = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	containerTokensVariable = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable

	defaultSection = "basic"
)

// DefaultProfile returns the default profile of the vendor's SDKs. File is empty if the user's home is unknown.
func DefaultProfile(env Environment) Profile {
	return Profile{profile.DefaultPath(runtime.GOOS, env.get), defaultSection}
}

// MetadataAddress returns the URL of the metadata service, without a trailing slash. It ignores an invalid variable,
// which Load reports if a project needs it.
func MetadataAddress(env Environment) string {
	if address, fault := syntax.ParseEndpoint(env.get(metadataVariable)); fault == "" {
		return address
	}
	return "http://169.254.169.254"
}

func (d *decoder) profile(f *field[name]) *Profile {
	file := DefaultProfile(d.env).File
	switch {
	case !f.OK:
		return nil
	case strings.ContainsAny(string(f.Value), "/"+string(filepath.Separator)):
		return &Profile{promconfig.JoinDir(d.dir, string(f.Value)), defaultSection}
	case file == "":
		d.Reportf(d.Place(f.Node), "cannot find the default profile file: neither %s nor HOME (on Windows: USERPROFILE) "+
			"is set; set one of them, or set profile to the path of a file (with a slash)", profileVariable)
		return nil
	}
	return &Profile{file, string(f.Value)}
}

// source holds the values that come with credentials.
type source struct {
	profile.Section

	name    string
	unknown bool // not read
	err     error
	region  string // of the first project that uses the project ID
}

// checkSources adds the values that come with profiles and the default chain.
func (d *decoder) checkSources(projects []*project) {
	sources := map[Profile]*source{}
	read := func(p Profile) *source {
		if sources[p] == nil {
			s, err := profile.Read(p.File, p.Section)
			sources[p] = &source{Section: s, name: d.profileName(p), unknown: d.syntaxOnly, err: err}
		}
		return sources[p]
	}
	var chain []*project
	for _, p := range projects {
		switch {
		case p.chain:
			p.incomplete = true
			chain = append(chain, p)
		case p.Credentials.Profile != nil:
			d.applySource(p, read(*p.Credentials.Profile), d.Place(p.keys.Credentials.Value.Profile.Node))
		}
	}
	if len(chain) > 0 {
		d.checkChain(chain, read)
	}
	_, fault := syntax.ParseEndpoint(d.env.get(metadataVariable))
	agency := slices.IndexFunc(projects, func(p *project) bool { return p.chain || p.Credentials.ECSAgency })
	if fault != "" && d.env.get(metadataVariable) != "" && agency >= 0 {
		at := d.PlaceIn(projects[agency].node, "credentials")
		d.Reportf(at, "variable %s, needed for the ECS agency, has an %s", metadataVariable, fault)
	}
}

func (d *decoder) checkChain(chain []*project, read func(Profile) *source) {
	before := len(d.Mistakes)
	at := d.PlaceIn(chain[0].node, "credentials")
	oidc := d.oidcVariables(at)
	found := oidc != nil || len(d.Mistakes) == before && d.checkVariables(at)
	if !found {
		d.checkVariable(at, profileVariable, secret.TextFault) // a path in quotes does not exist
	}
	used := &source{unknown: d.syntaxOnly}
	switch file := DefaultProfile(d.env); {
	case len(d.Mistakes) > before:
		return
	case found:
		used = &source{name: "the environment (" + projectIDVariable + ")"}
		used.ProjectID = secret.Trim(d.env.get(projectIDVariable))
	case file.File != "" && !profile.Absent(read(file).err):
		used = read(file)
	case d.checkPair(at, containerURIVariable, containerTokensVariable):
		address := d.env.get(containerURIVariable)
		u := network.ParseURL(address, "http", "https")
		if u == nil || u.User != nil || secret.KeyFault(address) != "" {
			d.Reportf(at, "variable %s has an invalid URL (not shown); use http or https, without user and password",
				containerURIVariable)
			break
		}
		d.checkSecret(at, "the file in "+containerTokensVariable+": ", d.env.get(containerTokensVariable), secret.KeyFault)
	}
	for _, p := range chain {
		if oidc != nil {
			p.Credentials.OIDC = new(*oidc)
		}
		d.applySource(p, used, d.PlaceIn(p.node, "credentials"))
	}
}

// profileName describes a profile without its path and section, which may be misplaced secrets.
func (d *decoder) profileName(p Profile) string {
	section, file := "this section", "the profile file"
	if p.Section == defaultSection {
		section = "section [basic]"
	}
	switch {
	case p.File != DefaultProfile(d.env).File:
	case d.env.get(profileVariable) != "":
		file = "the file in " + profileVariable
	default:
		file = "~/.huaweicloud/credentials"
	}
	return section + " of " + file
}

// applySource sets missing values of a project. A project ID is valid in one region only, and not in another account.
func (d *decoder) applySource(p *project, s *source, at place) {
	address, fault := syntax.ParseEndpoint(s.IAMEndpoint)
	needsAddress := s.IAMEndpoint != "" && !p.keys.IAMEndpoint.IsSet()
	needsID := s.ProjectID != "" && !p.keys.ProjectID.IsSet() && !p.IsAccount() &&
		!p.keys.Credentials.Value.AssumeAgency.IsSet()
	if needsID && s.region == "" {
		s.region = p.Region
	}
	p.incomplete = true
	switch {
	case s.unknown:
	case errors.Is(s.err, profile.ErrNoSection):
		d.Reportf(at, "cannot use %s: no such section; add it, or fix its name (a path must contain a slash)", s.name)
	case s.err != nil:
		d.Reportf(at, "cannot use %s: %s", s.name, s.err)
	case needsAddress && fault != "":
		d.Reportf(at, "cannot use %s: iam_endpoint: %s", s.name, fault)
	case needsID && syntax.ProjectIDFault(s.ProjectID) != "":
		d.Reportf(at, "cannot use %s: invalid project ID (not shown); copy it from the console", s.name)
	case needsID && s.region != p.Region:
		d.Reportf(d.PlaceIn(p.node, "project_id"),
			"missing; the project ID in %s is already used for region %s; set project_id in both projects",
			s.name, quote(s.region))
	default:
		p.incomplete = false
		if needsAddress {
			p.IAMEndpoint = address
		}
		if needsID {
			p.ProjectID = s.ProjectID
		}
	}
}

func (d *decoder) checkVariables(at place) (found bool) {
	for _, name := range []string{
		"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "CLOUD_SDK_AK", "CLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN",
	} {
		d.checkVariable(at, name, secret.KeyFault)
	}
	vendor := d.checkPair(at, "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK")
	return d.checkPair(at, "CLOUD_SDK_AK", "CLOUD_SDK_SK") || vendor
}

func (d *decoder) checkVariable(at place, name string, check func(string) string) {
	value := d.env.get(name)
	if fault := check(cmp.Or(secret.Trim(value), value)); fault != "" {
		d.Reportf(at, "variable %s has an %s", name, secret.Invalid(fault))
	}
}

func (d *decoder) checkPair(at place, a, b string) bool {
	hasA, hasB := d.env.get(a) != "", d.env.get(b) != ""
	if hasB && !hasA {
		a, b = b, a
	}
	if hasA != hasB {
		d.Reportf(at, "variable %s is set without %s; set both or neither", a, b)
	}
	return hasA && hasB
}

// SPDX-License-Identifier: Apache-2.0

// Package config reads the exporter's YAML file, and checks it together with the files and variables that it needs. All
// mistakes are reported at once, without secrets.
package config

import (
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"css_vpcep_exporter/internal/smallfile"
	"css_vpcep_exporter/internal/yamlfile"

	promconfig "github.com/prometheus/common/config"
)

const (
	maxConcurrency = 1024
	maxFileSize    = 10 << 20
)

// Config is the content of a configuration file.
type Config struct {
	Scrape   Scrape
	Projects []Project // at least one
}

// Scrape holds the section scrape.
type Scrape struct {
	Concurrency    int           // clusters read at once
	MinInterval    time.Duration // a younger list is served again
	MaxStaleness   time.Duration // a list up to this age replaces one that cannot be read
	MaxConnections int           // a cluster with more has no per-connection series
}

// Project is a project in one region or, with Regions, all projects of an account.
type Project struct {
	Name      string // unique; default: the region
	Region    string
	ProjectID string // empty: looked up in IAM

	Regions     []string // if any, see IsAccount
	Subprojects bool     // with Regions: also projects named <region>_<suffix>

	Endpoint, IAMEndpoint string // URLs without a path; IAMEndpoint may be empty
	RequestsPerSecond     float64
	Credentials           Credentials
	Clusters              []Cluster
	Discovery             *Discovery // nil: only Clusters
	Sessions              *Sessions  // nil: not read
	TLSConfig             promconfig.TLSConfig
	ProxyURL              *url.URL // nil: the environment's proxy
}

// Credentials holds one kind of credentials, or none for the default chain. AssumeAgency may be added to either.
type Credentials struct {
	AccessKey, SecretKey, SecurityToken             Secret
	AccessKeyFile, SecretKeyFile, SecurityTokenFile string

	TokenFile string
	User      *User
	ECSAgency bool
	Profile   *Profile
	OIDC      *OIDC

	AssumeAgency *AssumeAgency
}

// Profile is a section of a profile file of the vendor's SDKs.
type Profile struct{ File, Section string }

// User is a login.
type User struct {
	Name, Domain string
	Password     Secret
	PasswordFile string
}

// Cluster is a cluster listed in the file.
type Cluster struct {
	ID     string
	Name   string
	Labels map[string]string
}

// Discovery selects clusters that the API lists. Expressions are anchored; nil matches everything.
type Discovery struct {
	RefreshInterval                   time.Duration
	Name, Engine, EnterpriseProjectID *regexp.Regexp
	Tags                              map[string]*regexp.Regexp
	LabelsFromTags                    map[string]string // keys of tags, by label
}

// Environment looks up a variable, like os.LookupEnv.
type Environment func(key string) (string, bool)

func (env Environment) get(key string) string {
	if env == nil {
		return ""
	}
	s, _ := env(key)
	return s
}

// Read returns the content of a file, for Parse or ParseSyntax. The errors of all three are yamlfile.Errors.
func Read(path string) ([]byte, error) {
	var content []byte
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err == nil {
		defer func() { _ = f.Close() }()
		content, err = io.ReadAll(io.LimitReader(f, maxFileSize+1))
	}
	if err != nil {
		return nil, yamlfile.Errors{{File: path, Message: "cannot read the file: " + smallfile.WithoutPath(err).Error()}}
	}
	return content, nil
}

// Parse validates the content of a file. Relative paths start at the directory of name.
func Parse(name string, content []byte, env Environment) (*Config, error) {
	return parseFile(name, content, env, false)
}

// ParseSyntax is like Parse, but ignores the content of other files, such as secrets, which may be absent.
func ParseSyntax(name string, content []byte, env Environment) (*Config, error) {
	return parseFile(name, content, env, true)
}

type decoder struct {
	yamlfile.Decoder

	dir        string
	env        Environment
	syntaxOnly bool
}

func parseFile(name string, content []byte, env Environment, syntaxOnly bool) (*Config, error) {
	d := &decoder{dir: filepath.Dir(name), env: env, syntaxOnly: syntaxOnly, Decoder: yamlfile.Decoder{
		File:    name,
		Secrets: "credentials",
		Empty: map[string]string{
			"":           `the file is empty; list at least one project in "projects"`,
			".discovery": "empty; write discovery: {} to discover all clusters, or remove the key",
			".sessions":  "empty; write sessions: {} to read the sessions in use, or remove the key",
		},
	}}
	var c *Config
	var f field[fileKeys]
	switch {
	case len(content) > maxFileSize:
		d.Reportf(place{}, "the file is larger than 10 MiB; split it, and run one exporter for each part")
	case d.Decode(content, &f):
		c = d.config(&f)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

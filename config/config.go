// SPDX-License-Identifier: Apache-2.0

// Package config reads the exporter's YAML file, and checks it together with the files and variables that it needs. All
// mistakes are reported at once, without secrets.
package config

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v4"
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

// Project is a project in one region.
type Project struct {
	Name      string // unique; default: the region
	Region    string
	ProjectID string // empty: looked up in IAM

	Endpoint, IAMEndpoint string // URLs without a path; IAMEndpoint may be empty
	RequestsPerSecond     float64
	Credentials           Credentials
	Clusters              []Cluster
	Discovery             *Discovery // nil: only Clusters
	TLSConfig             promconfig.TLSConfig
	ProxyURL              *url.URL // nil: the environment's proxy
}

// Credentials holds one kind of credentials, or none for the default chain.
type Credentials struct {
	AccessKey, SecretKey, SecurityToken             Secret
	AccessKeyFile, SecretKeyFile, SecurityTokenFile string

	TokenFile string
	User      *User
	ECSAgency bool
	Profile   *Profile
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

// Read returns the content of the file at path, for Parse or ParseSyntax. Its error is an Errors, as theirs are.
func Read(path string) ([]byte, error) {
	var content []byte
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err == nil {
		defer func() { _ = f.Close() }()
		content, err = io.ReadAll(io.LimitReader(f, maxFileSize+1))
	}
	if err != nil {
		return nil, Errors{{File: path, Message: "cannot read the file: " + withoutPath(err)}}
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

func parseFile(name string, content []byte, env Environment, syntaxOnly bool) (*Config, error) {
	d := &decoder{
		file: name, dir: filepath.Dir(name), env: env, syntaxOnly: syntaxOnly, places: map[*yaml.Node]place{},
	}
	var c *Config
	if root, line, text := parse(content); root != nil {
		c = d.config(d.decode(root))
	} else {
		d.reportf(place{line: line}, "%s", text)
	}
	if len(d.mistakes) > 0 {
		slices.SortStableFunc(d.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
		return nil, d.mistakes
	}
	return c, nil
}

// withoutPath returns the error's text without the path, which may be a misplaced secret.
func withoutPath(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

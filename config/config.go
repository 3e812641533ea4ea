// SPDX-License-Identifier: Apache-2.0

// Package config reads the exporter's YAML file into plain, validated values.
//
// It reads that file, the files that it names, the vendor's default profile and the environment, and sends nothing over
// the network. All mistakes of a file are reported together, each with its line and key. No mistake and no dump of a
// value contains a secret.
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

// MaxConcurrency is the highest valid Scrape.Concurrency.
const MaxConcurrency = 1024

// Bounds in bytes.
const (
	maxFileSize   = 10 << 20
	maxSecretSize = 1 << 20
	maxLabelValue = 1024
)

// Config is the whole file.
type Config struct {
	Scrape   Scrape
	Projects []Project // at least one
}

// Scrape holds what applies to the clusters of all projects.
type Scrape struct {
	Concurrency    int           // clusters read at once, 1 to MaxConcurrency
	MinInterval    time.Duration // a list younger than this is served again
	MaxStaleness   time.Duration // a list up to this age replaces one that cannot be read
	MaxConnections int           // a cluster with more shows no per-connection series
}

// Project is a project in one region.
type Project struct {
	Name      string // unique; default: the region
	Region    string
	ProjectID string // empty: to be looked up in IAM
	// Endpoint and IAMEndpoint are URLs without a path. IAMEndpoint is empty if it is unknown and not needed.
	Endpoint, IAMEndpoint string
	RequestsPerSecond     float64
	Credentials           Credentials
	Clusters              []Cluster
	Discovery             *Discovery // nil: only Clusters
	TLSConfig             promconfig.TLSConfig
	ProxyURL              *url.URL // nil: the environment's proxy
}

// Credentials holds one kind of credentials. The zero value means the default chain. File names are joined with the
// directory of the configuration file.
type Credentials struct {
	AccessKey, SecretKey, SecurityToken             Secret
	AccessKeyFile, SecretKeyFile, SecurityTokenFile string

	TokenFile string
	User      *User
	ECSAgency bool
	Profile   *Profile
}

// Profile is a section of a profile file of the vendor's SDKs, with the keys ak, sk, security_token, project_id and
// iam_endpoint. When the configuration was loaded, it had ak and sk.
type Profile struct {
	File    string // joined with the directory of the configuration file
	Section string
}

// User is an IAM user with either Password or PasswordFile.
type User struct {
	Name, Domain string
	Password     Secret
	PasswordFile string
}

// Cluster is a cluster listed in the file.
type Cluster struct {
	ID     string
	Name   string // empty: unknown
	Labels map[string]string
}

// Discovery selects clusters listed by the API. Its regular expressions are anchored; nil matches all clusters.
type Discovery struct {
	RefreshInterval                   time.Duration
	Name, Engine, EnterpriseProjectID *regexp.Regexp
	Tags                              map[string]*regexp.Regexp // by key; no value is nil
	LabelsFromTags                    []string                  // tag keys that become labels
}

// Environment looks up a variable like os.LookupEnv.
type Environment func(key string) (string, bool)

// get returns the variable, or "" if it is not set.
func (env Environment) get(key string) string {
	if env == nil {
		return ""
	}
	s, _ := env(key)
	return s
}

// Load reads and validates the file at path. Its error is an Errors.
func Load(path string, env Environment) (*Config, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, Errors{{File: path, Message: "cannot read the file: " + withoutPath(err)}}
	}
	defer func() { _ = f.Close() }()                             // only read
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1)) // Parse reports the excess
	if err != nil {
		return nil, Errors{{File: path, Message: "cannot read the file: " + withoutPath(err)}}
	}
	return Parse(path, content, env)
}

// Parse validates content like Load, without reading the file itself. Relative paths start at the directory of name.
func Parse(name string, content []byte, env Environment) (*Config, error) {
	d := &decoder{file: name, dir: filepath.Dir(name), env: env, places: map[*yaml.Node]place{}}
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

// readSmallFile reads regular files only: a pipe would block, and a device may never end.
func readSmallFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > maxSecretSize:
		return nil, errors.New("larger than 1 MiB")
	}
	return os.ReadFile(path) //nolint:gosec // the operator names the file
}

// withoutPath returns the error's text without a path, because a secret may stand where a path belongs.
func withoutPath(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

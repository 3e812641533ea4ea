// SPDX-License-Identifier: Apache-2.0

// Package config turns the exporter's YAML file into plain validated values.
//
// It reads the file, the secret, profile and TLS files that it names, the
// vendor's default profile file, and the environment through a function that it
// is given; nothing else. It opens no
// connection, starts no goroutine, and imports no other package of the project.
// Every mistake of a file is reported with its line and key, and no mistake and
// no dump of a value shows a secret.
package config

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// Limits of what is read, in bytes.
const (
	maxFileSize   = 10 << 20
	maxSecretSize = 1 << 20
)

// Config is the whole file.
type Config struct {
	Scrape   Scrape
	Projects []Project // at least one
}

// Scrape says how the clusters of all projects are read.
type Scrape struct {
	Concurrency    int           // clusters read at once, 1 to 1024
	MinInterval    time.Duration // a list younger than this is served again
	MaxStaleness   time.Duration // a list up to this age stands in for one that cannot be read
	MaxConnections int           // per-connection series of one cluster
}

// Project is one project of one region, and what is watched in it.
type Project struct {
	Name      string // unique; the region unless the file names it
	Region    string
	ProjectID string // empty: to be looked up
	// Endpoint and IAMEndpoint are addresses without a path. IAMEndpoint is
	// empty only where it cannot be derived and is not needed.
	Endpoint, IAMEndpoint string
	RequestsPerSecond     float64
	Credentials           Credentials
	Clusters              []Cluster
	Discovery             *Discovery // nil: only Clusters
	TLSConfig             promconfig.TLSConfig
	TLSDigest             [sha256.Size]byte // of the files that TLSConfig names
	ProxyURL              *url.URL          // nil: the environment's proxy
}

// Credentials holds one kind of credentials, or none: the zero value stands
// for the default chain. Paths are joined with the folder of the file.
type Credentials struct {
	AccessKey, SecretKey, SecurityToken             Secret
	AccessKeyFile, SecretKeyFile, SecurityTokenFile string

	TokenFile string
	User      *User
	ECSAgency bool
	Profile   *Profile
}

// User is an IAM user who gets a token. Exactly one of Password and
// PasswordFile is set.
type User struct {
	Name, Domain string
	Password     Secret
	PasswordFile string
}

// Cluster is a cluster that the file lists.
type Cluster struct {
	ID     string
	Name   string // empty: unknown
	Labels map[string]string
}

// Discovery says which of the clusters that the API lists are watched. Its
// regular expressions are anchored, and nil ones stand for any.
type Discovery struct {
	RefreshInterval                   time.Duration
	Name, Engine, EnterpriseProjectID *regexp.Regexp
	Tags                              map[string]*regexp.Regexp // by key; none is nil
	LabelsFromTags                    []string                  // tag keys that become labels
}

// Environment looks up a variable, as os.LookupEnv does.
type Environment func(key string) (string, bool)

// get gives the variable, or "" if it is not set.
func (env Environment) get(key string) string {
	if env == nil {
		return ""
	}
	s, _ := env(key)
	return s
}

// Load reads and validates the file at path. Relative paths in it start at its
// folder. The error is an Errors.
func Load(path string, env Environment) (*Config, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Message: "the file cannot be read: " + reason(err)}}
	}
	return Parse(path, content, env)
}

// Parse validates content as Load does. The name stands in the mistakes, and
// its folder is where relative paths start; it is not read. The error is an
// Errors.
func Parse(name string, content []byte, env Environment) (*Config, error) {
	d := &decoder{file: name, dir: filepath.Dir(name), env: env}
	root, ok := d.parse(content)
	if !ok {
		return nil, d.errors()
	}
	c := decodeConfig(root)
	if errs := d.errors(); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// readFile reads one byte more than allowed at most; Parse judges the size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// readSmallFile reads a small regular file: a pipe would block, and a device
// might never end.
func readSmallFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case info.Size() > maxSecretSize:
		return nil, errTooLarge
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxSecretSize))
}

var (
	errNotRegular = errors.New("it is no regular file")
	errTooLarge   = errors.New("it is larger than 1 MiB")
)

// reason is the error without the path, which may be a secret put into the
// wrong key.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

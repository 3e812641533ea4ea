// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"

	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/secret"
	"css_vpcep_exporter/internal/syntax"
	"css_vpcep_exporter/internal/yamlfile"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v4"
)

// Short names of what decodes any file.
type (
	field[T any] = yamlfile.Field[T]
	list[T any]  = yamlfile.List[T]

	text       = yamlfile.Text
	number     = yamlfile.Number
	duration   = yamlfile.Duration
	boolean    = yamlfile.Boolean
	pattern    = yamlfile.Pattern
	tagPattern = yamlfile.AnyPattern
	place      = yamlfile.Place
)

func quote(s string) string { return yamlfile.Quote(s) }

func decodeText[T ~string](n *yaml.Node, out *T, fault func(string) string) error {
	return yamlfile.DecodeText(n, out, fault)
}

type (
	fileKeys struct {
		Scrape   field[scrapeKeys]        `yaml:"scrape"`
		Projects field[list[projectKeys]] `yaml:"projects"`
	}
	scrapeKeys struct {
		Concurrency    field[number]   `yaml:"concurrency"`
		MinInterval    field[duration] `yaml:"min_interval"`
		MaxStaleness   field[duration] `yaml:"max_staleness"`
		MaxConnections field[number]   `yaml:"max_connections"`
	}
	projectKeys struct {
		Name              field[labelValue]         `yaml:"name"`
		Region            field[regionName]         `yaml:"region"`
		Regions           field[list[wantedRegion]] `yaml:"regions"`
		Subprojects       field[boolean]            `yaml:"subprojects"`
		ProjectID         field[projectID]          `yaml:"project_id"`
		Endpoint          field[endpointPattern]    `yaml:"endpoint"`
		IAMEndpoint       field[endpoint]           `yaml:"iam_endpoint"`
		RequestsPerSecond field[number]             `yaml:"requests_per_second"`
		Credentials       field[credentialsKeys]    `yaml:"credentials"`
		Clusters          field[list[clusterKeys]]  `yaml:"clusters"`
		Discovery         field[discoveryKeys]      `yaml:"discovery"`
		Sessions          field[sessionsKeys]       `yaml:"sessions"`
		TLSConfig         field[tlsKeys]            `yaml:"tls_config"`
		ProxyURL          field[proxyURL]           `yaml:"proxy_url"`
	}
	credentialsKeys struct {
		AccessKey         field[key]      `yaml:"access_key"`
		AccessKeyFile     field[text]     `yaml:"access_key_file"`
		SecretKey         field[key]      `yaml:"secret_key"`
		SecretKeyFile     field[text]     `yaml:"secret_key_file"`
		SecurityToken     field[key]      `yaml:"security_token"`
		SecurityTokenFile field[text]     `yaml:"security_token_file"`
		TokenFile         field[text]     `yaml:"token_file"`
		User              field[userKeys] `yaml:"user"`
		ECSAgency         field[boolean]  `yaml:"ecs_agency"`
		Profile           field[name]     `yaml:"profile"`
		OIDC              field[oidcKeys] `yaml:"oidc"`

		AssumeAgency field[assumeAgencyKeys] `yaml:"assume_agency"`
	}
	userKeys struct {
		Name         field[name]     `yaml:"name"`
		Domain       field[name]     `yaml:"domain"`
		Password     field[password] `yaml:"password"`
		PasswordFile field[text]     `yaml:"password_file"`
	}
	clusterKeys struct {
		ID     field[clusterID]               `yaml:"id"`
		Name   field[labelValue]              `yaml:"name"`
		Labels field[map[string]field[label]] `yaml:"labels"`
	}
	discoveryKeys struct {
		RefreshInterval     field[duration]                     `yaml:"refresh_interval"`
		Name                field[pattern]                      `yaml:"name"`
		Engine              field[pattern]                      `yaml:"engine"`
		EnterpriseProjectID field[pattern]                      `yaml:"enterprise_project_id"`
		Tags                field[map[string]field[tagPattern]] `yaml:"tags"`
		LabelsFromTags      field[tagLabels]                    `yaml:"labels_from_tags"`
	}
	tlsKeys struct {
		CA                 field[text]       `yaml:"ca"`
		CAFile             field[text]       `yaml:"ca_file"`
		Cert               field[text]       `yaml:"cert"`
		CertFile           field[text]       `yaml:"cert_file"`
		Key                field[text]       `yaml:"key"`
		KeyFile            field[text]       `yaml:"key_file"`
		ServerName         field[text]       `yaml:"server_name"`
		InsecureSkipVerify field[boolean]    `yaml:"insecure_skip_verify"`
		MinVersion         field[tlsVersion] `yaml:"min_version"`
		MaxVersion         field[tlsVersion] `yaml:"max_version"`
	}
)

// The types of single values. An invalid value is zero.
type (
	name       string // or a path; not empty, like the next seven
	password   string
	key        string
	labelValue string
	tagLabel   string // the key of a tag and a label
	regionName string
	projectID  string // part of a path
	clusterID  string // part of a path
	endpoint   string // a URL without a path
	label      string
	proxyURL   struct{ *url.URL }
	tagLabels  struct {
		list    list[tagLabel]
		mapping map[string]field[text]
	}
	tlsVersion promconfig.TLSVersion
)

func (l *labelValue) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, l, syntax.LabelValueFault)
}
func (r *regionName) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, r, syntax.RegionFault) }
func (p *projectID) UnmarshalYAML(n *yaml.Node) error  { return decodeText(n, p, syntax.ProjectIDFault) }
func (c *clusterID) UnmarshalYAML(n *yaml.Node) error  { return decodeText(n, c, syntax.ClusterIDFault) }

func (a *name) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, a, hidden(secret.TextFault)) }
func (p *password) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, p, hidden(secret.PasswordFault))
}
func (k *key) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, k, hidden(secret.KeyFault)) }

func hidden(check func(string) string) func(string) string {
	return func(s string) string {
		if fault := check(s); fault != "" {
			return secret.Invalid(fault)
		}
		return ""
	}
}

func (l *tagLabel) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, l, func(s string) string {
		if fault := syntax.LabelNameFault(s); fault != "" {
			return fault + ", or write labels_from_tags as a mapping {label: tag key}"
		}
		return ""
	})
}

func (t *tagLabels) UnmarshalYAML(n *yaml.Node) error {
	var mapping field[map[string]field[text]]
	switch n.Kind {
	case yaml.SequenceNode:
		return t.list.UnmarshalYAML(n)
	case yaml.MappingNode:
		err := mapping.UnmarshalYAML(n)
		t.mapping = mapping.Value
		return err
	}
	return yamlfile.Problemf(n, "expected a list of tag keys, or a mapping {label: tag key}")
}

func (l *label) UnmarshalYAML(n *yaml.Node) error {
	s, err := yamlfile.Scalar(n)
	if fault := syntax.LabelValueFault(s); fault != "" {
		err = yamlfile.Problemf(n, "%s", fault)
	}
	*l = label(s)
	return err
}

func (e *endpoint) UnmarshalYAML(n *yaml.Node) error {
	err := decodeText(n, e, func(s string) string { _, fault := syntax.ParseEndpoint(s); return fault })
	address, _ := syntax.ParseEndpoint(string(*e))
	*e = endpoint(address)
	return err
}

func (p *proxyURL) UnmarshalYAML(n *yaml.Node) error {
	if p.URL = network.ParseProxy(n.Value); p.URL == nil {
		return yamlfile.Problemf(n, "%s", proxyFault)
	}
	return nil
}

const proxyFault = "invalid proxy URL (not shown); write it like http://proxy.example.com:3128, https://…, socks5://… or " +
	"socks5h://…, without quotes, and in user and password write % as %25, # as %23, / as %2F, ? as %3F and @ as %40"

func (t *tlsVersion) UnmarshalYAML(n *yaml.Node) error {
	v, ok := promconfig.TLSVersions[n.Value]
	if !ok {
		return yamlfile.Problemf(n, "invalid TLS version %s; use TLS10, TLS11, TLS12 or TLS13", quote(n.Value))
	}
	*t = tlsVersion(v)
	return nil
}

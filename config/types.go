// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/secret"
	"css_vpcep_exporter/internal/yamlfile"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v4"
)

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	digits    = "0123456789"
	letters   = lowerCase + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
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

func (l *labelValue) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, l, labelValueFault) }
func (r *regionName) UnmarshalYAML(n *yaml.Node) error { return decodeText(n, r, regionFault) }
func (p *projectID) UnmarshalYAML(n *yaml.Node) error  { return decodeText(n, p, projectIDFault) }
func (c *clusterID) UnmarshalYAML(n *yaml.Node) error  { return decodeText(n, c, clusterIDFault) }

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

func consistsOf(s, characters string) bool { return strings.Trim(s, characters) == "" }

func labelValueFault(s string) string {
	if len(s) > clean.MaxLength {
		return fmt.Sprintf("invalid label value: %d bytes; shorten it to %d", len(s), clean.MaxLength)
	}
	return ""
}

func labelNameFault(s string) string {
	infoLabels := []string{ // of css_vpcep_cluster_info
		"region", "project_id", "cluster_id", "cluster_name", "project",
		"engine", "engine_version", "enterprise_project_id", "vpc_id",
	}
	invalid := "invalid label name " + quote(s) + ": "
	switch {
	case s == "" || !consistsOf(s, letters+digits+"_") || consistsOf(s[:1], digits):
		return invalid + "use letters, digits and underscores, and begin with a letter"
	case strings.HasPrefix(s, "__"):
		return invalid + "names that begin with __ are reserved by Prometheus; choose another"
	case slices.Contains(infoLabels, s):
		return invalid + "css_vpcep_cluster_info already has this label; choose another"
	case s == "le" || s == "quantile":
		return invalid + "reserved for histograms and summaries; choose another"
	}
	return ""
}

func (l *tagLabel) UnmarshalYAML(n *yaml.Node) error {
	return decodeText(n, l, func(s string) string {
		if fault := labelNameFault(s); fault != "" {
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

func regionFault(s string) string {
	if consistsOf(s, lowerCase+digits+"-") && len(s) <= 63 && strings.Trim(s, "-") == s {
		return ""
	}
	return "invalid region " + quote(s) + "; use up to 63 lower-case letters, digits and inner dashes, such as cn-north-4"
}

func projectIDFault(s string) string { return idFault("project ID", s, 64, letters+digits+"_-") }
func clusterIDFault(s string) string { return idFault("cluster ID", s, 128, letters+digits+"_-.") }

func idFault(name, s string, longest int, characters string) string {
	if len(s) <= longest && consistsOf(s, characters) && s != "." && s != ".." {
		return ""
	}
	return "invalid " + name + " " + quote(s) + "; copy it from the console"
}

func (l *label) UnmarshalYAML(n *yaml.Node) error {
	s, err := yamlfile.Scalar(n)
	if fault := labelValueFault(s); fault != "" {
		err = yamlfile.Problemf(n, "%s", fault)
	}
	*l = label(s)
	return err
}

func (e *endpoint) UnmarshalYAML(n *yaml.Node) error {
	err := decodeText(n, e, func(s string) string { _, fault := parseEndpoint(s); return fault })
	address, _ := parseEndpoint(string(*e))
	*e = endpoint(address)
	return err
}

// parseEndpoint returns a URL without a trailing slash. The fault shows no password.
func parseEndpoint(s string) (address, fault string) {
	u := network.ParseURL(s, "http", "https")
	switch {
	case strings.Contains(s, "@"):
		return "", "invalid URL (not shown): user or password before the host; remove it"
	case u == nil && strings.Contains(s, regionInAddress):
		return "", "invalid URL: only endpoint may contain {region}, beside regions; write the region or the host itself"
	case u == nil:
		return "", "invalid URL (not shown); write it like https://css.example.com or http://127.0.0.1:8080"
	}
	address = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	if len(u.Path) > 1 || strings.ContainsAny(s, "?#") {
		return "", "invalid URL: path or query after the host; write " + quote(address)
	}
	return address, ""
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

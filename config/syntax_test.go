// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parseSyntax parses the syntax of a file in a directory without others.
func parseSyntax(t *testing.T, content string, env vars) (*Config, error) {
	t.Helper()
	return ParseSyntax(filepath.Join(t.TempDir(), "x.yml"), []byte(content), env.lookup)
}

// TestSyntaxWithoutOtherFiles shows that a valid configuration passes where none of its other files exist.
func TestSyntaxWithoutOtherFiles(t *testing.T) {
	full, err := os.ReadFile(filepath.Join("testdata", "good", "full.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content string
		env     vars
	}{
		"all keys": {string(full), nil},
		"client certificate": {
			"projects: [{region: eu-de, tls_config: {ca_file: a, cert_file: b, key_file: c, min_version: TLS12}}]", nil,
		},
		"certificate inline, key in a file": {"projects: [{region: eu-de, tls_config: {cert: a, key_file: c}}]", nil},
		"IAM endpoint of a profile": {
			"projects: [{region: my-cloud-1, endpoint: 'https://css.example.com', credentials: {profile: ./p.ini}}]", nil,
		},
		"IAM endpoint of the default profile": {
			"projects: [{region: my-cloud-1, endpoint: 'https://css.example.com'}]", vars{"HOME": "/nonexistent"},
		},
		"cluster of two accounts": {
			"projects: [{name: a, region: eu-de, clusters: [{id: x}], credentials: {profile: ./a.ini}}, " +
				"{name: b, region: eu-de, clusters: [{id: x}], credentials: {profile: ./b.ini}}]", nil,
		},
		"token of an identity provider": {
			"projects: [{region: eu-de, credentials: {oidc: {token_file: /nonexistent, idp_id: i}}}]", nil,
		},
		"variables of an identity provider": {"projects: [{region: eu-de}]", vars{
			"HUAWEICLOUD_SDK_IDP_ID": "i", "HUAWEICLOUD_SDK_ID_TOKEN_FILE": "/nonexistent",
		}},
		"invalid profile": {"projects: [{region: eu-de}]", profileVars("broken.ini")},
		"pod": {"projects: [{region: eu-de}]", vars{ //nolint:gosec // made up
			"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nonexistent",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.env == nil {
				test.env = vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "/nonexistent"}
			}
			if _, err := parseSyntax(t, test.content, test.env); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSyntaxReportsAllElse shows that mistakes of the file itself and of variables are found without other files.
func TestSyntaxReportsAllElse(t *testing.T) {
	const region = "projects:\n  - region: eu-de\n    "
	for content, want := range map[string]string{
		region + "projekt_id: a": "3: projects[0].projekt_id: unknown key",
		region + "credentials: {access_key: \"S3CRET\\u200B\", secret_key_file: f}": "access_key: invalid value",
		region + "credentials: {access_key_file: f}":                                "credentials.secret_key: missing",
		region + "credentials: {token_file: ''}":                                    "credentials.token_file: empty",
		region + "credentials: {token_file: a, profile: ./b}":                       "several kinds of credentials",
		region + "credentials: {token_file: a}\n    clusters: [{id: x}, {id: x}]":   "duplicate cluster",
		region + "clusters: [{id: x}, {id: x}]":                                     "duplicate cluster",
		region + "tls_config: {ca_file: a, min_version: TLS13, max_version: TLS12}": "max_version must be greater",
		region + "tls_config: {cert_file: a}":                                       "exactly one of key or key_file",
		region + "tls_config: {ca: a, key_file: b, cert_file: c}":                   "unable to use specified CA cert",
		region + "tls_config: {ca_file: a, cert: b, key: c}":                        "unable to use specified client cert",
		region + "proxy_url: nonsense":                                              "invalid proxy URL",
		region + "name: b\n  - {region: my-cloud-1, endpoint: 'https://css.example.com', credentials: {token_file: a}}": "4: " +
			"projects[1].iam_endpoint: missing; set it or project_id",
	} {
		_, err := parseSyntax(t, content, vars{})
		if err == nil || !strings.Contains(messages(t, err), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
	for _, env := range []vars{
		{"CLOUD_SDK_AK": "'S3CRET'", "CLOUD_SDK_SK": "b"},
		{"CLOUD_SDK_AK": "S3CRET"},
		{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "b", "HUAWEICLOUD_SDK_PROJECT_ID": "/"},
		{"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/"}, //nolint:gosec // made up
		{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "x"},
	} {
		if _, err := parseSyntax(t, region+"name: a", env); err == nil {
			t.Errorf("%v: got no mistake", env)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promconfig "github.com/prometheus/common/config"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite testdata/bad/*.err; review the changes")
	goleak.VerifyTestMain(m)
}

func checkConfig(t *testing.T, want, got *Config) {
	t.Helper()
	regex := cmp.Comparer(func(a, b *regexp.Regexp) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})
	address := cmp.Comparer(func(a, b *url.URL) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})
	if diff := cmp.Diff(want, got, regex, address); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func checkMistakes(t *testing.T, err error, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), messages(t, err)); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func load(path string, env Environment) (*Config, error) {
	content, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, content, env)
}

func loadValid(t *testing.T, name string, env vars) *Config {
	t.Helper()
	c, err := load(filepath.Join("testdata", "good", name), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoadMinimal(t *testing.T) {
	checkConfig(t, &Config{
		Scrape: Scrape{Concurrency: 16, MaxConnections: 2000},
		Projects: []Project{{
			Name:              "cn-north-4",
			Region:            "cn-north-4",
			Endpoint:          "https://css.cn-north-4.myhuaweicloud.com",
			IAMEndpoint:       "https://iam.cn-north-4.myhuaweicloud.com",
			RequestsPerSecond: 20,
			Discovery:         &Discovery{RefreshInterval: 5 * time.Minute},
		}},
	}, loadValid(t, "minimal.yml", nil))
}

func TestLoadTwoRegions(t *testing.T) {
	clusters := []Cluster{{ID: "5c77b71c-5b35-4f50-8984-76387e42451a"}}
	checkConfig(t, &Config{
		Scrape: Scrape{Concurrency: 16, MaxConnections: 2000},
		Projects: []Project{{
			Name:              "cn-north-1",
			Region:            "cn-north-1",
			ProjectID:         "0123",
			Endpoint:          "https://es.cn-north-1.myhuaweicloud.com",
			IAMEndpoint:       "https://iam.cn-north-1.myhuaweicloud.com",
			RequestsPerSecond: 20,
			Credentials:       Credentials{ECSAgency: true},
			Clusters:          clusters,
		}, {
			Name:              "eu-de",
			Region:            "eu-de",
			ProjectID:         "4567",
			Endpoint:          "https://css.eu-de.otc.t-systems.com",
			IAMEndpoint:       "https://iam.eu-de.otc.t-systems.com",
			RequestsPerSecond: 20,
			Credentials:       Credentials{ECSAgency: true},
			Clusters:          clusters,
		}},
	}, loadValid(t, "two_regions.yml", nil))
}

// loadFull loads a file that sets every key.
func loadFull(t *testing.T) *Config {
	t.Helper()
	return loadValid(t, "full.yml", vars{
		"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("good.ini"), "CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s",
	})
}

func TestLoadAllKeys(t *testing.T) {
	got := loadFull(t)
	got.Projects = got.Projects[:1]
	checkConfig(t, &Config{
		Scrape: Scrape{Concurrency: 8, MinInterval: 20 * time.Second, MaxStaleness: 90 * time.Minute, MaxConnections: 500},
		Projects: []Project{{
			Name:              "production",
			Region:            "cn-north-4",
			ProjectID:         "0123456789abcdef0123456789abcdef",
			Endpoint:          "https://css.example.com:8443",
			IAMEndpoint:       "http://iam.example.com",
			RequestsPerSecond: 2.5,
			Credentials: Credentials{ //nolint:gosec // made up
				AccessKey: "AKINLINE", SecretKey: "sk-inline-value", SecurityToken: "token-inline-value",
			},
			Clusters: []Cluster{{
				ID:     "5c77b71c-5b35-4f50-8984-76387e42451a",
				Name:   "search-prod",
				Labels: map[string]string{"team": "search", "tier": "1"},
			}},
			Discovery: &Discovery{
				RefreshInterval:     90 * time.Second,
				Name:                regexp.MustCompile(`^(?:search-.*)$`),
				Engine:              regexp.MustCompile(`^(?:elasticsearch|opensearch)$`),
				EnterpriseProjectID: regexp.MustCompile(`^(?:0)$`), //nolint:gocritic // as the program writes it
				Tags: map[string]*regexp.Regexp{
					"team": regexp.MustCompile(`^(?:search)$`), "empty": regexp.MustCompile(`^(?:)$`),
				},
				LabelsFromTags: map[string]string{"team": "team", "cost_centre": "cost_centre"},
			},
			Sessions: &Sessions{Endpoint: "https://ces.example.com", BatchSize: 10},
			TLSConfig: promconfig.TLSConfig{
				CAFile:             filepath.Join("testdata", "tls", "ca.pem"),
				ServerName:         "css.internal",
				InsecureSkipVerify: true,
				MinVersion:         promconfig.TLSVersions["TLS12"],
				MaxVersion:         promconfig.TLSVersions["TLS13"],
			},
			ProxyURL: &url.URL{Scheme: "socks5h", Host: "127.0.0.1:1080", User: url.UserPassword("proxyuser", "proxypassword")},
		}},
	}, got)
}

func TestLoadCredentials(t *testing.T) {
	discoverAll := &Discovery{RefreshInterval: 5 * time.Minute}
	derived := func(p Project, service string) Project {
		p.Endpoint = "https://" + service + "." + p.Region + ".myhuaweicloud.com"
		p.IAMEndpoint = "https://iam." + p.Region + ".myhuaweicloud.com"
		p.RequestsPerSecond = 20
		p.Discovery = discoverAll
		return p
	}
	secrets := filepath.Join("testdata", "secrets")
	profileFile := profilePath("good.ini")
	got := loadFull(t)
	got.Projects = got.Projects[1:]
	checkConfig(t, &Config{
		Scrape: got.Scrape,
		Projects: []Project{
			derived(Project{Name: "files", Region: "cn-east-2", ProjectID: "p-files", Credentials: Credentials{
				AccessKeyFile:     filepath.Join(secrets, "ak"),
				SecretKeyFile:     filepath.Join(secrets, "sk"),
				SecurityTokenFile: filepath.Join(secrets, "token"),
			}}, "es"),
			derived(Project{Name: "token", Region: "cn-east-3", ProjectID: "p-token", Credentials: Credentials{
				TokenFile: filepath.Join(secrets, "token"),
			}}, "css"),
			{
				Name: "user", Region: "any-region-9", Endpoint: "http://127.0.0.1:8080", IAMEndpoint: "http://127.0.0.1:8081",
				RequestsPerSecond: 20, Discovery: discoverAll,
				Credentials: Credentials{User: &User{Name: "reader", Domain: "company", Password: "user-password"}},
			},
			derived(Project{Name: "user-file", Region: "cn-south-1", Credentials: Credentials{
				User: &User{Name: "reader", Domain: "company", PasswordFile: filepath.Join(secrets, "password")},
			}}, "css"),
			derived(Project{Name: "agency", Region: "cn-south-2", Credentials: Credentials{ECSAgency: true}}, "css"),
			derived(Project{Name: "profile", Region: "cn-south-4", Credentials: Credentials{
				Profile: &Profile{profileFile, "keys"},
			}}, "css"),
			{
				Name: "profile-file", Region: "cn-southwest-2", ProjectID: "p-profile",
				Endpoint: "https://css.cn-southwest-2.myhuaweicloud.com", IAMEndpoint: "https://iam.profile.example",
				RequestsPerSecond: 20, Discovery: discoverAll,
				Credentials: Credentials{Profile: &Profile{profileFile, "basic"}},
			},
			derived(Project{Name: "oidc-iam", Region: "cn-east-4", Credentials: Credentials{
				OIDC: byIAM(filepath.Join("testdata", "secrets", "token")),
			}}, "css"),
			derived(Project{Name: "oidc-sts", Region: "cn-east-5", Credentials: Credentials{OIDC: bySTS(OIDC{
				TokenFile: filepath.Join("testdata", "secrets", "token"), STSEndpoint: "https://sts.cn-north-4.myhuaweicloud.com",
				ProviderURN: "iam::0123456789abcdef0123456789abcdef:oidcProvider:cluster",
				AgencyURN:   "iam::0123456789abcdef0123456789abcdef:agency:读取者",
			})}}, "css"),
			{
				Name: "oidc-sts-endpoint", Region: "eu-de", RequestsPerSecond: 20, Discovery: discoverAll,
				Endpoint: "https://css.eu-de.otc.t-systems.com", IAMEndpoint: "https://iam.eu-de.otc.t-systems.com",
				Credentials: Credentials{OIDC: bySTS(OIDC{
					TokenFile: filepath.Join("testdata", "secrets", "token"), STSEndpoint: "https://sts.example.com",
					ProviderURN: "iam::1:oidcProvider:cluster", AgencyURN: "iam::1:agency:css-reader",
				})},
			},
			derived(Project{Name: "default chain", Region: "tr-west-1"}, "css"),
		},
	}, got)
}

// TestProjectIDFromEnvironment shows that only projects with credentials from the environment use its project ID.
func TestProjectIDFromEnvironment(t *testing.T) {
	const content = `
projects:
  - {name: from the environment, region: cn-north-4, discovery: {name: b}}
  - {name: from the environment too, region: cn-north-4, clusters: [{id: a}]}
  - {name: own project ID, region: cn-north-1, project_id: own}
  - {name: own credentials, region: cn-north-1, credentials: {ecs_agency: true}}
`
	tests := []struct {
		name string
		env  vars
		want []string
	}{
		{"no keys", vars{"HUAWEICLOUD_SDK_PROJECT_ID": "p1"}, []string{"", "", "own", ""}},
		{"no project", vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"}, []string{"", "", "own", ""}},
		{
			"sample's names", vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s", "HUAWEICLOUD_SDK_PROJECT_ID": "p1"},
			[]string{"p1", "p1", "own", ""},
		},
		{
			"vendor's names", vars{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s", "HUAWEICLOUD_SDK_PROJECT_ID": "p1"},
			[]string{"p1", "p1", "own", ""},
		},
		{
			"white space", vars{"CLOUD_SDK_AK": "a\r", "CLOUD_SDK_SK": "s\r", "HUAWEICLOUD_SDK_PROJECT_ID": "p1\r"},
			[]string{"p1", "p1", "own", ""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("x.yml", []byte(content), tt.env.lookup)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range c.Projects {
				got = append(got, p.ProjectID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("project IDs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProjectIDFromEnvironmentOverlaps(t *testing.T) {
	const content = `
projects:
  - {name: a, region: cn-north-4}
  - {name: b, region: cn-north-4, clusters: [{id: a}]}
`
	env := vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s", "HUAWEICLOUD_SDK_PROJECT_ID": "p1"}
	_, err := Parse("x.yml", []byte(content), env.lookup)
	checkMistakes(t, err, "x.yml:4: projects[1]: same region and project_id as the project on line 3, "+
		"and one of them discovers all clusters; merge them, or set a filter in discovery")
}

func TestUnusedEnvironmentIsNotValidated(t *testing.T) {
	invalid := vars{"CLOUD_SDK_AK": marker, "HUAWEICLOUD_SDK_PROJECT_ID": "/"}
	_, err := Parse("x.yml", []byte("projects: [{region: cn-north-4, credentials: {ecs_agency: true}}]"), invalid.lookup)
	if err != nil {
		t.Error(err)
	}
}

func TestParseUnusualFiles(t *testing.T) {
	tests := []struct{ name, content string }{
		{"byte order mark", "\uFEFFprojects: [{region: cn-north-4}]\n"},
		{"one document with markers", "---\nprojects: [{region: cn-north-4}]\n...\n"},
		{"carriage returns", "projects:\r\n  - region: cn-north-4\r\n"},
		{"JSON", `{"scrape": {"concurrency": 1}, "projects": [{"region": "cn-north-4"}]}`},
		{"no clusters but discovery", "projects: [{region: cn-north-4, clusters: [], discovery: {}}]"},
		{"IPv6", "projects: [{region: cn-north-4, endpoint: 'http://[::1]:8080'}]"},
		{"unknown region with endpoint", "projects: [{region: my-cloud-1, project_id: p, endpoint: 'https://a.example'}]"},
		{"two projects side by side", "projects: [{name: a, region: cn-north-4, project_id: p, discovery: {name: a}}, " +
			"{name: b, region: cn-north-4, project_id: p, discovery: {name: b}}]"},
		{"two accounts of one region", "projects: [{name: a, region: cn-north-4, " +
			"credentials: {profile: testdata/profiles/keys.ini}}, " +
			"{name: b, region: cn-north-4, credentials: {ecs_agency: true}}]"},
		{"text that begins like an alias", "projects: [{region: eu-de, name: '*a', discovery: {name: '&b', engine: '<<'}}]"},
		{"words for booleans as text", "projects: [{region: eu-de, name: on, clusters: [{id: yes, labels: {no: off}}]}]"},
		{"labels job and instance", "projects: [{region: cn-north-4, clusters: [{id: a, labels: {job: x, instance: y}}]}]"},
		{"clusters of one name", "projects: [{region: cn-north-4, clusters: [{id: a, name: x}, {id: b, name: x}]}]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("x.yml", []byte(tt.content), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := load("testdata/none.yml", nil)
	checkMistakes(t, err, "testdata/none.yml: cannot read the file: no such file or directory")
}

func TestLoadDirectory(t *testing.T) {
	_, err := load("testdata", nil)
	checkMistakes(t, err, "testdata: cannot read the file: is a directory")
}

func TestLoadLargeFile(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yml")
	if err := os.WriteFile(large, make([]byte, maxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := load(large, nil)
	checkMistakes(t, err, large+": the file is larger than 10 MiB; split it, and run one exporter for each part")
}

func TestClientCertificateNeedsItsKey(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		writePair(t, dir, name)
	}
	parse := func(key string) error {
		content := "projects: [{region: cn-north-4, tls_config: {cert_file: one.pem, key_file: " + key + "}}]"
		_, err := Parse(filepath.Join(dir, "x.yml"), []byte(content), nil)
		return err
	}
	if err := parse("one.key"); err != nil {
		t.Error(err)
	}
	checkMistakes(t, parse("two.key"), filepath.Join(dir, "x.yml")+":1: projects[0].tls_config: invalid TLS settings: "+
		"unable to use specified client cert (file "+filepath.Join(dir, "one.pem")+") & key (file "+
		filepath.Join(dir, "two.key")+"): tls: private key does not match public key")
}

func writePair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: cert},
		name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLabelsFromTags(t *testing.T) {
	for value, want := range map[string]map[string]string{
		"[team, stage]": {"team": "team", "stage": "stage"},
		"{department: 部门, cost_center: cost-center, team: team}": {
			"department": "部门", "cost_center": "cost-center", "team": "team",
		},
		"{a: team, b: team, number: 7}": {"a": "team", "b": "team", "number": "7"},
		"[]":                            {},
		"{}":                            {},
	} {
		content := "projects: [{region: cn-north-4, discovery: {labels_from_tags: " + value + "}}]"
		c, err := Parse("x.yml", []byte(content), nil)
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if diff := cmp.Diff(want, c.Projects[0].Discovery.LabelsFromTags); diff != "" {
			t.Errorf("%s: labels (-want +got):\n%s", value, diff)
		}
	}
}

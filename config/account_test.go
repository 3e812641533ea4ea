// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parseAccount parses an entry with regions.
func parseAccount(t *testing.T, settings ...string) *Project {
	t.Helper()
	content := "projects:\n  - " + strings.Join(settings, "\n    ") + "\n"
	c, err := Parse("x.yml", []byte(content), vars{}.lookup)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, content)
	}
	return &c.Projects[0]
}

func TestEndpointsOfAccounts(t *testing.T) {
	const keys = "credentials: {access_key: AK, secret_key: SK}"
	for name, test := range map[string]struct {
		settings            []string
		name, region, iam   string
		project, inEndpoint string
	}{
		"derived": {
			[]string{"regions: [cn-north-1, cn-north-4]"}, "cn-north-1", "cn-north-1",
			"https://iam.cn-north-1.myhuaweicloud.com", "cn-north-1", "https://es.cn-north-1.myhuaweicloud.com",
		},
		"all": {
			[]string{"regions: ['*']"}, "*", "cn-north-4",
			"https://iam.cn-north-4.myhuaweicloud.com", "la-south-2", "https://css.la-south-2.myhuaweicloud.com",
		},
		"all of another site": {
			[]string{"regions: ['*']", "iam_endpoint: https://iam.eu-de.otc.t-systems.com"}, "*", "eu-de",
			"https://iam.eu-de.otc.t-systems.com", "eu-nl", "https://css.eu-nl.otc.t-systems.com",
		},
		"another cloud": {
			[]string{
				"regions: ['*']", "name: n", "endpoint: https://css.{region}.example.com:8443/",
				"iam_endpoint: https://iam.example.com",
			},
			"n", "", "https://iam.example.com", "my-region-1", "https://css.my-region-1.example.com:8443",
		},
		"one address for all": {
			[]string{"regions: [cn-north-4]", "endpoint: http://127.0.0.1:8080"}, "cn-north-4", "cn-north-4",
			"https://iam.cn-north-4.myhuaweicloud.com", "cn-north-4", "http://127.0.0.1:8080",
		},
		"unknown region": {
			[]string{
				"regions: [my-region]", "endpoint: 'https://{region}.example.com'", "iam_endpoint: https://iam.example.com",
			},
			"my-region", "my-region", "https://iam.example.com", "my-region", "https://my-region.example.com",
		},
		"two sites, one IAM": {
			[]string{"regions: [cn-north-4, eu-de]", "iam_endpoint: https://iam.example.com"}, "cn-north-4", "cn-north-4",
			"https://iam.example.com", "eu-de", "https://css.eu-de.otc.t-systems.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := parseAccount(t, append(test.settings, keys)...)
			if p.Name != test.name || p.Region != test.region || p.IAMEndpoint != test.iam || !p.IsAccount() {
				t.Errorf("got %q, %q, %q; want %q, %q, %q", p.Name, p.Region, p.IAMEndpoint, test.name, test.region, test.iam)
			}
			found, wanted := p.Found(test.project, "id")
			want := Project{
				Name: test.name + "/" + test.project, Region: test.project, ProjectID: "id", Endpoint: test.inEndpoint,
				IAMEndpoint: p.IAMEndpoint, RequestsPerSecond: 20, Credentials: p.Credentials, Discovery: p.Discovery,
			}
			if diff := cmp.Diff(want, found); diff != "" || !wanted {
				t.Errorf("wanted: %v, the project (-want +got):\n%s", wanted, diff)
			}
		})
	}
}

func TestWantedProjects(t *testing.T) {
	names := []string{
		"cn-north-4", "cn-north-4_", "cn-north-4_dev", "cn-north-4_a_b", "cn-north-4_团队/\n\"", "cn-north-1", "MOS", "", "_",
		"_cn-north-4", "cn-north-44", "cn-north", "my-region-9", "my-region-9_x", "mos", "-", "a-", strings.Repeat("a-b", 30),
	}
	for settings, want := range map[string][]string{
		"regions: [cn-north-4]": {"cn-north-4"},
		"regions: [cn-north-4]\n    subprojects: on": {
			"cn-north-4", "cn-north-4_dev", "cn-north-4_a_b", "cn-north-4_团队/\n\"",
		},
		"regions: ['*']": {"cn-north-4", "cn-north-1"},
		"regions: ['*']\n    endpoint: https://{region}.example.com\n    iam_endpoint: https://iam.example.com": {
			"cn-north-4", "cn-north-1", "cn-north-44", "cn-north", "my-region-9",
		},
		"regions: [mos]\n    endpoint: https://{region}.example.com\n    iam_endpoint: https://iam.example.com": {"mos"},
	} {
		p := parseAccount(t, strings.ReplaceAll(settings, ": on", ": true"), "credentials: {ecs_agency: true}")
		var got []string
		for _, name := range names {
			if _, wanted := p.Found(name, "id"); wanted {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", settings, got, want)
		}
	}
}

// TestAccountsDoNotTakeAProjectID: the ID belongs to one region.
func TestAccountsDoNotTakeAProjectID(t *testing.T) {
	env := vars{"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK", "HUAWEICLOUD_SDK_PROJECT_ID": "0123"}
	content := "projects:\n  - regions: [cn-north-4]\n  - {region: cn-north-1}\n  - {name: other, regions: [cn-north-1]}\n"
	c, err := Parse("x.yml", []byte(content), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "0123", ""} {
		if got := c.Projects[i].ProjectID; got != want {
			t.Errorf("projects[%d]: got the ID %q, want %q", i, got, want)
		}
	}
}

// TestAccountsAreComparable: a reload compares settings.
func TestAccountsAreComparable(t *testing.T) {
	settings := []string{"regions: [cn-north-4]", "proxy_url: http://proxy:3128", "discovery: {name: a.*, tags: {t: b}}"}
	a, _ := parseAccount(t, settings...).Found("cn-north-4", "id")
	b, _ := parseAccount(t, settings...).Found("cn-north-4", "id")
	if fmt.Sprintf("%+v", a.ProxyURL) != fmt.Sprintf("%+v", b.ProxyURL) || a.CoveredBy(&b) {
		t.Errorf("got %+v and %+v", a, b)
	}
	account := parseAccount(t, "subprojects: true", "regions: [cn-north-4]")
	long, _ := account.Found("cn-north-4_"+strings.Repeat("团", 1000), "id")
	if len(long.Name) > 1024 || !strings.HasPrefix(long.Name, "cn-north-4/cn-north-4_团") {
		t.Errorf("got a name of %d bytes: %s", len(long.Name), long.Name)
	}
	a.Discovery = &Discovery{}
	if a.CoveredBy(&b) || !b.CoveredBy(&a) {
		t.Error("a project that discovers all does not cover the other alone")
	}
}

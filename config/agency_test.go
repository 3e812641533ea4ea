// SPDX-License-Identifier: Apache-2.0

package config

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parseProject parses a file in testdata with one project.
func parseProject(t *testing.T, project string, env vars) Project {
	t.Helper()
	c, err := Parse(filepath.Join("testdata", "x.yml"), []byte("projects: [{"+project+"}]"), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	return c.Projects[0]
}

func TestAssumeAgency(t *testing.T) {
	tests := []struct {
		name, project string
		want          AssumeAgency
	}{
		{
			"by name, with the default chain", "region: eu-de, credentials: {assume_agency: {name: css-reader, domain_name: 分公司}}",
			AssumeAgency{Name: "css-reader", DomainName: "分公司", Duration: time.Hour},
		},
		{
			"Chinese name, longest duration",
			"region: cn-north-4, credentials: {ecs_agency: true, assume_agency: {name: 只读, domain_name: d, duration: 24h}}",
			AssumeAgency{Name: "只读", DomainName: "d", Duration: 24 * time.Hour},
		},
		{
			"by ID", "region: ap-southeast-3, credentials: {access_key: a, secret_key: b, " +
				"assume_agency: {name: r, domain_id: 0123, duration: 15m}}",
			AssumeAgency{
				Name: "r", DomainID: "0123", Duration: 15 * time.Minute, STSEndpoint: "https://sts.ap-southeast-3.myhuaweicloud.com",
			},
		},
		{
			"own STS endpoint", "region: x-1, endpoint: http://h, project_id: p, credentials: {profile: profiles/good.ini, " +
				"assume_agency: {name: r, domain_id: d, duration: 12h, sts_endpoint: http://127.0.0.1:80/}}",
			AssumeAgency{Name: "r", DomainID: "d", Duration: 12 * time.Hour, STSEndpoint: "http://127.0.0.1:80"},
		},
		{
			"token", "region: cn-north-4, credentials: {token_file: secrets/token, assume_agency: {name: r, domain_name: d}}",
			AssumeAgency{Name: "r", DomainName: "d", Duration: time.Hour},
		},
		{
			"user", "region: cn-north-4, credentials: {user: {name: u, domain: e, password: p}, " +
				"assume_agency: {name: r, domain_name: d}}",
			AssumeAgency{Name: "r", DomainName: "d", Duration: time.Hour},
		},
	}
	for _, tt := range tests {
		got := parseProject(t, tt.project, nil).Credentials.AssumeAgency
		if diff := cmp.Diff(&tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestTheCallersProjectIDIsNotUsedInAnotherAccount(t *testing.T) {
	const agency = "assume_agency: {name: r, domain_name: d}"
	keys := vars{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "b", "HUAWEICLOUD_SDK_PROJECT_ID": "p-of-the-caller"}
	tests := []struct {
		name, project string
		env           vars
		want          string
	}{
		{"environment", "credentials: {" + agency + "}", keys, ""},
		{"environment, own ID", "project_id: own, credentials: {" + agency + "}", keys, "own"},
		{"profile", "credentials: {profile: profiles/good.ini, " + agency + "}", nil, ""},
		{"profile of the chain", "credentials: {" + agency + "}", profileVars("good.ini"), ""},
		{"no agency", "name: n", keys, "p-of-the-caller"},
	}
	for _, tt := range tests {
		p := parseProject(t, "region: cn-north-4, "+tt.project, tt.env)
		if p.ProjectID != tt.want {
			t.Errorf("%s: got project ID %q, want %q", tt.name, p.ProjectID, tt.want)
		}
	}
	p := parseProject(t, "region: cn-north-4, credentials: {profile: profiles/good.ini, "+agency+"}", nil)
	if p.IAMEndpoint != "https://iam.profile.example" {
		t.Errorf("got IAM endpoint %s, want that of the profile: a site has one IAM", p.IAMEndpoint)
	}
	content := "projects: [{region: cn-north-4, credentials: {" + agency + "}}, {region: cn-south-1, credentials: {" + agency + "}}]"
	if _, err := Parse("x.yml", []byte(content), keys.lookup); err != nil {
		t.Errorf("two regions: got %v, want no conflict about an ID that neither uses", err)
	}
}

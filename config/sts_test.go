// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"testing"
)

func TestSTSEndpoints(t *testing.T) {
	for region, want := range map[string]string{
		"cn-north-4": "cn-north-4", "cn-south-1": "cn-south-1", "cn-southwest-2": "cn-southwest-2", "cn-east-3": "cn-east-3",
		"ap-southeast-4": "ap-southeast-4", "la-south-2": "la-south-2", "tr-west-1": "tr-west-1",
		"cn-north-1": "cn-north-4", "cn-east-2": "cn-north-4", "cn-east-5": "cn-north-4", // another region of the site
		"eu-west-101": "", "eu-de": "", "ap-southeast-5": "", "cn-unknown-1": "", "": "",
	} {
		if want != "" {
			want = fmt.Sprintf("https://sts.%s.myhuaweicloud.com", want)
		}
		if got := stsEndpoint(region); got != want {
			t.Errorf("%q: got %q, want %q", region, got, want)
		}
	}
}

// TestSTSOfEntries: ID tokens and the agency use the STS of the entry's region, unless they name their own.
func TestSTSOfEntries(t *testing.T) {
	const (
		keys   = "token_file: secrets/token, provider_urn: " + exampleProvider + ", agency_urn: " + exampleAgency
		oidc   = "oidc: {" + keys + "}"
		agency = "assume_agency: {name: r, domain_id: d}"
		north  = "https://sts.cn-north-4.myhuaweicloud.com"
		east   = "https://sts.ap-southeast-3.myhuaweicloud.com"
		own    = "http://127.0.0.1:80"
	)
	env := vars{"HUAWEICLOUD_OIDC_PROVIDER_URN": exampleProvider, "HUAWEICLOUD_OIDC_AGENCY_URN": exampleAgency,
		"HUAWEICLOUD_OIDC_ID_TOKEN": "token"}
	for _, test := range []struct {
		settings     string
		env          vars
		oidc, agency string
	}{
		{"region: ap-southeast-3, credentials: {" + oidc + ", " + agency + "}", nil, east, east},
		{"regions: [ap-southeast-3, cn-north-4], credentials: {" + oidc + ", " + agency + "}", nil, east, east},
		{"regions: ['*'], credentials: {" + oidc + ", " + agency + "}", nil, north, north},
		{"regions: ['*'], credentials: {" + agency + "}", env, north, north},
		{"region: ap-southeast-3, credentials: {oidc: {" + keys + ", sts_endpoint: " + own + "}, " + agency + "}", nil, own, east},
		{"region: eu-de, credentials: {oidc: {" + keys + ", sts_endpoint: " + own + "}, " +
			"assume_agency: {name: r, domain_name: d}}", nil, own, ""},
		{"region: eu-de, credentials: {oidc: {token_file: secrets/token, idp_id: i}, " +
			"assume_agency: {name: r, domain_id: d, sts_endpoint: " + own + "}}", nil, "", own},
		{"regions: [x-1], endpoint: 'http://{region}.example', iam_endpoint: http://i.example, " +
			"credentials: {oidc: {" + keys + ", sts_endpoint: " + own + "}}", nil, own, "none"},
	} {
		c := parseProject(t, test.settings, test.env).Credentials
		agency := "none"
		if c.AssumeAgency != nil {
			agency = c.AssumeAgency.STSEndpoint
		}
		if c.OIDC == nil || c.OIDC.STSEndpoint != test.oidc || agency != test.agency {
			t.Errorf("%s: got OIDC %v and the agency by %q, want %q and %q", test.settings, c.OIDC, agency, test.oidc, test.agency)
		}
	}
}

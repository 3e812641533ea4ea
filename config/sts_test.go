// SPDX-License-Identifier: Apache-2.0

package config

import "testing"

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
		{"region: ap-southeast-3, credentials: {oidc: {" + keys + ", sts_endpoint: " + own + "}, " + agency + "}",
			nil, own, east},
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
			t.Errorf("%s: got OIDC %v and the agency by %q, want %q and %q",
				test.settings, c.OIDC, agency, test.oidc, test.agency)
		}
	}
}

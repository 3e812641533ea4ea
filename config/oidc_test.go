// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// byIAM returns the settings of an ID token that IAM exchanges.
func byIAM(tokenFile string) *OIDC {
	return &OIDC{TokenFile: tokenFile, IDPID: "cluster", SessionName: "css_vpcep_exporter", Duration: time.Hour}
}

// bySTS adds the defaults to the settings of an ID token that STS exchanges.
func bySTS(o OIDC) *OIDC {
	o.SessionName = cmp.Or(o.SessionName, "css_vpcep_exporter")
	o.Duration = cmp.Or(o.Duration, time.Hour)
	return &o
}

const (
	exampleProvider = "iam::1:oidcProvider:cluster"
	exampleAgency   = "iam::1:agency:css-reader"
)

func withVars(all ...vars) vars {
	merged := vars{}
	for _, env := range all {
		maps.Copy(merged, env)
	}
	return merged
}

// TestOIDCVariables checks the order of the default chain, and the values of the variables.
func TestOIDCVariables(t *testing.T) {
	token := filepath.Join("testdata", "secrets", "token")
	sts := vars{
		"HUAWEICLOUD_OIDC_PROVIDER_URN": exampleProvider + "\n", "HUAWEICLOUD_OIDC_AGENCY_URN": exampleAgency,
	}
	file := vars{"HUAWEICLOUD_OIDC_TOKEN_FILE": token}
	iam := vars{"HUAWEICLOUD_SDK_IDP_ID": "cluster", "HUAWEICLOUD_SDK_ID_TOKEN_FILE": token}
	keys := vars{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s"}
	stsOfFile := OIDC{
		TokenFile: token, ProviderURN: exampleProvider, AgencyURN: exampleAgency, Environment: true,
		STSEndpoint: "https://sts.cn-north-4.myhuaweicloud.com",
	}
	changed := func(change func(*OIDC)) *OIDC {
		o := stsOfFile
		change(&o)
		return bySTS(o)
	}
	ofIAM := byIAM(token)
	ofIAM.Environment = true
	for name, test := range map[string]struct {
		env  vars
		want *OIDC
	}{
		"STS":                      {withVars(sts, file), bySTS(stsOfFile)},
		"STS before all others":    {withVars(sts, file, iam, keys, profileVars("broken.ini")), bySTS(stsOfFile)},
		"STS before half of IAM":   {withVars(sts, file, vars{"HUAWEICLOUD_SDK_IDP_ID": "x"}), bySTS(stsOfFile)},
		"STS before half of a key": {withVars(sts, file, vars{"HUAWEICLOUD_SDK_AK": "x"}), bySTS(stsOfFile)},
		"token in a variable": {withVars(sts, vars{"HUAWEICLOUD_OIDC_ID_TOKEN": " a.b.c\n"}), changed(func(o *OIDC) {
			o.TokenFile, o.IDToken = "", "a.b.c"
		})},
		"session and duration": {withVars(sts, file, vars{
			"HUAWEICLOUD_OIDC_SESSION_NAME": "a_+=,.@-9", "HUAWEICLOUD_OIDC_DURATION_SECONDS": "900",
		}), changed(func(o *OIDC) { o.SessionName, o.Duration = "a_+=,.@-9", 15*time.Minute })},
		"longest session and duration": {withVars(sts, file, vars{
			"HUAWEICLOUD_OIDC_SESSION_NAME": strings.Repeat("a", 128), "HUAWEICLOUD_OIDC_DURATION_SECONDS": "43200",
		}), changed(func(o *OIDC) { o.SessionName, o.Duration = strings.Repeat("a", 128), 12*time.Hour })},
		"IAM":                   {iam, ofIAM},
		"IAM before all others": {withVars(iam, keys, profileVars("broken.ini")), ofIAM},
		"session alone":         {withVars(keys, vars{"HUAWEICLOUD_OIDC_SESSION_NAME": "x y"}), nil},
		"keys":                  {keys, nil},
		"none":                  {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse("x.yml", []byte("projects: [{region: cn-north-4}, {region: tr-west-1, project_id: p}]"), test.env.lookup)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(test.want, c.Projects[0].Credentials.OIDC); diff != "" {
				t.Errorf("OIDC (-want +got):\n%s", diff)
			}
			second := c.Projects[1].Credentials.OIDC
			if want := "https://sts.tr-west-1.myhuaweicloud.com"; second != nil && second.IDPID == "" && second.STSEndpoint != want {
				t.Errorf("got the STS endpoint %q in the second region, want %q", second.STSEndpoint, want)
			}
		})
	}
}

// TestOIDCProjectID: the project ID of the environment belongs to credentials from the environment.
func TestOIDCProjectID(t *testing.T) {
	env := vars{
		"HUAWEICLOUD_SDK_IDP_ID": "cluster", "HUAWEICLOUD_SDK_ID_TOKEN_FILE": filepath.Join("testdata", "secrets", "token"),
		"HUAWEICLOUD_SDK_PROJECT_ID": "p-env",
	}
	for project, want := range map[string]string{
		"name: a": "p-env", "project_id: own": "own",
		"credentials: {oidc: {token_file: testdata/secrets/token, idp_id: other}}": "",
	} {
		c, err := Parse("x.yml", []byte("projects: [{region: cn-north-4, "+project+"}]"), env.lookup)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Projects[0].ProjectID; got != want {
			t.Errorf("{%s}: got the project ID %q, want %q", project, got, want)
		}
	}
}

func TestOIDCTokenInVariable(t *testing.T) {
	env := vars{"HUAWEICLOUD_OIDC_PROVIDER_URN": exampleProvider, "HUAWEICLOUD_OIDC_AGENCY_URN": exampleAgency}
	for value, fault := range keyFaults() {
		checkFault(t, "name: a", ": variable HUAWEICLOUD_OIDC_ID_TOKEN", value, fault,
			withVars(env, vars{"HUAWEICLOUD_OIDC_ID_TOKEN": value}))
	}
	c, err := Parse("x.yml", []byte("projects: [{region: cn-north-4}]"),
		withVars(env, vars{"HUAWEICLOUD_OIDC_ID_TOKEN": marker}).lookup)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		o := c.Projects[0].Credentials.OIDC
		for _, value := range []any{c, *c, c.Projects[0].Credentials, o, *o} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, marker) {
				t.Errorf("%s shows the token: %s", verb, text)
			}
		}
	}
}

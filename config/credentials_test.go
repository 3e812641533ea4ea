// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func profilePath(name string) string { return filepath.Join("testdata", "profiles", name) }

func TestDefaultProfile(t *testing.T) {
	tests := []struct {
		name string
		env  vars
		want Profile
	}{
		{"nothing", nil, Profile{"", "basic"}},
		{"home", vars{"HOME": "/home/a"}, Profile{"/home/a/.huaweicloud/credentials", "basic"}},
		{"variable", vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "b/c.ini"}, Profile{"b/c.ini", "basic"}},
		{"both", vars{"HOME": "/home/a", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": "/b/c.ini"}, Profile{"/b/c.ini", "basic"}},
		{
			"empty variable", vars{"HOME": "/home/a", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": ""},
			Profile{"/home/a/.huaweicloud/credentials", "basic"},
		},
	}
	for _, tt := range tests {
		if got := DefaultProfile(tt.env.lookup); got != tt.want {
			t.Errorf("%s: %+v, not %+v", tt.name, got, tt.want)
		}
	}
	if got := DefaultProfile(nil); got != (Profile{"", "basic"}) {
		t.Errorf("no environment: %+v", got)
	}
}

func TestMetadataAddress(t *testing.T) {
	const variable = "CSS_VPCEP_EXPORTER_METADATA_ADDRESS"
	tests := []struct {
		env  vars
		want string
	}{
		{nil, "http://169.254.169.254"},
		{vars{variable: ""}, "http://169.254.169.254"},
		{vars{variable: "http://127.0.0.1:8080/"}, "http://127.0.0.1:8080"},
		{vars{variable: "https://[fd00::1]"}, "https://[fd00::1]"},
		{vars{variable: "127.0.0.1"}, "http://169.254.169.254"},
		{vars{variable: "http://127.0.0.1/meta-data"}, "http://169.254.169.254"},
	}
	for _, tt := range tests {
		if got := MetadataAddress(tt.env.lookup); got != tt.want {
			t.Errorf("%v: %s, not %s", tt.env, got, tt.want)
		}
	}
}

const derivedIAM = "https://iam.cn-north-4.myhuaweicloud.com"

// used is what a project uses of a profile.
type used struct {
	ProjectID, IAMEndpoint string
	Profile                *Profile
}

// checkUsed parses a project in cn-north-4.
func checkUsed(t *testing.T, project string, env vars, want used) {
	t.Helper()
	content := "projects: [{region: cn-north-4, " + project + "}]"
	c, err := Parse(filepath.Join("testdata", "x.yml"), []byte(content), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Projects[0]
	if diff := cmp.Diff(want, used{p.ProjectID, p.IAMEndpoint, p.Credentials.Profile}); diff != "" {
		t.Errorf("used of the profile (-want +got):\n%s", diff)
	}
	if named := strings.Contains(project, "credentials"); named == (p.Credentials == Credentials{}) {
		t.Errorf("credentials: %+v", p.Credentials)
	}
}

func profileVars(name string) vars {
	return vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath(name)}
}

func TestProfileValues(t *testing.T) {
	file := func(name, section string) *Profile { return &Profile{profilePath(name), section} }
	good := profileVars("good.ini")
	tests := []struct {
		name, project string
		env           vars
		want          used
	}{
		{
			"path", "credentials: {profile: profiles/good.ini}", nil,
			used{"p-profile", "https://iam.profile.example", file("good.ini", "basic")},
		},
		{
			"section", "credentials: {profile: basic}", good,
			used{"p-profile", "https://iam.profile.example", file("good.ini", "basic")},
		},
		{"section without them", "credentials: {profile: keys}", good, used{"", derivedIAM, file("good.ini", "keys")}},
		{
			"section in HOME", "credentials: {profile: other}", vars{"HOME": "testdata/home2"},
			used{"p-home", derivedIAM, &Profile{"testdata/home2/.huaweicloud/credentials", "other"}},
		},
		{
			"the file has priority", "project_id: own, iam_endpoint: 'http://own', credentials: {profile: profiles/good.ini}",
			nil, used{"own", "http://own", file("good.ini", "basic")},
		},
		{
			"unused values may be invalid",
			"project_id: own, iam_endpoint: 'http://own', credentials: {profile: profiles/iam_path.ini}",
			nil, used{"own", "http://own", file("iam_path.ini", "basic")},
		},
		{
			"unused broken profile", "credentials: {token_file: secrets/token}", profileVars("broken.ini"),
			used{"", derivedIAM, nil},
		},
		{
			"unused invalid metadata address", "credentials: {token_file: secrets/token}",
			vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "x"}, used{"", derivedIAM, nil},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkUsed(t, tt.project, tt.env, tt.want) })
	}
}

func TestChainValues(t *testing.T) {
	with := func(env vars, more vars) vars {
		all := maps.Clone(env)
		maps.Copy(all, more)
		return all
	}
	good := profileVars("good.ini")
	keys := vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"}
	fromProfile, derived := used{"p-profile", "https://iam.profile.example", nil}, used{"", derivedIAM, nil}
	tests := []struct {
		name, project string
		env           vars
		want          used
	}{
		{"profile", "name: a", good, fromProfile},
		{"the file has priority", "project_id: own", good, used{"own", "https://iam.profile.example", nil}},
		{"environment first", "name: a", with(good, keys), derived},
		{"environment before a broken profile", "name: a", with(profileVars("broken.ini"), keys), derived},
		{
			"project ID of the environment without its keys", "name: a",
			with(good, vars{"HUAWEICLOUD_SDK_PROJECT_ID": "p-env"}), fromProfile,
		},
		{"no file", "name: a", vars{"HOME": "testdata/none"}, derived},
		{"no section", "name: a", profileVars("no_basic.ini"), derived},
		{"no keys", "name: a", profileVars("neither.ini"), derived},
		{"pod", "name: a", vars{ //nolint:gosec // made up
			"HC_CONTAINER_CREDENTIALS_FULL_URI":     "https://127.0.0.1:1/v1/credentials?a=b",
			"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/token",
		}, derived},
		{
			"half a pod after a profile", "project_id: own", with(good, vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "x"}),
			used{"own", "https://iam.profile.example", nil},
		},
		{
			"half a pod after the environment", "name: a",
			with(keys, vars{"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "x"}), derived,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkUsed(t, tt.project, tt.env, tt.want) })
	}
}

// TestProfileIAM uses the address of IAM from a profile, in a region that is not built in.
func TestProfileIAM(t *testing.T) {
	content := "projects: [{region: my-cloud-1, endpoint: 'https://css.example.com', " +
		"credentials: {profile: profiles/iam.ini}}]"
	c, err := Parse(filepath.Join("testdata", "x.yml"), []byte(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Projects[0].IAMEndpoint; got != "http://127.0.0.1:8081" {
		t.Errorf("IAM endpoint %q", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/smallfile"

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
		{"home on Windows", vars{"USERPROFILE": "/Users/a"}, Profile{"/Users/a/.huaweicloud/credentials", "basic"}},
		{
			"white space around the variable", vars{"HOME": "/home/a", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": " c.ini\r\n"},
			Profile{"c.ini", "basic"},
		},
		{"variable", vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "b/c.ini"}, Profile{"b/c.ini", "basic"}},
		{"both", vars{"HOME": "/home/a", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": "/b/c.ini"}, Profile{"/b/c.ini", "basic"}},
		{
			"empty variable", vars{"HOME": "/home/a", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": ""},
			Profile{"/home/a/.huaweicloud/credentials", "basic"},
		},
	}
	for _, tt := range tests {
		if got := DefaultProfile(tt.env.lookup); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if got := DefaultProfile(nil); got != (Profile{"", "basic"}) {
		t.Errorf("nil environment: got %+v, want section basic without a file", got)
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
			t.Errorf("%v: got %s, want %s", tt.env, got, tt.want)
		}
	}
}

const derivedIAM = "https://iam.cn-north-4.myhuaweicloud.com"

// sourceValues are the values of a project that may come with its credentials.
type sourceValues struct {
	ProjectID, IAMEndpoint string
	Profile                *Profile
}

// checkSourceValues parses a project in cn-north-4.
func checkSourceValues(t *testing.T, project string, env vars, want sourceValues) {
	t.Helper()
	content := "projects: [{region: cn-north-4, " + project + "}]"
	c, err := Parse(filepath.Join("testdata", "x.yml"), []byte(content), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Projects[0]
	if diff := cmp.Diff(want, sourceValues{p.ProjectID, p.IAMEndpoint, p.Credentials.Profile}); diff != "" {
		t.Errorf("values of the source (-want +got):\n%s", diff)
	}
	if set := (p.Credentials != Credentials{}); set != strings.Contains(project, "credentials") {
		t.Errorf("got credentials %+v for project {%s}", p.Credentials, project)
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
		want          sourceValues
	}{
		{
			"path", "credentials: {profile: profiles/good.ini}", nil,
			sourceValues{"p-profile", "https://iam.profile.example", file("good.ini", "basic")},
		},
		{
			"section", "credentials: {profile: basic}", good,
			sourceValues{"p-profile", "https://iam.profile.example", file("good.ini", "basic")},
		},
		{
			"section without values", "credentials: {profile: keys}", good,
			sourceValues{"", derivedIAM, file("good.ini", "keys")},
		},
		{
			"section in HOME", "credentials: {profile: other}", vars{"HOME": "testdata/home2"},
			sourceValues{"p-home", derivedIAM, &Profile{"testdata/home2/.huaweicloud/credentials", "other"}},
		},
		{
			"values of the file win", "project_id: own, iam_endpoint: 'http://own', credentials: {profile: profiles/good.ini}",
			nil, sourceValues{"own", "http://own", file("good.ini", "basic")},
		},
		{
			"unused values may be invalid",
			"project_id: own, iam_endpoint: 'http://own', credentials: {profile: profiles/iam_path.ini}",
			nil, sourceValues{"own", "http://own", file("iam_path.ini", "basic")},
		},
		{
			"unused invalid profile", "credentials: {token_file: secrets/token}", profileVars("broken.ini"),
			sourceValues{"", derivedIAM, nil},
		},
		{
			"unused invalid metadata address", "credentials: {token_file: secrets/token}",
			vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "x"}, sourceValues{"", derivedIAM, nil},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkSourceValues(t, tt.project, tt.env, tt.want) })
	}
}

func TestChainValues(t *testing.T) {
	merge := func(env, more vars) vars {
		merged := maps.Clone(env)
		maps.Copy(merged, more)
		return merged
	}
	good := profileVars("good.ini")
	keys := vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"}
	fromProfile := sourceValues{"p-profile", "https://iam.profile.example", nil}
	derived := sourceValues{"", derivedIAM, nil}
	tests := []struct {
		name, project string
		env           vars
		want          sourceValues
	}{
		{"profile", "name: a", good, fromProfile},
		{"values of the file win", "project_id: own", good, sourceValues{"own", "https://iam.profile.example", nil}},
		{"environment first", "name: a", merge(good, keys), derived},
		{"environment before an invalid profile", "name: a", merge(profileVars("broken.ini"), keys), derived},
		{
			"project ID of the environment without its keys", "name: a",
			merge(good, vars{"HUAWEICLOUD_SDK_PROJECT_ID": "p-env"}), fromProfile,
		},
		{"no file", "name: a", vars{"HOME": "testdata/none"}, derived},
		{"no section", "name: a", profileVars("no_basic.ini"), derived},
		{"no keys", "name: a", profileVars("neither.ini"), derived},
		{"pod", "name: a", vars{ //nolint:gosec // made up
			"HC_CONTAINER_CREDENTIALS_FULL_URI":     "https://127.0.0.1:1/v1/credentials?a=b",
			"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "testdata/secrets/token",
		}, derived},
		{
			"half a pod after a profile", "project_id: own", merge(good, vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "x"}),
			sourceValues{"own", "https://iam.profile.example", nil},
		},
		{
			"half a pod after the environment", "name: a",
			merge(keys, vars{"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "x"}), derived,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkSourceValues(t, tt.project, tt.env, tt.want) })
	}
}

func TestProfileIAMEndpointForUnknownRegion(t *testing.T) {
	content := "projects: [{region: my-cloud-1, endpoint: 'https://css.example.com', " +
		"credentials: {profile: profiles/iam.ini}}]"
	c, err := Parse(filepath.Join("testdata", "x.yml"), []byte(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Projects[0].IAMEndpoint; got != "http://127.0.0.1:8081" {
		t.Errorf("got IAM endpoint %q, want that of the profile", got)
	}
}

func TestSecretFileTooLarge(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), make([]byte, smallfile.MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.yml")
	_, err := Parse(file, []byte("projects: [{region: cn-north-4, credentials: {token_file: token}}]"), nil)
	checkMistakes(t, err, file+":1: projects[0].credentials.token_file: cannot read the file: larger than 1 MiB")
}

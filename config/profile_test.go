// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
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
		{"empty variable", vars{"HOME": "/home/a", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": ""}, Profile{"/home/a/.huaweicloud/credentials", "basic"}},
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

// TestProfileValues looks at what projects take from profiles.
func TestProfileValues(t *testing.T) {
	type taken struct {
		ProjectID, IAMEndpoint string
		Profile                *Profile
	}
	const derived = "https://iam.cn-north-4.myhuaweicloud.com"
	named := func(file, section string) *Profile { return &Profile{profilePath(file), section} }
	good := vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("good.ini")}
	with := func(env vars, more vars) vars {
		all := maps.Clone(env)
		maps.Copy(all, more)
		return all
	}
	tests := []struct {
		name, project string // the rest of a project in cn-north-4
		env           vars
		want          taken
	}{
		{"a path", "credentials: {profile: profiles/good.ini}", nil, taken{"p-profile", "https://iam.profile.example", named("good.ini", "basic")}},
		{"a section", "credentials: {profile: basic}", good, taken{"p-profile", "https://iam.profile.example", named("good.ini", "basic")}},
		{"a section without them", "credentials: {profile: keys}", good, taken{"", derived, named("good.ini", "keys")}},
		{"a section with a parent", "credentials: {profile: keys.child}", good, taken{"", derived, named("good.ini", "keys.child")}},
		{"a section in HOME", "credentials: {profile: other}", vars{"HOME": "testdata/home2"}, taken{"p-home", derived, &Profile{"testdata/home2/.huaweicloud/credentials", "other"}}},
		{
			"the file wins", "project_id: own, iam_endpoint: 'http://own', credentials: {profile: profiles/good.ini}", nil,
			taken{"own", "http://own", named("good.ini", "basic")},
		},
		{
			"what is not taken may be wrong", "project_id: own, iam_endpoint: 'http://own', credentials: {profile: profiles/iam_path.ini}", nil,
			taken{"own", "http://own", named("iam_path.ini", "basic")},
		},
		{"chain", "name: a", good, taken{"p-profile", "https://iam.profile.example", nil}},
		{"chain, the file wins", "project_id: own", good, taken{"own", "https://iam.profile.example", nil}},
		{"environment first", "name: a", with(good, vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"}), taken{"", derived, nil}},
		{
			"environment before a broken profile", "name: a",
			vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("broken.ini"), "CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"},
			taken{"", derived, nil},
		},
		{"the variable's id needs the variables' keys", "name: a", with(good, vars{"HUAWEICLOUD_SDK_PROJECT_ID": "p-env"}), taken{"p-profile", "https://iam.profile.example", nil}},
		{"no file", "name: a", vars{"HOME": "testdata/none"}, taken{"", derived, nil}},
		{"no section", "name: a", vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("no_basic.ini")}, taken{"", derived, nil}},
		{"no keys", "name: a", vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("neither.ini")}, taken{"", derived, nil}},
		{"broken but unused", "credentials: {token_file: secrets/token}", vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("broken.ini")}, taken{"", derived, nil}},
		{"pod", "name: a", vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "https://127.0.0.1:1/v1/credentials?a=b", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/token"}, taken{"", derived, nil}}, //nolint:gosec // made up
		{"half a pod behind a profile", "project_id: own", with(good, vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "x"}), taken{"own", "https://iam.profile.example", nil}},
		{
			"half a pod behind the environment", "name: a",
			vars{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "x"}, taken{"", derived, nil},
		},
		{"a bad metadata address that is not asked", "credentials: {token_file: secrets/token}", vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "x"}, taken{"", derived, nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(filepath.Join("testdata", "x.yml"), []byte("projects: [{region: cn-north-4, "+tt.project+"}]"), tt.env.lookup)
			if err != nil {
				t.Fatal(err)
			}
			p := c.Projects[0]
			if diff := cmp.Diff(tt.want, taken{p.ProjectID, p.IAMEndpoint, p.Credentials.Profile}); diff != "" {
				t.Errorf("taken from the profile (-want +got):\n%s", diff)
			}
			if chain := strings.Contains(tt.project, "credentials"); chain == (p.Credentials == Credentials{}) {
				t.Errorf("credentials: %+v", p.Credentials)
			}
		})
	}
}

// TestProfileIAM takes IAM's address for a region whose own is not known.
func TestProfileIAM(t *testing.T) {
	content := "projects: [{region: my-cloud-1, endpoint: 'https://css.example.com', credentials: {profile: profiles/iam.ini}}]"
	c, err := Parse(filepath.Join("testdata", "x.yml"), []byte(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Projects[0].IAMEndpoint; got != "http://127.0.0.1:8081" {
		t.Errorf("IAM is at %q", got)
	}
}

// TestProfileText reads values as the vendor's SDKs do.
func TestProfileText(t *testing.T) {
	tests := []struct{ written, want string }{
		{"p1", "p1"},
		{`"p1"`, "p1"},
		{"'p1'", "p1"},
		{"`p1`", "p1"},
		{"p1 # comment", "p1"},
		{"p1;comment", "p1"},
		{"p1\r", "p1"},
		{"p1\\\n2", "p12"},
		{"p1\nproject_id = p2", "p2"},
		{"", ""},
	}
	for _, tt := range tests {
		s := parseSection([]byte("\uFEFF[basic]\nak: a\nsk = s\nproject_id = "+tt.written+"\n"), "basic")
		if s.fault != "" || s.projectID != tt.want {
			t.Errorf("%q is read as %q (fault %q), not as %q", tt.written, s.projectID, s.fault, tt.want)
		}
	}
}

func TestProfileLarge(t *testing.T) {
	const start = "[basic]\nak = a\nsk = s\n"
	fits := start + strings.Repeat("#", maxProfileSize-len(start))
	if s := parseSection([]byte(fits), "basic"); s.fault != "" {
		t.Errorf("64 KiB: %s", s.fault)
	}
	if s := parseSection([]byte(fits+"#"), "basic"); s.fault != "is larger than 64 KiB: split it" || s.absent {
		t.Errorf("64 KiB and a byte: %+v", s)
	}
}

func TestIsAbsent(t *testing.T) {
	_, missing := os.Stat(filepath.Join(t.TempDir(), "none"))
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no such file", missing, true},
		{"a folder that may not be looked into", &fs.PathError{Op: "stat", Err: fs.ErrPermission}, true},
		{"a file that may not be read", &fs.PathError{Op: "open", Err: fs.ErrPermission}, false},
		{"no regular file", errNotRegular, false},
		{"another", errors.New("x"), false},
	}
	for _, tt := range tests {
		if got := isAbsent(tt.err); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// FuzzProfile holds any profile file to this: no panic, an end, and no secret
// in a fault.
func FuzzProfile(f *testing.F) {
	files, err := filepath.Glob("testdata/profiles/*.ini")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // a seed
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "basic")
		f.Add(content, "keys.child")
	}
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		s := parseSection(content, name)
		if strings.Contains(s.fault, marker) || strings.ContainsAny(s.fault, "\r\n") {
			t.Errorf("the fault shows the file: %s", s.fault)
		}
		if s.absent && s.fault == "" {
			t.Error("absent without a fault")
		}
	})
}

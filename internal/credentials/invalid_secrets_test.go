// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

const hiddenSecret = "S3CRET"

// invalidSecrets returns contents of files that cannot be keys or tokens, and the fault in the message.
func invalidSecrets() map[string]string {
	return map[string]string{
		"S3C\uFEFFRET":                      "byte order mark (U+FEFF)",
		"\uFEFF\uFEFFS3CRET":                "byte order mark (U+FEFF)",
		"S3CRET\u200B":                      "invisible character U+200B",
		"S3CRET\u00A0\n":                    "invisible character U+00A0",
		"“S3CRET”":                          "quotes around the value",
		`"S3CRET"`:                          "quotes around the value",
		"'S3CRET'\r\n":                      "quotes around the value",
		"S3CRET密":                           "non-ASCII character",
		"S3CRET\nS3CRET":                    "more than one line",
		"S3CRET\x00":                        "control character",
		"\xFF\xFES\x003\x00C\x00R\x00E\x00": "not in UTF-8",
	}
}

// parts returns a source that reads one part of credentials from a file, and the part of a result.
func parts(file string) map[string]struct {
	source cloud.CredentialSource
	part   func(cloud.Credentials) string
} {
	keys := cloud.Credentials{AccessKey: "a", SecretKey: "s"}
	type reader = struct {
		source cloud.CredentialSource
		part   func(cloud.Credentials) string
	}
	return map[string]reader{
		"access key": {
			credentials.NewFiles(cloud.Credentials{SecretKey: "s"}, cloud.Credentials{AccessKey: file}),
			func(c cloud.Credentials) string { return c.AccessKey },
		},
		"secret key": {
			credentials.NewFiles(cloud.Credentials{AccessKey: "a"}, cloud.Credentials{SecretKey: file}),
			func(c cloud.Credentials) string { return c.SecretKey },
		},
		"security token": {
			credentials.NewFiles(keys, cloud.Credentials{SecurityToken: file}),
			func(c cloud.Credentials) string { return c.SecurityToken },
		},
		"token": {
			credentials.NewFiles(cloud.Credentials{}, cloud.Credentials{AuthToken: file}),
			func(c cloud.Credentials) string { return c.AuthToken },
		},
		"password": {
			credentials.NewPassword("", file), func(c cloud.Credentials) string { return c.SecretKey },
		},
	}
}

// TestRotatedFileBecomesInvalid shows that an invalid new content changes nothing, and the valid one after it is used.
func TestRotatedFileBecomesInvalid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for name, test := range parts(file) {
		synctest.Test(t, func(t *testing.T) {
			want := func(state, value string) {
				t.Helper()
				if c, err := test.source.Credentials(t.Context()); err != nil || test.part(c) != value {
					t.Errorf("%s, %s: got the wanted value: %t; error %v", name, state, test.part(c) == value, err)
				}
			}
			writeFile(t, file, "one")
			want("at first", "one")
			for content, fault := range invalidSecrets() {
				writeFile(t, file, content)
				time.Sleep(refresh)
				want(fault, "one")
			}
			writeFile(t, file, "\uFEFF two \r\n")
			want("valid again, with a byte order mark at the start", "two") // at once
		})
	}
}

func TestFileWasNeverValid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for content, fault := range invalidSecrets() {
		writeFile(t, file, content)
		for name, test := range parts(file) {
			_, err := test.source.Credentials(t.Context())
			if err == nil {
				t.Errorf("%s, %s: got no error", name, fault)
				continue
			}
			for _, part := range []string{"no credentials: ", file, fault} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: got %v, want %q in it", name, err, part)
				}
			}
			noSecret(t, "error", err.Error(), hiddenSecret)
		}
	}
}

func TestPasswordMayHaveQuotesAndSpaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for _, password := range []string{"a b", `it's "good"`, `"`} {
		writeFile(t, file, "\uFEFF"+password+"\n")
		c, err := credentials.NewPassword("", file).Credentials(t.Context())
		if err != nil || c.SecretKey != password {
			t.Errorf("got the wanted password: %t; error %v", c.SecretKey == password, err)
		}
	}
}

// TestRunningExporterSurvivesAMark reads a cluster with a key whose file gets a byte order mark in the middle.
func TestRunningExporterSurvivesAMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sk")
	writeFile(t, path, "\uFEFF"+simtest.SecretKey+"\r\n")
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withSource(credentials.NewFiles(
			cloud.Credentials{AccessKey: simtest.AccessKey}, cloud.Credentials{SecretKey: path})))
		mustRead(t, client, "with a byte order mark at the start of the file")
		const valid = simtest.SecretKey
		for _, content := range []string{"\n\uFEFF" + valid, valid + "\u200B", `"` + valid + `"`} {
			writeFile(t, path, content)
			time.Sleep(refresh)
			mustRead(t, client, "after an invalid new content")
		}
	})
}

// TestHintNamesTheInvalidFile: the last valid secret is used until it is rejected, and its file has the new one.
func TestHintNamesTheInvalidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	files := credentials.NewFiles(cloud.Credentials{AccessKey: simtest.AccessKey}, cloud.Credentials{SecretKey: path})
	profile := credentials.NewProfile(path, "basic")
	inProfile := "[basic]\nak=" + simtest.AccessKey + "\nsk="
	for name, test := range map[string]struct {
		source                 cloud.CredentialSource
		before, valid, invalid string
	}{
		"secret key":         {files, "", simtest.SecretKey, hiddenSecret + "\u200B"},
		"profile":            {profile, inProfile, simtest.SecretKey, hiddenSecret + "\u200B"},
		"profile of a chain": {credentials.NewChain(profile), inProfile, simtest.SecretKey, hiddenSecret + "\u200B"},
		"password":           {nil, "", userPassword, hiddenSecret + "\u200B"},
	} {
		inMemory(t, simulator.Options{TokenLife: time.Second}, func(t *testing.T, c *testCloud) {
			option := withSource(test.source)
			if test.source == nil {
				option = withPassword(passwordFile(path))
			}
			writeFile(t, path, test.before+test.valid)
			time.Sleep(refresh)
			client := c.client(t, option)
			mustRead(t, client, name)
			writeFile(t, path, test.before+test.invalid)
			time.Sleep(refresh)
			c.RejectKey(simtest.AccessKey, "APIGW.0301")
			c.AddUser(simulator.User{Name: userName, Domain: userDomain, Password: "another-password-2"})
			for range 5 { // the last ones are paused
				e := failure(t, read(t.Context(), client, "c1"))
				if e.Reason != cloud.ReasonAuth || !strings.Contains(e.Hint(), path) || !strings.Contains(e.Hint(), "U+200B") {
					t.Errorf("%s: got %v with the hint %q, want auth, and the file and its character", name, e, e.Hint())
				}
				noSecret(t, "hint", e.Hint(), hiddenSecret)
			}
			writeFile(t, path, test.before+"valid-but-wrong")
			time.Sleep(refresh)
			if e := failure(t, read(t.Context(), client, "c1")); strings.Contains(e.Hint(), path) {
				t.Errorf("%s: got the hint %q for a valid file", name, e.Hint())
			}
		})
	}
}

func TestRotatedProfileBecomesInvalid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	const valid = "[basic]\nak=one\nsk=s\n"
	for name, content := range map[string]string{
		"key":     "[basic]\nak=S3CRET\u200B\nsk=S3CRET\n",
		"section": "[basic\uFEFF]\nak=S3CRET\nsk=S3CRET\n",
		"quotes":  "[basic]\nak=“S3CRET”\nsk=S3CRET\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			writeFile(t, file, content)
			profile := credentials.NewProfile(file, "basic")
			_, err := profile.Credentials(t.Context())
			if err == nil || !strings.Contains(err.Error(), file) || !strings.HasPrefix(err.Error(), "no credentials: ") {
				t.Errorf("%s: got %v, want an error with the file", name, err)
			} else {
				noSecret(t, "error", err.Error(), hiddenSecret)
			}
			equal(t, name+" skipped by a chain", skippedByChain(t, profile), false)
			for _, state := range []string{valid, content} {
				writeFile(t, file, state)
				time.Sleep(refresh)
				if c, err := profile.Credentials(t.Context()); err != nil || c.AccessKey != "one" {
					t.Errorf("%s: got the valid key: %t; error %v", name, c.AccessKey == "one", err)
				}
			}
		})
	}
}

func TestInvalidVariables(t *testing.T) {
	valid := map[string]string{
		"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t",
	}
	for name := range valid {
		for value, fault := range invalidSecrets() {
			variables := maps.Clone(valid)
			variables[name] = value
			_, err := environment(variables).Credentials(t.Context())
			if err == nil || !strings.Contains(err.Error(), "no credentials: variable "+name+" ") ||
				!strings.Contains(err.Error(), fault) {
				t.Errorf("%s: got %v, want an error with %q", name, err, fault)
				continue
			}
			noSecret(t, "error", err.Error(), hiddenSecret)
			equal(t, "skipped by a chain", skippedByChain(t, environment(variables)), false)
		}
		variables := maps.Clone(valid)
		variables[name] = " " + valid[name] + "\r\n"
		got, err := environment(variables).Credentials(t.Context())
		if want := (cloud.Credentials{AccessKey: "a", SecretKey: "s", SecurityToken: "t"}); err != nil || got != want {
			t.Errorf("%s with white space: got the wanted credentials: %t; error %v", name, got == want, err)
		}
	}
}

func TestPodTokenBecomesInvalid(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		variables := podVariables(t, c, "\uFEFF"+podToken)
		file := variables[podTokenFile]
		c.SetPodIdentity(simulator.PodIdentity{Token: podToken})
		contents := invalidSecrets()
		contents[""] = "empty"
		for content, fault := range contents {
			writeFile(t, file, "\uFEFF"+podToken+"\r\n")
			client := c.client(t, withSource(credentials.NewPodIdentity(environment(variables))))
			mustRead(t, client, "with a byte order mark at the start of the file")
			writeFile(t, file, content)
			c.ExpireKeys() // so that new ones are requested
			mustRead(t, client, "with the last valid token: "+fault)
		}
		for content, fault := range invalidSecrets() {
			writeFile(t, file, content)
			_, err := credentials.NewPodIdentity(environment(variables)).Credentials(bounded(t))
			if err == nil || !strings.Contains(err.Error(), podTokenFile) || !strings.Contains(err.Error(), fault) {
				t.Errorf("got %v, want an error with %q", err, fault)
				continue
			}
			noSecret(t, "error", err.Error(), hiddenSecret)
		}
	})
}

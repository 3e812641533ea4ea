// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// textFaults returns values that neither a key nor a password can have, and the fault in the message.
func textFaults() map[string]string {
	const quotes = "quotes around the value"
	faults := map[string]string{
		"S3CRET\uFEFFx": "byte order mark (U+FEFF)",
		"S3CRET\x01x":   "control character",
		"S3CRET\u00A0":  "invisible character U+00A0",
		"\u3000S3CRET":  "invisible character U+3000",
		`"S3CRET"`:      quotes, "'S3CRET'": quotes, "“S3CRET”": quotes, "‘S3CRET’": quotes, "”S3CRET”": quotes,
		"\uFF02S3CRET\uFF02": quotes,
	}
	for _, r := range "\u200B\u00AD\u00A0\u202E\u200F\u2060\u3164\uFE0F\u2028" {
		faults["S3CRET"+string(r)+"x"] = fmt.Sprintf("invisible character %U", r)
	}
	return faults
}

// passwordFaults returns all values that a password cannot have.
func passwordFaults() map[string]string {
	const nonASCII = "non-ASCII character"
	faults := textFaults()
	maps.Copy(faults, map[string]string{"S3CRETé": nonASCII, "密S3CRET": nonASCII, "“S3CRET": nonASCII})
	return faults
}

// keyFaults returns all values that a key cannot have.
func keyFaults() map[string]string {
	const quote = "quote at the start or the end of the value"
	faults := passwordFaults()
	maps.Copy(faults, map[string]string{`"S3CRET`: quote, "S3CRET'": quote, "`S3CRET`": quote})
	return faults
}

// checkFault parses a project whose key is invalid. %s in the project stands for the value as YAML.
func checkFault(t *testing.T, project, key, value, want string, env vars) {
	t.Helper()
	project = strings.ReplaceAll(project, "%s", strconv.QuoteToASCII(value))
	content := "projects:\n  - region: cn-north-4\n    " + project
	_, err := Parse(filepath.Join(t.TempDir(), "x.yml"), []byte(content), env.lookup)
	if err == nil {
		t.Errorf("%s %+q: got no mistake, want %s", key, value, want)
		return
	}
	got := messages(t, err)
	line := "3"
	if strings.HasPrefix(key, ":") {
		line = "2" // of the project
	}
	if !strings.Contains(got, "x.yml:"+line+": projects[0].credentials"+key) || !strings.Contains(got, want) ||
		strings.Contains(got, "\n") {
		t.Errorf("%s %+q: got %q, want one mistake of line %s with %q", key, value, got, line, want)
	}
}

func TestInvalidInlineSecrets(t *testing.T) {
	keys := keyFaults()
	maps.Copy(keys, map[string]string{
		"\uFEFFS3CRET": "byte order mark (U+FEFF)", "\x20S3CRET": "white space around the value",
		"S3CRET\t": "control character",
	})
	for value, fault := range keys {
		for key, rest := range map[string]string{ //nolint:gosec // made up
			"access_key": "secret_key: s", "secret_key": "access_key: a", "security_token": "access_key: a, secret_key: s",
		} {
			checkFault(t, "credentials: {"+key+": %s, "+rest+"}", "."+key, value, fault, nil)
		}
	}
	for value, fault := range textFaults() {
		for key, rest := range map[string]string{"name": "domain: d, password: p", "domain": "name: n, password: p"} {
			checkFault(t, "credentials: {user: {"+key+": %s, "+rest+"}}", ".user."+key, value, fault, nil)
		}
	}
	for value, fault := range passwordFaults() {
		checkFault(t, "credentials: {user: {password: %s, name: n, domain: d}}", ".user.password", value, fault, nil)
	}
}

// TestInvalidCharacterInPlainText shows that characters that YAML passes over or removes are found, too.
func TestInvalidCharacterInPlainText(t *testing.T) {
	for _, value := range []string{"\uFEFFS3CRET", "S3C\uFEFFRET", "S3CRET\uFEFF", "\u200BS3CRET", "S3CRET\u00A0"} {
		content := "projects:\n  - region: cn-north-4\n    credentials:\n      secret_key: s\n      access_key: " + value
		_, err := Parse("x.yml", []byte(content), nil)
		if err == nil {
			t.Errorf("%+q: got no mistake", value)
			continue
		}
		const want = "x.yml:5: projects[0].credentials.access_key: invalid value"
		if got := messages(t, err); !strings.Contains(got, want) {
			t.Errorf("%+q: got %q, want %q", value, got, want)
		}
	}
}

func TestInvisibleLineSeparators(t *testing.T) {
	for _, separator := range []string{"\u0085", "\u2028", "\u2029"} {
		content := "projects:\n  - region: cn-north-4\n    credentials:\n" +
			"      secret_key: s\n      access_key: \"S3" + separator + "CRET\""
		_, err := Parse("x.yml", []byte(content), nil)
		checkMistakes(t, err, "x.yml:5: invisible line separator (U+0085, U+2028 or U+2029); remove it")
	}
}

func TestValidTextOfPeople(t *testing.T) {
	names := []string{"运维", "J\u00FCrgen"}
	for _, value := range append(names, `it's "good"`, `"`, `'a"`, "ends with '", "a b", " spaces ") {
		password := value
		if slices.Contains(names, value) {
			password = "p"
		}
		user := fmt.Sprintf("{name: %[1]q, domain: %[1]q, password: %q}", value, password)
		content := "projects: [{region: cn-north-4, credentials: {user: " + user + "}}]"
		if _, err := Parse("x.yml", []byte(content), nil); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// secretFiles returns projects with the path of a secret, by the key that has it.
func secretFiles() map[string]string {
	return map[string]string{
		"access_key_file":     "credentials: {access_key_file: f, secret_key: s}",
		"secret_key_file":     "credentials: {secret_key_file: f, access_key: a}",
		"security_token_file": "credentials: {security_token_file: f, access_key: a, secret_key: s}",
		"token_file":          "credentials: {token_file: f}",
		"oidc.token_file":     "credentials: {oidc: {token_file: f, idp_id: i}}",
		"user.password_file":  "credentials: {user: {name: n, domain: d, password_file: f}}",
	}
}

// parseSecretFile parses a project whose secret is in a file.
func parseSecretFile(t *testing.T, project, content string) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Parse(filepath.Join(dir, "x.yml"), []byte("projects:\n  - region: cn-north-4\n    "+project), nil)
	return err
}

func TestInvalidSecretFiles(t *testing.T) {
	for key, project := range secretFiles() {
		faults := keyFaults()
		if key == "user.password_file" {
			faults = passwordFaults()
		}
		faults["\uFEFF\uFEFFS3CRET"], faults[" \uFEFFS3CRET"] = "byte order mark (U+FEFF)", "byte order mark (U+FEFF)"
		for value, fault := range faults {
			err := parseSecretFile(t, project, value+"\r\n")
			if err == nil {
				t.Errorf("%s %+q: got no mistake, want %s", key, value, fault)
				continue
			}
			want := "x.yml:3: projects[0].credentials." + key + ": the file holds an invalid value (not shown): " + fault
			if got := messages(t, err); !strings.Contains(got, want) {
				t.Errorf("%s %+q: got %q, want %q", key, value, got, want)
			}
		}
	}
}

func TestByteOrderMarkAndWhiteSpaceAroundSecretFiles(t *testing.T) {
	for key, project := range secretFiles() {
		for _, content := range []string{"\uFEFFsecret\r\n", "\uFEFF \t secret \n\n", "\n\f secret\v"} {
			if err := parseSecretFile(t, project, content); err != nil {
				t.Errorf("%s %q: %v", key, content, err)
			}
		}
		err := parseSecretFile(t, project, "\uFEFF\r\n")
		if err == nil || !strings.Contains(err.Error(), "the file is empty") {
			t.Errorf("%s: got %v for a byte order mark alone, want an empty file", key, err)
		}
	}
}

func TestInvalidVariables(t *testing.T) {
	pair := func(a, b string) vars { return vars{a: "a", b: "b"} }
	for name, others := range map[string]vars{
		"HUAWEICLOUD_SDK_AK":             pair("HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
		"HUAWEICLOUD_SDK_SK":             pair("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
		"HUAWEICLOUD_SDK_SECURITY_TOKEN": pair("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"),
		"CLOUD_SDK_AK":                   pair("CLOUD_SDK_SK", "X"),
		"CLOUD_SDK_SK":                   pair("CLOUD_SDK_AK", "X"),
	} {
		faults := keyFaults()
		faults["\uFEFFS3CRET"] = "byte order mark (U+FEFF)"
		for value, fault := range faults {
			env := maps.Clone(others)
			env[name] = value
			checkFault(t, "name: a", ": variable "+name, value, fault, env)
		}
		env := maps.Clone(others)
		env[name] = " \tsecret\r\n"
		if _, err := Parse("x.yml", []byte("projects: [{region: cn-north-4}]"), env.lookup); err != nil {
			t.Errorf("%s with white space around the value: %v", name, err)
		}
	}
}

// TestQuotedPathInVariable: a file that docker --env-file's quotes hide must not be taken for one that does not exist.
func TestQuotedPathInVariable(t *testing.T) {
	file, _ := filepath.Abs(profilePath("good.ini"))
	for _, value := range []string{`"` + file + `"`, "'" + file + "'", file + "\u200B"} {
		checkFault(t, "name: a", ": variable HUAWEICLOUD_SDK_CREDENTIALS_FILE has an invalid value", value, "",
			vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": value})
	}
	checkSourceValues(t, "name: a", vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": profilePath("good.ini") + " \r\n"},
		sourceValues{"p-profile", "https://iam.profile.example", nil})
}

func TestPodAddress(t *testing.T) {
	for _, value := range []string{
		"http://127.0.0.1:1/\u200B", "http://127.0.0.1:1/ ", "http://127.0.0.1:1/\u00A0", "http://127.0.0.1:1/é", "'http://127.0.0.1:1/'",
	} {
		checkFault(t, "name: a", ": variable HC_CONTAINER_CREDENTIALS_FULL_URI has an invalid URL", value, "", vars{
			"HC_CONTAINER_CREDENTIALS_FULL_URI": value, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": profilePath("good.ini"),
		})
	}
}

func TestPodTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	env := vars{ //nolint:gosec // made up
		"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/v1", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": file,
	}
	const at = ": the file in HC_CONTAINER_AUTHORIZATION_TOKEN_FILE: "
	checkFault(t, "name: a", at, file, "cannot read the file: no such file or directory", env)
	faults := keyFaults()
	faults["\uFEFF"] = "the file is empty"
	for value, fault := range faults {
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		checkFault(t, "name: a", at, value, fault, env)
	}
	if err := os.WriteFile(file, []byte("\uFEFFtoken\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("x.yml", []byte("projects: [{region: cn-north-4}]"), env.lookup); err != nil {
		t.Error(err)
	}
}

func TestInvalidProfileFiles(t *testing.T) {
	for value, fault := range keyFaults() {
		if strings.Contains(fault, "quote") {
			continue // quotes are part of the format
		}
		for key, content := range map[string]string{ //nolint:gosec // made up
			"ak": "[basic]\nsk = s\nak = ", "sk": "[basic]\nak = a\nsk = ",
			"security_token": "[basic]\nak = a\nsk = s\nsecurity_token = ",
		} {
			err := parseSecretFile(t, "credentials: {profile: ./f}", content+value+"\n")
			want := "invalid " + key + ": " + fault
			if err == nil || !strings.Contains(messages(t, err), want) ||
				!strings.Contains(err.Error(), "x.yml:3: projects[0].credentials.profile: ") {
				t.Errorf("%s = %+q: got %v, want %q", key, value, err, want)
			}
		}
	}
}

func TestByteOrderMarkInCertificateFile(t *testing.T) {
	ca, err := os.ReadFile(filepath.Join("testdata", "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for mark, valid := range map[string]bool{"\uFEFF": true, "\uFEFF\n": true, "\uFEFF\uFEFF": false} {
		err := parseSecretFile(t, "tls_config: {ca_file: f}", mark+string(ca))
		if (err == nil) != valid {
			t.Errorf("%+q before the certificate: got %v, want valid: %t", mark, err, valid)
		}
	}
}

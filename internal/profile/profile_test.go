// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/smallfile"

	"go.uber.org/goleak"
)

// marker is the value of secrets, which no error may show.
const marker = "S3CRET"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writeProfile returns the path of a new file.
func writeProfile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rawSection is a Section that is printed with its values.
type rawSection Section

func TestRead(t *testing.T) {
	const keys = "ak = A\nsk = S\n"
	const bare = "[basic]\n" + keys
	withKeys := func(s Section) Section { s.AccessKey, s.SecretKey = "A", "S"; return s }
	tests := []struct {
		name, content string
		want          Section
	}{
		{"bare", bare, withKeys(Section{})},
		{
			"all keys", bare + "security_token = T==\nproject_id=p\niam_endpoint: https://iam.example\n",
			withKeys(Section{SecurityToken: "T==", ProjectID: "p", IAMEndpoint: "https://iam.example"}),
		},
		{"other keys", bare + "domain_id = d\nnote = \"open\nnote = %(ak)s\n", withKeys(Section{})},
		{"other sections", "[other]\nak = x\nsk = %(x)s\n" + bare + "[third]\nsk = y\n", withKeys(Section{})},
		{"keys before the first section", "ak = x\nsk = y\n" + bare, withKeys(Section{})},
		{"a section in two parts", "[basic]\nak = A\n[other]\nak = x\n[basic]\nsk = S\n", withKeys(Section{})},
		{"last value wins", "[basic]\nak = x\n" + keys, withKeys(Section{})},
		{"byte order mark", "\uFEFF" + bare, withKeys(Section{})},
		{"carriage returns", strings.ReplaceAll(bare, "\n", "\r\n"), withKeys(Section{})},
		{"no newline at the end", strings.TrimSuffix(bare, "\n"), withKeys(Section{})},
		{"white space", " [ basic ] \n\n\t ak\t=\t A \n  sk=S  \n", withKeys(Section{})},
		{"comments", "# a\n; b\n[basic] # c\nak = A # d\nsk = S;e\n", withKeys(Section{})},
		{"colons", "[basic]\nak: A\nsk:S\n", withKeys(Section{})},
		{"quotes", "[basic]\nak = \"A\" ; a\nsk = 'S'\nproject_id = `p`#x", withKeys(Section{ProjectID: "p"})},
		{"characters in quotes", bare + "project_id = 'a#b;c\"d'\n", withKeys(Section{ProjectID: `a#b;c"d`})},
		{"a delimiter in a value", bare + "project_id = a=b:c\n", withKeys(Section{ProjectID: "a=b:c"})},
		{"no value", bare + "project_id =\n", withKeys(Section{})},
		{
			"comments of people", "\u3000# 密\u200B\n\u00A0\n[basic] # \u3000密\n[密]\n" + bare + "密 = \u200B\n",
			withKeys(Section{}),
		},
		{"tabs in a line", "[\tbasic\t]\nak\t=\tA\nsk\t:\tS", withKeys(Section{})},
		{"a percent sign", bare + "project_id = 100%\n", withKeys(Section{ProjectID: "100%"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read(writeProfile(t, tt.content), "basic")
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", rawSection(got), rawSection(tt.want))
			}
		})
	}
}

// valid is the content of a file whose section [basic] has both keys.
const valid = "[basic]\nak = " + marker + "\nsk = " + marker + "\n"

// readError is a file with an invalid section [basic], and the error of Read.
type readError struct {
	name, content, want string
}

func checkReadErrors(t *testing.T, absent bool, tests []readError) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			section, err := Read(writeProfile(t, tt.content), "basic")
			if err == nil || err.Error() != tt.want {
				t.Fatalf("got error %v, want %s", err, tt.want)
			}
			if got := Absent(err); got != absent {
				t.Errorf("Absent(%v): got %t, want %t", err, got, absent)
			}
			if section != (Section{}) {
				t.Error("got values beside the error, want none")
			}
		})
	}
}

func TestReadAbsent(t *testing.T) {
	const noKeys = "neither ak nor sk is set in the section; set both"
	checkReadErrors(t, true, []readError{
		{"empty", "", "no such section"},
		{"no section", "[" + marker + "]\nak = A\nsk = B\n", "no such section"},
		{"child section", "[basic.child]\nak = A\nsk = B\n", "no such section"},
		{"neither key", "[basic]\nproject_id = " + marker, noKeys},
		{"keys in capitals", "[basic]\nAK = " + marker + "\nSK = " + marker, noKeys},
	})
}

func TestReadMissingKey(t *testing.T) {
	const noAK = "sk is set without ak in the section; set both"
	checkReadErrors(t, false, []readError{
		{"ak alone", "[basic]\nak = " + marker, "ak is set without sk in the section; set both"},
		{"sk alone", "[basic]\nak = ''\nsk = " + marker, noAK},
		{"space in quotes", "[basic]\nak = \"  \"\nsk = " + marker, noAK},
	})
}

func TestReadInvalidLine(t *testing.T) {
	const expected = `"[section]" or "key = value" expected`
	checkReadErrors(t, false, []readError{
		{"open section", "[basic\nak = " + marker, `line 1: "[section]" expected`},
		{"text after a section", "[basic] " + marker, `line 1: "[section]" expected`},
		{"no delimiter", "[basic]\nak = A\nsk " + marker, "line 3: " + expected},
		{"no delimiter in another section", valid + "[other]\n" + marker, "line 5: " + expected},
		{"no key", "[basic]\n= " + marker, "line 2: " + expected},
	})
}

func TestReadInvalidValue(t *testing.T) {
	const quotes = "unclosed quote, or text after the closing one; write the value on one line"
	checkReadErrors(t, false, []readError{
		{
			"continued line", "[basic]\nak = " + marker + "\\\n2\n",
			`line 2: invalid ak: ends with a \; write the value on one line`,
		},
		{"several lines", "[basic]\nak = A\nsk = \"\"\"" + marker + "\nx\"\"\"\n", "line 3: invalid sk: " + quotes},
		{"open quote", "[basic]\nak = A\nsk = '" + marker + "\n", "line 3: invalid sk: " + quotes},
		{"text after a quote", "[basic]\nak = 'A'" + marker + "\n", "line 2: invalid ak: " + quotes},
		{
			"control character", valid + "security_token = \x01x",
			"line 4: invalid security_token: control character; remove it",
		},
		{"tab", valid + "sk = " + marker + "\tx", "line 4: invalid sk: control character; remove it"},
		{
			"reference", valid + "sk = %(ak)s-" + marker,
			"line 4: invalid sk: refers to another key by %(...); write the value itself",
		},
	})
}

// TestReadInvisibleCharacter shows that such a character does not make a section or a key seem to be missing, after
// which the next source would be used.
func TestReadInvisibleCharacter(t *testing.T) {
	const zeroWidth, mark = "invisible character U+200B; remove it", "byte order mark (U+FEFF); remove it"
	checkReadErrors(t, false, []readError{
		{"in a section", "[basic\u200B]\nak = " + marker + "\nsk = " + marker, "line 1: " + zeroWidth},
		{"before a section", "# a\n\uFEFF[basic]\nak = " + marker + "\nsk = " + marker, "line 2: " + mark},
		{"two marks", "\uFEFF\uFEFF" + valid, "line 1: " + mark},
		{"in a key", "[basic]\na\u200Bk = " + marker + "\nsk = " + marker, "line 2: " + zeroWidth},
		{"before a key", "[basic]\n\uFEFFak = " + marker + "\nsk = " + marker, "line 2: " + mark},
		{"in the indentation", "[basic]\n\u00A0 ak = A\n", "line 2: invisible character U+00A0; remove it"},
	})
}

func TestReadInvalidSecret(t *testing.T) {
	const rest = "; write only the value"
	checkReadErrors(t, false, []readError{
		{"mark", valid + "ak = \uFEFF" + marker, "line 4: invalid ak: byte order mark (U+FEFF)" + rest},
		{"zero width space", valid + "sk = " + marker + "\u200B", "line 4: invalid sk: invisible character U+200B" + rest},
		{"no-break space", valid + "sk = A\u00A0 # " + marker, "line 4: invalid sk: invisible character U+00A0" + rest},
		{"letter", valid + "security_token = é" + marker, "line 4: invalid security_token: non-ASCII character" + rest},
		{"typographic quotes", valid + "ak = “" + marker + "”", "line 4: invalid ak: quotes around the value" + rest},
		{"quotes in quotes", valid + "ak = \"'" + marker + "'\"", "line 4: invalid ak: quotes around the value" + rest},
		{"inside quotes", valid + "ak = '" + marker + "\u2060'", "line 4: invalid ak: invisible character U+2060" + rest},
		{"open typographic quote", valid + "ak = ‘" + marker, "line 4: invalid ak: non-ASCII character" + rest},
	})
}

func TestReadInvalidText(t *testing.T) {
	const notText = "not a text file in UTF-8; save it as UTF-8"
	checkReadErrors(t, false, []readError{
		{"UTF-16", "\xff\xfe[\x00b\x00", notText},
		{"UTF-16 without a mark", "[\x00b\x00", notText},
		{"invalid UTF-8", valid + "project_id = \xe9", notText},
		{"too large", valid + strings.Repeat("#", smallfile.MaxSize-len(valid)+1), "larger than 1 MiB"},
	})
}

func TestReadLargestFile(t *testing.T) {
	if _, err := Read(writeProfile(t, valid+strings.Repeat("#", smallfile.MaxSize-len(valid))), "basic"); err != nil {
		t.Errorf("got error %v for 64 KiB, want none", err)
	}
}

func TestReadMissingFile(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), marker), "basic")
	if !errors.Is(err, fs.ErrNotExist) || !Absent(err) || strings.Contains(err.Error(), marker) {
		t.Errorf("got error %v, absent %t, want %v without the path, absent", err, Absent(err), fs.ErrNotExist)
	}
}

func TestReadDirectory(t *testing.T) {
	if _, err := Read(t.TempDir(), "basic"); !errors.Is(err, smallfile.ErrNotRegular) || Absent(err) {
		t.Errorf("got error %v, absent %t, want %v, not absent", err, Absent(err), smallfile.ErrNotRegular)
	}
}

func TestReadWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every file")
	}
	path := writeProfile(t, valid)
	for _, tt := range []struct {
		restricted string
		want       error
	}{{path, fs.ErrPermission}, {filepath.Dir(path), errNoAccess}} {
		if err := os.Chmod(tt.restricted, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path, "basic"); !errors.Is(err, tt.want) {
			t.Errorf("got error %v, want %v", err, tt.want)
		}
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil { //nolint:gosec // so that it can be removed
		t.Fatal(err)
	}
}

func TestAbsent(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{errNoAccess, true},
		{fmt.Errorf("wrapped: %w", ErrNoKeys), true},
		{fs.ErrPermission, false}, // the file exists
		{errors.New("another"), false},
	} {
		if got := Absent(tt.err); got != tt.want {
			t.Errorf("Absent(%v): got %t, want %t", tt.err, got, tt.want)
		}
	}
}

func TestSectionIsNotPrinted(t *testing.T) {
	s := Section{AccessKey: marker, SecretKey: marker, SecurityToken: marker}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{s, &s, struct{ S *Section }{&s}, []Section{s}} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, marker) || strings.Contains(got, fmt.Sprintf("%x", marker)) {
				t.Errorf("%s shows a secret: %s", verb, got)
			}
		}
	}
}

// FuzzParse shows that parse neither panics nor shows a secret, and that a section without an error has both keys.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"[basic]\nak = A\nsk = S3CRET\n",
		"\uFEFF# x\r\n[basic] ; y\r\nak: \"S3CRET\" # z\r\nsk = 'S'\r\nsecurity_token = `a#b`\r\n",
		"[basic]\nak = S3CRET\\\nsk = %(ak)s\n",
		"[basic\nS3CRET",
		"[a]\n[basic.child]\nsk = \"\"\"S3CRET\nx\"\"\"\n",
	} {
		f.Add([]byte(seed), "basic")
		f.Add([]byte(seed), "basic.child")
	}
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		s, err := parse(content, name)
		switch {
		case err == nil:
			for _, value := range []string{s.AccessKey, s.SecretKey} {
				if value == "" || strings.TrimSpace(value) != value || strings.ContainsAny(value, "\r\n\x00") {
					t.Errorf("got value %q, want bare text on one line", value)
				}
			}
		case strings.Contains(err.Error(), marker) || strings.ContainsAny(err.Error(), "\r\n"):
			t.Errorf("got error %q, want one line without content of the file", err)
		case s != (Section{}):
			t.Error("got values beside the error, want none")
		}
	})
}

func TestDefaultPath(t *testing.T) {
	home := func(dir string) string { return filepath.Join(dir, ".huaweicloud", "credentials") }
	for _, tt := range []struct {
		system, variables, want string
	}{
		{"linux", "", ""},
		{"windows", "", ""},
		{"linux", "HOME=/home/a", home("/home/a")},
		{"linux", "HOME=/home/a USERPROFILE=/Users/a", home("/home/a")},
		{"windows", `USERPROFILE=C:\Users\a`, home(`C:\Users\a`)},
		{"windows", `HOME=/c/Users/a USERPROFILE=C:\Users\a`, home(`C:\Users\a`)},
		{"windows", "HOME=/home/a", home("/home/a")},
		{"windows", `USERPROFILE=C:\Users\a HUAWEICLOUD_SDK_CREDENTIALS_FILE=D:\keys.ini`, `D:\keys.ini`},
	} {
		variable := func(name string) string {
			for setting := range strings.FieldsSeq(tt.variables) {
				if value, ok := strings.CutPrefix(setting, name+"="); ok {
					return value
				}
			}
			return ""
		}
		if got := DefaultPath(tt.system, variable); got != tt.want {
			t.Errorf("%s with %s: got %q, want %q", tt.system, tt.variables, got, tt.want)
		}
	}
}

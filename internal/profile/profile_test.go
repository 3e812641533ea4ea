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

	"go.uber.org/goleak"
)

// marker stands for a secret that no error may show.
const marker = "S3CRET"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write returns the path of a new file.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	const keys = "ak = A\nsk = S\n"
	const bare = "[basic]\n" + keys
	both := func(s Section) Section { s.AccessKey, s.SecretKey = "A", "S"; return s }
	tests := []struct {
		name, content string
		want          Section
	}{
		{"bare", bare, both(Section{})},
		{
			"all keys", bare + "security_token = T==\nproject_id=p\niam_endpoint: https://iam.example\n",
			both(Section{SecurityToken: "T==", ProjectID: "p", IAMEndpoint: "https://iam.example"}),
		},
		{"other keys", bare + "domain_id = d\nnote = \"open\nnote = %(ak)s\n", both(Section{})},
		{"other sections", "[other]\nak = x\nsk = %(x)s\n" + bare + "[third]\nsk = y\n", both(Section{})},
		{"keys before the first section", "ak = x\nsk = y\n" + bare, both(Section{})},
		{"a section in two parts", "[basic]\nak = A\n[other]\nak = x\n[basic]\nsk = S\n", both(Section{})},
		{"the last value wins", "[basic]\nak = x\n" + keys, both(Section{})},
		{"byte order mark", "\uFEFF" + bare, both(Section{})},
		{"carriage returns", strings.ReplaceAll(bare, "\n", "\r\n"), both(Section{})},
		{"no newline at the end", strings.TrimSuffix(bare, "\n"), both(Section{})},
		{"white space", " [ basic ] \n\n\t ak\t=\t A \n  sk=S  \n", both(Section{})},
		{"comments", "# a\n; b\n[basic] # c\nak = A # d\nsk = S;e\n", both(Section{})},
		{"colons", "[basic]\nak: A\nsk:S\n", both(Section{})},
		{"quotes", "[basic]\nak = \"A\" ; a\nsk = 'S'\nproject_id = `p`#x", both(Section{ProjectID: "p"})},
		{"characters in quotes", bare + "project_id = 'a#b;c\"d'\n", both(Section{ProjectID: `a#b;c"d`})},
		{"a delimiter in a value", bare + "project_id = a=b:c\n", both(Section{ProjectID: "a=b:c"})},
		{"no value", bare + "project_id =\n", both(Section{})},
		{"a percent sign", bare + "project_id = 100%\n", both(Section{ProjectID: "100%"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read(write(t, tt.content), "basic")
			if err != nil || got != tt.want {
				t.Errorf("wrong values, or %v", err)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	const bare = "[basic]\nak = " + marker + "\nsk = " + marker + "\n"
	const syntax = `"[section]" or "key = value" expected`
	tests := []struct {
		name, content, want string
		absent              bool
	}{
		{"empty", "", "no such section", true},
		{"no section", "[" + marker + "]\nak = A\nsk = B\n", "no such section", true},
		{"child section", "[basic.child]\nak = A\nsk = B\n", "no such section", true},
		{"neither key", "[basic]\nproject_id = " + marker, "neither ak nor sk is set in the section; set both", true},
		{
			"other letters", "[basic]\nAK = " + marker + "\nSK = " + marker,
			"neither ak nor sk is set in the section; set both", true,
		},
		{"ak alone", "[basic]\nak = " + marker, "ak is set without sk in the section; set both", false},
		{"sk alone", "[basic]\nak = ''\nsk = " + marker, "sk is set without ak in the section; set both", false},
		{"space in quotes", "[basic]\nak = \"  \"\nsk = " + marker, "sk is set without ak in the section; set both", false},
		{"open section", "[basic\nak = " + marker, `line 1: "[section]" expected`, false},
		{"text behind a section", "[basic] " + marker, `line 1: "[section]" expected`, false},
		{"no delimiter", "[basic]\nak = A\nsk " + marker, "line 3: " + syntax, false},
		{"no delimiter elsewhere", bare + "[other]\n" + marker, "line 5: " + syntax, false},
		{"no key", "[basic]\n= " + marker, "line 2: " + syntax, false},
		{
			"continued", "[basic]\nak = " + marker + "\\\n2\n",
			`line 2: invalid ak: ends with a \; write the value on one line`, false,
		},
		{
			"several lines", "[basic]\nak = A\nsk = \"\"\"" + marker + "\nx\"\"\"\n",
			"line 3: invalid sk: unclosed quote, or text after the closing one; write the value on one line", false,
		},
		{
			"open quote", "[basic]\nak = A\nsk = '" + marker + "\n",
			"line 3: invalid sk: unclosed quote, or text after the closing one; write the value on one line", false,
		},
		{
			"text behind a quote", "[basic]\nak = 'A'" + marker + "\n",
			"line 2: invalid ak: unclosed quote, or text after the closing one; write the value on one line", false,
		},
		{
			"control character", bare + "security_token = \x01x",
			"line 4: invalid security_token: control character; remove it", false,
		},
		{"tab", bare + "sk = " + marker + "\tx", "line 4: invalid sk: control character; remove it", false},
		{
			"reference", bare + "sk = %(ak)s-" + marker,
			"line 4: invalid sk: refers to another key by %(...); write the value itself", false,
		},
		{"UTF-16", "\xff\xfe[\x00b\x00", "not a text file in UTF-8; save it as UTF-8", false},
		{"UTF-16 without a mark", "[\x00b\x00", "not a text file in UTF-8; save it as UTF-8", false},
		{"no UTF-8", bare + "project_id = \xe9", "not a text file in UTF-8; save it as UTF-8", false},
		{"large", bare + strings.Repeat("#", maxSize-len(bare)+1), "larger than 64 KiB", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.content)
			s, err := Read(path, "basic")
			if err == nil {
				t.Fatal("no error")
			}
			if err.Error() != tt.want || Absent(err) != tt.absent {
				t.Errorf("error %q, absent %t", err, Absent(err))
			}
			if s != (Section{}) {
				t.Error("values beside an error")
			}
		})
	}
	if _, err := Read(write(t, bare+strings.Repeat("#", maxSize-len(bare))), "basic"); err != nil {
		t.Errorf("64 KiB: %v", err)
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := Read(filepath.Join(dir, marker), "basic")
	if !errors.Is(err, fs.ErrNotExist) || !Absent(err) || strings.Contains(err.Error(), marker) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(dir, "basic"); !errors.Is(err, errNotRegular) || Absent(err) {
		t.Errorf("a directory: %v", err)
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{errNoAccess, true},
		{fmt.Errorf("wrapped: %w", ErrNoKeys), true},
		{fs.ErrPermission, false}, // a file that may not be read is there
		{errors.New("another"), false},
	} {
		if got := Absent(tt.err); got != tt.want {
			t.Errorf("Absent(%v) = %t", tt.err, got)
		}
	}
	if os.Geteuid() == 0 {
		return // who may read everything
	}
	path := write(t, "[basic]\nak = A\nsk = S\n")
	for _, tt := range []struct {
		restricted string
		want       error
	}{{path, fs.ErrPermission}, {filepath.Dir(path), errNoAccess}} {
		if err := os.Chmod(tt.restricted, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path, "basic"); !errors.Is(err, tt.want) {
			t.Errorf("%v, want %v", err, tt.want)
		}
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil { //nolint:gosec // so that it can be removed
		t.Fatal(err)
	}
}

func TestSectionHidesItsValues(t *testing.T) {
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

// FuzzParse checks that no file makes parse panic or show a secret, and that a section without an error has both keys.
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
					t.Errorf("value %q", value)
				}
			}
		case strings.Contains(err.Error(), marker) || strings.ContainsAny(err.Error(), "\r\n"):
			t.Errorf("the error shows the file: %v", err)
		case s != (Section{}):
			t.Error("values beside an error")
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

// Package profile reads the profile file of the vendor's SDKs.
package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/internal/secret"
	"css_vpcep_exporter/internal/smallfile"
)

// Errors of Read. None shows a path or content, which may be misplaced secrets.
var (
	ErrNoSection = errors.New("no such section")
	ErrNoKeys    = errors.New("neither ak nor sk is set in the section; set both")

	errNoAccess = errors.New("permission denied for its directory")
	errNotText  = errors.New("not a text file in UTF-8; save it as UTF-8")
	errNoSK     = errors.New("ak is set without sk in the section; set both")
	errNoAK     = errors.New("sk is set without ak in the section; set both")
)

// PathVariable overrides DefaultPath.
const PathVariable = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"

// DefaultPath returns the path of the profile file on an operating system (of GOOS), or "" if the user's home is
// unknown.
func DefaultPath(system string, variable func(string) string) string {
	home := cmp.Or(variable("HOME"), variable("USERPROFILE"))
	if system == "windows" { // HOME may be that of a Unix shell
		home = cmp.Or(variable("USERPROFILE"), variable("HOME"))
	}
	path := secret.Trim(variable(PathVariable))
	if path == "" && home != "" {
		path = filepath.Join(home, ".huaweicloud", "credentials")
	}
	return path
}

// Section holds the values of a section. AccessKey and SecretKey are never empty.
type Section struct {
	AccessKey, SecretKey, SecurityToken string
	ProjectID, IAMEndpoint              string
}

// Format hides the values.
func (Section) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "<profile>") }

// Absent reports whether err means that the profile does not exist.
func Absent(err error) bool {
	for _, absent := range []error{fs.ErrNotExist, errNoAccess, ErrNoSection, ErrNoKeys} {
		if errors.Is(err, absent) {
			return true
		}
	}
	return false
}

// Read returns a section of the file at path.
func Read(path, section string) (Section, error) {
	content, err := smallfile.Read(path)
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok && p.Op == "stat" && errors.Is(err, fs.ErrPermission) {
			err = errNoAccess
		}
		return Section{}, smallfile.WithoutPath(err)
	}
	return parse(content, section)
}

// parse checks all lines, but values only in the named section.
func parse(content []byte, section string) (Section, error) {
	text := string(content)
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return Section{}, errNotText
	}
	var s Section
	fields := map[string]*string{
		"ak": &s.AccessKey, "sk": &s.SecretKey, "security_token": &s.SecurityToken,
		"project_id": &s.ProjectID, "iam_endpoint": &s.IAMEndpoint,
	}
	found, inSection := false, false
	for i, line := range strings.Split(text, "\n") {
		line = secret.Trim(line)
		if isComment(strings.TrimSpace(line)) {
			continue
		}
		if fault := secret.InvisibleFault(name(line)); fault != "" { // the section or key would seem to be missing
			return Section{}, fmt.Errorf("line %d: %s; remove it", i+1, fault)
		}
		if line[0] == '[' {
			header, rest, closed := strings.Cut(line[1:], "]")
			if !closed || !isComment(strings.TrimSpace(rest)) {
				return Section{}, fmt.Errorf(`line %d: "[section]" expected`, i+1)
			}
			inSection = strings.TrimSpace(header) == section
			found = found || inSection
			continue
		}
		at := strings.IndexAny(line, "=:")
		if at < 1 {
			return Section{}, fmt.Errorf(`line %d: "[section]" or "key = value" expected`, i+1)
		}
		key := strings.TrimSpace(line[:at])
		if field := fields[key]; inSection && field != nil {
			var problem string
			*field, problem = parseValue(secret.Trim(line[at+1:]))
			shown := field == &s.ProjectID || field == &s.IAMEndpoint // checked where they are used
			if fault := secret.KeyFault(*field); problem == "" && fault != "" && !shown {
				problem = fault + "; write only the value"
			}
			if problem != "" {
				return Section{}, fmt.Errorf("line %d: invalid %s: %s", i+1, key, problem)
			}
		}
	}
	switch {
	case !found:
		return Section{}, ErrNoSection
	case s.AccessKey == "" && s.SecretKey == "":
		return Section{}, ErrNoKeys
	case s.SecretKey == "":
		return Section{}, errNoSK
	case s.AccessKey == "":
		return Section{}, errNoAK
	}
	return s, nil
}

func name(line string) string {
	delimiters := "=:"
	if line[0] == '[' {
		delimiters = "]"
	}
	if end := strings.IndexAny(line, delimiters); end >= 0 {
		line = line[:end]
	}
	return strings.ReplaceAll(line, "\t", "")
}

func isComment(line string) bool { return line == "" || line[0] == '#' || line[0] == ';' }

func parseValue(s string) (bare, problem string) {
	if quoted := strings.HasPrefix(s, `"`) || strings.HasPrefix(s, "'") || strings.HasPrefix(s, "`"); quoted {
		var rest string
		var closed bool
		if bare, rest, closed = strings.Cut(s[1:], s[:1]); !closed || !isComment(strings.TrimSpace(rest)) {
			return "", "unclosed quote, or text after the closing one; write the value on one line"
		}
	} else if bare = s; strings.ContainsAny(s, "#;") {
		bare = s[:strings.IndexAny(s, "#;")]
	}
	bare = secret.Trim(bare)
	switch {
	case strings.ContainsFunc(bare, unicode.IsControl):
		return "", "control character; remove it"
	case strings.Contains(bare, "%("): // other readers replace it
		return "", "refers to another key by %(...); write the value itself"
	case strings.HasSuffix(bare, `\`):
		return "", `ends with a \; write the value on one line`
	}
	return bare, ""
}

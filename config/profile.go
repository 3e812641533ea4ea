// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"gopkg.in/ini.v1"
)

const (
	profileVariable = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
	profileSection  = "basic"

	// The INI library needs time that grows with the square of a file's lines.
	maxProfileSize = 64 << 10
)

// Profile is a section of an INI file in the format of the vendor's SDKs, with
// the keys ak, sk, security_token, project_id and iam_endpoint. Load has read
// it: it had ak and sk then.
type Profile struct {
	File    string // joined with the folder of the configuration file
	Section string
}

// DefaultProfile gives what the default chain reads, as the vendor's SDKs do:
// section "basic" of the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, or of
// .huaweicloud/credentials in HOME. File is empty if neither is set. The file
// need not be there.
func DefaultProfile(env Environment) Profile {
	file := env.get(profileVariable)
	if home := env.get("HOME"); file == "" && home != "" {
		file = filepath.Join(home, ".huaweicloud", "credentials")
	}
	return Profile{file, profileSection}
}

// defaultProfileFile says where DefaultProfile's file is, without the values
// of the variables.
func defaultProfileFile(env Environment) string {
	if env.get(profileVariable) != "" {
		return "the file in " + profileVariable
	}
	return "$HOME/.huaweicloud/credentials"
}

// isPath tells the path of a profile file from the name of a section.
func isPath(profile string) bool {
	return strings.ContainsRune(profile, '/') || strings.ContainsRune(profile, filepath.Separator)
}

// profile gives what the key names, or nil.
func (f fields) profile() *Profile {
	name := string(f.secretText("profile"))
	if name == "" {
		return nil
	}
	if isPath(name) {
		return &Profile{promconfig.JoinDir(f.d.dir, name), profileSection}
	}
	file := DefaultProfile(f.d.env).File
	if file == "" {
		f.known["profile"].mistake("names a section of the default profile file, but neither %s nor HOME is set: "+
			"set one of them, or name the file by a path with a slash", profileVariable)
		return nil
	}
	return &Profile{file, name}
}

// section is what a profile says.
type section struct {
	projectID, iamEndpoint string
	// fault says why there are no credentials; it goes on a sentence about the
	// file, and shows nothing of it. Empty: there are ak and sk.
	fault  string
	absent bool // the fault is only that nothing is there

	first *project // that takes projectID
}

// sections reads each profile once.
type sections map[Profile]*section

func (s sections) read(p Profile) *section {
	if known, ok := s[p]; ok {
		return known
	}
	s[p] = readSection(p)
	return s[p]
}

func readSection(p Profile) *section {
	content, err := readSmallFile(p.File)
	if err != nil {
		return &section{fault: "cannot be read: " + reason(err), absent: isAbsent(err)}
	}
	return parseSection(content, p.Section)
}

// isAbsent reports whether a file is not there, or in a folder that may not be
// looked into, such as another user's home.
func isAbsent(err error) bool {
	p, ok := errors.AsType[*fs.PathError](err)
	return errors.Is(err, fs.ErrNotExist) || (ok && p.Op == "stat" && errors.Is(err, fs.ErrPermission))
}

// parseSection reads with the library's plain defaults, as the vendor's SDKs
// do. The library's own errors repeat lines of the file.
func parseSection(content []byte, name string) *section {
	if len(content) > maxProfileSize {
		return &section{fault: "is larger than 64 KiB: split it"}
	}
	file, err := ini.Load(content)
	if err != nil || bytes.IndexByte(content, 0) >= 0 {
		return &section{fault: "is no INI file: write [section] on a line of its own, and key = value on the lines below it"}
	}
	keys, err := file.GetSection(name)
	switch {
	case err == nil:
		return newSection(keys)
	case name == profileSection:
		return &section{fault: "has no section [basic]: add it, with ak and sk", absent: true}
	}
	return &section{fault: "has no section of this name: correct the name, or add the section; a path needs a slash", absent: true}
}

func newSection(keys *ini.Section) *section {
	text := map[string]string{}
	for _, name := range []string{"ak", "sk", "security_token", "project_id", "iam_endpoint"} {
		if key, err := keys.GetKey(name); err == nil {
			text[name] = key.Value()
		}
	}
	switch {
	case text["ak"] == "" && text["sk"] == "":
		return &section{fault: "has neither ak nor sk in the section: write both", absent: true}
	case text["sk"] == "":
		return &section{fault: "has ak without sk in the section: write both"}
	case text["ak"] == "":
		return &section{fault: "has sk without ak in the section: write both"}
	}
	s := &section{projectID: text["project_id"], iamEndpoint: text["iam_endpoint"]}
	for _, name := range []string{"ak", "sk", "security_token", "project_id", "iam_endpoint"} {
		if fault := profileTextFault(text[name]); fault != "" {
			s.fault = "has in the section a key " + name + " that " + fault
		}
	}
	return s
}

// profileTextFault says why a value of a profile cannot be used.
func profileTextFault(s string) string {
	if fault := secretFault(s); fault != "" {
		return fault + ": write the bare text on one line"
	}
	// The library would replace it, without end if two values name each other.
	if _, after, ok := strings.Cut(s, "%("); ok && strings.Contains(after, ")s") {
		return "refers to another value by %(…)s: write the value itself"
	}
	return ""
}

// checkProfiles reads the profiles that the file names, and gives the projects
// what stands there.
func checkProfiles(projects []*project, env Environment, known sections) {
	for _, p := range projects {
		if p.Credentials.Profile == nil {
			continue
		}
		start := "names a file that "
		if named := p.profileKey.node.Value; !isPath(named) {
			start = "names a section of " + defaultProfileFile(env) + ", but that file "
		}
		p.take(known.read(*p.Credentials.Profile), p.profileKey, start)
	}
}

// take gives the project what the section says and the file does not. The
// start of a sentence about the profile's file goes before a fault.
func (p *project) take(s *section, at value, start string) {
	if s.fault != "" {
		p.unsure = true
		at.mistake("%s", start+s.fault)
		return
	}
	p.takeIAMEndpoint(s.iamEndpoint, at, start)
	switch {
	case s.projectID == "" || p.fields.has("project_id"):
	case !validProjectID(s.projectID):
		p.unsure = true
		at.mistake("%s", start+"has in the section a project_id that is none: copy it from the console")
	default:
		p.borrow(s.projectID, "the profile's project_id", &s.first)
	}
}

func (p *project) takeIAMEndpoint(s string, at value, start string) {
	if s == "" || p.fields.has("iam_endpoint") {
		return
	}
	address, fault := parseAddress(s)
	if fault.text != "" {
		p.unsure = true
		at.mistake("%s", start+"has in the section an iam_endpoint that "+fault.text)
		return
	}
	p.IAMEndpoint = address
}

// borrow gives the project an id that several may take. It belongs to one
// region: that of the first.
func (p *project) borrow(id, from string, first **project) {
	if *first == nil {
		*first = p
	}
	if p.Region != (*first).Region {
		p.unsure = true
		p.fields.missing("project_id", from+" belongs to one region, and "+(*first).fields.path+
			" of another region takes it already: set project_id in both")
		return
	}
	p.ProjectID = id
}

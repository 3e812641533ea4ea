// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	promconfig "github.com/prometheus/common/config"
)

// decodeCredentials sets the credentials, and whether the default chain stands
// in for them. None of its mistakes shows a value.
func (p *project) decodeCredentials(v value) {
	p.chain = false
	v.secret = true
	f, ok := v.fields(credentialsKeys()...)
	if !ok {
		return
	}
	c := Credentials{
		AccessKey:         f.secretText("access_key"),
		AccessKeyFile:     f.secretFile("access_key_file"),
		SecretKey:         f.secretText("secret_key"),
		SecretKeyFile:     f.secretFile("secret_key_file"),
		SecurityToken:     f.secretText("security_token"),
		SecurityTokenFile: f.secretFile("security_token_file"),
		TokenFile:         f.secretFile("token_file"),
		ECSAgency:         f.flag("ecs_agency"),
		Profile:           f.profile(),
	}
	if user, ok := f.known["user"]; ok {
		c.User = decodeUser(user)
	}
	kinds := f.kinds(c.ECSAgency)
	if len(kinds) > 1 {
		f.mistake("name %s, but only one kind can be used: remove the others", strings.Join(kinds, " and "))
	}
	f.checkKeys()
	p.Credentials, p.chain, p.profileKey = c, len(kinds) == 0, f.known["profile"]
}

// kinds names the kinds of credentials that are there. "ecs_agency: false"
// says nothing.
func (f fields) kinds(agency bool) []string {
	var kinds []string
	if slices.ContainsFunc([]string{"access_key", "secret_key", "security_token"}, f.either) {
		kinds = append(kinds, "access_key with secret_key")
	}
	for _, key := range []string{"token_file", "user", "profile"} {
		if f.has(key) {
			kinds = append(kinds, key)
		}
	}
	if agency {
		kinds = append(kinds, "ecs_agency")
	}
	return kinds
}

// either reports whether a secret is there, as text or as a file.
func (f fields) either(key string) bool { return f.has(key) || f.has(key+"_file") }

// checkKeys reports halves of access key and secret key, and secrets from two
// sources.
func (f fields) checkKeys() {
	for _, key := range []string{"access_key", "secret_key", "security_token"} {
		f.oneSource(key)
	}
	hasKey, hasSecret, hasToken := f.either("access_key"), f.either("secret_key"), f.either("security_token")
	switch {
	case hasKey && !hasSecret:
		f.missing("secret_key", "access_key needs secret_key or secret_key_file")
	case hasSecret && !hasKey:
		f.missing("access_key", "secret_key needs access_key or access_key_file")
	case hasToken && !hasKey:
		f.missing("access_key", "security_token needs access_key and secret_key")
	}
}

// oneSource reports a secret that is there as text and as a file.
func (f fields) oneSource(key string) {
	if f.has(key) && f.has(key+"_file") {
		f.known[key+"_file"].mistake("stands beside %s: remove one of them", key)
	}
}

func decodeUser(v value) *User {
	f, ok := v.fields(userKeys()...)
	if !ok {
		return nil
	}
	u := &User{
		Name:         string(f.secretText("name")),
		Domain:       string(f.secretText("domain")),
		Password:     f.secretText("password"),
		PasswordFile: f.secretFile("password_file"),
	}
	if !f.has("name") {
		f.missing("name", "name the IAM user")
	}
	if !f.has("domain") {
		f.missing("domain", "name the account that the user belongs to")
	}
	if !f.either("password") {
		f.missing("password", "set password or password_file")
	}
	f.oneSource("password")
	return u
}

// secretText gives the key's text, which must stand on one line.
func (f fields) secretText(key string) Secret {
	s := f.text(key)
	if fault := secretFault(s); fault != "" {
		f.known[key].mistake("%s: put the bare text in quotes on one line", fault)
	}
	return Secret(s)
}

// secretFile gives the key's path, joined with the folder of the file, after a
// look at what is there now.
func (f fields) secretFile(key string) string {
	path, content, ok := f.file(key)
	if !ok {
		return path
	}
	v := f.known[key]
	secret := strings.TrimSpace(string(content))
	fault := secretFault(secret)
	switch {
	case secret == "":
		v.mistake("names a file that is empty: write the secret into it")
	case fault != "":
		v.mistake("names a file whose text %s: it must hold the secret alone, on one line", fault)
	}
	return path
}

// file gives the path that the key names, joined with the folder of the file, and what is there now. It is not ok if the
// key names none, or one that cannot be read, which is a mistake.
func (f fields) file(key string) (path string, content []byte, ok bool) {
	path = f.text(key)
	if path == "" {
		return "", nil, false
	}
	path = promconfig.JoinDir(f.d.dir, path)
	content, err := readSmallFile(path)
	if err != nil {
		f.known[key].mistake("names a file that cannot be read: %s", reason(err))
		return path, nil, false
	}
	return path, content, true
}

// secretFault says why s cannot be sent as a secret.
func secretFault(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not in UTF-8"
	case s != "" && strings.TrimSpace(s) == "":
		return "has only white space"
	case strings.ContainsAny(s, "\r\n"):
		return "has more than one line"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

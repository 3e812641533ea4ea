// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a source that gives what it is told to.
type scripted struct {
	credentials Credentials
	err         error
	asked       int
}

func (s *scripted) Credentials(context.Context) (Credentials, error) {
	s.asked++
	return s.credentials, s.err
}

func (s *scripted) Invalidate(Credentials, bool) bool { return false }

func TestChain(t *testing.T) {
	gives := func(token string) *scripted { return &scripted{credentials: Credentials{AuthToken: token}} }
	nothing := func(why string) *scripted { return &scripted{err: errNone{why}} }
	broken := &scripted{err: errors.New("half a pair")}
	for name, test := range map[string]struct {
		sources []CredentialSource
		token   string
		err     string
	}{
		"the first":          {[]CredentialSource{gives("a"), gives("b")}, "a", ""},
		"the second":         {[]CredentialSource{nothing("no a"), gives("b")}, "b", ""},
		"none":               {[]CredentialSource{nothing("no a"), nothing("no b")}, "", "no credentials: no a; no b"},
		"broken":             {[]CredentialSource{nothing("no a"), broken, gives("c")}, "", "half a pair"},
		"before the broken":  {[]CredentialSource{gives("a"), broken}, "a", ""},
		"nobody to be asked": {nil, "", "no credentials: "},
	} {
		c, err := NewChain(test.sources...).Credentials(t.Context())
		if c.AuthToken != test.token || (err == nil) != (test.err == "") || (err != nil && err.Error() != test.err) {
			t.Errorf("%s: %q, %v", name, c.AuthToken, err)
		}
	}
}

// TestChainStays: what is cheap to ask is asked first every time; a service that gives is kept to while it does.
func TestChainStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		variables := &scripted{err: errNone{"no variables"}}
		first := &till{start: time.Now(), err: errNone{"no agency"}}
		second := &till{start: time.Now(), life: time.Hour}
		agency, pod := newCache(first), newCache(second)
		chain := NewChain(variables, agency, pod)
		wants := func(token string, first1, second1 int) {
			t.Helper()
			c, err := chain.Credentials(t.Context())
			if c.AuthToken != token || (err == nil) != (token != "") || first.asked != first1 || second.asked != second1 {
				t.Errorf("%q, %v; asked %d and %d times", c.AuthToken, err, first.asked, second.asked)
			}
		}
		wants("token-1", 1, 1)
		first.err, first.life = nil, time.Hour
		wants("token-1", 1, 1)
		time.Sleep(time.Hour)
		second.err = errNone{"no pod identity any more"}
		wants("", 1, 2)
		wants("token-2", 2, 2) // the first one now

		if !chain.Invalidate(Credentials{AuthToken: "token-2"}, false) {
			t.Error("token-2 is kept")
		}
		wants("token-3", 3, 2)

		variables.credentials, variables.err = Credentials{AuthToken: "from the environment"}, nil
		wants("from the environment", 3, 2)
		if chain.Invalidate(Credentials{AuthToken: "from the environment"}, true) {
			t.Error("the environment has others")
		}
		wants("from the environment", 3, 2)
	})
}

func TestProfile(t *testing.T) {
	const good = "[basic]\nak = AK-profile\nsk=SK-profile\nsecurity_token = \"TOKEN==\"\n[other]\nak=AK-other\nsk=SK-other\n"
	for name, test := range map[string]struct {
		content, section string
		want             Credentials
		errNone          bool
		err              string
	}{
		"basic":        {good, "basic", Credentials{AccessKey: "AK-profile", SecretKey: "SK-profile", SecurityToken: "TOKEN=="}, false, ""},
		"other":        {good, "other", Credentials{AccessKey: "AK-other", SecretKey: "SK-other"}, false, ""},
		"no section":   {good, "third", Credentials{}, true, `, section "third": no such section`},
		"empty file":   {"", "basic", Credentials{}, true, "no such section"},
		"neither":      {"[basic]\nregion = x\n", "basic", Credentials{}, true, "neither ak nor sk is set"},
		"half":         {"[basic]\nak = AK-profile\n", "basic", Credentials{}, false, "ak is set without sk"},
		"other half":   {"[basic]\nsk = SK-profile\n", "basic", Credentials{}, false, "sk is set without ak"},
		"no INI":       {"[basic\nSK-profile\n", "basic", Credentials{}, false, `line 1: "[section]" expected`},
		"references":   {"[basic]\nak = %(sk)s\nsk = %(ak)s\n", "basic", Credentials{}, false, "refers to another key"},
		"too long":     {good + strings.Repeat("# \n", 40000), "basic", Credentials{}, false, "larger than 64 KiB"},
		"key, no pair": {"[basic]\nSK-profile\n", "basic", Credentials{}, false, `line 2: "[section]" or "key = value" expected`},
	} {
		file := filepath.Join(t.TempDir(), "credentials")
		write(t, file, test.content)
		c, err := NewProfile(file, test.section).Credentials(t.Context())
		if c != test.want || (err == nil) != (test.err == "") {
			t.Errorf("%s: as wanted %t, error %v", name, c == test.want, err)
		}
		if err == nil {
			continue
		}
		var none errNone
		if errors.As(err, &none) != test.errNone || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
		contains(t, name, err.Error(), "AK-profile", "SK-profile")
	}
	var none errNone
	for _, file := range []string{"", filepath.Join(t.TempDir(), "nowhere")} {
		if _, err := NewProfile(file, "basic").Credentials(t.Context()); !errors.As(err, &none) {
			t.Errorf("%q: %v", file, err)
		}
	}
	if _, err := NewProfile(t.TempDir(), "basic").Credentials(t.Context()); err == nil || errors.As(err, &none) {
		t.Errorf("a directory: %v", err)
	}
}

// TestProfileChanges walks a profile through its life, on a clock that is not real.
func TestProfileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	synctest.Test(t, func(t *testing.T) {
		p := NewProfile(file, "basic")
		wants := func(key string) {
			t.Helper()
			c, err := p.Credentials(t.Context())
			if c.AccessKey != key || (err == nil) != (key != "") {
				t.Errorf("%q, %v, want %q", c.AccessKey, err, key)
			}
		}
		wants("")
		write(t, file, "[basic]\nak=one\nsk=s\n")
		wants("one") // found at once: nothing was known before
		write(t, file, "[basic]\nak=two\nsk=s\n")
		time.Sleep(1001 * time.Millisecond)
		wants("two")
		write(t, file, "[basic]\nak=thr")
		time.Sleep(1001 * time.Millisecond)
		wants("two") // it is being written
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1001 * time.Millisecond)
		wants("two")
		write(t, file, "[basic]\nak=four\nsk=s\n")
		if !p.Invalidate(Credentials{AccessKey: "two", SecretKey: "s"}, false) {
			t.Error("the changed file has no others")
		}
		wants("four")
		if p.Invalidate(Credentials{AccessKey: "four", SecretKey: "s"}, false) {
			t.Error("the unchanged file has others")
		}
	})
}

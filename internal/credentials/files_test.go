// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// refresh is how long a changed file may take to be noticed.
const refresh = 1001 * time.Millisecond

func removeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// replaceLink creates a symbolic link to target, or replaces it in one step.
func replaceLink(t *testing.T, target, link string) {
	t.Helper()
	next := link + ".next"
	if err := os.Symlink(target, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, link); err != nil {
		t.Fatal(err)
	}
}

func TestFilesNeedEveryFileOnce(t *testing.T) {
	dir := t.TempDir()
	ak, sk, token := filepath.Join(dir, "ak"), filepath.Join(dir, "sk"), filepath.Join(dir, "token")
	files := credentials.NewFiles(cloud.Credentials{},
		cloud.Credentials{AccessKey: ak, SecretKey: sk, SecurityToken: token})
	writeFile(t, ak, "ak-1")
	writeFile(t, sk, "sk-1")
	for _, prepare := range []func(){
		func() {},
		func() { writeFile(t, token, " \n") },
	} {
		prepare()
		_, err := files.Credentials(t.Context())
		if err == nil || !strings.Contains(err.Error(), token) {
			t.Fatalf("got %v, want an error about %s", err, token)
		}
		noSecret(t, "error", err.Error(), "ak-1", "sk-1")
	}
	writeFile(t, token, "token 1\n")
	got, err := files.Credentials(t.Context()) // at once: nothing is held that could be used meanwhile
	want := cloud.Credentials{AccessKey: "ak-1", SecretKey: "sk-1", SecurityToken: "token 1"}
	if got != want || err != nil {
		t.Errorf("got the wanted credentials: %t; error %v", got == want, err)
	}
}

func TestFilesFollowChanges(t *testing.T) {
	dir := t.TempDir()
	ak, sk, token := filepath.Join(dir, "ak"), filepath.Join(dir, "sk"), filepath.Join(dir, "token")
	synctest.Test(t, func(t *testing.T) {
		files := credentials.NewFiles(cloud.Credentials{},
			cloud.Credentials{AccessKey: ak, SecretKey: sk, SecurityToken: token})
		want := func(state, secretKey, securityToken string) {
			t.Helper()
			got, err := files.Credentials(t.Context())
			want := cloud.Credentials{AccessKey: "ak-1", SecretKey: secretKey, SecurityToken: securityToken}
			if err != nil || got != want {
				t.Errorf("%s: got the wanted credentials: %t; error %v", state, got == want, err)
			}
		}
		writeFile(t, ak, "ak-1")
		writeFile(t, sk, " \t sk-1 \r\n\n")
		writeFile(t, token, "token 1\n")
		want("at first", "sk-1", "token 1")
		writeFile(t, sk, "sk-2")
		time.Sleep(refresh)
		want("changed", "sk-2", "token 1")
		removeFile(t, sk)
		writeFile(t, token, "")
		time.Sleep(refresh)
		want("removed and empty", "sk-2", "token 1")
		if err := os.Mkdir(sk, 0o700); err != nil {
			t.Fatal(err)
		}
		want("a directory", "sk-2", "token 1")
		removeFile(t, sk)
		writeFile(t, sk, "sk-3")
		writeFile(t, token, "token 3")
		want("replaced", "sk-3", "token 3") // at once: the last read was incomplete
	})
}

// TestFilesFollowLinks: Kubernetes replaces a link, not a file.
func TestFilesFollowLinks(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "secret")
	synctest.Test(t, func(t *testing.T) {
		files := credentials.NewFiles(cloud.Credentials{AccessKey: "a"}, cloud.Credentials{SecretKey: link})
		for i := range 2 {
			file, want := filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint("secret-", i)
			writeFile(t, file, want)
			replaceLink(t, file, link)
			time.Sleep(refresh)
			if c, err := files.Credentials(t.Context()); err != nil || c.SecretKey != want || c.AccessKey != "a" {
				t.Errorf("link %d: got the wanted secret: %t; error %v", i, c.SecretKey == want, err)
			}
		}
	})
}

func TestFilesInParallel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sk")
	writeFile(t, path, "sk")
	files := credentials.NewFiles(cloud.Credentials{AccessKey: "a"}, cloud.Credentials{SecretKey: path})
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 50 {
				if c, err := files.Credentials(t.Context()); err != nil || c.SecretKey != "sk" {
					t.Errorf("got the wanted secret: %t; error %v", c.SecretKey == "sk", err)
				}
			}
		})
	}
	group.Wait()
}

// TestFilesOfOneDirectoryAreConsistent replaces a directory again and again while its files are read. It waits for the
// readers each time: a directory that is replaced twice during a read may yield half of two pairs.
func TestFilesOfOneDirectoryAreConsistent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	current := filepath.Join(dir, "current")
	replace := func(n int) {
		target := filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(target, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(target, "ak"), fmt.Sprint("access-", n))
		writeFile(t, filepath.Join(target, "sk"), fmt.Sprint("secret-", n))
		replaceLink(t, target, current)
	}
	replace(0)
	files := credentials.NewFiles(cloud.Credentials{},
		cloud.Credentials{AccessKey: filepath.Join(current, "ak"), SecretKey: filepath.Join(current, "sk")})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reads := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				c, err := files.Credentials(ctx)
				if err != nil || strings.TrimPrefix(c.AccessKey, "access-") != strings.TrimPrefix(c.SecretKey, "secret-") {
					t.Errorf("got %s with %s, %v; want a pair", c.AccessKey, c.SecretKey, err)
					stop()
				}
				files.Invalidate(c, false) // reads the files again
				select {
				case reads <- struct{}{}:
				case <-ctx.Done():
				}
			}
		})
	}
	for n := range 200 {
		replace(n + 1)
		for range 4 {
			select {
			case <-reads:
			case <-ctx.Done():
			}
		}
	}
	stop()
	group.Wait()
}

// readUntilSuccess reads every 20 ms of virtual time until a read succeeds, and fails after limit.
func readUntilSuccess(t *testing.T, client *css.Client, limit time.Duration) {
	t.Helper()
	for start := time.Now(); read(t.Context(), client, "c1") != nil; time.Sleep(20 * time.Millisecond) {
		if took := time.Since(start); took > limit {
			t.Fatalf("the new secret is not used after %s, want within %s", took, limit)
		}
	}
}

func TestChangedSecretKeySignsTheNextRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sk")
	writeFile(t, path, "wrong\n")
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		client := c.client(t, withSource(credentials.NewFiles(
			cloud.Credentials{AccessKey: simtest.AccessKey}, cloud.Credentials{SecretKey: path})))
		equal(t, "with the wrong secret key", reasonOf(read(t.Context(), client, "c1")), cloud.ReasonAuth)
		writeFile(t, path, simtest.SecretKey+"\n")
		time.Sleep(refresh)
		mustRead(t, client, "with the right secret key")
	})
}

func TestKeyIsReplacedInTwoSteps(t *testing.T) {
	dir := t.TempDir()
	ak, sk := filepath.Join(dir, "ak"), filepath.Join(dir, "sk")
	writeFile(t, ak, "access-1")
	writeFile(t, sk, "secret-1")
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		setKey := func(access, secret string) {
			c.AddProject(simulator.Project{
				Region: simtest.Region, ID: simtest.ProjectID, Keys: []simulator.Key{{Access: access, Secret: secret}},
			})
		}
		setKey("access-1", "secret-1")
		client := c.client(t, withSource(credentials.NewFiles(
			cloud.Credentials{}, cloud.Credentials{AccessKey: ak, SecretKey: sk})))
		mustRead(t, client, "with the first key")
		setKey("access-2", "secret-2")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				for cloud.Sleep(ctx, 5*time.Millisecond) {
					_ = read(ctx, client, "c1")
				}
			})
		}
		writeFile(t, ak, "access-2")
		time.Sleep(300 * time.Millisecond)
		writeFile(t, sk, "secret-2")
		readUntilSuccess(t, client, 1500*time.Millisecond)
		stop()
		group.Wait()
	})
}

func TestTokenExpiresBeforeItsFileIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
		writeFile(t, file, newToken(t, c))
		client := c.client(t, withSource(credentials.NewFiles(cloud.Credentials{}, cloud.Credentials{AuthToken: file})))
		mustRead(t, client, "with the first token")
		c.RevokeTokens()
		before := c.Reads("")
		for range 10 {
			equal(t, "with the revoked token", reasonOf(read(t.Context(), client, "c1")), cloud.ReasonAuth)
			time.Sleep(50 * time.Millisecond)
		}
		if n := c.Reads("") - before; n > maxRejections {
			t.Errorf("got %d requests with a revoked token, want at most %d", n, maxRejections)
		}
		writeFile(t, file, newToken(t, c))
		readUntilSuccess(t, client, 1500*time.Millisecond)
	})
}

// newToken logs in and returns the token.
func newToken(t *testing.T, c *testCloud) string {
	t.Helper()
	var user cloud.CredentialSource
	c.client(t, withUser, func(o *csstest.Options) { user = o.Credentials })
	got, err := user.Credentials(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return got.AuthToken
}

func TestProfile(t *testing.T) {
	const valid = "[basic]\nak = AK-profile\nsk=SK-profile\nsecurity_token = \"TOKEN==\"\n" +
		"[other]\nak=AK-other\nsk=SK-other\n"
	none := cloud.Credentials{}
	for name, test := range map[string]struct {
		content, section string
		want             cloud.Credentials
		absent           bool
		err              string
	}{
		"basic": {valid, "basic", cloud.Credentials{
			AccessKey: "AK-profile", SecretKey: "SK-profile", SecurityToken: "TOKEN==",
		}, false, ""},
		"other":         {valid, "other", cloud.Credentials{AccessKey: "AK-other", SecretKey: "SK-other"}, false, ""},
		"no section":    {valid, "third", none, true, `, section "third": no such section`},
		"empty file":    {"", "basic", none, true, "no such section"},
		"neither key":   {"[basic]\nregion = x\n", "basic", none, true, "neither ak nor sk is set"},
		"ak alone":      {"[basic]\nak = AK-profile\n", "basic", none, false, "ak is set without sk"},
		"sk alone":      {"[basic]\nsk = SK-profile\n", "basic", none, false, "sk is set without ak"},
		"open section":  {"[basic\nSK-profile\n", "basic", none, false, `line 1: "[section]" expected`},
		"references":    {"[basic]\nak = %(sk)s\nsk = %(ak)s\n", "basic", none, false, "refers to another key"},
		"too long":      {valid + strings.Repeat("# \n", 400000), "basic", none, false, "larger than 1 MiB"},
		"without equal": {"[basic]\nSK-profile\n", "basic", none, false, `line 2: "[section]" or "key = value" expected`},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "credentials")
			writeFile(t, file, test.content)
			source := credentials.NewProfile(file, test.section)
			c, err := source.Credentials(t.Context())
			if c != test.want || (err == nil) != (test.err == "") {
				t.Fatalf("got the wanted credentials: %t; error %v", c == test.want, err)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), file) {
				t.Errorf("got error %v, want %q and the file's name in it", err, test.err)
			}
			noSecret(t, "error", err.Error(), "AK-profile", "SK-profile")
			equal(t, "skipped by a chain", skippedByChain(t, source), test.absent)
		})
	}
}

func TestProfileWithoutFile(t *testing.T) {
	for file, absent := range map[string]bool{"": true, filepath.Join(t.TempDir(), "missing"): true, t.TempDir(): false} {
		source := credentials.NewProfile(file, "basic")
		if _, err := source.Credentials(t.Context()); err == nil {
			t.Errorf("file %q: got no error", file)
		}
		equal(t, fmt.Sprintf("file %q skipped by a chain", file), skippedByChain(t, source), absent)
	}
}

func TestProfileFollowsChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	synctest.Test(t, func(t *testing.T) {
		profile := credentials.NewProfile(file, "basic")
		want := func(state, accessKey string) {
			t.Helper()
			c, err := profile.Credentials(t.Context())
			if c.AccessKey != accessKey || (err == nil) != (accessKey != "") {
				t.Errorf("%s: got %q, %v; want %q", state, c.AccessKey, err, accessKey)
			}
		}
		want("no file", "")
		writeFile(t, file, "[basic]\nak=one\nsk=s\n")
		want("created", "one") // at once: nothing is held that could be used meanwhile
		writeFile(t, file, "[basic]\nak=two\nsk=s\n")
		time.Sleep(refresh)
		want("changed", "two")
		writeFile(t, file, "[basic]\nak=thr")
		time.Sleep(refresh)
		want("half written", "two")
		writeFile(t, file, "[basic]\nak=three\nsk=s\n")
		want("completed", "three") // at once: the last read failed
		removeFile(t, file)
		time.Sleep(refresh)
		want("removed", "three")
		writeFile(t, file, "[basic]\nak=four\nsk=s\n")
		if !profile.Invalidate(cloud.Credentials{AccessKey: "three", SecretKey: "s"}, false) {
			t.Error("changed file: got false of Invalidate, want true")
		}
		want("invalidated", "four")
		if profile.Invalidate(cloud.Credentials{AccessKey: "four", SecretKey: "s"}, false) {
			t.Error("unchanged file: got true of Invalidate, want false")
		}
	})
}

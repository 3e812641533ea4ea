// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v4"
)

func TestEnvironment(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want Credentials // empty for an error
	}{
		{"none", nil, Credentials{}},
		{"samples", map[string]string{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"}, Credentials{AccessKey: "a", SecretKey: "s"}},
		{"SDKs", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s"}, Credentials{AccessKey: "a", SecretKey: "s"}},
		{
			"temporary", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t"},
			Credentials{AccessKey: "a", SecretKey: "s", SecurityToken: "t"},
		},
		{
			"both", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s", "CLOUD_SDK_AK": "b", "CLOUD_SDK_SK": "r"},
			Credentials{AccessKey: "a", SecretKey: "s"},
		},
		{ // a token belongs to its own key
			"the token of another pair", map[string]string{"CLOUD_SDK_AK": "b", "CLOUD_SDK_SK": "r", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t"},
			Credentials{AccessKey: "b", SecretKey: "r"},
		},
		{
			"half a pair", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "CLOUD_SDK_AK": "b", "CLOUD_SDK_SK": "r"},
			Credentials{AccessKey: "b", SecretKey: "r"},
		},
		{"never mixed", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "r"}, Credentials{}},
		{"empty", map[string]string{"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}, Credentials{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Environment(func(key string) (string, bool) { v, ok := test.env[key]; return v, ok }).Credentials(t.Context())
			if got != test.want || (err != nil) != (test.want == Credentials{}) {
				t.Errorf("%#v, %v", got == test.want, err)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFiles walks a secret's file through its life, on a clock that is not real.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	ak, sk, token := filepath.Join(dir, "ak"), filepath.Join(dir, "sk"), filepath.Join(dir, "token")
	synctest.Test(t, func(t *testing.T) {
		files := NewFiles(Credentials{}, Credentials{AccessKey: ak, SecretKey: sk, SecurityToken: token})
		check := func(what string, want Credentials) {
			t.Helper()
			got, err := files.Credentials(t.Context())
			if err != nil || got != want {
				t.Errorf("%s: as wanted %v, error %v", what, got == want, err)
			}
		}
		write(t, ak, "ak-1")
		write(t, sk, " \t sk-1 \r\n\n")
		if _, err := files.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), token) {
			t.Errorf("a file that was never there: %v", err)
		} else {
			contains(t, "the error", err.Error(), "ak-1", "sk-1")
		}
		write(t, token, " \n")
		if _, err := files.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), token) {
			t.Errorf("an empty file: %v", err)
		}
		write(t, token, "token 1\n") // found at once: nothing was known before
		check("at first", Credentials{AccessKey: "ak-1", SecretKey: "sk-1", SecurityToken: "token 1"})

		write(t, sk, "sk-2")
		time.Sleep(2 * time.Second)
		check("changed", Credentials{AccessKey: "ak-1", SecretKey: "sk-2", SecurityToken: "token 1"})

		if err := os.Remove(sk); err != nil {
			t.Fatal(err)
		}
		write(t, token, "")
		time.Sleep(2 * time.Second)
		check("gone and empty", Credentials{AccessKey: "ak-1", SecretKey: "sk-2", SecurityToken: "token 1"})

		if err := os.Mkdir(sk, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		check("a directory", Credentials{AccessKey: "ak-1", SecretKey: "sk-2", SecurityToken: "token 1"})

		if err := os.Remove(sk); err != nil {
			t.Fatal(err)
		}
		write(t, sk, "sk-3")
		write(t, token, "token 3")
		time.Sleep(2 * time.Second)
		check("back", Credentials{AccessKey: "ak-1", SecretKey: "sk-3", SecurityToken: "token 3"})
	})
}

// TestFilesSymlink: Kubernetes swaps a link, not a file.
func TestFilesSymlink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "secret")
	for i := range 2 {
		write(t, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint("secret-", i))
	}
	synctest.Test(t, func(t *testing.T) {
		files := NewFiles(Credentials{AccessKey: "a"}, Credentials{SecretKey: link})
		for i := range 2 {
			next := filepath.Join(dir, "next")
			if err := os.Symlink(filepath.Join(dir, fmt.Sprint(i)), next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, link); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if c, err := files.Credentials(t.Context()); err != nil || c.SecretKey != fmt.Sprint("secret-", i) || c.AccessKey != "a" {
				t.Errorf("round %d: error %v", i, err)
			}
		}
	})
}

func TestFilesTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sk")
	write(t, path, "sk")
	files := NewFiles(Credentials{AccessKey: "a"}, Credentials{SecretKey: path})
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 50 {
				if c, err := files.Credentials(t.Context()); err != nil || c.SecretKey != "sk" {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// TestFilesReachTheRequest: a secret that changes while the program runs signs the next request.
func TestFilesReachTheRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sk")
	write(t, path, "wrong\n")
	synctest.Test(t, func(t *testing.T) {
		g := newGate(nil)
		g.answer = func(r *http.Request, _ int) (int, time.Duration) {
			if verify(r, nil, testAK, testSK, "", time.Now()) != nil {
				return 401, 0
			}
			return 200, 0
		}
		c := gateClient(t, g, withCredentials(NewFiles(Credentials{AccessKey: testAK}, Credentials{SecretKey: path})))
		expect(t, "with the wrong one", one(t, c), ReasonAuth)
		write(t, path, testSK+"\n")
		time.Sleep(1001 * time.Millisecond)
		expect(t, "with the right one", one(t, c), "ok")
	})
}

// TestCredentialsAreHidden prints credentials in every way that somebody might by mistake.
func TestCredentialsAreHidden(t *testing.T) {
	secret := Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken, AuthToken: testAuth}
	files := NewFiles(secret, Credentials{})
	client := newTestClient(t, "http://css.invalid", withCredentials(files))
	for name, value := range map[string]any{
		"Credentials":           secret,
		"*Credentials":          &secret,
		"*Files":                files,
		"struct of Credentials": struct{ C Credentials }{secret},
		"struct of a pointer":   struct{ C *Credentials }{&secret},
		"struct of *Files":      struct{ F *Files }{files},
		"struct of a source":    struct{ S CredentialSource }{files},
		"embedded Credentials":  struct{ Credentials }{secret},
		"slice":                 []Credentials{secret},
		"slice of sources":      []CredentialSource{files, NewChain(files)},
		"map":                   map[string]*Files{"x": files},
		"Options":               Options{Credentials: files},
		"*Options":              &Options{Credentials: files},
		"*Client":               client, // keeps them where fmt finds no method
		"struct of *Client":     struct{ C *Client }{client},
		"*Keys":                 client.options.Keys,
	} {
		t.Run(name, func(t *testing.T) {
			var leaks []string
			look := func(how, text string) {
				for _, part := range []string{testAK, testSK, testToken, testAuth} {
					for _, form := range []string{part, fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part), strings.Trim(fmt.Sprintf("%v", []byte(part)), "[]")} {
						if strings.Contains(text, form) {
							leaks = append(leaks, how)
							return
						}
					}
				}
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10.3v"} {
				look(verb, fmt.Sprintf(verb, value))
			}
			look("Sprint", fmt.Sprint(value))
			look("Errorf", fmt.Errorf("x: %v", value).Error())
			look("panic", func() (text string) {
				defer func() { text = fmt.Sprint(recover()) }()
				panic(value)
			}())
			for how, handler := range map[string]func(*bytes.Buffer) slog.Handler{
				"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
				"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			} {
				var b bytes.Buffer
				slog.New(handler(&b)).Info("x", "value", value, slog.Group("g", "value", value))
				look(how, b.String())
			}
			if text, err := json.Marshal(value); err == nil {
				look("JSON", string(text))
			}
			look("YAML", func() (text string) {
				defer func() {
					if r := recover(); r != nil {
						text = ""
					}
				}()
				out, err := yaml.Marshal(value)
				if err != nil {
					return ""
				}
				return string(out)
			}())
			if len(leaks) > 0 {
				t.Errorf("shown by %q", leaks)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"go.yaml.in/yaml/v4"
)

// printed returns every text that a value may be printed as.
func printed(value any) map[string]string {
	out := map[string]string{"Sprint": fmt.Sprint(value), "Errorf": fmt.Errorf("x: %v", value).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10.3v"} {
		out[verb] = fmt.Sprintf(verb, value)
	}
	out["panic"] = func() (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		panic(value)
	}()
	var text, jsonText bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&jsonText, nil)} {
		slog.New(handler).Info("x", "value", value, slog.Group("g", "value", value))
	}
	out["slog text"], out["slog JSON"] = text.String(), jsonText.String()
	if encoded, err := json.Marshal(value); err == nil {
		out["JSON"] = string(encoded)
	}
	out["YAML"] = func() (text string) {
		defer func() { _ = recover() }() // of types that cannot be encoded
		encoded, _ := yaml.Marshal(value)
		return string(encoded)
	}()
	return out
}

// checkHidden fails if a secret is printed with value, as text or in the number formats of fmt.
func checkHidden(t *testing.T, value any, secrets ...string) {
	t.Helper()
	for how, text := range printed(value) {
		for _, secret := range secrets {
			for _, form := range []string{
				secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret),
				strings.Trim(fmt.Sprintf("%v", []byte(secret)), "[]"),
			} {
				if strings.Contains(text, form) {
					t.Errorf("a secret is shown by %s", how)
				}
			}
		}
	}
}

func TestPrintedCredentialsAreHidden(t *testing.T) {
	secret := cloud.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken, AuthToken: testAuth}
	source, keys := fixed(secret), cloud.NewKeys()
	options := cloud.Options{
		Credentials: source, Keys: keys, Transport: &simtest.RoundTripper{Handler: http.NotFoundHandler()},
	}
	cloudClient := cloud.NewClient(options)
	client := csstest.NewClient(t, "http://cloud.invalid", func(o *csstest.Options) { o.Options = options })
	_ = read(t.Context(), client, "c1") // keys holds their fingerprint then
	file := filepath.Join(t.TempDir(), "credentials")
	writeFile(t, file, "[basic]\nak="+testAK+"\nsk="+testSK+"\nsecurity_token="+testToken+"\n")
	profile := credentials.NewProfile(file, "basic")
	if _, err := profile.Credentials(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"Credentials":           secret,
		"*Credentials":          &secret,
		"source":                source,
		"profile":               profile,
		"struct of Credentials": struct{ C cloud.Credentials }{secret},
		"struct of a pointer":   struct{ C *cloud.Credentials }{&secret},
		"struct of a source":    struct{ S cloud.CredentialSource }{source},
		"embedded Credentials":  struct{ cloud.Credentials }{secret},
		"slice":                 []cloud.Credentials{secret},
		"slice of sources":      []cloud.CredentialSource{source, credentials.NewChain(source)},
		"chain":                 credentials.NewChain(source, profile),
		"map":                   map[string]cloud.CredentialSource{"x": source},
		"Options":               options,
		"*Options":              &options,
		"*cloud.Client":         cloudClient, // fmt calls no methods of its fields
		"struct of a client":    struct{ C *cloud.Client }{cloudClient},
		"*css.Client":           client,
		"*Keys":                 keys,
	} {
		t.Run(name, func(t *testing.T) { checkHidden(t, value, testAK, testSK, testToken, testAuth) })
	}
}

func TestPrintedUserSourceIsHidden(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	c.AddUser(simulator.User{Name: userName, Domain: userDomain, Password: testSK})
	password := fixed(cloud.Credentials{
		AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken, AuthToken: testAuth,
	})
	var options cloud.Options
	client := c.client(t, withPassword(password), func(o *csstest.Options) { options = o.Options })
	user := options.Credentials
	token, err := user.Credentials(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	values := credentials.Internals(user)
	maps.Copy(values, map[string]any{
		"source": user, "options": options, "client": client, "chain": credentials.NewChain(user), "slice": []any{user},
	})
	for name, value := range values {
		t.Run(name, func(t *testing.T) { checkHidden(t, value, token.AuthToken, testAK, testSK, testToken, testAuth) })
	}
}

// quotations returns the forms in which an answer may quote a secret.
func quotations() map[string]func(string) string {
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	return map[string]func(string) string{
		"plain":   func(s string) string { return s },
		"JSON":    quote,
		"query":   url.QueryEscape,
		"path":    url.PathEscape,
		"base64":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64u": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"several": func(s string) string { return quote(s) + " " + s + " " + url.QueryEscape(s) },
	}
}

// TestQuotedSecretsAreHidden: IAM may quote the password of a login, and the API the token of a request.
func TestQuotedSecretsAreHidden(t *testing.T) {
	for name, form := range quotations() {
		quoting := func(secretOf func(*http.Request) string) simulator.Fault {
			return simulator.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				quoted := form(secretOf(r))
				message, _ := json.Marshal("you said " + quoted + " and that is odd")
				w.Header().Set("X-Request-Id", quoted)
				w.WriteHeader(400)
				fmt.Fprintf(w, `{"error_code":%q,"error_msg":%s}`, quoted, message)
			})}
		}
		t.Run(name+" password", func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				c.setFault(simulator.Tokens, quoting(func(*http.Request) string { return userPassword }))
				err := read(t.Context(), c.client(t, withUser), "c1")
				checkErrorHides(t, err, userPassword)
				if err != nil && !strings.Contains(err.Error(), "you said") {
					t.Errorf("got %v, want the message in it", err)
				}
			})
		})
		t.Run(name+" token", func(t *testing.T) {
			inMemory(t, simulator.Options{}, func(t *testing.T, c *testCloud) {
				var token string
				c.setFault(simulator.Connections, quoting(func(r *http.Request) string {
					token = r.Header.Get("X-Auth-Token")
					return token
				}))
				err := read(t.Context(), c.client(t, withUser), "c1")
				if token == "" {
					t.Fatal("got a request without a token")
				}
				checkErrorHides(t, err, token)
			})
		})
	}
}

// checkErrorHides fails if an error, or one that it wraps, shows a secret in one of the quotations.
func checkErrorHides(t *testing.T, err error, secret string) {
	t.Helper()
	if err == nil {
		t.Error("got no error")
	}
	var forms []string
	for _, form := range quotations() {
		forms = append(forms, strings.TrimRight(strings.Trim(form(secret), `"`), "="))
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			noSecret(t, verb, fmt.Sprintf(verb, inner), forms...)
		}
	}
}

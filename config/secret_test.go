// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v4"
)

// secretConfig returns a configuration with the marker wherever there can be a secret.
func secretConfig() *Config {
	return &Config{Projects: []Project{{
		Name: "shown",
		Credentials: Credentials{
			AccessKey: marker, SecretKey: marker, SecurityToken: marker,
			User: &User{Name: "reader", Password: marker},
		},
		TLSConfig: promconfig.TLSConfig{Key: marker},
		ProxyURL:  &url.URL{Scheme: "http", Host: "proxy.example", User: url.UserPassword(marker, marker)},
	}}}
}

// dumpers returns functions that print or encode a value.
func dumpers(t *testing.T) map[string]func(any) string {
	dumps := map[string]func(any) string{
		"yaml": func(v any) string { return encode(t, yaml.Marshal, v) },
		"json": func(v any) string { return encode(t, json.Marshal, v) },
		"slog text": func(v any) string {
			var b bytes.Buffer
			slog.New(slog.NewTextHandler(&b, nil)).Info("", "v", v)
			return b.String()
		},
		"slog json": func(v any) string {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("", "v", v)
			return b.String()
		},
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		dumps[verb] = func(v any) string { return fmt.Sprintf(verb, v) }
	}
	return dumps
}

func TestDumpsHideSecrets(t *testing.T) {
	c := secretConfig()
	values := map[string]any{
		"config": c, "config by value": *c, "project": c.Projects[0], "project by address": &c.Projects[0],
		"credentials": c.Projects[0].Credentials, "user": c.Projects[0].Credentials.User,
		"secret": c.Projects[0].Credentials.SecretKey,
		"pointers": struct {
			C *Config
			P *Project
			K *Credentials
			S *Secret
		}{c, &c.Projects[0], &c.Projects[0].Credentials, &c.Projects[0].Credentials.SecretKey},
	}
	hex := fmt.Sprintf("%x", marker)
	for how, dump := range dumpers(t) {
		for what, v := range values {
			got := dump(v)
			if strings.Contains(got, marker) || strings.Contains(strings.ToLower(got), hex) {
				t.Errorf("%s of %s shows a secret: %s", how, what, got)
			}
			if what == "project" && !strings.ContainsAny(how, "xXd") && !strings.Contains(got, "shown") {
				t.Errorf("%s of %s does not show the name: %s", how, what, got)
			}
		}
	}
}

func TestDumpsChangeNothing(t *testing.T) {
	c := secretConfig()
	for how, dump := range dumpers(t) {
		for _, v := range []any{c, *c, c.Projects[0], &c.Projects[0]} {
			_ = dump(v)
		}
		if got := c.Projects[0].ProxyURL.String(); !strings.Contains(got, marker) {
			t.Errorf("%s: got proxy URL %s, want it with its password", how, got)
		}
		if got := c.Projects[0].TLSConfig.Key; got != marker {
			t.Errorf("%s: got key %q, want %q", how, string(got), marker)
		}
	}
}

func encode(t *testing.T, marshal func(any) ([]byte, error), v any) string {
	t.Helper()
	b, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSecretPrintsPlaceholder(t *testing.T) {
	s := Secret(marker)
	if got := fmt.Sprintf("%v %s %#v", s, s, s); got != "<secret> <secret> <secret>" {
		t.Errorf("got %q, want <secret> for each verb", got)
	}
}

func TestEmptySecretPrintsNothing(t *testing.T) {
	if got := fmt.Sprintf("%v%+v%#v%s", Secret(""), Secret(""), Secret(""), Secret("")); got != "" {
		t.Errorf("got %q, want no text", got)
	}
	if got := encode(t, json.Marshal, Secret("")); got != `""` {
		t.Errorf("got JSON %s, want an empty string", got)
	}
}

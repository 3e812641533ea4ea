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

// TestDumpsHideSecrets prints and encodes a configuration with a secret wherever there can be one.
func TestDumpsHideSecrets(t *testing.T) {
	c := &Config{Projects: []Project{{
		Name: "shown",
		Credentials: Credentials{
			AccessKey: marker, SecretKey: marker, SecurityToken: marker,
			User: &User{Name: "reader", Password: marker},
		},
		TLSConfig: promconfig.TLSConfig{Key: marker},
		ProxyURL:  &url.URL{Scheme: "http", Host: "proxy.example", User: url.UserPassword(marker, marker)},
	}}}
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
	for how, dump := range dumps {
		for what, v := range values {
			got := dump(v)
			if strings.Contains(got, marker) || strings.Contains(strings.ToLower(got), hex) {
				t.Errorf("%s of %s shows a secret: %s", how, what, got)
			}
			if what == "project" && !strings.ContainsAny(how, "xXd") && !strings.Contains(got, "shown") {
				t.Errorf("%s of %s lost the name: %s", how, what, got)
			}
		}
	}
	if got := c.Projects[0].ProxyURL.String(); !strings.Contains(got, marker) {
		t.Errorf("printing changed the proxy's URL to %s", got)
	}
	if got := c.Projects[0].TLSConfig.Key; got != marker {
		t.Errorf("printing changed the key")
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

func TestEmptySecretStaysEmpty(t *testing.T) {
	if got := fmt.Sprintf("%v%+v%#v%s", Secret(""), Secret(""), Secret(""), Secret("")); got != "" {
		t.Errorf("an empty secret prints as %q", got)
	}
	s := Secret(marker)
	if got := fmt.Sprintf("%v %s %#v", s, s, s); got != "<secret> <secret> <secret>" {
		t.Errorf("a secret prints as %q", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/syntax"
	"css_vpcep_exporter/internal/yamlfile"

	"go.yaml.in/yaml/v4"
)

// FuzzParse shows that Parse returns a complete configuration, or mistakes in order and without secrets.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("got %d seeds and error %v, want some seeds", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // a seed
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Parse("testdata/good/fuzz.yml", content, nil)
		if err == nil {
			checkComplete(t, c)
			return
		}
		errs, ok := errors.AsType[yamlfile.Errors](err)
		if !ok || len(errs) == 0 || c != nil {
			t.Fatalf("got %T with %d mistakes and configuration %v, want mistakes alone", err, len(errs), c)
		}
		onlySecret := markerOnlySecret(content)
		last := 0
		for _, m := range errs {
			if m.Line < last || m.Message == "" || strings.ContainsAny(m.Error(), "\r\n") {
				t.Errorf("got %+v after line %d, want a one-line mistake in order", m, last)
			}
			last = m.Line
			if onlySecret && strings.Contains(m.Error(), marker) {
				t.Errorf("a mistake shows a secret: %s", m)
			}
		}
	})
}

func checkComplete(t *testing.T, c *Config) {
	t.Helper()
	if len(c.Projects) == 0 || c.Scrape.Concurrency < 1 || c.Scrape.MinInterval < 0 || c.Scrape.MaxStaleness < 0 {
		t.Errorf("incomplete configuration: %+v", c)
	}
	for _, p := range c.Projects {
		if p.Name == "" || p.Region == "" || p.Endpoint == "" || p.RequestsPerSecond <= 0 {
			t.Errorf("incomplete project: %+v", p)
		}
		if len(p.Clusters) == 0 && p.Discovery == nil {
			t.Errorf("project without clusters and discovery: %+v", p)
		}
		for _, cluster := range p.Clusters {
			if syntax.ClusterIDFault(cluster.ID) != "" || cluster.ID == "" {
				t.Errorf("invalid cluster ID %q", cluster.ID)
			}
		}
	}
}

// markerOnlySecret reports whether the marker occurs only in values that are never shown, or the YAML is invalid.
func markerOnlySecret(content []byte) bool {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(content)).Decode(&doc); err != nil {
		return true
	}
	return !showsMarker(&doc)
}

func showsMarker(n *yaml.Node) bool {
	if strings.Contains(n.Value, marker) && n.Kind == yaml.ScalarNode {
		return true
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 {
			switch n.Content[i-1].Value {
			case "credentials", "proxy_url", "key":
				continue
			case "endpoint", "iam_endpoint":
				if strings.Contains(child.Value, "@") {
					continue
				}
			}
		}
		if showsMarker(child) {
			return true
		}
	}
	return false
}

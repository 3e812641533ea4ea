// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// FuzzParse holds any file to this: no panic; either a configuration that is
// whole or mistakes that can be shown.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
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
			checkWhole(t, c)
			return
		}
		errs, ok := errors.AsType[Errors](err)
		if !ok || len(errs) == 0 || c != nil {
			t.Fatalf("a bad file gave %v and a %T of %d mistakes", c, err, len(errs))
		}
		hidden := isHidden(content)
		last := 0
		for _, m := range errs {
			if m.Line < last || m.Message == "" || strings.ContainsAny(m.Error(), "\r\n") {
				t.Errorf("odd mistake after line %d: %+v", last, m)
			}
			last = m.Line
			if hidden && strings.Contains(m.Error(), marker) {
				t.Errorf("a mistake shows a secret: %s", m)
			}
		}
	})
}

// checkWhole reports what no configuration may lack.
func checkWhole(t *testing.T, c *Config) {
	t.Helper()
	if len(c.Projects) == 0 || c.Scrape.Concurrency < 1 || c.Scrape.MinInterval < 0 || c.Scrape.MaxStaleness < 0 {
		t.Errorf("not whole: %+v", c)
	}
	for _, p := range c.Projects {
		if p.Name == "" || p.Region == "" || p.Endpoint == "" || p.RequestsPerSecond <= 0 {
			t.Errorf("not whole: %+v", p)
		}
		if len(p.Clusters) == 0 && p.Discovery == nil {
			t.Errorf("watches nothing: %+v", p)
		}
		for _, cluster := range p.Clusters {
			if !validClusterID(cluster.ID) || cluster.ID == "" {
				t.Errorf("cluster id %q", cluster.ID)
			}
		}
	}
}

// isHidden reports whether the marker stands only where a secret is expected:
// anywhere in what is no YAML, else inside credentials and the like.
func isHidden(content []byte) bool {
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

// SPDX-License-Identifier: Apache-2.0

package config

import "slices"

func scrapeKeys() []string {
	return []string{"concurrency", "min_interval", "max_staleness", "max_connections"}
}

func projectKeys() []string {
	return []string{
		"name", "region", "project_id", "endpoint", "iam_endpoint", "requests_per_second",
		"credentials", "clusters", "discovery", "tls_config", "proxy_url",
	}
}

func credentialsKeys() []string {
	return []string{
		"access_key", "access_key_file", "secret_key", "secret_key_file", "security_token",
		"security_token_file", "token_file", "user", "ecs_agency", "profile",
	}
}

func userKeys() []string { return []string{"name", "domain", "password", "password_file"} }

func clusterKeys() []string { return []string{"id", "name", "labels"} }

func discoveryKeys() []string {
	return []string{"refresh_interval", "name", "engine", "enterprise_project_id", "tags", "labels_from_tags"}
}

// tlsKeys has no ca, cert and key: outside tls_config they may stand for
// something else.
func tlsKeys() []string {
	return []string{"ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify", "min_version", "max_version"}
}

// home gives the only key that a key belongs under, or "".
func home(key string) string {
	found := ""
	for _, place := range []struct {
		name string
		keys []string
	}{
		{"scrape", scrapeKeys()},
		{"projects", projectKeys()},
		{"credentials", credentialsKeys()},
		{"credentials.user", userKeys()},
		{"clusters", clusterKeys()},
		{"discovery", discoveryKeys()},
		{"tls_config", tlsKeys()},
	} {
		if !slices.Contains(place.keys, key) {
			continue
		}
		if found != "" {
			return ""
		}
		found = place.name
	}
	return found
}

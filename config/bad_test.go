// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// marker stands where the test files have a secret.
const marker = "S3CRET"

// vars is an environment.
type vars map[string]string

func (v vars) lookup(key string) (string, bool) {
	s, ok := v[key]
	return s, ok
}

// TestBadFiles loads one file for each rule. A mistake stands without the
// file's name.
func TestBadFiles(t *testing.T) {
	tests := []struct {
		rule string
		want []string
		env  vars
	}{
		{"access_key_alone", []string{":3: projects[0].credentials.secret_key: is missing: access_key needs secret_key or secret_key_file"}, nil},
		{"access_key_file", []string{":5: projects[0].credentials.access_key_file: names a file that cannot be read: no such file or directory"}, nil},
		{"alias_bomb", []string{":105: projects[100].clusters[100].id: the file's aliases stand for more than 100,000 values: write them out"}, nil},
		{"bad_tag", []string{":3: the file is not valid YAML here or just above: a tag has a character that it must not have; text that begins with ! must be in quotes"}, nil},
		{"cluster_id_dots", []string{`:4: projects[0].clusters[0].id: is "..", but a cluster id is up to 128 letters, digits, dots, underscores and dashes: copy it from the console`}, nil},
		{"cluster_id_long", []string{`:4: projects[0].clusters[0].id: is "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"…, but a cluster id is up to 128 letters, digits, dots, underscores and dashes: copy it from the console`}, nil},
		{"cluster_id_missing", []string{":4: projects[0].clusters[0].id: is missing: copy the cluster's id from the console"}, nil},
		{"cluster_id_path", []string{`:4: projects[0].clusters[0].id: is "a/b", but a cluster id is up to 128 letters, digits, dots, underscores and dashes: copy it from the console`}, nil},
		{"cluster_in_two_projects", []string{`:3: projects[1].clusters[1].id: is "c", as on line 2: a cluster can be watched only once`}, nil},
		{"cluster_twice", []string{`:6: projects[0].clusters[2].id: is "a", as on line 4: a cluster can be watched only once`}, nil},
		{"clusters_empty", []string{":3: projects[0].clusters: is empty: list a cluster, or remove the key to discover all"}, nil},
		{"concurrency_large", []string{`:2: scrape.concurrency: is "1025", but must be from 1 to 1024`}, nil},
		{"concurrency_octal", []string{`:2: scrape.concurrency: must be a whole number such as 16, in plain digits, not "016"`}, nil},
		{"concurrency_text", []string{`:2: scrape.concurrency: must be a whole number such as 16, not text: "16"`}, nil},
		{"concurrency_zero", []string{`:2: scrape.concurrency: is "0", but must be from 1 to 1024`}, nil},
		{"control_character", []string{`:2: the file has a control character here: remove it, or write it as \x and two digits in double quotes`}, nil},
		{"credentials_two_kinds", []string{":3: projects[0].credentials: name access_key with secret_key and ecs_agency, but only one kind can be used: remove the others"}, nil},
		{"discovery_anchors", []string{":4: projects[0].discovery.name: is no regular expression: error parsing regexp: unexpected ): `a)(b`"}, nil},
		{"discovery_engine", []string{":4: projects[0].discovery.engine: is no regular expression: error parsing regexp: missing argument to repetition operator: `*`"}, nil},
		{"discovery_name", []string{":4: projects[0].discovery.name: is no regular expression: error parsing regexp: missing closing ): `search-(`"}, nil},
		{"discovery_tag_pattern", []string{":4: projects[0].discovery.tags.team: is no regular expression: error parsing regexp: missing closing ): `search-(`"}, nil},
		{"discovery_enterprise", []string{":4: projects[0].discovery.enterprise_project_id: is no regular expression: error parsing regexp: missing closing ]: `[`"}, nil},
		{"discovery_null", []string{":3: projects[0].discovery: has no value: write discovery: {} to discover all clusters, or remove the key"}, nil},
		{"discovery_overlap", []string{":3: projects[1]: has the region and project_id of the project on line 2, and one of them discovers all clusters: merge them, or give the discovery a filter"}, nil},
		{"discovery_tag_key", []string{`:4: projects[0].discovery.tags."": has an empty key: name the tag`}, nil},
		{"discovery_tags", []string{":4: projects[0].discovery.tags: is a list, but must be a mapping of key: value"}, nil},
		{"duplicate_key", []string{":4: projects[0].name: is here twice, first on line 3: remove one"}, nil},
		{"ecs_agency", []string{":4: projects[0].credentials.ecs_agency: must be true or false, not text: a value that is not shown"}, nil},
		{"empty", []string{": the file is empty: it must have projects"}, nil},
		{"empty_text", []string{":3: projects[0].name: is empty: give it a value, or remove the key"}, nil},
		{"endpoint_bare", []string{":3: projects[0].endpoint: is no address: write it like https://css.example.com or http://127.0.0.1:8080"}, nil},
		{"endpoint_fragment", []string{`:3: projects[0].endpoint: is "https://css.example.com#a", but must have no query and no fragment: end it after the host`}, nil},
		{"endpoint_host", []string{":3: projects[0].endpoint: is no address: write it like https://css.example.com or http://127.0.0.1:8080"}, nil},
		{"endpoint_path", []string{`:3: projects[0].endpoint: is "https://css.example.com/v1.0", but must have no path: end it after the host`}, nil},
		{"endpoint_port", []string{":3: projects[0].endpoint: is no address: write it like https://css.example.com or http://127.0.0.1:8080"}, nil},
		{"endpoint_query", []string{`:3: projects[0].endpoint: is "https://css.example.com?a=b", but must have no query and no fragment: end it after the host`}, nil},
		{"endpoint_scheme", []string{`:3: projects[0].endpoint: is "ftp://css.example.com", but must begin with http:// or https://`}, nil},
		{"endpoint_userinfo", []string{":3: projects[0].endpoint: has a user or a password (not shown): keep the address alone and use credentials"}, nil},
		{"environment_control", []string{":2: projects[0].credentials: come from the environment, but CLOUD_SDK_SK has more than one line: correct the variable"}, vars{"CLOUD_SDK_AK": "A", "CLOUD_SDK_SK": "S3CRET\n"}},
		{"environment_half", []string{":2: projects[0].credentials: come from the environment, but CLOUD_SDK_AK is set without CLOUD_SDK_SK: set both or none"}, vars{"CLOUD_SDK_AK": "S3CRET"}},
		{"environment_half_vendor", []string{":2: projects[0].credentials: come from the environment, but HUAWEICLOUD_SDK_SK is set without HUAWEICLOUD_SDK_AK: set both or none"}, vars{"HUAWEICLOUD_SDK_SK": "S3CRET"}},
		{"environment_project_id", []string{":3: projects[1].project_id: is missing: HUAWEICLOUD_SDK_PROJECT_ID belongs to one region, and projects[0] of another region takes it already: set project_id in both"}, vars{"CLOUD_SDK_AK": "A", "CLOUD_SDK_SK": "S3CRET", "HUAWEICLOUD_SDK_PROJECT_ID": "p1"}},
		{"environment_project_id_bad", []string{":2: projects[0].project_id: is missing: HUAWEICLOUD_SDK_PROJECT_ID would be taken, but it is no project id: set project_id or correct the variable"}, vars{"CLOUD_SDK_AK": "A", "CLOUD_SDK_SK": "S3CRET", "HUAWEICLOUD_SDK_PROJECT_ID": "p/1"}},
		{"iam_endpoint", []string{`:3: projects[0].iam_endpoint: is "https://iam.example.com/v3", but must have no path: end it after the host`}, nil},
		{"iam_for_project_id", []string{`:2: projects[0].iam_endpoint: is missing: the project id is looked up in IAM, whose address is not known for the region "my-cloud-1": set project_id or iam_endpoint`}, nil},
		{"iam_for_user", []string{`:2: projects[0].iam_endpoint: is missing: credentials.user needs IAM, whose address is not known for the region "my-cloud-1": set it`}, nil},
		{"label_bool", []string{":5: projects[0].clusters[0].labels.live: is true or false, but must be text: put it in quotes"}, nil},
		{"label_long", []string{":5: projects[0].clusters[0].labels.team: is the value of a label, but it has 1025 bytes: shorten it to 1,024"}, nil},
		{"label_name", []string{":5: projects[0].clusters[0].labels.1team: is no name of a label: use letters, digits and underscores, and no digit at the start"}, nil},
		{"label_prefix", []string{":5: projects[0].clusters[0].labels.__team: is a name that Prometheus keeps for itself: begin it with fewer underscores"}, nil},
		{"label_taken", []string{":5: projects[0].clusters[0].labels.engine: is a label that css_vpcep_cluster_info has already: choose another name"}, nil},
		{"label_type", []string{":5: projects[0].clusters[0].labels: is a list, but must be a mapping of key: value"}, nil},
		{"labels_from_tags", []string{`:4: projects[0].discovery.labels_from_tags[0]: "cost-centre" is no name of a label: use letters, digits and underscores, and no digit at the start`}, nil},
		{"labels_from_tags_taken", []string{`:4: projects[0].discovery.labels_from_tags[0]: "vpc_id" is a label that css_vpcep_cluster_info has already: choose another name`}, nil},
		{"labels_from_tags_twice", []string{`:4: projects[0].discovery.labels_from_tags[1]: "team" is here twice, first on line 4: remove one`}, nil},
		{"max_connections", []string{`:2: scrape.max_connections: is "-1", but must be from 0 to 2147483647`}, nil},
		{"max_staleness", []string{`:2: scrape.max_staleness: is no duration: "1 hour"; write one such as 30s, 5m or 1h30m`}, nil},
		{"merge_itself", []string{":4: projects[0]: merges (<<) a mapping into itself: remove the merge key"}, nil},
		{"merge_text", []string{":3: projects[0]: merges (<<) what is no mapping: name the anchor of a mapping"}, nil},
		{"min_interval_negative", []string{`:2: scrape.min_interval: is "-5s", but must not be negative`}, nil},
		{"min_interval_unit", []string{`:2: scrape.min_interval: is no duration: "30"; write one such as 30s, 5m or 1h30m`}, nil},
		{"name_default_twice", []string{`:3: projects[1].name: is missing: it would be the region "cn-north-4", the name of the project on line 2 too: name both`}, nil},
		{"name_long", []string{":3: projects[0].name: becomes the value of a label, but it has 1025 bytes: shorten it to 1,024"}, nil},
		{"name_twice", []string{`:3: projects[1].name: is "a", the name of the project on line 2 too: names must be unique`}, nil},
		{"no_value", []string{":3: projects[0].credentials: has no value: give it a mapping of key: value, or remove the key"}, nil},
		{"not_utf8", []string{":3: the file is not in UTF-8: save it in this encoding"}, nil},
		{"odd_key", []string{":3: projects[0]: has a key that is no text: write key: value, and text with braces in quotes"}, nil},
		{"only_comments", []string{": the file is empty: it must have projects"}, nil},
		{"password_file", []string{":4: projects[0].credentials.user.password_file: names a file that cannot be read: no such file or directory"}, nil},
		{"profile_empty", []string{":4: projects[0].credentials.profile: is empty: give it a value, or remove the key"}, nil},
		{"project_id", []string{`:3: projects[0].project_id: is "a/../b", but a project id is up to 64 letters, digits, underscores and dashes: copy it from the console`}, nil},
		{"projects_empty", []string{":1: projects: is empty: list at least one project"}, nil},
		{"projects_missing", []string{":1: projects: is missing: list at least one project"}, nil},
		{"projects_null", []string{":1: projects: is empty: list at least one project"}, nil},
		{"proxy_url", []string{":3: projects[0].proxy_url: is no address of a proxy (not shown): write it like http://proxy.example.com:3128, https://… or socks5://…"}, nil},
		{"proxy_url_host", []string{":3: projects[0].proxy_url: is no address of a proxy (not shown): write it like http://proxy.example.com:3128, https://… or socks5://…"}, nil},
		{"refresh_interval", []string{`:4: projects[0].discovery.refresh_interval: is "500ms", but must be at least 1s`}, nil},
		{"region_missing", []string{":2: projects[0].region: is missing: name the region of the project, such as cn-north-4"}, nil},
		{"region_pattern", []string{`:2: projects[0].region: is "cn-north-4.evil/", but a region is up to 63 lower-case letters, digits and inner dashes, such as cn-north-4`}, nil},
		{"region_unknown", []string{`:2: projects[0].region: is "cn-north-44", which is no known region (near it: cn-north-4, cn-north-1, cn-north-2, cn-north-9): correct it, or set endpoint, with which any region works`}, nil},
		{"region_unknown_group", []string{`:2: projects[0].region: is "ap-southeast-999", which is no known region (near it: ap-southeast-1, ap-southeast-2, ap-southeast-3, ap-southeast-4): correct it, or set endpoint, with which any region works`}, nil},
		{"date_item", []string{`:1: projects[0]: is a date, but must be a mapping of key: value`, `:1: projects[1]: has no value: give it a mapping of key: value, or remove the key`}, nil},
		{"discovery_type", []string{":3: projects[0].discovery: is true or false, but must be a mapping of key: value"}, nil},
		{"region_unknown_far", []string{`:2: projects[0].region: is "atlantis", which is no known region: correct it, or set endpoint, with which any region works`}, nil},
		{"requests_per_second_infinite", []string{`:3: projects[0].requests_per_second: is ".inf", but must be above 0 and at most 10000`}, nil},
		{"requests_per_second_large", []string{`:3: projects[0].requests_per_second: is "1e9", but must be above 0 and at most 10000`}, nil},
		{"requests_per_second_nan", []string{`:3: projects[0].requests_per_second: is ".nan", but must be above 0 and at most 10000`}, nil},
		{"requests_per_second_negative", []string{`:3: projects[0].requests_per_second: is "-1", but must be above 0 and at most 10000`}, nil},
		{"requests_per_second_text", []string{`:3: projects[0].requests_per_second: must be a number such as 20, not text: "fast"`}, nil},
		{"requests_per_second_zero", []string{`:3: projects[0].requests_per_second: is "0", but must be above 0 and at most 10000`}, nil},
		{"root_list", []string{":1: the file is a list, but must be a mapping of key: value"}, nil},
		{"secret_control", []string{":5: projects[0].credentials.secret_key: has a control character: put the bare text in quotes on one line"}, nil},
		{"secret_empty", []string{":5: projects[0].credentials.secret_key: is empty: give it a value, or remove the key"}, nil},
		{"secret_key_alone", []string{":3: projects[0].credentials.access_key: is missing: secret_key needs access_key or access_key_file"}, nil},
		{"secret_key_file", []string{":5: projects[0].credentials.secret_key_file: names a file that cannot be read: no such file or directory"}, nil},
		{"secret_lines", []string{":5: projects[0].credentials.secret_key: has more than one line: put the bare text in quotes on one line"}, nil},
		{"security_token_alone", []string{":3: projects[0].credentials.access_key: is missing: security_token needs access_key and secret_key"}, nil},
		{"security_token_file", []string{":6: projects[0].credentials.security_token_file: names a file that cannot be read: no such file or directory"}, nil},
		{"several_documents", []string{":3: a second YAML document begins here: put everything into one document"}, nil},
		{"several_mistakes", []string{
			`:2: scrape.concurrency: is "0", but must be from 1 to 1024`,
			":3: scrape.min_intervall: is no key here: did you mean min_interval?",
			`:6: projects[0].requests_per_second: is "0", but must be above 0 and at most 10000`,
			":7: projects[0].credentials.access_key: is missing: secret_key needs access_key or access_key_file",
			":9: projects[1].region: is missing: name the region of the project, such as cn-north-4",
		}, nil},
		{"syntax", []string{":3: the file is not valid YAML here or just above: a dash or a key is not where it must be: indent the keys of a mapping, and the dashes of a list, alike"}, nil},
		{"tab", []string{":2: the file is not valid YAML here or just above: a tab is in the indentation: use spaces"}, nil},
		{"tagged_secret", []string{":3: projects[0].credentials.secret_key: is of a type that is not known here: put text that begins with ! or << in quotes"}, nil},
		{"tls_ca_file", []string{":4: projects[0].tls_config.ca_file: names a file that cannot be read: no such file or directory"}, nil},
		{"tls_ca_file_pem", []string{":4: projects[0].tls_config.ca_file: names a file without a certificate in PEM form: name a bundle of CA certificates"}, nil},
		{"tls_ca_pem", []string{":3: projects[0].tls_config: cannot be used: unable to use specified CA cert inline"}, nil},
		{"tls_flag", []string{`:4: projects[0].tls_config.insecure_skip_verify: must be true or false, not text: "yes"`}, nil},
		{"tls_key_alone", []string{":3: projects[0].tls_config: cannot be used: exactly one of cert or cert_file must be configured when a client key is configured"}, nil},
		{"tls_key_pair", []string{":3: projects[0].tls_config: cannot be used: unable to use specified client cert (inline) & key (inline): tls: failed to find any PEM data in certificate input"}, nil},
		{"tls_min_version", []string{`:4: projects[0].tls_config.min_version: is "TLS14", but must be TLS10, TLS11, TLS12 or TLS13`}, nil},
		{"tls_reference", []string{":4: projects[0].tls_config.ca_ref: needs a secret manager, which the exporter has not: use ca_file"}, nil},
		{"tls_two_sources", []string{":3: projects[0].tls_config: cannot be used: at most one of ca, ca_file & ca_ref must be configured"}, nil},
		{"tls_unknown_key", []string{":4: projects[0].tls_config.cafile: is no key here: did you mean ca_file?"}, nil},
		{"tls_versions", []string{":3: projects[0].tls_config: cannot be used: tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified"}, nil},
		{"token_file", []string{":4: projects[0].credentials.token_file: names a file that cannot be read: no such file or directory"}, nil},
		{"token_file_control", []string{":4: projects[0].credentials.token_file: names a file whose text has a control character: it must hold the secret alone, on one line"}, nil},
		{"token_file_empty", []string{":4: projects[0].credentials.token_file: names a file that is empty: write the secret into it"}, nil},
		{"token_file_folder", []string{":4: projects[0].credentials.token_file: names a file that cannot be read: it is no regular file"}, nil},
		{"token_file_lines", []string{":4: projects[0].credentials.token_file: names a file whose text has more than one line: it must hold the secret alone, on one line"}, nil},
		{"two_sources", []string{":6: projects[0].credentials.secret_key_file: stands beside secret_key: remove one of them"}, nil},
		{"unknown_anchor", []string{":3: the file is not valid YAML here or just above: an alias has no anchor; text that begins with * must be in quotes"}, nil},
		{"unknown_key", []string{":1: projekt: is no key here: did you mean projects?"}, nil},
		{"unknown_key_credentials", []string{":4: projects[0].credentials.secretkey: is no key here: did you mean secret_key?"}, nil},
		{"unknown_key_near", []string{":2: projects[0].regoin: is no key here: did you mean region?"}, nil},
		{"unknown_key_secret", []string{":6: projects[0].credentials.(not shown): is no key here: the keys are access_key, access_key_file, secret_key, secret_key_file, security_token, security_token_file, token_file, user, ecs_agency, profile"}, nil},
		{"user_incomplete", []string{
			":4: projects[0].credentials.user.name: is missing: name the IAM user",
			":4: projects[0].credentials.user.domain: is missing: name the account that the user belongs to",
			":4: projects[0].credentials.user.password: is missing: set password or password_file",
		}, nil},
		{"user_two_passwords", []string{":4: projects[0].credentials.user.password_file: stands beside password: remove one of them"}, nil},
		{"utf16", []string{":1: the file is not in UTF-8: save it in this encoding"}, nil},
		{"wrong_type_bool", []string{":2: projects[0].region: is true or false, but must be text: put it in quotes"}, nil},
		{"wrong_type_item", []string{":2: projects[0]: is text, but must be a mapping of key: value"}, nil},
		{"wrong_type_list", []string{":1: projects: is a mapping, but must be a list, with a dash before each element"}, nil},
		{"wrong_type_mapping", []string{":1: scrape: is a number, but must be a mapping of key: value"}, nil},
		{"wrong_type_secret", []string{":3: projects[0].credentials.secret_key: is a list, but must be text"}, nil},
		{"wrong_type_text", []string{":2: projects[0].region: is a list, but must be text"}, nil},
		{"profile_broken", []string{":4: projects[0].credentials.profile: names a file that is no INI file: write [section] on a line of its own, and key = value on the lines below it"}, nil},
		{"profile_section_open", []string{":4: projects[0].credentials.profile: names a file that is no INI file: write [section] on a line of its own, and key = value on the lines below it"}, nil},
		{"profile_utf16", []string{":4: projects[0].credentials.profile: names a file that is no INI file: write [section] on a line of its own, and key = value on the lines below it"}, nil},
		{"profile_half_ak", []string{":4: projects[0].credentials.profile: names a file that has ak without sk in the section: write both"}, nil},
		{"profile_half_sk", []string{":4: projects[0].credentials.profile: names a file that has sk without ak in the section: write both"}, nil},
		{"profile_neither", []string{":4: projects[0].credentials.profile: names a file that has neither ak nor sk in the section: write both"}, nil},
		{"profile_no_basic", []string{":4: projects[0].credentials.profile: names a file that has no section [basic]: add it, with ak and sk"}, nil},
		{"profile_control", []string{":4: projects[0].credentials.profile: names a file that has in the section a key sk that has a control character: write the bare text on one line"}, nil},
		{"profile_lines", []string{":4: projects[0].credentials.profile: names a file that has in the section a key sk that has more than one line: write the bare text on one line"}, nil},
		{"profile_blank", []string{":4: projects[0].credentials.profile: names a file that has in the section a key ak that has only white space: write the bare text on one line"}, nil},
		{"profile_reference", []string{":4: projects[0].credentials.profile: names a file that has in the section a key sk that refers to another value by %(…)s: write the value itself"}, nil},
		{"profile_security_token", []string{":4: projects[0].credentials.profile: names a file that has in the section a key security_token that has a control character: write the bare text on one line"}, nil},
		{"profile_project_id", []string{":4: projects[0].credentials.profile: names a file that has in the section a project_id that is none: copy it from the console"}, nil},
		{"profile_iam_path", []string{":4: projects[0].credentials.profile: names a file that has in the section an iam_endpoint that must have no path: end it after the host"}, nil},
		{"profile_iam_user", []string{":4: projects[0].credentials.profile: names a file that has in the section an iam_endpoint that has a user or a password (not shown): keep the address alone and use credentials"}, nil},
		{"profile_iam_bare", []string{":4: projects[0].credentials.profile: names a file that has in the section an iam_endpoint that is no address: write it like https://css.example.com or http://127.0.0.1:8080"}, nil},
		{"profile_file", []string{":4: projects[0].credentials.profile: names a file that cannot be read: no such file or directory"}, nil},
		{"profile_folder", []string{":4: projects[0].credentials.profile: names a file that cannot be read: it is no regular file"}, nil},
		{"profile_home", []string{":4: projects[0].credentials.profile: names a section of $HOME/.huaweicloud/credentials, but that file cannot be read: no such file or directory"}, vars{"HOME": "testdata/none"}},
		{"profile_nowhere", []string{":4: projects[0].credentials.profile: names a section of the default profile file, but neither HUAWEICLOUD_SDK_CREDENTIALS_FILE nor HOME is set: set one of them, or name the file by a path with a slash"}, nil},
		{"profile_section", []string{":4: projects[0].credentials.profile: names a section of the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file has no section of this name: correct the name, or add the section; a path needs a slash"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/good.ini"}},
		{"profile_two_regions", []string{":4: projects[1].project_id: is missing: the profile's project_id belongs to one region, and projects[0] of another region takes it already: set project_id in both"}, nil},
		{"profile_two_ways", []string{":3: projects[1].project_id: is missing: the profile's project_id belongs to one region, and projects[0] of another region takes it already: set project_id in both"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/one_project.ini"}},
		{"profile_two_kinds", []string{":3: projects[0].credentials: name access_key with secret_key and profile, but only one kind can be used: remove the others"}, nil},
		{"profile_overlap", []string{":3: projects[1]: has the region and project_id of the project on line 2, and one of them discovers all clusters: merge them, or give the discovery a filter"}, nil},
		{"profile_no_iam", []string{`:2: projects[0].iam_endpoint: is missing: the project id is looked up in IAM, whose address is not known for the region "my-cloud-1": set project_id or iam_endpoint`}, nil},
		{"profile_hides_iam", []string{":2: projects[0].credentials.profile: names a file that is no INI file: write [section] on a line of its own, and key = value on the lines below it"}, nil},
		{"chain_profile_broken", []string{":2: projects[0].credentials: come from the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file is no INI file: write [section] on a line of its own, and key = value on the lines below it"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/broken.ini"}},
		{"chain_profile_half", []string{":2: projects[0].credentials: come from the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file has sk without ak in the section: write both"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/half_sk.ini"}},
		{"chain_profile_control", []string{":2: projects[0].credentials: come from the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file has in the section a key sk that has a control character: write the bare text on one line"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/control.ini"}},
		{"chain_profile_folder", []string{":2: projects[0].credentials: come from the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file cannot be read: it is no regular file"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/"}},
		{"chain_profile_iam", []string{":2: projects[0].credentials: come from the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file has in the section an iam_endpoint that must have no path: end it after the host"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/iam_path.ini"}},
		{"chain_profile_project_id", []string{":2: projects[0].credentials: come from the file in HUAWEICLOUD_SDK_CREDENTIALS_FILE, but that file has in the section a project_id that is none: copy it from the console"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/project_id.ini"}},
		{"chain_profile_regions", []string{":3: projects[1].project_id: is missing: the profile's project_id belongs to one region, and projects[0] of another region takes it already: set project_id in both"}, vars{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/one_project.ini"}},
		{"chain_home", []string{":2: projects[0].credentials: come from $HOME/.huaweicloud/credentials, but that file is no INI file: write [section] on a line of its own, and key = value on the lines below it"}, vars{"HOME": "testdata/home"}},
		{"chain_blank", []string{":2: projects[0].credentials: come from the environment, but CLOUD_SDK_AK has only white space: correct the variable"}, vars{"CLOUD_SDK_AK": " ", "CLOUD_SDK_SK": "S3CRET"}},
		{"pod_uri_alone", []string{":2: projects[0].credentials: come from the pod's identity, but HC_CONTAINER_CREDENTIALS_FULL_URI is set without HC_CONTAINER_AUTHORIZATION_TOKEN_FILE: set both or none"}, vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/S3CRET"}}, //nolint:gosec // made up
		{"pod_token_alone", []string{":2: projects[0].credentials: come from the pod's identity, but HC_CONTAINER_AUTHORIZATION_TOKEN_FILE is set without HC_CONTAINER_CREDENTIALS_FULL_URI: set both or none"}, vars{"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/S3CRET", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/neither.ini"}},
		{"pod_uri", []string{":2: projects[0].credentials: come from the pod's identity, but HC_CONTAINER_CREDENTIALS_FULL_URI (not shown) is no http or https address without a user and a password: correct the variable"}, vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "ftp://127.0.0.1/S3CRET", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/token", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/none.ini"}},                   //nolint:gosec // made up
		{"pod_uri_userinfo", []string{":2: projects[0].credentials: come from the pod's identity, but HC_CONTAINER_CREDENTIALS_FULL_URI (not shown) is no http or https address without a user and a password: correct the variable"}, vars{"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://a:S3CRET@127.0.0.1/x", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/token", "HUAWEICLOUD_SDK_CREDENTIALS_FILE": "testdata/profiles/no_basic.ini"}}, //nolint:gosec // made up
		{"metadata_path", []string{":2: projects[0].credentials: may come from the ECS agency, but CSS_VPCEP_EXPORTER_METADATA_ADDRESS must have no path: end it after the host"}, vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "http://127.0.0.1/S3CRET"}},
		{"metadata_agency", []string{":3: projects[1].credentials: may come from the ECS agency, but CSS_VPCEP_EXPORTER_METADATA_ADDRESS is no address: write it like https://css.example.com or http://127.0.0.1:8080"}, vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "S3CRET"}},
		{"metadata_userinfo", []string{":2: projects[0].credentials: may come from the ECS agency, but CSS_VPCEP_EXPORTER_METADATA_ADDRESS has a user or a password (not shown): keep the address alone and use credentials"}, vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "http://a:S3CRET@127.0.0.1"}}, //nolint:gosec // made up
		{"metadata_scheme", []string{":2: projects[0].credentials: may come from the ECS agency, but CSS_VPCEP_EXPORTER_METADATA_ADDRESS must begin with http:// or https://"}, vars{"CSS_VPCEP_EXPORTER_METADATA_ADDRESS": "ftp://127.0.0.1"}},
		{"key_place", []string{
			":3: projects[0].access_key: is no key here: it belongs under credentials",
			":4: projects[0].secret_key: is no key here: it belongs under credentials",
			":5: projects[0].tags: is no key here: it belongs under discovery",
			":6: projects[0].password: is no key here: it belongs under credentials.user",
			":7: min_interval: is no key here: it belongs under scrape",
		}, nil},
		{"key_secret", []string{":3: projects[0].(not shown): is no key here: the keys are name, region, project_id, endpoint, iam_endpoint, requests_per_second, credentials, clusters, discovery, tls_config, proxy_url"}, nil},
		{"region_secret", []string{
			":2: projects[0].region: is a value that is not shown, but a region is up to 63 lower-case letters, digits and inner dashes, such as cn-north-4",
			":3: projects[0].project_id: is a value that is not shown, but a project id is up to 64 letters, digits, underscores and dashes: copy it from the console",
		}, nil},
		{"secret_blank", []string{":5: projects[0].credentials.secret_key: has only white space: put the bare text in quotes on one line"}, nil},
		{"label_histogram", []string{
			":5: projects[0].clusters[0].labels.le: is a label that only histograms and summaries may have: choose another name",
			":5: projects[0].clusters[0].labels.quantile: is a label that only histograms and summaries may have: choose another name",
		}, nil},
		{"labels_from_tags_histogram", []string{`:4: projects[0].discovery.labels_from_tags[0]: "le" is a label that only histograms and summaries may have: choose another name`}, nil},
		{"cluster_unknown_project", []string{`:7: projects[1].clusters[0].id: is "a", as on line 3: a cluster can be watched only once`}, nil},
		{"cluster_unknown_project_later", []string{`:7: projects[1].clusters[0].id: is "a", as on line 4: a cluster can be watched only once`}, nil},
		{"concurrency_huge", []string{`:2: scrape.concurrency: is "99999999999999999999", but must be from 1 to 1024`}, nil},
		{"requests_per_second_hex", []string{`:3: projects[0].requests_per_second: must be a number such as 20, in plain digits, not "0x10"`}, nil},
		{"template", []string{
			":1: the file has a key that is no text: write key: value, and text with braces in quotes",
			":1: projects: is missing: list at least one project",
		}, nil},
		{"tab_inner", []string{":3: the file is not valid YAML here or just above: a tab is in the indentation: use spaces"}, nil},
		{"yaml_at", []string{":5: the file is not valid YAML here or just above: text begins with a character that YAML keeps for itself, such as @ or %: put it in quotes"}, nil},
		{"yaml_bracket", []string{":1: the file is not valid YAML here or just above: a comma or a closing bracket is missing: close what is open, and put text with brackets in quotes"}, nil},
		{"yaml_colon", []string{":5: the file is not valid YAML here or just above: a colon is where none can be: put text with a colon in quotes, and indent the keys of a mapping alike"}, nil},
		{"yaml_deep", []string{":1: the file is not valid YAML here or just above: brackets or mappings are nested too deep: remove some"}, nil},
		{"yaml_escape", []string{`:5: the file is not valid YAML here or just above: a \ in double quotes begins what YAML does not know: use single quotes`}, nil},
		{"yaml_no_colon", []string{":4: the file is not valid YAML here or just above: a key has no colon: write key: value"}, nil},
		{"yaml_quote", []string{":5: the file is not valid YAML here or just above: text in quotes does not end: close the quotes"}, nil},
		{"yaml_tag", []string{":5: the file is not valid YAML here or just above: a tag is not known; text that begins with ! must be in quotes"}, nil},
		{"yaml_indent", []string{":5: the file is not valid YAML here or just above: a key is not where it must be: indent the keys of a mapping alike"}, nil},
		{"yaml_open", []string{":2: the file is not valid YAML here or just above: a value is missing: close what is open, and put text with brackets in quotes"}, nil},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			path := filepath.Join("testdata", "bad", tt.rule+".yml")
			tested[path] = true
			c, err := Load(path, tt.env.lookup)
			if c != nil {
				t.Errorf("a bad file gave a configuration")
			}
			checkErrors(t, err, path, tt.want)
		})
	}
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !tested[file] {
			t.Errorf("%s is not in the table", file)
		}
	}
}

// checkErrors compares all mistakes with the wanted ones, and holds them to
// what is promised of any mistake.
func checkErrors(t *testing.T, err error, path string, want []string) {
	t.Helper()
	errs, ok := errors.AsType[Errors](err)
	if !ok {
		t.Fatalf("the error is %T, not Errors", err)
	}
	got := strings.Split(errs.Error(), "\n")
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
	if strings.Contains(errs.Error(), marker) {
		t.Errorf("a mistake shows a secret: %s", errs)
	}
}

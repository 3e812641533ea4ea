// SPDX-License-Identifier: Apache-2.0

// Package syntax checks the form of labels, IDs and addresses. A fault says what is wrong, and is empty for a valid
// value. It touches nothing.
package syntax

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/yamlfile"
)

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	digits    = "0123456789"
	letters   = lowerCase + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func consistsOf(s, characters string) bool { return strings.Trim(s, characters) == "" }

// LabelValueFault checks the value of a label.
func LabelValueFault(s string) string {
	if len(s) > clean.MaxLength {
		return fmt.Sprintf("invalid label value: %d bytes; shorten it to %d", len(s), clean.MaxLength)
	}
	return ""
}

// LabelNameFault checks the name of a label of css_vpcep_cluster_info.
func LabelNameFault(s string) string {
	infoLabels := []string{ // of css_vpcep_cluster_info
		"region", "project_id", "cluster_id", "cluster_name", "project",
		"engine", "engine_version", "enterprise_project_id", "vpc_id",
	}
	invalid := "invalid label name " + yamlfile.Quote(s) + ": "
	switch {
	case s == "" || !consistsOf(s, letters+digits+"_") || consistsOf(s[:1], digits):
		return invalid + "use letters, digits and underscores, and begin with a letter"
	case strings.HasPrefix(s, "__"):
		return invalid + "names that begin with __ are reserved by Prometheus; choose another"
	case slices.Contains(infoLabels, s):
		return invalid + "css_vpcep_cluster_info already has this label; choose another"
	case s == "le" || s == "quantile":
		return invalid + "reserved for histograms and summaries; choose another"
	}
	return ""
}

// RegionFault checks the name of a region, which may be unknown.
func RegionFault(s string) string {
	if consistsOf(s, lowerCase+digits+"-") && len(s) <= 63 && strings.Trim(s, "-") == s {
		return ""
	}
	return "invalid region " + yamlfile.Quote(s) +
		"; use up to 63 lower-case letters, digits and inner dashes, such as cn-north-4"
}

// ProjectIDFault checks the ID of a project or an account, which may be part of a path.
func ProjectIDFault(s string) string { return idFault("project ID", s, 64, letters+digits+"_-") }

// ClusterIDFault checks the ID of a cluster, which is part of a path.
func ClusterIDFault(s string) string { return idFault("cluster ID", s, 128, letters+digits+"_-.") }

func idFault(name, s string, longest int, characters string) string {
	if len(s) <= longest && consistsOf(s, characters) && s != "." && s != ".." {
		return ""
	}
	return "invalid " + name + " " + yamlfile.Quote(s) + "; copy it from the console"
}

// RegionInAddress stands for the region in an endpoint of several.
const RegionInAddress = "{region}"

// ParseEndpoint returns a URL without a trailing slash. The fault shows no password.
func ParseEndpoint(s string) (address, fault string) {
	u := network.ParseURL(s, "http", "https")
	switch {
	case strings.Contains(s, "@"):
		return "", "invalid URL (not shown): user or password before the host; remove it"
	case u == nil && strings.Contains(s, RegionInAddress):
		return "", "invalid URL: only endpoint and sessions.endpoint may contain {region}, beside regions; write the region or the host itself"
	case u == nil:
		return "", "invalid URL (not shown); write it like https://css.example.com or http://127.0.0.1:8080"
	}
	address = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	if len(u.Path) > 1 || strings.ContainsAny(s, "?#") {
		return "", "invalid URL: path or query after the host; write " + yamlfile.Quote(address)
	}
	return address, ""
}

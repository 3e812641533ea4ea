// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"css_vpcep_exporter/internal/spelling"
)

// knownRegions returns the regions of Huawei Cloud and of Open Telekom Cloud (eu-de, eu-nl).
func knownRegions() []string {
	return []string{
		"ae-ad-1", "af-north-1", "af-south-1",
		"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
		"cn-east-2", "cn-east-3", "cn-east-4", "cn-east-5",
		"cn-north-1", "cn-north-2", "cn-north-4", "cn-north-9", "cn-north-11", "cn-north-12",
		"cn-south-1", "cn-south-2", "cn-south-4", "cn-southwest-2", "cn-southwest-3",
		"eu-de", "eu-nl", "eu-west-101", "la-north-2", "la-south-2", "me-east-1", "my-kualalumpur-1",
		"na-mexico-1", "ru-moscow-1", "sa-brazil-1", "tr-west-1",
	}
}

// RegionEndpoints returns the default endpoints of a known region.
func RegionEndpoints(region string) (css, iam string, known bool) {
	if !slices.Contains(knownRegions(), region) {
		return "", "", false
	}
	service, cssDomain, iamDomain := "css", "myhuaweicloud.com", "myhuaweicloud.com"
	switch region {
	case "eu-de", "eu-nl":
		cssDomain, iamDomain = "otc.t-systems.com", "otc.t-systems.com"
	case "eu-west-101":
		iamDomain = "myhuaweicloud.eu" // and only IAM's
	case "cn-north-1", "cn-east-2":
		service = "es" // in the two oldest regions
	}
	return "https://" + service + "." + region + "." + cssDomain, "https://iam." + region + "." + iamDomain, true
}

// stsEndpoint returns the STS endpoint of a region, or "" if none is known. Any endpoint serves all regions of its site.
func stsEndpoint(region string) string {
	own := []string{
		"af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "cn-east-3", "cn-north-4",
		"cn-south-1", "cn-southwest-2", "la-south-2", "sa-brazil-1", "tr-west-1",
	}
	if !slices.Contains(own, region) {
		if !strings.HasPrefix(region, "cn-") || !slices.Contains(knownRegions(), region) {
			return ""
		}
		region = "cn-north-4"
	}
	return "https://sts." + region + ".myhuaweicloud.com"
}

// didYouMean ends a sentence, and suggests regions if there are similar ones.
func didYouMean(region string) string {
	if near := similarRegions(region); len(near) > 0 {
		return "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return "."
}

// similarRegions returns the region with the nearest spelling, or up to four of the same area, in quotes.
func similarRegions(region string) []string {
	if near := spelling.Nearest(region, knownRegions()); near != "" {
		return []string{quote(near)}
	}
	var found []string
	area := region[:strings.LastIndexByte(region, '-')+1]
	for _, known := range knownRegions() {
		if area != "" && strings.HasPrefix(known, area) && len(found) < 4 {
			found = append(found, quote(known))
		}
	}
	return found
}

// SPDX-License-Identifier: Apache-2.0

// Package regions knows the regions of Huawei Cloud and of Open Telekom Cloud (eu-de, eu-nl), and their endpoints. It
// touches nothing.
package regions

import (
	"slices"
	"strconv"
	"strings"

	"css_vpcep_exporter/internal/spelling"
)

// All returns the regions.
func All() []string {
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

// Endpoints returns the endpoints of a region, if it is known.
func Endpoints(region string) (css, iam string, known bool) {
	if !slices.Contains(All(), region) {
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

// CES returns the Cloud Eye endpoint of a region, or "" if the region is not known.
func CES(region string) string {
	switch {
	case !slices.Contains(All(), region):
		return ""
	case region == "eu-de", region == "eu-nl":
		return "https://ces." + region + ".otc.t-systems.com"
	}
	return "https://ces." + region + ".myhuaweicloud.com"
}

// STS returns the STS endpoint of a region, or "" if none is known. Any endpoint serves all regions of its site.
func STS(region string) string {
	own := []string{
		"af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "cn-east-3", "cn-north-4",
		"cn-south-1", "cn-southwest-2", "la-south-2", "sa-brazil-1", "tr-west-1",
	}
	if !slices.Contains(own, region) {
		if !strings.HasPrefix(region, "cn-") || !slices.Contains(All(), region) {
			return ""
		}
		region = "cn-north-4"
	}
	return "https://sts." + region + ".myhuaweicloud.com"
}

// OfIAM returns the region that an endpoint of IAM belongs to, or "" if it is not known.
func OfIAM(endpoint string) string {
	for _, region := range All() {
		if _, iam, _ := Endpoints(region); iam == endpoint {
			return region
		}
	}
	return ""
}

// SameSite reports whether two endpoints of IAM have the same domain. One IAM knows all regions of its site.
func SameSite(iam, other string) bool { return siteOf(iam) == siteOf(other) }

func siteOf(iam string) string {
	_, domain, _ := strings.Cut(iam, ".")
	_, domain, _ = strings.Cut(domain, ".")
	return domain
}

// DidYouMean ends a sentence, and suggests regions if there are similar ones.
func DidYouMean(region string) string {
	if near := similar(region); len(near) > 0 {
		return "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return "."
}

// similar returns the region with the nearest spelling, or up to four of the same area, in quotes.
func similar(region string) []string {
	if near := spelling.Nearest(region, All()); near != "" {
		return []string{strconv.Quote(near)}
	}
	var found []string
	area := region[:strings.LastIndexByte(region, '-')+1]
	for _, known := range All() {
		if area != "" && strings.HasPrefix(known, area) && len(found) < 4 {
			found = append(found, strconv.Quote(known))
		}
	}
	return found
}

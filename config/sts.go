// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
)

// stsEndpoint returns the default endpoint of STS, or "" if it is not known for a region. Any endpoint of STS serves all
// regions of its site.
func stsEndpoint(region string) string {
	documented := []string{
		"af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
		"cn-east-3", "cn-north-4", "cn-south-1", "cn-southwest-2", "la-south-2", "sa-brazil-1", "tr-west-1",
	}
	switch {
	case slices.Contains(documented, region):
	case strings.HasPrefix(region, "cn-") && slices.Contains(knownRegions(), region):
		region = "cn-north-4"
	default:
		return ""
	}
	return "https://sts." + region + ".myhuaweicloud.com"
}

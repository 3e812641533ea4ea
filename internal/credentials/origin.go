// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"time"

	"css_vpcep_exporter/internal/cloud"
)

// Origin describes where a source's credentials were last found, and when they expire, if that is known.
func Origin(source cloud.CredentialSource) (from string, expires time.Time) {
	switch s := source.(type) {
	case *Chain:
		last := s.lastSource()
		if last == nil && len(s.sources) == 1 {
			last = s.sources[0]
		}
		if last != nil {
			from, expires = Origin(last)
			return "the default chain: " + from, expires
		}
		return "the default chain", time.Time{}
	case Environment:
		if s.get("HUAWEICLOUD_SDK_AK") != "" && s.get("HUAWEICLOUD_SDK_SK") != "" {
			return "the variables HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK", time.Time{}
		}
		return "the variables CLOUD_SDK_AK and CLOUD_SDK_SK", time.Time{}
	case *fileSource:
		return s.from, time.Time{}
	case *cache:
		if held := s.held.Load(); held != nil && !held.assumed {
			expires = held.expires
		}
		return s.issuer.from(), expires
	}
	return "the configuration", time.Time{}
}

func (e *ecsAgency) from() string {
	return "the agency of this ECS, from the metadata service at " + e.address
}

func (*podIdentity) from() string { return "the identity of this pod (" + podAddress + ")" }

func (t *tokenIssuer) from() string {
	return "a login of the IAM user " + t.login.User + " of " + t.login.Domain
}

func (a *agencyIssuer) from() string {
	caller, _ := Origin(a.caller)
	return "the agency " + a.agency.Name + " of the account " + a.agency.account() + ", assumed with " + caller
}

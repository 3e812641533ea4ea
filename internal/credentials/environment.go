// SPDX-License-Identifier: Apache-2.0

// Package credentials has the sources of credentials for package cloud. It touches files with secrets, the services
// of this machine that issue keys, and IAM through a cloud.Client.
package credentials

import (
	"context"

	"css_vpcep_exporter/internal/cloud"
)

// noCredentials is the error after which a Chain tries the next source.
type noCredentials struct{ why string }

func (e noCredentials) Error() string { return "no credentials: " + e.why }

// Environment is a source that reads the variables of the vendor's SDKs (HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN), or
// else those of its documentation's samples (CLOUD_SDK_AK, _SK).
type Environment func(key string) (value string, ok bool)

// Credentials implements cloud.CredentialSource. It fails if neither pair is set.
func (lookup Environment) Credentials(context.Context) (cloud.Credentials, error) {
	for _, prefix := range []string{"HUAWEICLOUD_SDK_", "CLOUD_SDK_"} {
		accessKey, _ := lookup(prefix + "AK")
		secretKey, _ := lookup(prefix + "SK")
		if accessKey == "" || secretKey == "" {
			continue
		}
		c := cloud.Credentials{AccessKey: accessKey, SecretKey: secretKey}
		if prefix == "HUAWEICLOUD_SDK_" {
			c.SecurityToken, _ = lookup(prefix + "SECURITY_TOKEN")
		}
		return c, nil
	}
	return cloud.Credentials{}, noCredentials{"the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK"}
}

// Invalidate implements cloud.CredentialSource.
func (Environment) Invalidate(cloud.Credentials, bool) bool { return false }

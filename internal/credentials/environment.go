// SPDX-License-Identifier: Apache-2.0

// Package credentials has the sources of credentials for package cloud. It touches files with secrets, the services
// of this machine that issue keys, and IAM through a cloud.Client.
package credentials

import (
	"context"
	"fmt"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/secret"
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
		c := cloud.Credentials{AccessKey: lookup.get(prefix + "AK"), SecretKey: lookup.get(prefix + "SK")}
		if c.AccessKey == "" || c.SecretKey == "" {
			continue
		}
		if prefix == "HUAWEICLOUD_SDK_" {
			c.SecurityToken = lookup.get(prefix + "SECURITY_TOKEN")
		}
		for name, value := range map[string]string{
			"AK": c.AccessKey, "SK": c.SecretKey, "SECURITY_TOKEN": c.SecurityToken,
		} {
			if fault := secret.KeyFault(value); fault != "" {
				return cloud.Credentials{}, fmt.Errorf("no credentials: variable %s has an %s", prefix+name, secret.Invalid(fault))
			}
		}
		return c, nil
	}
	return cloud.Credentials{}, noCredentials{"the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK"}
}

func (lookup Environment) get(key string) string {
	value, _ := lookup(key)
	return secret.Trim(value)
}

// Invalidate implements cloud.CredentialSource.
func (Environment) Invalidate(cloud.Credentials, bool) bool { return false }

// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
)

// environment returns a source that reads the variables of a map.
func environment(variables map[string]string) credentials.Environment {
	return func(key string) (string, bool) { value, ok := variables[key]; return value, ok }
}

func TestEnvironment(t *testing.T) {
	for _, test := range []struct {
		name      string
		variables map[string]string
		want      cloud.Credentials // empty for an error
	}{
		{"none", nil, cloud.Credentials{}},
		{
			"of the samples", map[string]string{"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "s"},
			cloud.Credentials{AccessKey: "a", SecretKey: "s"},
		},
		{
			"of the SDKs", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s"},
			cloud.Credentials{AccessKey: "a", SecretKey: "s"},
		},
		{
			"temporary", map[string]string{
				"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t",
			},
			cloud.Credentials{AccessKey: "a", SecretKey: "s", SecurityToken: "t"},
		},
		{
			"both", map[string]string{
				"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s", "CLOUD_SDK_AK": "b", "CLOUD_SDK_SK": "r",
			},
			cloud.Credentials{AccessKey: "a", SecretKey: "s"},
		},
		{ // a token belongs to its own key
			"the token of another pair", map[string]string{
				"CLOUD_SDK_AK": "b", "CLOUD_SDK_SK": "r", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t",
			},
			cloud.Credentials{AccessKey: "b", SecretKey: "r"},
		},
		{
			"half a pair", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "CLOUD_SDK_AK": "b", "CLOUD_SDK_SK": "r"},
			cloud.Credentials{AccessKey: "b", SecretKey: "r"},
		},
		{"halves of two pairs", map[string]string{"HUAWEICLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "r"}, cloud.Credentials{}},
		{"empty", map[string]string{"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}, cloud.Credentials{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := environment(test.variables).Credentials(t.Context())
			if got != test.want || (err != nil) != (test.want == cloud.Credentials{}) {
				t.Errorf("got the wanted credentials: %t; error %v", got == test.want, err)
			}
		})
	}
}

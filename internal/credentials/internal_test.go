// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"testing"

	"css_vpcep_exporter/internal/cloud"
)

// TestMachineServicesAreNotProxied looks at the transport, because net/http never proxies requests to loopback.
func TestMachineServicesAreNotProxied(t *testing.T) {
	if newMachineClient().transport.Proxy != nil {
		t.Error("the services of this machine are reached through a proxy")
	}
}

func TestFilesAreReadUntilTheyAreAlike(t *testing.T) {
	pair := func(accessKey, secretKey string) cloud.Credentials {
		return cloud.Credentials{AccessKey: accessKey, SecretKey: secretKey}
	}
	for name, test := range map[string]struct {
		reads []cloud.Credentials
		want  cloud.Credentials
	}{
		"replaced once":         {[]cloud.Credentials{pair("a1", "s2"), pair("a2", "s2"), pair("a2", "s2")}, pair("a2", "s2")},
		"replaced all the time": {[]cloud.Credentials{pair("a1", "s2"), pair("a2", "s3"), pair("a3", "s4"), pair("a4", "s5")}, pair("a4", "s5")},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			source := newFileSource("", cloud.Credentials{}, func(cloud.Credentials) (c cloud.Credentials, problem, err error) {
				n++
				return test.reads[n-1], nil, nil
			})
			if c, err := source.Credentials(t.Context()); c != test.want || err != nil {
				t.Errorf("got another pair, or %v", err)
			}
			if n != len(test.reads) {
				t.Errorf("got %d reads, want %d", n, len(test.reads))
			}
		})
	}
}

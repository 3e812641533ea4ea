// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSessions(t *testing.T) {
	for name, test := range map[string]struct {
		settings []string
		found    string // the name in IAM of a project of an account
		want     *Sessions
	}{
		"without": {[]string{"region: cn-north-4"}, "", nil},
		"derived": {
			[]string{"region: cn-north-1", "sessions: {}"}, "", &Sessions{"https://ces.cn-north-1.myhuaweicloud.com", 500},
		},
		"another site": {
			[]string{"region: eu-de", "sessions: {batch_size: 10}"}, "", &Sessions{"https://ces.eu-de.otc.t-systems.com", 10},
		},
		"own endpoint": {
			[]string{"region: cn-north-4", "sessions: {endpoint: 'http://127.0.0.1:8080/', batch_size: 1}"}, "",
			&Sessions{"http://127.0.0.1:8080", 1},
		},
		"unknown region": {
			[]string{
				"region: my-cloud-1", "project_id: p", "endpoint: https://css.example.com",
				"sessions: {endpoint: 'https://ces.example.com'}",
			}, "", &Sessions{"https://ces.example.com", 500},
		},
		"regions": {
			[]string{"regions: [cn-north-4, ap-southeast-3]", "sessions: {}"}, "ap-southeast-3",
			&Sessions{"https://ces.ap-southeast-3.myhuaweicloud.com", 500},
		},
		"all regions": {
			[]string{"regions: ['*']", "sessions: {batch_size: 7}"}, "la-south-2",
			&Sessions{"https://ces.la-south-2.myhuaweicloud.com", 7},
		},
		"regions of another cloud": {
			[]string{
				"regions: ['*']", "name: n", "endpoint: https://css.{region}.example.com", "iam_endpoint: https://iam.example.com",
				"sessions: {endpoint: 'https://ces.{region}.example.com:8443/'}",
			}, "my-region-1", &Sessions{"https://ces.my-region-1.example.com:8443", 500},
		},
		"one endpoint for regions": {
			[]string{"regions: [cn-north-4]", "sessions: {endpoint: 'https://ces.example.com'}"}, "cn-north-4",
			&Sessions{"https://ces.example.com", 500},
		},
		"regions without": {[]string{"regions: [cn-north-4]"}, "cn-north-4", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := parseAccount(t, append(test.settings, "credentials: {access_key: AK, secret_key: SK}")...)
			got := p.Sessions
			if test.found != "" {
				found, wanted := p.Found(test.found, "id")
				if !wanted {
					t.Fatal("the project is not wanted")
				}
				got = found.Sessions
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("sessions (-want +got):\n%s", diff)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator/simtest"

	"golang.org/x/time/rate"
)

// newClient returns a client that reaches the cloud without a network. A nil budget is unlimited.
func newClient(cloud *simtest.Cloud, budget *rate.Limiter) *css.Client {
	key := css.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}
	return css.NewClient(css.Options{
		Region: simtest.Region, ProjectID: simtest.ProjectID, Endpoint: "http://cloud.invalid", UserAgent: "test/1",
		Credentials: css.NewFiles(key, css.Credentials{}), Keys: css.NewKeys(),
		Transport: &simtest.RoundTripper{Handler: cloud}, Budget: budget, Retry: css.Retry{Tries: 1},
	})
}

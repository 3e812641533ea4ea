// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// newClient returns a client that reaches the cloud without a network. An empty project ID is looked up.
func newClient(cloud *simtest.Cloud, projectID string) *css.Client {
	const endpoint = "http://cloud.invalid"
	key := css.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}
	return css.NewClient(css.Options{
		Region: simtest.Region, ProjectID: projectID, Endpoint: endpoint, IAMEndpoint: endpoint, UserAgent: "test/1",
		Credentials: css.NewFiles(key, css.Credentials{}), Keys: css.NewKeys(),
		Transport: &simtest.RoundTripper{Handler: cloud}, Retry: css.Retry{Tries: 1},
	})
}

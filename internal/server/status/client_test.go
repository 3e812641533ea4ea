// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/http"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// newClient returns a client of a project in the cloud at url. A nil transport means that of the exporter.
func newClient(tb testing.TB, url, projectID string, transport http.RoundTripper) *css.Client {
	tb.Helper()
	if transport == nil {
		transport = css.NewTransport(nil, nil)
	}
	client := css.NewClient(css.Options{
		Region: simtest.Region, ProjectID: projectID, Endpoint: url, IAMEndpoint: url, UserAgent: "test/1",
		Keys: css.NewKeys(),
		Credentials: css.NewFiles(
			css.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}, css.Credentials{}),
		Transport: transport,
	})
	tb.Cleanup(client.Close)
	return client
}

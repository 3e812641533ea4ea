// SPDX-License-Identifier: Apache-2.0

// Package csstest makes clients for tests, which read the project of package simtest.
package csstest

import (
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// Options configure a client.
type Options struct {
	cloud.Options
	Endpoint    string
	IAMEndpoint string
	ProjectID   string
	Unparsable  func(byField map[string]int)
}

// NewClient returns a client of the API at url without retries. It is closed when the test ends.
func NewClient(t testing.TB, url string, changes ...func(*Options)) *css.Client {
	t.Helper()
	client := newClient(url, changes)
	t.Cleanup(client.Close)
	return client
}

// InMemory returns a client without a network.
func InMemory(c *simtest.Cloud, changes ...func(*Options)) *css.Client {
	reach := func(o *Options) { o.Transport = &simtest.RoundTripper{Handler: c} }
	return newClient("http://cloud.invalid", append([]func(*Options){reach}, changes...))
}

func newClient(url string, changes []func(*Options)) *css.Client {
	key := cloud.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}
	o := Options{
		Options: cloud.Options{
			Region: simtest.Region, UserAgent: "test/1", Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1},
			Credentials: credentials.NewFiles(key, cloud.Credentials{}),
		},
		Endpoint: url, IAMEndpoint: url, ProjectID: simtest.ProjectID, Unparsable: func(map[string]int) {},
	}
	for _, change := range changes {
		change(&o)
	}
	if o.Transport == nil {
		o.Transport = cloud.NewTransport(nil, nil)
	}
	if o.Scope == "" {
		o.Scope = strings.Join([]string{o.Endpoint, o.Region, o.ProjectID}, " ")
	}
	client := cloud.NewClient(o.Options)
	project := iam.NewProject(client, o.IAMEndpoint, o.Region, o.ProjectID)
	return css.NewClient(client, o.Endpoint, project, o.Unparsable)
}

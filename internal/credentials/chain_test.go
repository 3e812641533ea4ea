// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/simulator"
)

// incomplete is a source whose credentials are incomplete.
type incomplete struct{}

var errIncomplete = errors.New("half a pair")

func (incomplete) Credentials(context.Context) (cloud.Credentials, error) {
	return cloud.Credentials{}, errIncomplete
}

func (incomplete) Invalidate(cloud.Credentials, bool) bool { return false }

func TestChainUsesTheFirstSourceWithCredentials(t *testing.T) {
	const noVariables = "the environment has no HUAWEICLOUD_SDK_AK with HUAWEICLOUD_SDK_SK"
	type sources = []cloud.CredentialSource
	empty, noFile := environment(nil), credentials.NewProfile("", "basic")
	a, b := fixed(cloud.Credentials{AuthToken: "a"}), fixed(cloud.Credentials{AuthToken: "b"})
	for name, test := range map[string]struct {
		sources sources
		token   string
		err     string
	}{
		"first":             {sources{a, b}, "a", ""},
		"second":            {sources{empty, b}, "b", ""},
		"after a chain":     {sources{credentials.NewChain(empty, noFile), b}, "b", ""},
		"none":              {sources{empty, noFile}, "", "no credentials: " + noVariables + "; there is no profile file"},
		"incomplete":        {sources{empty, incomplete{}, b}, "", "half a pair"},
		"before incomplete": {sources{a, incomplete{}}, "a", ""},
		"without sources":   {nil, "", "no credentials: "},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := credentials.NewChain(test.sources...).Credentials(t.Context())
			if c.AuthToken != test.token || (err == nil) != (test.err == "") || (err != nil && err.Error() != test.err) {
				t.Errorf("got %q, %v; want %q, %q", c.AuthToken, err, test.token, test.err)
			}
		})
	}
}

// chainOfServices is a chain of the environment, an ECS agency and a pod identity.
type chainOfServices struct {
	*credentials.Chain
	cloud     *testCloud
	variables map[string]string // may be changed
}

func newChainOfServices(t *testing.T, c *testCloud) *chainOfServices {
	t.Helper()
	variables := podVariables(t, c, podToken)
	return &chainOfServices{credentials.NewChain(environment(variables), credentials.NewECSAgency(c.URL),
		credentials.NewPodIdentity(environment(variables))), c, variables}
}

// mustReturn returns the credentials of the chain, and checks the numbers of requests for keys by then.
func (c *chainOfServices) mustReturn(t *testing.T, when string, agency, pod int) cloud.Credentials {
	t.Helper()
	got, err := c.Credentials(bounded(t))
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	c.equalRequests(t, when, agency, pod)
	return got
}

func (c *chainOfServices) equalRequests(t *testing.T, when string, agency, pod int) {
	t.Helper()
	equal(t, when+": requests for the agency's keys", c.cloud.Requested(simulator.SecurityKey), agency)
	equal(t, when+": requests for the pod's keys", c.cloud.Requested(simulator.PodCredentials), pod)
}

// TestChainKeepsToOneService: while a service issues keys, no other service is requested.
func TestChainKeepsToOneService(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		chain := newChainOfServices(t, c)
		c.SetPodIdentity(simulator.PodIdentity{Token: podToken})
		ofPod := chain.mustReturn(t, "without an agency", 2, 1) // one of them a retry
		c.SetAgency(simulator.Agency{})
		c.sleep(20 * time.Second) // longer than the back-off from the agency
		equal(t, "same keys with an agency", chain.mustReturn(t, "with an agency", 2, 1) == ofPod, true)

		c.sleep(time.Hour) // the keys have expired
		delete(chain.variables, podAddress)
		_, err := chain.Credentials(t.Context())
		if err == nil || !strings.Contains(err.Error(), podAddress) {
			t.Errorf("without a pod identity: got %v, want an error about %s", err, podAddress)
		}
		chain.equalRequests(t, "without a pod identity", 2, 1)
		ofAgency := chain.mustReturn(t, "after that error", 3, 1)
		equal(t, "same keys of the agency", ofAgency == ofPod, false)

		c.ExpireKeys()
		equal(t, "invalidated at the agency", chain.Invalidate(ofAgency, false), true)
		equal(t, "same keys again", chain.mustReturn(t, "after invalidation", 4, 1) == ofAgency, false)
	})
}

func TestChainPrefersTheEnvironmentToAService(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		chain := newChainOfServices(t, c)
		c.SetAgency(simulator.Agency{})
		chain.mustReturn(t, "without variables", 1, 0)
		chain.variables["HUAWEICLOUD_SDK_AK"], chain.variables["HUAWEICLOUD_SDK_SK"] = "ak", "sk"
		want := cloud.Credentials{AccessKey: "ak", SecretKey: "sk"}
		equal(t, "those of the environment", chain.mustReturn(t, "with variables", 1, 0) == want, true)
		equal(t, "invalidated in the environment", chain.Invalidate(want, true), false)
		equal(t, "those of the environment", chain.mustReturn(t, "after invalidation", 1, 0) == want, true)
	})
}

func TestChainEndsWithItsContext(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		chain := credentials.NewChain(credentials.NewECSAgency(c.URL), fixed(cloud.Credentials{AuthToken: "next"}))
		got, err := chain.Credentials(ctx)
		if err == nil {
			t.Errorf("got %q of the next source, want an error", got.AuthToken)
		}
	})
}

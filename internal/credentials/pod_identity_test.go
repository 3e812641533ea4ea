// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// The variables of CCE pod identity.
const (
	podAddress   = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable

	podToken = "pod-token-of-the-test"
)

// podVariables returns the variables of a pod whose file has that token.
func podVariables(t *testing.T, c *testCloud, token string) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token+"\n")
	return map[string]string{podAddress: c.URL + simulator.PodIdentityPath, podTokenFile: file}
}

// withPodIdentity adds a pod identity to the cloud, and a source of its keys to the options.
func withPodIdentity(t *testing.T, c *testCloud) func(*csstest.Options) {
	t.Helper()
	c.SetPodIdentity(simulator.PodIdentity{Token: podToken})
	return withSource(credentials.NewPodIdentity(environment(podVariables(t, c, podToken))))
}

func TestPodIdentitySignsReadsAndTheLookUp(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		client := c.client(t, withoutProjectID, withPodIdentity(t, c))
		equal(t, "reads", readAll(t.Context(), client, 20), outcomes{"": 20})
		equal(t, "requests for keys", c.Requested(simulator.PodCredentials), 1)
		equal(t, "lookups", c.Requested(simulator.Projects), 1)
		equal(t, "requests", c.Reads(""), 20)
	})
}

// TestPodIdentityReadsItsTokenEachTime: Kubernetes rotates the token.
func TestPodIdentityReadsItsTokenEachTime(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		variables := podVariables(t, c, "pod-token-1")
		c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-1"})
		client := c.client(t, withSource(credentials.NewPodIdentity(environment(variables))))
		mustRead(t, client, "with the first token")
		c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-2"}) //nolint:gosec // opens nothing but the simulator
		writeFile(t, variables[podTokenFile], "pod-token-2\n")
		c.ExpireKeys()
		mustRead(t, client, "with the second token")
		equal(t, "requests for keys", c.Requested(simulator.PodCredentials), 2)
	})
}

// TestPodIdentityNamesTheInvalidTokenFile: the last valid token is used until it is rejected.
func TestPodIdentityNamesTheInvalidTokenFile(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		variables := podVariables(t, c, podToken)
		c.SetPodIdentity(simulator.PodIdentity{Token: podToken})
		client := c.client(t, withSource(credentials.NewPodIdentity(environment(variables))))
		mustRead(t, client, "with the first token")
		writeFile(t, variables[podTokenFile], hiddenSecret+"\u200B")
		c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-2"}) //nolint:gosec // opens nothing but the simulator
		c.ExpireKeys()
		err := failure(t, read(t.Context(), client, "c1"))
		for _, part := range []string{"HTTP 401", variables[podTokenFile] + ": ", "invisible character U+200B"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want %q in it", err, part)
			}
		}
		noSecret(t, "error", err.Error(), hiddenSecret)
	})
}

func TestPodIdentityFailsOnce(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"503": {Status: 503, For: 1}, "broken connection": {Drop: true, For: 1},
	} {
		t.Run(name, func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				c.setFault(simulator.PodCredentials, fault)
				equal(t, "reads", readAll(t.Context(), c.client(t, withPodIdentity(t, c)), 20), outcomes{"": 20})
				equal(t, "requests for keys", c.Requested(simulator.PodCredentials), 2)
				equal(t, "requests", c.Reads(""), 20)
			})
		})
	}
}

func TestPodIdentityAnswers201(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		c.rewrite(simulator.PodIdentityPath, func(answer *httptest.ResponseRecorder) { answer.Code = 201 })
		equal(t, "reads", readAll(t.Context(), c.client(t, withPodIdentity(t, c)), 20), outcomes{"": 20})
		equal(t, "requests for keys", c.Requested(simulator.PodCredentials), 1)
		equal(t, "requests", c.Reads(""), 20)
	})
}

// longKey is a temporary key with characters of base64 and a token of 8 KiB.
func longKey() simulator.Key {
	return simulator.Key{Access: "AK+/=1", Secret: "sk+/=1", SecurityToken: "token+/=1" + strings.Repeat("s+/=", 2<<10)}
}

// fill replaces {access}, {secret} and {token} in the text of an answer.
func fill(answer string, k simulator.Key) string {
	return strings.NewReplacer("{access}", k.Access, "{secret}", k.Secret, "{token}", k.SecurityToken).Replace(answer)
}

// TestPodIdentityForms: the form of the answer is undocumented, so that of an ECS is accepted, too.
func TestPodIdentityForms(t *testing.T) {
	for name, body := range map[string]string{
		"pod": `{"credentials":{"expiration":"2999-01-08T03:50:07.574000Z","securityToken":"{token}",` +
			`"secretAccessKey":"{secret}","accessKeyId":"{access}"},"credential":0}`,
		"ECS": `{"credential":{"access":"{access}","secret":"{secret}","securitytoken":"{token}",` +
			`"expires_at":"2999-01-08T03:50:07.574000Z"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			onLoopback(t, func(t *testing.T, c *testCloud) {
				key := longKey()
				c.AddProject(simulator.Project{Region: simtest.Region, ID: simtest.ProjectID, Keys: []simulator.Key{key}})
				c.setFault(simulator.PodCredentials, simulator.Fault{Body: fill(body, key)})
				mustRead(t, c.client(t, withPodIdentity(t, c)), "with the keys of the answer")
			})
		})
	}
}

func TestPodIdentityErrors(t *testing.T) {
	dir := t.TempDir()
	valid, empty, twoLines := filepath.Join(dir, "valid"), filepath.Join(dir, "empty"), filepath.Join(dir, "lines")
	writeFile(t, valid, "pod-token")
	writeFile(t, empty, "\n")
	writeFile(t, twoLines, "pod-token-secret\nsecond")
	c := serve(t)
	c.SetPodIdentity(simulator.PodIdentity{Token: "another token"})
	podURL := c.URL + simulator.PodIdentityPath
	for name, test := range map[string]struct {
		address, file, want string
		skipped             bool
	}{
		"no variables":      {"", "", "are not set", true},
		"no address":        {"", valid, "are not set", true},
		"no file":           {c.URL, "", "are not set", true},
		"missing file":      {c.URL, filepath.Join(dir, "missing"), "no such file", false},
		"empty file":        {c.URL, empty, "holds no token", false},
		"two lines":         {c.URL, twoLines, "holds no token", false},
		"rejected token":    {podURL, valid, "HTTP 401; is an agency associated with this pod?", false},
		"nothing listens":   {"http://127.0.0.1:1/x", valid, "does not answer: dial tcp", false},
		"malformed address": {"http://[::1", valid, "invalid URL", false},
	} {
		t.Run(name, func(t *testing.T) {
			source := credentials.NewPodIdentity(environment(
				map[string]string{podAddress: test.address, podTokenFile: test.file}))
			_, err := source.Credentials(bounded(t))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			noSecret(t, "error", err.Error(), "pod-token")
			equal(t, "skipped by a chain", skippedByChain(t, source), test.skipped)
		})
	}
}

func TestPodIdentityAnswersWithoutKeys(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		c.SetPodIdentity(simulator.PodIdentity{Token: podToken})
		c.setFault(simulator.PodCredentials, simulator.Fault{Body: `{"credentials":{"accessKeyId":"a"}}`})
		source := credentials.NewPodIdentity(environment(podVariables(t, c, podToken)))
		_, err := source.Credentials(bounded(t))
		if want := "the address of " + podAddress + " issues no keys: "; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
		equal(t, "skipped by a chain", skippedByChain(t, source), false)
	})
}

func TestPodIdentityRequestIsCancelled(t *testing.T) {
	onLoopback(t, func(t *testing.T, c *testCloud) {
		testCancelled(t, c, simulator.PodCredentials, c.client(t, withPodIdentity(t, c)))
	})
}

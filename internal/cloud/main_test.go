// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Secrets that do not appear in any text by chance.
const (
	testAK    = "AKTESTTESTTESTTEST00"
	testSK    = "sk-0123456789abcdefghijklmnopqrstuvwxyzAB"
	testToken = "SECURITYTOKENgQpjbi1ub3J0aC00AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
	testAuth  = "AUTHTOKENMIIEzQYJKoZIhvcNAQcCoIIEvjCCBLoCAQExDTALBglghkgBZQMEAgEw"
)

const listBody = `{"connections":[],"total_count":0}`

// service is an API without hints.
type service struct{}

func (service) Hint(*cloud.Error) string { return "" }

// client reads clusters at an endpoint.
type client struct {
	*cloud.Client
	endpoint string
	project  string
}

// newClient returns a client that does not retry. It is closed when the test ends.
func newClient(t *testing.T, endpoint string, changes ...func(*cloud.Options)) *client {
	t.Helper()
	options := cloud.Options{
		Region: simtest.Region, UserAgent: "css_vpcep_exporter/test", Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1},
		Credentials: keys(simtest.AccessKey, simtest.SecretKey, ""), Transport: cloud.NewTransport(nil, nil),
	}
	for _, change := range changes {
		change(&options)
	}
	c := &client{cloud.NewClient(options), endpoint, simtest.ProjectID}
	t.Cleanup(c.Close)
	return c
}

// read sends the request for a cluster's connections.
func (c *client) read(ctx context.Context, clusterID string) (cloud.Response, error) {
	return c.Call(ctx, c.readRequest(clusterID))
}

func (c *client) readRequest(clusterID string) cloud.Request {
	return cloud.Request{
		Service: service{}, Operation: "connections", Target: clusterID, Endpoint: c.endpoint, ProjectID: c.project,
		Path: []string{"v1.0", c.project, "clusters", clusterID, "vpcepservice", "connections"}, Query: url.Values{"limit": {"1000"}},
	}
}

// listClusters sends the request for the cluster list.
func (c *client) listClusters(ctx context.Context) error {
	_, err := c.Call(ctx, cloud.Request{
		Service: service{}, Operation: "clusters", Endpoint: c.endpoint, ProjectID: c.project,
		Path: []string{"v1.0", c.project, "clusters"},
	})
	return err
}

func keys(accessKey, secretKey, securityToken string) cloud.CredentialSource {
	return fixed(cloud.Credentials{AccessKey: accessKey, SecretKey: secretKey, SecurityToken: securityToken})
}

func fixed(c cloud.Credentials) cloud.CredentialSource {
	return credentials.NewFiles(c, cloud.Credentials{})
}

func withRetry(r cloud.Retry) func(*cloud.Options) { return func(o *cloud.Options) { o.Retry = r } }

func withCredentials(c cloud.CredentialSource) func(*cloud.Options) {
	return func(o *cloud.Options) { o.Credentials = c }
}

func withTransport(rt http.RoundTripper) func(*cloud.Options) {
	return func(o *cloud.Options) { o.Transport = rt }
}

// quickRetry retries as by default, but soon.
func quickRetry() cloud.Retry {
	return cloud.Retry{Tries: 4, Base: time.Millisecond, Limit: 4 * time.Millisecond}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// bounded returns a context that ends only if a test hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	return within(t, 20*time.Second)
}

// handler writes the answer to the nth read, counted from 1.
type handler func(w http.ResponseWriter, r *http.Request, n int)

// answer returns a handler that always answers the same.
func answer(status int, body string) handler {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// answering makes the cloud answer reads by h, after it has checked the signature.
func answering(c *simtest.Cloud, h handler) *simtest.Cloud {
	var n atomic.Int64
	c.FailReads("", simulator.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(w, r, int(n.Add(1)))
	})})
	return c
}

// newCloud returns a cloud on loopback that answers reads by h.
func newCloud(t *testing.T, h handler) *simtest.Cloud {
	t.Helper()
	return answering(simtest.New(t, simulator.Options{}), h)
}

// withKey replaces the keys of the cloud's project and of the client.
func withKey(c *simtest.Cloud, securityToken string) func(*cloud.Options) {
	c.AddProject(simulator.Project{
		Name: "production", Region: simtest.Region, ID: simtest.ProjectID,
		Keys: []simulator.Key{{Access: testAK, Secret: testSK, SecurityToken: securityToken}},
	})
	return withCredentials(keys(testAK, testSK, securityToken))
}

// inMemory returns a client of a handler without a network, for virtual time.
func inMemory(t *testing.T, h handler, changes ...func(*cloud.Options)) *client {
	t.Helper()
	c := answering(simtest.NewUnserved(simulator.Options{}), h)
	return newClient(t, "http://cloud.invalid", append([]func(*cloud.Options){withTransport(&simtest.RoundTripper{Handler: c})}, changes...)...)
}

// failure returns the *cloud.Error of a call, and fails if there is none.
func failure(t *testing.T, err error) *cloud.Error {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want a *cloud.Error", err, err)
	}
	return e
}

// outcomes counts reads by their reason, "" for success.
type outcomes map[cloud.Reason]int

// readAll reads n clusters in parallel within the deadline.
func readAll(ctx context.Context, c *client, n int, deadline time.Duration) outcomes {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	ended := make(outcomes)
	for i := range n {
		group.Go(func() {
			_, err := c.read(ctx, clusterID(i))
			mu.Lock()
			defer mu.Unlock()
			ended[reasonOf(err)]++
		})
	}
	group.Wait()
	return ended
}

// readOne reads one cluster and returns the reason of the failure, "" for success.
func readOne(t *testing.T, c *client) cloud.Reason {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.read(ctx, clusterID(0))
	return reasonOf(err)
}

func reasonOf(err error) cloud.Reason {
	if err == nil {
		return ""
	}
	return cloud.ReasonOf(err)
}

func clusterID(n int) string { return fmt.Sprint("cluster-", n) }

// equal fails unless got and want print alike.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

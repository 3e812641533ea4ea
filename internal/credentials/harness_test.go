// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The user of the tests, and secrets that do not appear in any text by chance.
const (
	userName     = "u"
	userDomain   = "d"
	userPassword = `pa"ss/word+of=the&user<1>` //nolint:gosec // opens nothing but the simulator

	testAK    = "AKTESTTESTTESTTEST00"
	testSK    = "sk-0123456789abcdefghijklmnopqrstuvwxyzAB"
	testToken = "SECURITYTOKENgQpjbi1ub3J0aC00AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
	testAuth  = "AUTHTOKENMIIEzQYJKoZIhvcNAQcCoIIEvjCCBLoCAQExDTALBglghkgBZQMEAgEw"
)

// The protection of keys as cloud.Keys documents it.
const (
	trustFor      = 3 * time.Second
	maxRejections = 3
)

const (
	loginPath = "/v3/auth/tokens"
	cssPrefix = "/v1.0/"
)

// testCloud is a simulated cloud with a user and the clusters c0 to c49, which have one connection each. checkRequest
// checks every request before it reaches the simulator.
type testCloud struct {
	*simtest.Cloud
	handler http.Handler
	clock   atomic.Pointer[time.Time] // set by onLoopback; nil means time.Now
}

func newCloud(t *testing.T, options simulator.Options) *testCloud {
	t.Helper()
	c := &testCloud{}
	options.Now = func() time.Time {
		if now := c.clock.Load(); now != nil {
			return *now
		}
		return time.Now()
	}
	c.Cloud = simtest.NewUnserved(options)
	c.AddUser(simulator.User{Name: userName, Domain: userDomain, Password: userPassword})
	c.addClusters(50)
	c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client disconnected
		}
		checkRequest(t, r, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.Cloud.ServeHTTP(w, r)
	})
	return c
}

// ServeHTTP implements http.Handler.
func (c *testCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *testCloud) addClusters(n int) {
	for i := range n {
		c.Add(clusterID(i), func(cluster *simulator.Cluster) {
			cluster.Connections = []simulator.Connection{{ID: "e1", Status: "accepted"}}
		})
	}
}

func clusterID(n int) string { return fmt.Sprint("c", n) }

// inMemory runs a test in virtual time, with a cloud that is reached without a network.
func inMemory(t *testing.T, options simulator.Options, test func(t *testing.T, c *testCloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newCloud(t, options)) })
}

// serve serves a cloud on loopback.
func serve(t *testing.T) *testCloud {
	t.Helper()
	c := newCloud(t, simulator.Options{})
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// onLoopback runs a test in virtual time with a cloud that is served on loopback, outside the bubble. Virtual time does
// not pass while a request to it is in flight.
func onLoopback(t *testing.T, test func(t *testing.T, c *testCloud)) {
	t.Helper()
	c := serve(t)
	synctest.Test(t, func(t *testing.T) {
		c.clock.Store(new(time.Now()))
		test(t, c)
	})
}

// sleep sleeps in virtual time, and sets the clock of a cloud that is served outside the bubble.
func (c *testCloud) sleep(d time.Duration) {
	time.Sleep(d)
	if c.clock.Load() != nil {
		c.clock.Store(new(time.Now()))
	}
}

// rewrite changes the answers to requests for paths with that prefix.
func (c *testCloud) rewrite(prefix string, change func(answer *httptest.ResponseRecorder)) {
	next := c.handler
	c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, prefix) {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		change(answer)
		answer.Header().Del("Content-Length")
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w)
	})
}

// delay makes requests for paths with that prefix wait, before their credentials are checked.
func (c *testCloud) delay(prefix string, d time.Duration) {
	next := c.handler
	c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix) {
			time.Sleep(d)
		}
		next.ServeHTTP(w, r)
	})
}

func (c *testCloud) setFault(endpoint simulator.Endpoint, faults ...simulator.Fault) {
	c.SetFault(simulator.Target{Endpoint: endpoint}, faults...)
}

// rejection returns the gateway's answer to invalid credentials.
func rejection(code string) simulator.Fault {
	return simulator.Fault{
		Status: 401, Body: fmt.Sprintf(`{"error_code":%q,"error_msg":"not accepted","request_id":"r"}`, code),
	}
}

// client returns a client of the project that retries soon. It reaches the cloud without a network.
func (c *testCloud) client(t *testing.T, changes ...func(*csstest.Options)) *css.Client {
	t.Helper()
	inMemory := func(o *csstest.Options) {
		o.Transport = &simtest.RoundTripper{Handler: c}
		o.Retry = cloud.Retry{Tries: 4, Base: time.Millisecond, Limit: 4 * time.Millisecond}
	}
	return csstest.NewClient(t, "http://cloud.invalid", append([]func(*csstest.Options){inMemory}, changes...)...)
}

func withSource(source cloud.CredentialSource) func(*csstest.Options) {
	return func(o *csstest.Options) { o.Credentials = source }
}

func withoutProjectID(o *csstest.Options) { o.ProjectID = "" }

// withUser adds a source that logs in with the right password.
func withUser(o *csstest.Options) { withPassword(fixedPassword(userPassword))(o) }

// withPassword adds a source that logs in with that password. Options that are set later do not affect it.
func withPassword(password cloud.CredentialSource) func(*csstest.Options) {
	return func(o *csstest.Options) {
		o.Credentials = credentials.NewUser(o.Options, credentials.Login{
			Endpoint: o.IAMEndpoint, User: userName, Domain: userDomain, ProjectID: o.ProjectID, Project: o.Region,
		}, password)
	}
}

func fixedPassword(password string) cloud.CredentialSource {
	return fixed(cloud.Credentials{SecretKey: password})
}

func passwordFile(file string) cloud.CredentialSource {
	return credentials.NewPassword("", file)
}

func fixed(c cloud.Credentials) cloud.CredentialSource {
	return credentials.NewFiles(c, cloud.Credentials{})
}

// bounded returns a context that ends only if a test hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// read reads a cluster and checks that its connection is there.
func read(ctx context.Context, client *css.Client, cluster string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := client.Connections(ctx, cluster, nil)
	if err == nil && len(list.Connections) != 1 {
		err = fmt.Errorf("got %d connections, want 1", len(list.Connections))
	}
	return err
}

// mustRead reads the cluster c1.
func mustRead(t *testing.T, client *css.Client, when string) {
	t.Helper()
	if err := read(t.Context(), client, "c1"); err != nil {
		t.Fatalf("read %s: %v", when, err)
	}
}

// outcomes counts reads by the reason of their failure, "" for success.
type outcomes map[cloud.Reason]int

// readAll reads n clusters in parallel.
func readAll(ctx context.Context, client *css.Client, n int) outcomes {
	var mu sync.Mutex
	var group sync.WaitGroup
	ended := make(outcomes)
	for i := range n {
		group.Go(func() {
			err := read(ctx, client, clusterID(i))
			mu.Lock()
			defer mu.Unlock()
			ended[reasonOf(err)]++
		})
	}
	group.Wait()
	return ended
}

func reasonOf(err error) cloud.Reason {
	if err == nil {
		return ""
	}
	return cloud.ReasonOf(err)
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

// equal fails unless got and want print alike.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// noSecret fails if a secret appears in a text.
func noSecret(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s contains the secret %q: %s", where, secret, text)
		}
	}
}

// skippedByChain reports whether a chain uses its next source instead of this one.
func skippedByChain(t *testing.T, source cloud.CredentialSource) bool {
	t.Helper()
	next := cloud.Credentials{AuthToken: "of the next source"}
	c, err := credentials.NewChain(source, fixed(next)).Credentials(bounded(t))
	return err == nil && c == next
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkRequest checks what the simulator tolerates: above all, no request may have a secret of another service.
func checkRequest(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	method, wantBody, headers := http.MethodGet, "", []string(nil)
	if isExchange(r) {
		checkExchange(t, r)
		return
	}
	switch r.URL.Path {
	case loginPath:
		method, wantBody = http.MethodPost, string(body)
		checkLogin(t, r, body)
	case iamAssumePath, stsAssumePath:
		method, wantBody, headers = http.MethodPost, string(body), checkAPIHeaders(t, r)
	case "/meta-data/latest/api/token":
		method, headers = http.MethodPut, []string{"X-Metadata-Token-Ttl-Seconds"}
		equal(t, "life of a metadata token", r.Header.Get("X-Metadata-Token-Ttl-Seconds"), "21600")
	case "/openstack/latest/securitykey":
		if r.Header.Get("X-Metadata-Token") != "" { // the simulator requires it if the service has tokens
			headers = []string{"X-Metadata-Token"}
		}
	case simulator.PodIdentityPath:
		method, wantBody, headers = http.MethodPost, "{}", []string{"Authorization"}
		equal(t, "type of a pod's request", r.Header.Get("Content-Type"), "application/json")
	default:
		headers = checkAPIHeaders(t, r)
	}
	if r.Method != method || string(body) != wantBody {
		t.Errorf("%s: got %s with the body %q, want %s with %q", r.URL.Path, r.Method, body, method, wantBody)
	}
	for _, name := range []string{
		"Authorization", "X-Auth-Token", "X-Project-Id", "X-Sdk-Date", "X-Security-Token", "X-Metadata-Token",
		"X-Metadata-Token-Ttl-Seconds",
	} {
		if sent, want := r.Header.Get(name) != "", slices.Contains(headers, name); sent != want {
			t.Errorf("%s %s: got %s sent %t, want %t", r.Method, r.URL.Path, name, sent, want)
		}
	}
}

// checkAPIHeaders checks that a request of the API is signed or has a token, and returns the headers that it must have.
func checkAPIHeaders(t *testing.T, r *http.Request) (want []string) {
	t.Helper()
	equal(t, "user agent", r.UserAgent(), "test/1")
	if strings.HasPrefix(r.URL.Path, cssPrefix) { // IAM does not know the header
		want = append(want, "X-Project-Id")
	}
	if r.Header.Get("X-Auth-Token") != "" {
		return append(want, "X-Auth-Token")
	}
	want = append(want, "X-Sdk-Date")
	if r.Header.Get("X-Security-Token") != "" {
		want = append(want, "X-Security-Token")
	}
	_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	for _, name := range want {
		if !slices.Contains(strings.Split(signed, ";"), strings.ToLower(name)) {
			t.Errorf("%s: got the signed headers %q, want %s among them", r.URL.Path, signed, name)
		}
	}
	return append(want, "Authorization")
}

// checkLogin compares a login with the documented form. The simulator checks the password and the project.
func checkLogin(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	equal(t, "user agent of a login", r.UserAgent(), "test/1")
	equal(t, "query of a login", r.URL.RawQuery, "nocatalog=true")
	equal(t, "type of a login", r.Header.Get("Content-Type"), "application/json")
	type object = map[string]any
	var got struct {
		Auth struct {
			Identity struct {
				Password struct{ User struct{ Password string } }
			}
			Scope struct{ Project object }
		}
	}
	var all any
	if err := errors.Join(json.Unmarshal(body, &all), json.Unmarshal(body, &got)); err != nil {
		t.Error(err)
	}
	project := object{"id": simtest.ProjectID}
	if got.Auth.Scope.Project["id"] == nil {
		project = object{"name": simtest.Region}
	}
	want := object{"auth": object{
		"identity": object{"methods": []any{"password"}, "password": object{"user": object{
			"name": userName, "password": got.Auth.Identity.Password.User.Password, "domain": object{"name": userDomain},
		}}},
		"scope": object{"project": project},
	}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("login (-want +got):\n%s", diff)
	}
}

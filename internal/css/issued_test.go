// SPDX-License-Identifier: Apache-2.0

package css

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

const testPassword = "password-of-the-test-1"

// cloud is a simulated one: the project p1 with the cluster c1, the user u of the account d, and no keys.
type cloud struct {
	*simulator.Simulator
	url string
}

func newCloud(t *testing.T, options simulator.Options) *cloud {
	t.Helper()
	c := &cloud{Simulator: simulator.New(options)}
	c.AddProject(simulator.Project{Name: "production", Region: "cn-north-4", ID: "p1"})
	c.AddCluster("p1", simulator.Cluster{ID: "c1", Status: "200", Connections: []simulator.Connection{{ID: "e1", Status: "accepted"}}})
	c.AddUser(simulator.User{Name: "u", Domain: "d", Password: testPassword})
	c.url = c.Serve(t)
	return c
}

// client asks p1, or the project that is looked up if projectID is empty, with what source makes of the options.
func (c *cloud) client(t *testing.T, projectID string, source func(Options) CredentialSource) *Client {
	t.Helper()
	options := Options{
		Region: "cn-north-4", ProjectID: projectID, Endpoint: c.url, IAMEndpoint: c.url, UserAgent: "test/1",
		Keys: NewKeys(), Transport: NewTransport(nil, nil), Retry: quick(),
	}
	options.Credentials = source(options)
	client := NewClient(options)
	t.Cleanup(client.Close)
	return client
}

// login is a source of tokens with the password, or with what the file holds.
func withLogin(password, file string) func(Options) CredentialSource {
	return func(o Options) CredentialSource {
		return NewIAMToken(o, User{Name: "u", Domain: "d"}, NewFiles(Credentials{SecretKey: password}, Credentials{SecretKey: file}))
	}
}

func (c *cloud) count(of simulator.Endpoint) int { return c.Count(simulator.Target{Endpoint: of}) }

// reads reads c1 and wants its connection.
func reads(t *testing.T, client *Client, what string) {
	t.Helper()
	list, err := client.Connections(soon(t), "c1", nil)
	if err != nil || len(list.Connections) != 1 {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestIAMToken(t *testing.T) {
	for _, projectID := range []string{"p1", ""} {
		c := newCloud(t, simulator.Options{})
		client := c.client(t, projectID, withLogin(testPassword, ""))
		for range 3 {
			reads(t, client, "project "+projectID)
		}
		if n := c.count(simulator.Tokens); n != 1 {
			t.Errorf("%d logins", n)
		}
		for _, r := range c.Requests() {
			if r.Endpoint == simulator.Connections && r.User != "d/u" {
				t.Errorf("a request came from %q", r.User)
			}
		}
	}
}

// TestIAMTokenTogether: one login for all.
func TestIAMTokenTogether(t *testing.T) {
	t.Parallel()
	c := newCloud(t, simulator.Options{})
	client := c.client(t, "p1", withLogin(testPassword, ""))
	together := func(what string) {
		t.Helper()
		var group sync.WaitGroup
		for range 32 {
			group.Go(func() {
				if _, err := client.Connections(soon(t), "c1", nil); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		group.Wait()
	}
	together("at first")
	if n := c.count(simulator.Tokens); n != 1 {
		t.Errorf("%d logins", n)
	}
	c.RevokeTokens() // which the API tells by APIGW.0307
	together("revoked")
	if n := c.count(simulator.Tokens); n != 2 {
		t.Errorf("%d logins after the tokens were revoked", n)
	}
}

// TestIAMTokenEnds reads all the time with tokens that live for a second: no call ever sees an ended one.
func TestIAMTokenEnds(t *testing.T) {
	t.Parallel()
	c := newCloud(t, simulator.Options{TokenLife: time.Second})
	client := c.client(t, "p1", withLogin(testPassword, ""))
	calls := 0
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; calls++ {
		reads(t, client, fmt.Sprint("call ", calls))
		time.Sleep(5 * time.Millisecond)
	}
	if n := c.count(simulator.Connections); n != calls {
		t.Errorf("%d requests for %d calls", n, calls)
	}
	if n := c.count(simulator.Tokens); n < 3 || n > 6 {
		t.Errorf("%d logins", n)
	}
}

// TestIAMTokenReloginOnce: a token that the API says has ended is replaced once, and not by one login after the other.
func TestIAMTokenReloginOnce(t *testing.T) {
	t.Parallel()
	c := newCloud(t, simulator.Options{})
	client := c.client(t, "p1", withLogin(testPassword, ""))
	refusal := simulator.Fault{Status: 401, Body: `{"error_code":"APIGW.0307","error_msg":"The token must be updated.","request_id":"r1"}`}
	c.SetFault(simulator.Target{Endpoint: simulator.Connections}, refusal)
	for range 10 {
		if _, err := client.Connections(soon(t), "c1", nil); ReasonOf(err) != ReasonAuth {
			t.Fatal(err)
		}
	}
	if logins, calls := c.count(simulator.Tokens), c.count(simulator.Connections); logins != 2 || calls != 1+maxRefusals {
		t.Errorf("%d logins and %d calls for a token that never was good", logins, calls)
	}
	// One that was good is replaced, once.
	c.SetFault(simulator.Target{Endpoint: simulator.Connections})
	other := c.client(t, "p1", withLogin(testPassword, ""))
	reads(t, other, "good")
	c.ForgetRequests()
	c.SetFault(simulator.Target{Endpoint: simulator.Connections}, refusal)
	for range 10 {
		if _, err := other.Connections(soon(t), "c1", nil); ReasonOf(err) != ReasonAuth {
			t.Fatal(err)
		}
	}
	if logins, calls := c.count(simulator.Tokens), c.count(simulator.Connections); logins != 1 || calls != 1+maxRefusals {
		t.Errorf("%d logins and %d calls after a good token was refused", logins, calls)
	}
}

// TestIAMTokenOtherRefusal: any other refusal of a token that was good makes a new one, too.
func TestIAMTokenOtherRefusal(t *testing.T) {
	c := newCloud(t, simulator.Options{})
	client := c.client(t, "p1", withLogin(testPassword, ""))
	reads(t, client, "good")
	c.SetFault(simulator.Target{Endpoint: simulator.Connections}, simulator.Fault{
		Status: 401, Body: `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`, For: 1,
	})
	reads(t, client, "refused once")
	if logins, calls := c.count(simulator.Tokens), c.count(simulator.Connections); logins != 2 || calls != 3 {
		t.Errorf("%d logins and %d calls", logins, calls)
	}
}

func TestIAMTokenWrongPassword(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	write(t, file, "wrong-password-0\n")
	c := newCloud(t, simulator.Options{})
	client := c.client(t, "p1", withLogin("", file))
	for range 20 {
		_, err := client.Connections(soon(t), "c1", nil)
		e := failure(t, err)
		if e.Reason != ReasonAuth || e.Operation != "token" || !strings.Contains(e.Hint(), "password") {
			t.Fatalf("%v; %s", e, e.Hint())
		}
		contains(t, "the error", fmt.Sprintf("%v %+v %#v", e, e, e), "wrong-password-0")
	}
	if n := c.count(simulator.Tokens); n != 1 {
		t.Errorf("%d logins with a password that was refused", n)
	}
	write(t, file, testPassword+"\n")
	time.Sleep(fileRefresh + 100*time.Millisecond)
	reads(t, client, "with the right one")
	if n := c.count(simulator.Tokens); n != 2 {
		t.Errorf("%d logins", n)
	}
	// A password that changes makes a new token, while the old one still is good.
	c.AddUser(simulator.User{Name: "u", Domain: "d", Password: "another-password-2"})
	write(t, file, "another-password-2\n")
	time.Sleep(fileRefresh + 100*time.Millisecond)
	reads(t, client, "with another one")
	if n := c.count(simulator.Tokens); n != 3 {
		t.Errorf("%d logins", n)
	}
	if calls, refused := c.count(simulator.Connections), 0; calls != 2 || refused != 0 {
		t.Errorf("%d calls", calls)
	}
}

// TestIAMTokenTrouble: what IAM answers when it gives no token.
func TestIAMTokenTrouble(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault  simulator.Fault
		reason Reason
		logins int // of three calls
	}{
		"forbidden": {simulator.Fault{Status: 403, Body: `{"error":{"code":403,"message":"locked","title":"Forbidden"}}`}, ReasonDenied, 1},
		"not found": {simulator.Fault{Status: 404}, ReasonNotFound, 1},
		"bad":       {simulator.Fault{Status: 400}, ReasonInvalid, 1},
		"no token":  {simulator.Fault{Status: 200, Body: `{"token":{}}`}, ReasonDecode, 1},
		"server":    {simulator.Fault{Status: 500}, ReasonServer, 1},
		"nonsense":  {simulator.Fault{Status: 201, Body: `nonsense`}, ReasonDecode, 1},
		"redirect":  {simulator.Fault{Redirect: "http://127.0.0.1:1/"}, ReasonInvalid, 1},
		"gateway":   {simulator.Fault{Status: 503, For: 2}, "", 3},
		"throttled": {simulator.Fault{Status: 429, For: 1}, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, simulator.Options{})
			c.SetFault(simulator.Target{Endpoint: simulator.Tokens}, test.fault)
			client := c.client(t, "p1", withLogin(testPassword, ""))
			for range 3 {
				_, err := client.Connections(soon(t), "c1", nil)
				if got := Reason(""); err != nil {
					got = ReasonOf(err)
					if got != test.reason {
						t.Errorf("%v, reason %s", err, got)
					}
					contains(t, "the error", err.Error(), testPassword)
				} else if test.reason != "" {
					t.Error("no error")
				}
			}
			if n := c.count(simulator.Tokens); n != test.logins {
				t.Errorf("%d logins, want %d", n, test.logins)
			}
		})
	}
}

func TestECSAgency(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 404, 405, 503} {
		c := newCloud(t, simulator.Options{})
		c.SetAgency(simulator.Agency{TokenStatus: status})
		client := c.client(t, "", func(Options) CredentialSource { return NewECSAgency(c.url) })
		for range 3 {
			reads(t, client, fmt.Sprint("token status ", status))
		}
		if tokens, keys := c.count(simulator.MetadataToken), c.count(simulator.SecurityKey); tokens != 1 || keys != 1 {
			t.Errorf("asked for %d tokens and %d keys", tokens, keys)
		}
		// Keys that the cloud takes back are replaced at once.
		c.ExpireKeys()
		reads(t, client, "other keys")
		if keys := c.count(simulator.SecurityKey); keys != 2 {
			t.Errorf("asked for %d keys", keys)
		}
	}
}

// TestMachineWithoutProxy: no proxy sees what is for this machine alone.
func TestMachineWithoutProxy(t *testing.T) {
	proxied := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied++ }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "pod-token-of-the-test\n")
	c := newCloud(t, simulator.Options{})
	c.SetAgency(simulator.Agency{})
	c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-of-the-test"})
	env := map[string]string{
		"HC_CONTAINER_CREDENTIALS_FULL_URI":     c.url + simulator.PodIdentityPath,
		"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": file,
	}
	for _, source := range []CredentialSource{
		NewECSAgency(c.url), NewPodIdentity(func(key string) (string, bool) { v, ok := env[key]; return v, ok }),
	} {
		if _, err := source.Credentials(soon(t)); err != nil {
			t.Error(err)
		}
		if transport := source.(*cache).transport(); transport.Proxy != nil {
			t.Error("there is a proxy") // the environment's is not used for loopback addresses
		}
	}
	for _, r := range c.Requests() {
		if r.Proxied {
			t.Errorf("%s %s came through a proxy", r.Method, r.Path)
		}
	}
	if proxied > 0 {
		t.Error("the proxy was asked")
	}
}

func (l *cache) transport() *http.Transport {
	switch i := l.issuer.(type) {
	case *ecsAgency:
		return i.transport
	case *podIdentity:
		return i.transport
	}
	return nil
}

func TestPodIdentity(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "pod-token-1\n")
	c := newCloud(t, simulator.Options{})
	c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-1"})
	env := map[string]string{
		"HC_CONTAINER_CREDENTIALS_FULL_URI":     c.url + simulator.PodIdentityPath,
		"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": file,
	}
	client := c.client(t, "p1", func(Options) CredentialSource {
		return NewPodIdentity(func(key string) (string, bool) { v, ok := env[key]; return v, ok })
	})
	reads(t, client, "at first")
	// The token file is rotated by others, and is read when it is needed.
	c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-2"}) //nolint:gosec // opens nothing
	write(t, file, "pod-token-2\n")
	c.ExpireKeys()
	reads(t, client, "rotated")
	if n := c.count(simulator.PodCredentials); n != 2 {
		t.Errorf("asked for %d keys", n)
	}
}

// TestPodIdentityForms reads keys in the form of either service.
func TestPodIdentityForms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "pod-token-1\n")
	for _, body := range []string{
		`{"credentials":{"accessKeyId":"a","secretAccessKey":"s","securityToken":"t","expiration":"2999-01-08T03:50:07.574000Z"}}`,
		`{"credential":{"access":"a","secret":"s","securitytoken":"t","expires_at":"2999-01-08T03:50:07.574000Z"}}`,
	} {
		c := newCloud(t, simulator.Options{})
		c.SetPodIdentity(simulator.PodIdentity{Token: "pod-token-1"})
		c.SetFault(simulator.Target{Endpoint: simulator.PodCredentials}, simulator.Fault{Status: 200, Body: body})
		got, err := NewPodIdentity(func(key string) (string, bool) {
			return map[string]string{podAddress: c.url + simulator.PodIdentityPath, podTokenFile: file}[key], true
		}).Credentials(soon(t))
		if err != nil || got != (Credentials{AccessKey: "a", SecretKey: "s", SecurityToken: "t"}) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestMachineTrouble: what a machine's services say that have no credentials, and that nobody asks twice in a while.
func TestMachineTrouble(t *testing.T) {
	const said = "SECRET-SAID-BY-THE-SERVICE"
	for name, test := range map[string]struct {
		fault func(c *cloud)
		want  string
		none  bool
	}{
		"no agency":      {func(*cloud) {}, "HTTP 401; has this ECS an agency?", true},
		"no service":     {func(c *cloud) { c.url = "http://127.0.0.1:1" }, "does not answer: dial tcp 127.0.0.1:1: connect: connection refused", true},
		"token refused":  {fault(simulator.MetadataToken, simulator.Fault{Status: 400, Body: said}), "gives no token: HTTP 400", true},
		"key refused":    {fault(simulator.SecurityKey, simulator.Fault{Status: 500, Body: said}), "gives no keys: HTTP 500", true},
		"redirect":       {fault(simulator.SecurityKey, simulator.Fault{Redirect: "http://127.0.0.1:1/"}), "gives no keys: HTTP 30", true},
		"garbage":        {fault(simulator.SecurityKey, simulator.Fault{Garbage: said + "\r\n\r\n"}), "malformed HTTP response", true},
		"no JSON":        {fault(simulator.SecurityKey, simulator.Fault{Status: 200, Body: said}), "the body is no JSON", false},
		"empty":          {fault(simulator.SecurityKey, simulator.Fault{Status: 200, Body: `{}`}), "holds no access key and secret key", false},
		"half":           {fault(simulator.SecurityKey, simulator.Fault{Status: 200, Body: `{"credential":{"access":"` + said + `"}}`}), "holds no access key and secret key", false},
		"line break":     {fault(simulator.SecurityKey, simulator.Fault{Status: 200, Body: `{"credential":{"access":"a","secret":"` + said + `\n"}}`}), "holds no access key and secret key", false},
		"ended":          {fault(simulator.SecurityKey, simulator.Fault{Status: 200, Body: `{"credential":{"access":"a","secret":"` + said + `","expires_at":"2020-01-08T03:50:07.574000Z"}}`}), "expired at 2020-01-08T03:50:07Z", false},
		"cut":            {fault(simulator.SecurityKey, simulator.Fault{CutAfter: 10}), "the connection broke", true},
		"never answered": {fault(simulator.MetadataToken, simulator.Fault{Hang: true}), "does not answer: context deadline exceeded", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, simulator.Options{})
			if name != "no agency" {
				c.SetAgency(simulator.Agency{})
			}
			test.fault(c)
			source := NewECSAgency(c.url)
			_, err := source.Credentials(soon(t))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "no credentials: ") {
				t.Fatalf("%v; want %q", err, test.want)
			}
			contains(t, "the error", err.Error(), said)
			if _, ok := err.(errNone); ok != test.none { //nolint:errorlint // the chain is not wrapped here
				t.Errorf("errNone: %t", ok)
			}
			asked := c.count(simulator.MetadataToken)
			if _, again := source.Credentials(soon(t)); again == nil || again.Error() != err.Error() {
				t.Errorf("the second time: %v", again)
			}
			if n := c.count(simulator.MetadataToken); n != asked {
				t.Errorf("asked %d times more", n-asked)
			}
		})
	}
}

func fault(on simulator.Endpoint, f simulator.Fault) func(*cloud) {
	return func(c *cloud) { c.SetFault(simulator.Target{Endpoint: on}, f) }
}

func TestPodIdentityTrouble(t *testing.T) {
	dir := t.TempDir()
	good, empty, lines := filepath.Join(dir, "good"), filepath.Join(dir, "empty"), filepath.Join(dir, "lines")
	write(t, good, "pod-token")
	write(t, empty, "\n")
	write(t, lines, "pod-token-secret\nsecond")
	c := newCloud(t, simulator.Options{})
	c.SetPodIdentity(simulator.PodIdentity{Token: "another token"})
	for name, test := range map[string]struct {
		address, file, want string
		none                bool
	}{
		"nothing set":    {"", "", "are not set", true},
		"no address":     {"", good, "are not set", true},
		"no file":        {c.url, "", "are not set", true},
		"file not there": {c.url, filepath.Join(dir, "nowhere"), "no such file", false},
		"empty file":     {c.url, empty, "holds no token", false},
		"two lines":      {c.url, lines, "holds no token", false},
		"refused":        {c.url + simulator.PodIdentityPath, good, "HTTP 401; is an agency associated with this pod?", false},
		"nobody there":   {"http://127.0.0.1:1/x", good, "does not answer: dial tcp", false},
		"no URL":         {"http://[::1", good, "invalid URL", false},
	} {
		source := NewPodIdentity(func(key string) (string, bool) {
			return map[string]string{podAddress: test.address, podTokenFile: test.file}[key], true
		})
		_, err := source.Credentials(soon(t))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		contains(t, name, err.Error(), "pod-token")
		if _, ok := err.(errNone); ok != test.none { //nolint:errorlint // nothing wraps it here
			t.Errorf("%s: errNone: %t", name, ok)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	sdkrequest "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
)

// oddTexts returns texts for paths, queries and headers.
func oddTexts() []string {
	return []string{
		"plain", "a b", "a+b", "a%2Fb", "%", "%zz", "ü", "\xff", "a;b", "a?b", "a#b", "a:b@c", "~", "-_.~", "a!'()*$,b", "...",
		`a\b`, "a=b&c", "中文", "\u2028", "a\nb", strings.Repeat("x", 300),
	}
}

// oddTokens returns security tokens; space around a header value is not part of it.
func oddTokens() []string {
	return []string{"", "token", "a  b c/+=", " padded\t", "ü", "~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./"}
}

// odd has the parameters of a client of package css.
type odd struct{ project, region, cluster, access, secret, token string }

// odds returns parameters with each odd text in each place, one at a time, and each token.
func odds() []odd {
	plain := odd{"project", "cn-north-4", "cluster", "AKEXAMPLE", "secret-example-0123456789", ""}
	var all []odd
	for _, text := range oddTexts() {
		for _, place := range []func(*odd){
			func(o *odd) { o.project = text },
			func(o *odd) { o.region, o.project = text, "" }, // the ID is looked up by the name of the region
			func(o *odd) { o.cluster = text },
			func(o *odd) { o.secret = text },
		} {
			o := plain
			place(&o)
			// The project ID is sent in a header too, and the region name is in a JSON response.
			if !strings.Contains(o.project, "\n") && utf8.ValidString(o.region) {
				all = append(all, o)
			}
		}
	}
	for _, token := range oddTokens() {
		o := plain
		o.token = token
		all = append(all, o)
	}
	return all
}

// capture is a transport that stores requests and responds with two pages of everything.
type capture struct {
	mu       sync.Mutex
	requests []*http.Request
}

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	name, err := json.Marshal(r.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"connections":[{"id":"%[1]d"}],"total_count":2,"clusters":[{"id":"%[1]d"}],"totalSize":2,`+
		`"projects":[{"id":"found","name":%[2]s}]}`, len(c.requests), name)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// signed returns one signed request of every kind from package css.
func signed(t *testing.T, o odd) []*http.Request {
	t.Helper()
	transport := &capture{}
	client := css.NewClient(css.Options{
		Region: o.region, ProjectID: o.project, Endpoint: "http://css.example", IAMEndpoint: "http://iam.example", UserAgent: "test",
		Credentials: css.NewFiles(css.Credentials{AccessKey: o.access, SecretKey: o.secret, SecurityToken: o.token}, css.Credentials{}), Keys: css.NewKeys(),
		Transport: transport, Retry: css.Retry{Tries: 1},
	})
	defer client.Close()
	list, err := client.Connections(t.Context(), o.cluster, nil)
	if err != nil || len(list.Connections) != 2 {
		t.Fatalf("%+q: %v", o.cluster, err)
	}
	if clusters, err := client.Clusters(t.Context()); err != nil || len(clusters) != 2 {
		t.Fatal(clusters, err)
	}
	return transport.requests
}

// signAgain signs a request with the vendor's signer, with the same time and signed headers, and returns the
// Authorization header.
func signAgain(t *testing.T, r *http.Request, access, secret string) string {
	t.Helper()
	b := sdkrequest.NewHttpRequestBuilder().WithEndpoint("http://" + r.URL.Host).WithMethod(r.Method).WithPath(r.URL.Path)
	for key, values := range r.URL.Query() {
		b.AddQueryParam(key, reflect.ValueOf(values))
	}
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ := strings.Cut(rest, ",")
	for name := range strings.SplitSeq(names, ";") {
		b.AddHeaderParam(http.CanonicalHeaderKey(name), r.Header.Get(name))
	}
	headers, err := signer.Sign(b.Build(), access, secret)
	if err != nil {
		t.Fatal(err)
	}
	return headers["Authorization"]
}

// TestSignatureOfOurs compares signatures of package css with the vendor's signer, byte for byte.
func TestSignatureOfOurs(t *testing.T) {
	checked, altered := 0, 0
	for _, o := range odds() {
		requests := signed(t, o)
		if want := 4; (len(requests) != want && o.project != "") || (o.project == "" && len(requests) != want+1) {
			t.Fatalf("project %+q, region %+q, cluster %+q: %d requests", o.project, o.region, o.cluster, len(requests))
		}
		for _, r := range requests {
			is := r.Header.Get("Authorization")
			if want := signAgain(t, r, o.access, o.secret); is != want {
				t.Errorf("%s\n%s, the SDK's signer says\n%s", r.URL, is, want)
			}
			checked++
			for name, alter := range alterations() {
				other := r.Clone(t.Context())
				if !alter(other) {
					continue
				}
				if signAgain(t, other, o.access, o.secret) == is {
					t.Errorf("%s: altering %s does not change the signature", r.URL, name)
				}
				altered++
			}
		}
	}
	t.Logf("%d requests, %d altered", checked, altered)
	checkPage(t, "signed by the exporter", fmt.Sprintf("%d requests of %d clients, and %d altered ones\n", checked, len(odds()), altered))
}

// alterations returns changes of signed parts of a request. A change reports whether it found its part.
func alterations() map[string]func(*http.Request) bool {
	header := func(name string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			value := strings.TrimSpace(r.Header.Get(name))
			if value == "" {
				return false
			}
			r.Header.Set(name, flip(value))
			return true
		}
	}
	return map[string]func(*http.Request) bool{
		"the path": func(r *http.Request) bool {
			r.URL.Path, r.URL.RawPath = strings.Replace(r.URL.Path, "/v", "/w", 1), ""
			return true
		},
		"a value of the query": func(r *http.Request) bool {
			query := r.URL.Query()
			for key := range query {
				query.Set(key, query.Get(key)+"0")
				r.URL.RawQuery = query.Encode()
				return true
			}
			return false
		},
		"one parameter more": func(r *http.Request) bool {
			r.URL.RawQuery = strings.Trim(r.URL.RawQuery+"&more=1", "&")
			return true
		},
		"the time":           later,
		"the project's id":   header("X-Project-Id"),
		"the security token": header("X-Security-Token"),
	}
}

// flip changes the last byte.
func flip(s string) string {
	last := s[len(s)-1]
	if last == 'x' {
		return s[:len(s)-1] + "y"
	}
	return s[:len(s)-1] + "x"
}

// later adds a second to the time of the request.
func later(r *http.Request) bool {
	const layout = "20060102T150405Z"
	at, err := time.Parse(layout, r.Header.Get("X-Sdk-Date"))
	if err != nil {
		return false
	}
	r.Header.Set("X-Sdk-Date", at.Add(time.Second).Format(layout))
	return true
}

// theirs is a request of the SDK.
type theirs struct {
	path   string
	query  map[string][]string
	header map[string]string
	body   string
	token  string
}

// String omits the token.
func (o theirs) String() string {
	return fmt.Sprintf("%+q, query %+q, body %+q, headers %+q", o.path, o.query, o.body, o.header)
}

// theirOdds returns requests with each odd text in each place. A gateway checks the signature before the request.
func theirOdds() []theirs {
	const clusters = "/v1.0/p/clusters"
	all := []theirs{
		{path: clusters},
		{path: clusters, header: map[string]string{"Host": "its own", "X-Other": "  padded ", "x-lower": "a  b"}},
		{path: clusters, query: map[string][]string{"a": {"10", "1", "1-"}, "A": {""}, "a-b": {"0"}, "a.b": {"2"}, "limit": {"1"}, "limit2": {"0"}}},
		{path: "/v3/projects", query: map[string][]string{"name": {"cn-north-4"}}},
	}
	for _, text := range oddTexts() {
		all = append(all,
			theirs{path: "/v1.0/p/clusters/" + text + "/vpcepservice/connections"},
			theirs{path: clusters, query: map[string][]string{"q": {text}}},
			theirs{path: clusters, query: map[string][]string{text: {"v", text}}},
			theirs{path: "/v3/projects", query: map[string][]string{"name": {text}}},
			theirs{path: clusters, body: text},
		)
	}
	for _, token := range oddTokens()[1:] {
		all = append(all, theirs{path: clusters, token: token})
	}
	return all
}

// TestSignatureOfTheirs checks that the simulator accepts the vendor's signatures and rejects altered requests.
func TestSignatureOfTheirs(t *testing.T) {
	const access, secret = "AKEXAMPLE", "secret-example-0123456789"
	accepted, altered := 0, 0
	for _, o := range theirOdds() {
		s := simulator.New(simulator.Options{})
		s.AddProject(simulator.Project{Region: "cn-north-4", ID: "p", Keys: []simulator.Key{{
			Access: access, Secret: secret, SecurityToken: strings.TrimSpace(o.token),
		}}})
		endpoint := s.Serve(t)
		if got := send(t, o.request(t, endpoint, access, secret)); got == http.StatusUnauthorized {
			t.Errorf("%s is rejected", o)
		}
		accepted++

		changes := alterations()
		delete(changes, "the path") // would not be a call of the API
		changes["the cluster in the path"] = func(r *http.Request) bool {
			before := r.URL.Path
			r.URL.Path, r.URL.RawPath = strings.Replace(before, "/vpcepservice", "x/vpcepservice", 1), ""
			return r.URL.Path != before
		}
		changes["the signature"] = func(r *http.Request) bool {
			value, digit := r.Header.Get("Authorization"), "0"
			if strings.HasSuffix(value, digit) {
				digit = "1"
			}
			r.Header.Set("Authorization", value[:len(value)-1]+digit)
			return true
		}
		changes["the access key"] = func(r *http.Request) bool {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), access, access+"X", 1))
			return true
		}
		changes["the body"] = func(r *http.Request) bool {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(o.body+"x")), int64(len(o.body)+1)
			return true
		}
		for name, alter := range changes {
			r := o.request(t, endpoint, access, secret)
			if !alter(r) {
				continue
			}
			if got := send(t, r); got != http.StatusUnauthorized {
				t.Errorf("%s with %s altered: %d, want 401", o, name, got)
			}
			altered++
		}
		if got := send(t, o.request(t, endpoint, access, secret+"x")); got != http.StatusUnauthorized {
			t.Errorf("%s signed with another key: %d, want 401", o, got)
		}
		altered++
	}
	checkPage(t, "signed by the SDK", fmt.Sprintf("%d requests, and %d altered ones\n", accepted, altered))
}

// request returns a request signed by the SDK.
func (o theirs) request(t *testing.T, endpoint, access, secret string) *http.Request {
	t.Helper()
	b := sdkrequest.NewHttpRequestBuilder().WithEndpoint(endpoint).WithMethod(http.MethodGet).WithPath(o.path).
		AddHeaderParam("X-Project-Id", "p").AddHeaderParam("User-Agent", "test")
	for key, values := range o.query {
		b.AddQueryParam(key, reflect.ValueOf(slices.Clone(values)))
	}
	for name, value := range o.header {
		if name == "Host" {
			value = strings.TrimPrefix(endpoint, "http://")
		}
		b.AddHeaderParam(name, value)
	}
	if o.token != "" {
		b.AddHeaderParam("X-Security-Token", o.token)
	}
	if o.body != "" {
		b.WithBody("", o.body)
	}
	unsigned := b.Build()
	headers, err := signer.Sign(unsigned, access, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		unsigned.AddHeaderParam(name, value)
	}
	r, err := unsigned.ConvertRequest()
	if err != nil {
		t.Fatal(err)
	}
	return r.WithContext(t.Context())
}

func send(t *testing.T, r *http.Request) (status int) {
	t.Helper()
	// http.Client would reject some of these requests.
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %s", (&url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}).String(), err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

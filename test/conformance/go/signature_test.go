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

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	sdkrequest "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
)

// unusualTexts returns texts for paths, queries and bodies.
func unusualTexts() []string {
	return []string{
		"plain", "a b", "a+b", "a%2Fb", "%", "%zz", "ü", "\xff", "a;b", "a?b", "a#b", "a:b@c", "~", "-_.~", "a!'()*$,b",
		"...", `a\b`, "a=b&c", "中文", "\u2028", "a\nb", strings.Repeat("x", 300),
	}
}

// unusualTokens returns security tokens. Space around a token is not part of it.
func unusualTokens() []string {
	return []string{"", "token", "a  b c/+=", " padded\t", "ü", "~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./"}
}

// exporterParams has the parameters of a client of package css.
type exporterParams struct{ project, region, cluster, access, secret, token string }

// unusualExporterParams returns parameters with one unusual text in one place each.
func unusualExporterParams() []exporterParams {
	usual := exporterParams{"project", "cn-north-4", "cluster", "AKEXAMPLE", "secret-example-0123456789", ""}
	var all []exporterParams
	for _, text := range unusualTexts() {
		for _, set := range []func(*exporterParams){
			func(p *exporterParams) { p.project = text },
			func(p *exporterParams) { p.region, p.project = text, "" }, // the project ID is looked up by region name
			func(p *exporterParams) { p.cluster = text },
			func(p *exporterParams) { p.secret = text },
		} {
			params := usual
			set(&params)
			// The project ID is also sent in a header, and the region name is also in a JSON response.
			if !strings.Contains(params.project, "\n") && utf8.ValidString(params.region) {
				all = append(all, params)
			}
		}
	}
	for _, token := range unusualTokens() {
		params := usual
		params.token = token
		all = append(all, params)
	}
	return all
}

// recorder is a transport that records requests and responds with two pages of every list.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	name, err := json.Marshal(req.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"connections":[{"id":"%[1]d"}],"total_count":2,"clusters":[{"id":"%[1]d"}],"totalSize":2,`+
		`"projects":[{"id":"found","name":%[2]s}]}`, len(r.requests), name)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// exporterRequests returns signed requests of package css, of every kind.
func exporterRequests(t *testing.T, p exporterParams) []*http.Request {
	t.Helper()
	transport := &recorder{}
	client := csstest.NewClient(t, "http://css.example", func(o *csstest.Options) {
		key := cloud.Credentials{AccessKey: p.access, SecretKey: p.secret, SecurityToken: p.token}
		o.Region, o.ProjectID, o.IAMEndpoint, o.Transport = p.region, p.project, "http://iam.example", transport
		o.Credentials = credentials.NewFiles(key, cloud.Credentials{})
	})
	list, err := client.Connections(t.Context(), p.cluster, nil)
	if err != nil || len(list.Connections) != 2 {
		t.Fatalf("cluster %+q: %v", p.cluster, err)
	}
	if clusters, err := client.Clusters(t.Context()); err != nil || len(clusters) != 2 {
		t.Fatal(clusters, err)
	}
	want := 4 // two pages of two lists
	if p.project == "" {
		want++
	}
	if len(transport.requests) != want {
		t.Fatalf("project %+q, region %+q, cluster %+q: got %d requests, want %d",
			p.project, p.region, p.cluster, len(transport.requests), want)
	}
	return transport.requests
}

// signWithSDK signs a request with the vendor's signer, with the same time and headers, and returns the Authorization
// header.
func signWithSDK(t *testing.T, r *http.Request, access, secret string) string {
	t.Helper()
	b := sdkrequest.NewHttpRequestBuilder().
		WithEndpoint("http://" + r.URL.Host).WithMethod(r.Method).WithPath(r.URL.Path)
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

func TestExporterSignsLikeTheSDK(t *testing.T) {
	signed, altered := 0, 0
	for _, p := range unusualExporterParams() {
		for _, r := range exporterRequests(t, p) {
			got := r.Header.Get("Authorization")
			if want := signWithSDK(t, r, p.access, p.secret); got != want {
				t.Errorf("%s: Authorization:\ngot  %s\nwant %s", r.URL, got, want)
			}
			signed++
			for name, alter := range alterations() {
				changed := r.Clone(t.Context())
				if !alter(changed) {
					continue
				}
				if signWithSDK(t, changed, p.access, p.secret) == got {
					t.Errorf("%s: altering %s does not change the signature", r.URL, name)
				}
				altered++
			}
		}
	}
	checkPage(t, "signed by the exporter",
		fmt.Sprintf("%d requests of %d clients, and %d altered ones\n", signed, len(unusualExporterParams()), altered))
}

// alteration changes a signed part of a request and reports whether the request has this part.
type alteration func(*http.Request) bool

// alterations returns alterations by the name of the part.
func alterations() map[string]alteration {
	return map[string]alteration{
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
		"the number of parameters": func(r *http.Request) bool {
			r.URL.RawQuery = strings.Trim(r.URL.RawQuery+"&more=1", "&")
			return true
		},
		"the time":           addSecond,
		"the project ID":     alterHeader("X-Project-Id"),
		"the security token": alterHeader("X-Security-Token"),
	}
}

func alterHeader(name string) alteration {
	return func(r *http.Request) bool {
		value := strings.TrimSpace(r.Header.Get(name))
		if value == "" {
			return false
		}
		r.Header.Set(name, alterLastByte(value))
		return true
	}
}

func alterLastByte(s string) string {
	last := s[len(s)-1]
	if last == 'x' {
		return s[:len(s)-1] + "y"
	}
	return s[:len(s)-1] + "x"
}

// addSecond adds a second to the time of the request.
func addSecond(r *http.Request) bool {
	const layout = "20060102T150405Z"
	at, err := time.Parse(layout, r.Header.Get("X-Sdk-Date"))
	if err != nil {
		return false
	}
	r.Header.Set("X-Sdk-Date", at.Add(time.Second).Format(layout))
	return true
}

// sdkRequest has the parameters of a request of the SDK.
type sdkRequest struct {
	path   string
	query  map[string][]string
	header map[string]string
	body   string
	token  string
}

// String omits the token.
func (r sdkRequest) String() string {
	return fmt.Sprintf("%+q, query %+q, body %+q, headers %+q", r.path, r.query, r.body, r.header)
}

// unusualSDKRequests returns requests with one unusual text in one place each. Not all are valid calls, but the gateway
// and the simulator check the signature first.
func unusualSDKRequests() []sdkRequest {
	const clusters = "/v1.0/p/clusters"
	all := []sdkRequest{
		{path: clusters},
		{path: clusters, header: map[string]string{"Host": "", "X-Other": "  padded ", "x-lower": "a  b"}},
		{path: clusters, query: map[string][]string{
			"a": {"10", "1", "1-"}, "A": {""}, "a-b": {"0"}, "a.b": {"2"}, "limit": {"1"}, "limit2": {"0"},
		}},
		{path: "/v3/projects", query: map[string][]string{"name": {"cn-north-4"}}},
	}
	for _, text := range unusualTexts() {
		all = append(all,
			sdkRequest{path: "/v1.0/p/clusters/" + text + "/vpcepservice/connections"},
			sdkRequest{path: clusters, query: map[string][]string{"q": {text}}},
			sdkRequest{path: clusters, query: map[string][]string{text: {"v", text}}},
			sdkRequest{path: "/v3/projects", query: map[string][]string{"name": {text}}},
			sdkRequest{path: clusters, body: text},
		)
	}
	for _, token := range unusualTokens()[1:] {
		all = append(all, sdkRequest{path: clusters, token: token})
	}
	return all
}

const (
	sdkAccess = "AKEXAMPLE"
	sdkSecret = "secret-example-0123456789"
)

func TestSimulatorAcceptsOnlyUnalteredRequestsOfTheSDK(t *testing.T) {
	requests, altered := 0, 0
	for _, r := range unusualSDKRequests() {
		s := simulator.New(simulator.Options{})
		s.AddProject(simulator.Project{Region: "cn-north-4", ID: "p", Keys: []simulator.Key{{
			Access: sdkAccess, Secret: sdkSecret, SecurityToken: strings.TrimSpace(r.token),
		}}})
		endpoint := s.Serve(t)
		if got := send(t, r.sign(t, endpoint, sdkSecret)); got == http.StatusUnauthorized {
			t.Errorf("%s: got 401, want it to be accepted", r)
		}
		requests++

		for name, alter := range sdkAlterations(r.body) {
			changed := r.sign(t, endpoint, sdkSecret)
			if !alter(changed) {
				continue
			}
			if got := send(t, changed); got != http.StatusUnauthorized {
				t.Errorf("%s with %s altered: got %d, want 401", r, name, got)
			}
			altered++
		}
		if got := send(t, r.sign(t, endpoint, sdkSecret+"x")); got != http.StatusUnauthorized {
			t.Errorf("%s signed with another key: got %d, want 401", r, got)
		}
		altered++
	}
	checkPage(t, "signed by the SDK", fmt.Sprintf("%d requests, and %d altered ones\n", requests, altered))
}

// sdkAlterations returns alterations for requests that are sent to the simulator.
func sdkAlterations(body string) map[string]alteration {
	all := alterations()
	delete(all, "the path") // the simulator does not serve the altered path
	all["the cluster in the path"] = func(r *http.Request) bool {
		before := r.URL.Path
		r.URL.Path, r.URL.RawPath = strings.Replace(before, "/vpcepservice", "x/vpcepservice", 1), ""
		return r.URL.Path != before
	}
	all["the signature"] = func(r *http.Request) bool {
		value, digit := r.Header.Get("Authorization"), "0"
		if strings.HasSuffix(value, digit) {
			digit = "1"
		}
		r.Header.Set("Authorization", value[:len(value)-1]+digit)
		return true
	}
	all["the access key"] = func(r *http.Request) bool {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), sdkAccess, sdkAccess+"X", 1))
		return true
	}
	all["the body"] = func(r *http.Request) bool {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body+"x")), int64(len(body)+1)
		return true
	}
	return all
}

// sign returns the request as the SDK signs it.
func (r sdkRequest) sign(t *testing.T, endpoint, secret string) *http.Request {
	t.Helper()
	b := sdkrequest.NewHttpRequestBuilder().WithEndpoint(endpoint).WithMethod(http.MethodGet).WithPath(r.path).
		AddHeaderParam("X-Project-Id", "p").AddHeaderParam("User-Agent", "test")
	for key, values := range r.query {
		b.AddQueryParam(key, reflect.ValueOf(slices.Clone(values)))
	}
	for name, value := range r.header {
		if name == "Host" { // with the port of the endpoint
			value = strings.TrimPrefix(endpoint, "http://")
		}
		b.AddHeaderParam(name, value)
	}
	if r.token != "" {
		b.AddHeaderParam("X-Security-Token", r.token)
	}
	if r.body != "" {
		b.WithBody("", r.body)
	}
	unsigned := b.Build()
	headers, err := signer.Sign(unsigned, sdkAccess, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		unsigned.AddHeaderParam(name, value)
	}
	signed, err := unsigned.ConvertRequest()
	if err != nil {
		t.Fatal(err)
	}
	return signed.WithContext(t.Context())
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

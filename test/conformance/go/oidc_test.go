// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	css "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/css/v1"
	cssmodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/css/v1/model"
	sts "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/sts/v1"
	stsmodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/sts/v1/model"
)

const (
	oidcProvider = "iam::0123456789abcdef0123456789abcdef:oidcProvider:cluster"
	oidcAgency   = "iam::0123456789abcdef0123456789abcdef:agency:css-reader"
)

// exchange is a request that exchanges a token.
type exchange struct {
	Method, Path, IDPID string
	Body                any
}

// federation is a simulated cloud that trusts an identity provider, and records exchanges.
type federation struct {
	url, tokenFile, idToken string

	mu        sync.Mutex
	exchanges []exchange
}

func newFederation(t *testing.T) *federation {
	t.Helper()
	s := simulator.New(simulator.Options{})
	s.AddProject(simulator.Project{Region: "cn-north-4", ID: "p1"})
	s.AddCluster("p1", simulator.Cluster{ID: "c1", Name: "one", Status: "200", Engine: "elasticsearch"})
	s.SetIdentityProvider(simulator.IdentityProvider{ID: "idp", URN: oidcProvider, AgencyURN: oidcAgency})
	f := &federation{tokenFile: filepath.Join(t.TempDir(), "token"), idToken: s.IDToken("exporter", "", time.Hour)}
	if err := os.WriteFile(f.tokenFile, []byte(f.idToken), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			f.record(r)
			// The SDK signs requests to STS even though they need no signature.
			r.Header.Del("Authorization")
		}
		response := httptest.NewRecorder()
		s.ServeHTTP(response, r)
		maps.Copy(w.Header(), response.Header())
		w.WriteHeader(response.Code)
		_, _ = response.Body.WriteTo(w)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// record records a request without the IAM token, which is another one each time.
func (f *federation) record(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	e := exchange{Method: r.Method, Path: r.URL.Path, IDPID: r.Header.Get("X-Idp-Id")}
	_ = json.Unmarshal(body, &e.Body)
	if auth, ok := e.Body.(map[string]any)["auth"].(map[string]any); ok {
		if identity, ok := auth["identity"].(map[string]any); ok {
			identity["token"].(map[string]any)["id"] = "the IAM token"
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exchanges = append(f.exchanges, e)
}

// take returns the exchanges since the last call.
func (f *federation) take() []exchange {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.exchanges
	f.exchanges = nil
	return taken
}

// exchangeByExporter fails the test if the exporter gets no keys.
func (f *federation) exchangeByExporter(t *testing.T, to credentials.OIDC) {
	t.Helper()
	transport := cloud.NewTransport(nil, nil)
	defer transport.CloseIdleConnections()
	to.Endpoint = f.url
	source := credentials.NewOIDC(cloud.Options{Keys: cloud.NewKeys(), Transport: transport, UserAgent: "test/1"}, to,
		credentials.NewToken("", f.tokenFile))
	keys, err := source.Credentials(t.Context())
	if err != nil || keys.SecurityToken == "" {
		t.Fatalf("the exporter got no keys: %v", err)
	}
}

// TestIDTokenInIAM: the SDK and the exporter send the same two requests to IAM, and the SDK can use the keys.
func TestIDTokenInIAM(t *testing.T) {
	f := newFederation(t)
	auth, err := basic.NewCredentialsBuilder().
		WithIdpId("idp").WithIdTokenFile(f.tokenFile).WithIamEndpointOverride(f.url).WithProjectId("p1").SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := css.CssClientBuilder().WithEndpoints([]string{f.url}).WithCredential(auth).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	list, err := css.NewCssClient(client).ListClustersDetails(&cssmodel.ListClustersDetailsRequest{})
	if err != nil || len(*list.Clusters) != 1 {
		t.Fatalf("the SDK cannot list the cluster with keys of IAM: %v", err)
	}
	bySDK := f.take()
	f.exchangeByExporter(t, credentials.OIDC{IDPID: "idp"})
	if diff := cmp.Diff(bySDK, f.take()); diff != "" || len(bySDK) != 2 {
		t.Errorf("exchanges of the SDK (-) and of the exporter (+):\n%s", diff)
	}
}

// TestIDTokenInSTS: the SDK sends the same request to STS, and reads the keys in the answer.
func TestIDTokenInSTS(t *testing.T) {
	f := newFederation(t)
	auth, err := basic.NewCredentialsBuilder().WithAk("unused").WithSk("unused").WithProjectId("p1").SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := sts.StsClientBuilder().WithEndpoints([]string{f.url}).WithCredential(auth).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sts.NewStsClient(client).AssumeAgencyWithOIDC(&stsmodel.AssumeAgencyWithOidcRequest{
		Body: &stsmodel.AssumeAgencyWithOidcReqBody{
			DurationSeconds: new(int32(3600)), ProviderUrn: oidcProvider, AgencyUrn: oidcAgency,
			AgencySessionName: "session", IdToken: f.idToken,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if k := answer.Credentials; k.AccessKeyId == "" || k.SecretAccessKey == "" || k.SecurityToken == "" ||
		time.Until(time.Time(*k.Expiration)) < 59*time.Minute {
		t.Errorf("the SDK does not read the keys of the simulator: %s", k)
	}
	bySDK := f.take()
	f.exchangeByExporter(t, credentials.OIDC{
		ProviderURN: oidcProvider, AgencyURN: oidcAgency, SessionName: "session", Duration: time.Hour,
	})
	if diff := cmp.Diff(bySDK, f.take()); diff != "" || len(bySDK) != 1 {
		t.Errorf("exchanges of the SDK (-) and of the exporter (+):\n%s", diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	iam "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3"
	iammodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3/model"
	sts "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/sts/v1"
	stsmodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/sts/v1/model"
)

// The caller and the agency of another account.
const (
	callerAccess   = "AK-of-the-caller"
	callerSecret   = "SK-of-the-caller" //nolint:gosec // opens nothing but the simulator
	agencyName     = "css-reader"
	accountName    = "another-account"
	accountID      = "0123456789abcdef0123456789abcdef"
	agencyDuration = 2 * time.Hour
)

// startAgencies serves a simulator with the caller and the agency.
func startAgencies(t *testing.T) (s *simulator.Simulator, url string) {
	t.Helper()
	s = simulator.New(simulator.Options{})
	s.AddProject(simulator.Project{ID: "p1", Region: "cn-north-4", Keys: []simulator.Key{
		{Access: callerAccess, Secret: callerSecret},
	}})
	s.AddAgency(simulator.AccountAgency{
		Name: agencyName, DomainName: accountName, DomainID: accountID, Callers: []string{callerAccess},
	})
	url = s.Serve(t)
	return s, url
}

// assumed is what a client reads.
type assumed struct {
	access, secret, token string
	expires               time.Time
}

func assumeWithSDKByIAM(t *testing.T, url string) assumed {
	t.Helper()
	caller, err := global.NewCredentialsBuilder().
		WithAk(callerAccess).WithSk(callerSecret).WithDomainId("domain-of-the-caller").SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := iam.IamClientBuilder().WithEndpoints([]string{url}).WithCredential(caller).
		WithHttpConfig(sdkTransport(t)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	domain, seconds := accountName, int32(agencyDuration.Seconds())
	got, err := iam.NewIamClient(client).CreateTemporaryAccessKeyByAgency(&iammodel.CreateTemporaryAccessKeyByAgencyRequest{
		Body: &iammodel.CreateTemporaryAccessKeyByAgencyRequestBody{Auth: &iammodel.AgencyAuth{
			Identity: &iammodel.AgencyAuthIdentity{
				Methods: []iammodel.AgencyAuthIdentityMethods{iammodel.GetAgencyAuthIdentityMethodsEnum().ASSUME_ROLE},
				AssumeRole: &iammodel.IdentityAssumerole{
					AgencyName: agencyName, DomainName: &domain, DurationSeconds: &seconds,
				},
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	expires, err := time.Parse(time.RFC3339, got.Credential.ExpiresAt)
	if err != nil {
		t.Error(err)
	}
	return assumed{got.Credential.Access, got.Credential.Secret, got.Credential.Securitytoken, expires}
}

func assumeWithSDKBySTS(t *testing.T, url string) assumed {
	t.Helper()
	caller, err := basic.NewCredentialsBuilder().WithAk(callerAccess).WithSk(callerSecret).WithProjectId("p1").SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := sts.StsClientBuilder().WithEndpoints([]string{url}).WithCredential(caller).
		WithHttpConfig(sdkTransport(t)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	seconds := int32(agencyDuration.Seconds())
	got, err := sts.NewStsClient(client).AssumeAgency(&stsmodel.AssumeAgencyRequest{Body: &stsmodel.AssumeAgencyReqBody{
		AgencyUrn: "iam::" + accountID + ":agency:" + agencyName, AgencySessionName: "conformance", DurationSeconds: &seconds,
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := got.Credentials
	return assumed{c.AccessKeyId, c.SecretAccessKey, c.SecurityToken, time.Time(*c.Expiration)}
}

// sdkTransport returns settings of the SDK whose connections are closed when the test ends.
func sdkTransport(t *testing.T) *config.HttpConfig {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return config.DefaultHttpConfig().WithHttpTransport(transport)
}

func assumeWithExporter(t *testing.T, url string, agency credentials.Agency) assumed {
	t.Helper()
	transport := cloud.NewTransport(nil, nil)
	t.Cleanup(transport.CloseIdleConnections)
	key := cloud.Credentials{AccessKey: callerAccess, SecretKey: callerSecret}
	agency.Endpoint, agency.Name, agency.Duration = url, agencyName, agencyDuration
	source := credentials.NewAgency(cloud.Options{
		Keys: cloud.NewKeys(), Transport: transport, Credentials: credentials.NewFiles(key, cloud.Credentials{}),
	}, agency)
	got, err := source.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, expires := credentials.Origin(source)
	return assumed{got.AccessKey, got.SecretKey, got.SecurityToken, expires}
}

// TestSDKAssumesAgencies checks that the simulator accepts the signatures and bodies of the SDK, and that the exporter
// reads the same from one answer.
func TestSDKAssumesAgencies(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint simulator.Endpoint
		withSDK  func(t *testing.T, url string) assumed
		agency   credentials.Agency
	}{
		"IAM": {simulator.AgencyByIAM, assumeWithSDKByIAM, credentials.Agency{DomainName: accountName}},
		"STS": {simulator.AgencyBySTS, assumeWithSDKBySTS, credentials.Agency{DomainID: accountID}},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := startAgencies(t)
			for who, got := range map[string]assumed{
				"the SDK": tc.withSDK(t, url), "the exporter": assumeWithExporter(t, url, tc.agency),
			} {
				if left := time.Until(got.expires); left < agencyDuration-time.Minute || left > agencyDuration {
					t.Errorf("%s: got keys for %s, want %s", who, left, agencyDuration)
				}
				if got.access == "" || got.secret == "" || got.token == "" {
					t.Errorf("%s: got an empty value", who)
				}
			}
			var paths []string
			for _, r := range s.Requests() {
				paths = append(paths, r.Method+" "+r.Path)
			}
			if len(slices.Compact(paths)) != 1 {
				t.Errorf("got the requests %q, want both to be alike", paths)
			}
			checkSameReading(t, s, url, tc.endpoint, tc.withSDK, tc.agency)
		})
	}
}

// checkSameReading compares what the SDK and the exporter read from one answer.
func checkSameReading(
	t *testing.T, s *simulator.Simulator, url string, endpoint simulator.Endpoint,
	withSDK func(t *testing.T, url string) assumed, agency credentials.Agency,
) {
	t.Helper()
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	body := `{"credential":{"expires_at":"` + at.Format("2006-01-02T15:04:05.000000Z") +
		`","access":"A","secret":"S","securitytoken":"T"}}`
	status := http.StatusCreated
	if endpoint == simulator.AgencyBySTS {
		status = http.StatusOK
		body = `{"assumed_agency":{"urn":"u","id":"i"},"credentials":{"expiration":"` +
			at.Format("2006-01-02T15:04:05.000Z") + `","access_key_id":"A","secret_access_key":"S","security_token":"T"}}`
	}
	s.SetFault(simulator.Target{Endpoint: endpoint}, simulator.Fault{Status: status, Body: body})
	want := assumed{"A", "S", "T", at}
	for who, got := range map[string]assumed{
		"the SDK": withSDK(t, url), "the exporter": assumeWithExporter(t, url, agency),
	} {
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(assumed{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", who, diff)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	exporteriam "css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/simulator"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	iam "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3/model"
)

// TestTheVendorsSDKListsTheProjectsOfAnAccount compares what the SDK's client of IAM reads from the simulator with what
// the exporter's reads: the SDK rejects fields of other types than it has.
func TestTheVendorsSDKListsTheProjectsOfAnAccount(t *testing.T) {
	const access, secret = "AKEXAMPLE", "secret-example-0123456789"
	s := simulator.New(simulator.Options{})
	keys := []simulator.Key{{Access: access, Secret: secret}}
	for _, p := range []simulator.Project{
		{ID: "p1", Region: "cn-north-4"},
		{ID: "p2", Region: "cn-north-4", IAMName: "cn-north-4_团队"},
		{ID: "p3", Region: "MOS", Disabled: true},
	} {
		p.Keys = keys
		s.AddProject(p)
	}
	url := s.Serve(t)

	login, err := global.NewCredentialsBuilder().WithAk(access).WithSk(secret).WithDomainId("domain").SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := iam.IamClientBuilder().WithEndpoints([]string{url}).WithCredential(login).
		WithHttpConfig(config.DefaultHttpConfig().WithTimeout(30 * time.Second)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	response, err := iam.NewIamClient(client).KeystoneListAuthProjects(&model.KeystoneListAuthProjectsRequest{})
	if err != nil || response.Projects == nil {
		t.Fatalf("the SDK got %v and error %v", response, err)
	}
	var theirs, ours []string
	for _, p := range *response.Projects {
		if p.IsDomain {
			t.Errorf("got the domain %s", p.Name)
		}
		theirs = append(theirs, fmt.Sprint(p.Id, " ", p.Name, " ", p.DomainId, " ", p.Enabled))
	}

	transport := cloud.NewTransport(nil, nil)
	defer transport.CloseIdleConnections()
	account := exporteriam.NewAccount(cloud.NewClient(cloud.Options{
		UserAgent: "test/1", Keys: cloud.NewKeys(), Transport: transport,
		Credentials: credentials.NewFiles(cloud.Credentials{AccessKey: access, SecretKey: secret}, cloud.Credentials{}),
	}), url)
	list, _, err := account.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		ours = append(ours, fmt.Sprint(p.ID, " ", p.Name, " ", p.DomainID, " ", !p.Disabled))
	}
	if !slices.Equal(theirs, ours) || len(ours) != 3 {
		t.Errorf("the SDK read %q, the exporter %q", theirs, ours)
	}

	theirRequest, ourRequest := s.Requests()[0], s.Requests()[1]
	if theirRequest.Path != ourRequest.Path || theirRequest.Query != ourRequest.Query ||
		theirRequest.Method != ourRequest.Method || ourRequest.Endpoint != simulator.AccountList {
		t.Errorf("the SDK sent %+v, the exporter %+v", theirRequest, ourRequest)
	}
}

// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
)

// OpAssume is the operation of assuming an agency.
const OpAssume = "assume"

// sessionName appears in the account's audit trace.
const sessionName = "css_vpcep_exporter"

// Agency is an agency of another account.
type Agency struct {
	Endpoint   string // scheme and host: of STS with a DomainID, else of IAM
	Name       string
	DomainName string // the account, or
	DomainID   string // its ID
	Duration   time.Duration
}

func (a Agency) account() string {
	if a.DomainID != "" {
		return a.DomainID
	}
	return a.DomainName
}

// NewAgency returns a source of the temporary keys of an agency. Credentials of options are those of the caller. POST
// {iam}/v3.0/OS-CREDENTIAL/securitytokens, or POST {sts}/v5/agencies/assume. Scope of options is ignored.
func NewAgency(options cloud.Options, agency Agency) cloud.CredentialSource {
	options.Scope = agency.Endpoint
	return newCache(&agencyIssuer{client: cloud.NewClient(options), agency: agency, caller: options.Credentials})
}

type agencyIssuer struct {
	client    *cloud.Client
	agency    Agency
	caller    cloud.CredentialSource
	temporary atomic.Bool // the caller's keys
}

func (a *agencyIssuer) issue(ctx context.Context) (issued, error) {
	ctx, cancel := cloud.Background(ctx)
	defer cancel()
	service := assumeService{a.agency}
	request := cloud.Request{Service: service, Operation: OpAssume, Endpoint: a.agency.Endpoint}
	if a.agency.DomainID != "" {
		request.Path, request.Body = []string{"v5", "agencies", "assume"}, a.agency.stsBody()
	} else {
		request.Path, request.Body = []string{"v3.0", "OS-CREDENTIAL", "securitytokens"}, a.agency.iamBody()
	}
	response, err := a.client.Call(ctx, request)
	if err != nil {
		return issued{}, err
	}
	keys, err := parseTemporary(response.Body)
	if err != nil {
		e := cloud.NewDecodeError(OpAssume, err.Error())
		return issued{}, e.WithHint(service.Hint(e))
	}
	return keys, nil
}

type object = map[string]any

func (a Agency) iamBody() []byte {
	return jsonBody(object{"auth": object{"identity": object{
		"methods": []string{"assume_role"},
		"assume_role": object{
			"agency_name": a.Name, "domain_name": a.DomainName, "duration_seconds": int(a.Duration.Seconds()),
		},
	}}})
}

func (a Agency) stsBody() []byte {
	return jsonBody(object{
		"agency_urn":          "iam::" + a.DomainID + ":agency:" + a.Name,
		"agency_session_name": sessionName,
		"duration_seconds":    int(a.Duration.Seconds()),
	})
}

func jsonBody(v object) []byte {
	body, _ := json.Marshal(v) // strings and numbers alone cannot fail
	return body
}

// input is empty once the caller has had temporary keys: others that replace them change nothing, and asking for them
// may need the network.
func (a *agencyIssuer) input(ctx context.Context) (string, error) {
	if a.temporary.Load() {
		return "", nil
	}
	c, err := a.caller.Credentials(ctx)
	switch {
	case err != nil:
		return "", err
	case c.SecurityToken != "" || c.AuthToken != "":
		a.temporary.Store(true)
		return "", nil
	}
	sum := c.Fingerprint()
	return string(sum[:]), nil
}

// backOff is long if the agency was refused. The caller's key is paused by cloud.Keys.
func (a *agencyIssuer) backOff(err error, failures int) time.Duration {
	if e, ok := errors.AsType[*cloud.Error](err); ok && e.Operation == OpAssume && e.Status != http.StatusUnauthorized {
		return refusedBackOff(e, failures)
	}
	return time.Second
}

// assumeService implements cloud.Service.
type assumeService struct{ agency Agency }

func (s assumeService) Hint(e *cloud.Error) string {
	endpoint, account := "iam_endpoint", "domain_name"
	if s.agency.DomainID != "" {
		endpoint, account = "sts_endpoint", "domain_id"
	}
	which := "the name of the agency " + clean.Quote(s.agency.Name) + " and its account " + clean.Quote(s.agency.account())
	switch e.Reason {
	case cloud.ReasonAuth:
		return "the caller's credentials were rejected, not the agency: check those beside assume_agency, and the clock of " +
			"this machine; rejected credentials are paused, so that the cloud does not lock them"
	case cloud.ReasonDenied:
		return "check " + which + ", its trust policy, which must name the caller's account, and the caller's permission to " +
			"assume it (sts:agencies:assume, or the role Agent Operator)"
	case cloud.ReasonInvalid:
		return "check " + which + ", and duration, which may be at most 1h if the caller's keys are those of an agency"
	case cloud.ReasonNotFound:
		return "check " + endpoint + ", " + which + " (" + account + ")"
	case cloud.ReasonDecode:
		return "the response holds no keys: check " + endpoint + " and proxy"
	}
	return ""
}

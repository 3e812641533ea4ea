// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"
)

// OpOIDC is the operation of exchanges of ID tokens.
const OpOIDC = "oidc"

// iamKeyLife is the life of keys of IAM: what its documentation shows.
const iamKeyLife = 6 * time.Hour

// OIDC says what the ID tokens of an identity provider are exchanged for.
type OIDC struct {
	Endpoint string // of IAM or STS: scheme and host
	IDPID    string // the identity provider in IAM; empty: STS

	ProviderURN string // of STS, like what follows
	AgencyURN   string
	SessionName string
	Duration    time.Duration
}

// NewOIDC returns a source of temporary keys, for which IAM or STS exchanges ID tokens. The ID token is the AuthToken
// of its source. Credentials and Scope of options are ignored.
func NewOIDC(options cloud.Options, to OIDC, token cloud.CredentialSource) cloud.CredentialSource {
	options.Scope = to.Endpoint
	issuer := &oidcIssuer{to: to, token: idTokenCredentials{to, token}}
	options.Credentials = issuer.token
	issuer.exchange = cloud.NewClient(options)
	options.Credentials = &issuer.iamToken
	issuer.iam = cloud.NewClient(options)
	return newCache(issuer)
}

// NewToken returns a source whose AuthToken is a value, or the content of the file at path if there is one.
func NewToken(value, path string) cloud.CredentialSource {
	return NewFiles(cloud.Credentials{AuthToken: value}, cloud.Credentials{AuthToken: path})
}

// idTokenCredentials adds the identity provider to an ID token: cloud.Keys must not mistake one token for two providers
// or agencies for one.
type idTokenCredentials struct {
	to    OIDC
	token cloud.CredentialSource
}

func (i idTokenCredentials) Credentials(ctx context.Context) (cloud.Credentials, error) {
	c, err := i.token.Credentials(ctx)
	provider := strings.Join([]string{i.to.Endpoint, i.to.IDPID, i.to.ProviderURN, i.to.AgencyURN}, " ")
	return cloud.Credentials{AccessKey: provider, AuthToken: c.AuthToken}, err
}

func (i idTokenCredentials) Invalidate(rejected cloud.Credentials, certain bool) bool {
	return i.token.Invalidate(cloud.Credentials{AuthToken: rejected.AuthToken}, certain)
}

// Problem implements cloud.Outdated.
func (i idTokenCredentials) Problem() error { return problem(i.token) }

// iamToken is the IAM token between the two requests to IAM.
type iamToken struct {
	held atomic.Pointer[cloud.Credentials]
}

// Credentials implements cloud.CredentialSource.
func (t *iamToken) Credentials(context.Context) (cloud.Credentials, error) {
	if c := t.held.Load(); c != nil {
		return *c, nil
	}
	return cloud.Credentials{}, errors.New("no credentials: there is no IAM token")
}

// Invalidate implements cloud.CredentialSource.
func (*iamToken) Invalidate(cloud.Credentials, bool) bool { return false }

type oidcIssuer struct {
	to       OIDC
	token    idTokenCredentials
	exchange *cloud.Client
	iamToken iamToken
	iam      *cloud.Client // with iamToken
}

func (o *oidcIssuer) issue(ctx context.Context) (issued, error) {
	ctx, cancel := cloud.Background(ctx)
	defer cancel()
	token, err := o.token.Credentials(ctx)
	if err != nil {
		return issued{}, err
	}
	service := oidcService{sts: o.to.IDPID == "", expired: idTokenExpired(token.AuthToken)}
	if service.sts {
		return o.assume(ctx, service)
	}
	return o.federate(ctx, service)
}

// assume exchanges the ID token in STS: POST {sts}/v5/agencies/assume-with-oidc.
func (o *oidcIssuer) assume(ctx context.Context, service oidcService) (issued, error) {
	response, err := o.exchange.Call(ctx, cloud.Request{
		Service:   service,
		Operation: OpOIDC,
		Endpoint:  o.to.Endpoint,
		Path:      []string{"v5", "agencies", "assume-with-oidc"},
		Login: func(c cloud.Credentials) []byte {
			return jsonBody(object{
				"provider_urn": o.to.ProviderURN, "agency_urn": o.to.AgencyURN,
				"agency_session_name": o.to.SessionName, "duration_seconds": int(o.to.Duration.Seconds()),
				"id_token": c.AuthToken,
			})
		},
	})
	if err != nil {
		return issued{}, err
	}
	keys, err := parseTemporary(response.Body)
	return service.checkKeys(keys, err)
}

// federate exchanges the ID token in IAM for an IAM token (POST {iam}/v3.0/OS-AUTH/id-token/tokens), and this one for
// keys (POST {iam}/v3.0/OS-CREDENTIAL/securitytokens).
func (o *oidcIssuer) federate(ctx context.Context, service oidcService) (issued, error) {
	response, err := o.exchange.Call(ctx, cloud.Request{
		Service:   service,
		Operation: OpOIDC,
		Endpoint:  o.to.Endpoint,
		Path:      []string{"v3.0", "OS-AUTH", "id-token", "tokens"},
		Header:    http.Header{"X-Idp-Id": {o.to.IDPID}},
		Login: func(c cloud.Credentials) []byte {
			return jsonBody(object{"auth": object{"id_token": object{"id": c.AuthToken}}})
		},
	})
	if err != nil {
		return issued{}, err
	}
	token := response.Header.Get(headerSubjectToken)
	if token == "" || !clean.IsPrintable(token) {
		return service.checkKeys(issued{}, errors.New("the response holds no "+headerSubjectToken))
	}
	o.iamToken.held.Store(&cloud.Credentials{AuthToken: token})
	defer o.iamToken.held.Store(nil)
	response, err = o.iam.Call(ctx, cloud.Request{
		Service:   service,
		Operation: OpOIDC,
		Endpoint:  o.to.Endpoint,
		Path:      []string{"v3.0", "OS-CREDENTIAL", "securitytokens"},
		Login: func(c cloud.Credentials) []byte {
			return jsonBody(object{"auth": object{"identity": object{
				"methods": []string{"token"},
				"token":   object{"id": c.AuthToken, "duration_seconds": int(iamKeyLife.Seconds())},
			}}})
		},
	})
	if err != nil {
		return issued{}, err
	}
	keys, err := parseTemporary(response.Body)
	return service.checkKeys(keys, err)
}

// idTokenExpired returns when a JSON web token has expired, or "" if it has not, or is none. It does not check the
// signature.
func idTokenExpired(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	var expires lenient.Optional[time.Time]
	if err == nil {
		_, _ = lenient.Decode(claims, lenient.Object{"exp": lenient.Optionally(&expires, parseNumericDate)})
	}
	if !expires.Set || time.Now().Before(expires.Value) {
		return ""
	}
	return expires.Value.UTC().Format(time.RFC3339)
}

func parseNumericDate(content []byte) (time.Time, bool) {
	var seconds float64
	err := json.Unmarshal(content, &seconds)
	return time.Unix(int64(seconds), 0), err == nil && seconds > 0 && seconds < 1<<33
}

// input does not end the keys that were issued for another token: Kubernetes rotates it often.
func (o *oidcIssuer) input(ctx context.Context) (string, error) {
	c, err := o.token.Credentials(ctx)
	if err != nil {
		return "", err
	}
	sum := c.Fingerprint()
	return string(sum[:]), nil
}

// backOff is that of a login.
func (*oidcIssuer) backOff(err error, failures int) time.Duration {
	return (*tokenIssuer)(nil).backOff(err, failures)
}

func (o *oidcIssuer) from() string {
	if o.to.IDPID != "" {
		return "an ID token of the identity provider " + o.to.IDPID + ", exchanged by IAM"
	}
	return "an ID token, exchanged by STS for the agency " + o.to.AgencyURN
}

type oidcService struct {
	sts     bool
	expired string // when the ID token has, if it has
}

// checkKeys returns a decode error if there are no keys. Keys stay valid when the ID token changes.
func (s oidcService) checkKeys(keys issued, err error) (issued, error) {
	if err != nil {
		e := cloud.NewDecodeError(OpOIDC, err.Error())
		return issued{}, e.WithHint(s.Hint(e))
	}
	keys.lasting = true
	return keys, nil
}

// Hint implements cloud.Service.
func (s oidcService) Hint(e *cloud.Error) string {
	rejected := e.Reason == cloud.ReasonAuth || e.Reason == cloud.ReasonDenied || e.Reason == cloud.ReasonInvalid
	switch {
	case rejected && s.expired != "":
		return "the ID token expired at " + s.expired + ": check what renews the token file, and the clock of this machine"
	case e.Reason == cloud.ReasonAuth && s.sts:
		return "the ID token was rejected: check provider_urn, the audience that the identity provider allows, and the clock; " +
			"rejected tokens are paused until they change"
	case e.Reason == cloud.ReasonAuth:
		return "the ID token was rejected: check idp_id, the audience that the identity provider allows, and the clock; " +
			"rejected tokens are paused until they change"
	case e.Reason == cloud.ReasonDenied && s.sts:
		return "the agency was refused: check agency_urn, and whether the agency's trust policy allows the identity provider, " +
			"and the audience and the subject of the token"
	case e.Reason == cloud.ReasonDenied:
		return "IAM refused the token: check idp_id, and whether the identity provider allows the token's audience and subject"
	case e.Reason == cloud.ReasonInvalid && s.sts:
		return "check provider_urn, agency_urn, the session name, the duration and the content of the token file"
	case e.Reason == cloud.ReasonInvalid:
		return "check idp_id and the content of the token file"
	case e.Reason == cloud.ReasonNotFound && s.sts:
		return "check sts_endpoint, provider_urn and agency_urn"
	case e.Reason == cloud.ReasonNotFound:
		return "check iam_endpoint and idp_id"
	case e.Reason == cloud.ReasonDecode && s.sts:
		return "the response is not from STS: check sts_endpoint and proxy"
	case e.Reason == cloud.ReasonDecode:
		return "the response is not from IAM: check iam_endpoint and proxy"
	}
	return ""
}

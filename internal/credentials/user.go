// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"
)

// OpToken is the operation of logins.
const OpToken = "token"

const headerSubjectToken = "X-Subject-Token"

// Login is an IAM user in a project.
type Login struct {
	Endpoint  string // scheme and host
	User      string
	Domain    string
	ProjectID string
	Project   string // name, used without a ProjectID
}

// NewUser returns a source of IAM tokens: POST {iam}/v3/auth/tokens. The password is the SecretKey of its source.
// Credentials and Scope of options are ignored.
func NewUser(options cloud.Options, login Login, password cloud.CredentialSource) cloud.CredentialSource {
	options.Credentials = loginCredentials{login, password}
	options.Scope = login.Endpoint
	return newCache(&tokenIssuer{client: cloud.NewClient(options), login: login, password: password})
}

// loginCredentials adds the user to a password: cloud.Keys must not mistake equal passwords of two users for one.
type loginCredentials struct {
	login    Login
	password cloud.CredentialSource
}

func (l loginCredentials) Credentials(ctx context.Context) (cloud.Credentials, error) {
	c, err := l.password.Credentials(ctx)
	return cloud.Credentials{AccessKey: l.login.Domain + "/" + l.login.User, SecretKey: c.SecretKey}, err
}

func (l loginCredentials) Invalidate(rejected cloud.Credentials, certain bool) bool {
	return l.password.Invalidate(cloud.Credentials{SecretKey: rejected.SecretKey}, certain)
}

// Problem implements cloud.Outdated.
func (l loginCredentials) Problem() error { return problem(l.password) }

type tokenIssuer struct {
	client   *cloud.Client
	login    Login
	password cloud.CredentialSource
}

func (t *tokenIssuer) issue(ctx context.Context) (issued, error) {
	ctx, cancel := cloud.Background(ctx)
	defer cancel()
	response, err := t.client.Call(ctx, cloud.Request{
		Service:   tokenService{},
		Operation: OpToken,
		Endpoint:  t.login.Endpoint,
		Path:      []string{"v3", "auth", "tokens"},
		Query:     url.Values{"nocatalog": {"true"}},
		Login:     t.body,
	})
	if err != nil {
		return issued{}, err
	}
	token := response.Header.Get(headerSubjectToken)
	if token == "" || !clean.IsPrintable(token) {
		e := cloud.NewDecodeError(OpToken, "the response holds no "+headerSubjectToken)
		return issued{}, e.WithHint(tokenService{}.Hint(e))
	}
	return issued{Credentials: cloud.Credentials{AuthToken: token}, expires: tokenExpiry(response.Body)}, nil
}

func (t *tokenIssuer) body(c cloud.Credentials) []byte {
	type named struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
	}
	project := named{ID: t.login.ProjectID}
	if project.ID == "" {
		project.Name = t.login.Project
	}
	return jsonBody(object{"auth": object{
		"identity": object{
			"methods": []string{"password"},
			"password": object{"user": object{
				"name": t.login.User, "domain": named{Name: t.login.Domain}, "password": c.SecretKey,
			}},
		},
		"scope": object{"project": project},
	}})
}

// tokenExpiry returns zero if the body is invalid: the token itself is in a header.
func tokenExpiry(body []byte) time.Time {
	var expires lenient.Optional[time.Time]
	_, _ = lenient.Decode(body, lenient.Object{
		"token": lenient.Object{"expires_at": lenient.Optionally(&expires, lenient.ParseTime)}.Decode,
	})
	return expires.Value
}

func (t *tokenIssuer) input(ctx context.Context) (string, error) {
	c, err := t.password.Credentials(ctx)
	if err != nil {
		return "", err
	}
	sum := c.Fingerprint()
	return string(sum[:]), nil
}

// backOff is long if IAM rejected the login: it locks users after some wrong passwords.
func (t *tokenIssuer) backOff(err error, failures int) time.Duration {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		return refusedBackOff(e, failures)
	}
	return time.Second
}

func refusedBackOff(e *cloud.Error, failures int) time.Duration {
	if e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests {
		return min(cloud.FirstPause<<min(failures-1, 4), cloud.LongestPause)
	}
	return time.Second
}

type tokenService struct{}

func (tokenService) Hint(e *cloud.Error) string {
	switch e.Reason {
	case cloud.ReasonAuth:
		return "check the user's name, domain and password; " +
			"rejected passwords are paused, so that the cloud does not lock the user"
	case cloud.ReasonDenied:
		return "the user may not log in to this project: check the user's status and access mode in IAM"
	case cloud.ReasonNotFound:
		return "check iam_endpoint"
	case cloud.ReasonDecode:
		return "the response is not from IAM: check iam_endpoint and proxy"
	}
	return ""
}

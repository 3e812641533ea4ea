// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

const (
	opToken            = "token"
	headerSubjectToken = "X-Subject-Token"
)

// User identifies an IAM user.
type User struct {
	Name   string
	Domain string // the account that the user belongs to
}

// NewIAMToken returns a source of IAM tokens for a user, within the project of options: POST {iam}/v3/auth/tokens. A token is
// renewed before it expires, and when the API rejects it, above all with APIGW.0307. Of password, SecretKey is the password; a
// changed one calls for a new token. Endpoint and Credentials of options are not used.
func NewIAMToken(options Options, user User, password CredentialSource) CredentialSource {
	options.Credentials = login{user, password}
	options.Endpoint = options.IAMEndpoint
	projectID := options.ProjectID
	options.ProjectID = ""
	return newCache(&tokenIssuer{client: NewClient(options), user: user, projectID: projectID, password: password})
}

// login adds the user to a password, so that Keys tells the passwords of users apart.
type login struct {
	user     User
	password CredentialSource
}

// Credentials implements CredentialSource.
func (l login) Credentials(ctx context.Context) (Credentials, error) {
	c, err := l.password.Credentials(ctx)
	return Credentials{AccessKey: l.user.Domain + "/" + l.user.Name, SecretKey: c.SecretKey}, err
}

// Invalidate implements CredentialSource.
func (l login) Invalidate(rejected Credentials, certain bool) bool {
	return l.password.Invalidate(Credentials{SecretKey: rejected.SecretKey}, certain)
}

type tokenIssuer struct {
	client    *Client
	user      User
	projectID string
	password  CredentialSource
}

func (t *tokenIssuer) issue(ctx context.Context) (issued, error) {
	ctx, cancel := background(ctx)
	defer cancel()
	a, err := t.client.call(ctx, request{
		operation: opToken,
		endpoint:  t.client.options.IAMEndpoint,
		path:      []string{"v3", "auth", "tokens"},
		query:     url.Values{"nocatalog": {"true"}},
		post:      t.body,
	})
	if err != nil {
		return issued{}, err
	}
	token := a.header.Get(headerSubjectToken)
	if token == "" || !validHeaderValue(token) {
		return issued{}, decodeError(opToken, "the answer holds no "+headerSubjectToken)
	}
	return issued{Credentials{AuthToken: token}, tokenExpiry(a.body)}, nil
}

// body is the login. The project is named by its id, or by the region's name.
func (t *tokenIssuer) body(c Credentials) []byte {
	type named struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
	}
	project := named{ID: t.projectID}
	if t.projectID == "" {
		project.Name = t.client.options.Region
	}
	type object = map[string]any
	body, _ := json.Marshal(object{"auth": object{ // texts alone: it cannot fail
		"identity": object{
			"methods": []string{"password"},
			"password": object{"user": object{
				"name": t.user.Name, "domain": named{Name: t.user.Domain}, "password": c.SecretKey,
			}},
		},
		"scope": object{"project": project},
	}})
	return body
}

// tokenExpiry returns token.expires_at, or zero. An invalid body is ignored: the token itself is in a header.
func tokenExpiry(body []byte) time.Time {
	var expires Optional[time.Time]
	_, _ = decode(body, object{"token": object{"expires_at": optional(&expires, parseTime)}.decode})
	return expires.Value
}

// input returns the password's fingerprint.
func (t *tokenIssuer) input(ctx context.Context) (string, error) {
	c, err := t.password.Credentials(ctx)
	if err != nil {
		return "", err
	}
	sum := c.fingerprint()
	return string(sum[:]), nil
}

// backOff is long where IAM itself rejected the login: it locks users after some wrong passwords.
func (t *tokenIssuer) backOff(err error, failures int) time.Duration {
	var e *Error
	if errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests {
		return min(firstPause<<min(failures-1, 4), longestPause)
	}
	return time.Second
}

// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

const (
	opToken            = "token"
	headerSubjectToken = "X-Subject-Token"
)

// User is an IAM user.
type User struct {
	Name   string
	Domain string // the account that the user belongs to
}

// NewIAMToken makes a source of IAM tokens for a user, within the project of options: POST {iam}/v3/auth/tokens. A token
// is renewed before it ends, and when the API refuses it, above all by APIGW.0307. Of password, SecretKey is the password;
// it is asked for every time, and a changed one makes a new token. Endpoint and Credentials of options are not used.
//
// A password that IAM refuses rests as other credentials do, until it changes.
func NewIAMToken(options Options, user User, password CredentialSource) CredentialSource {
	options.Credentials = login{user, password}
	options.Endpoint = options.IAMEndpoint
	scope := options.ProjectID
	options.ProjectID = ""
	return newLeased(&tokenIssuer{client: NewClient(options), user: user, projectID: scope, password: password})
}

// login makes of a password credentials that belong to one user, for the Guard.
type login struct {
	user     User
	password CredentialSource
}

// Format hides the content from every verb of fmt.
func (login) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// Credentials implements CredentialSource.
func (l login) Credentials(ctx context.Context) (Credentials, error) {
	c, err := l.password.Credentials(ctx)
	return Credentials{AccessKey: l.user.Domain + "/" + l.user.Name, SecretKey: c.SecretKey}, err
}

type tokenIssuer struct {
	client    *Client
	user      User
	projectID string
	password  CredentialSource
}

// Format hides the content from every verb of fmt.
func (*tokenIssuer) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

func (t *tokenIssuer) issue(ctx context.Context) (lease, error) {
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
		return lease{}, err
	}
	token := a.header.Get(headerSubjectToken)
	if token == "" || !sendable(token) {
		return lease{}, decodeError(opToken, "the answer holds no "+headerSubjectToken)
	}
	return lease{Credentials{AuthToken: token}, tokenEnd(a.body)}, nil
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

// tokenEnd reads token.expires_at; zero if it is not there.
func tokenEnd(body []byte) time.Time {
	var end Optional[time.Time]
	r := newReader(body)
	_ = r.document(func(name []byte) error { // the token itself came in a header
		if string(name) != "token" {
			return r.skip()
		}
		return r.objectOr("token", func(name []byte) error {
			if string(name) == "expires_at" {
				return r.moment("expires_at", &end)
			}
			return r.skip()
		})
	})
	return end.Value
}

// basis is the password's fingerprint.
func (t *tokenIssuer) basis(ctx context.Context) (string, error) {
	c, err := t.password.Credentials(ctx)
	if err != nil {
		return "", err
	}
	sum := c.fingerprint()
	return string(sum[:]), nil
}

// rest is longer where IAM itself said no: a login is not to be repeated at every call.
func (t *tokenIssuer) rest(err error) time.Duration {
	if definite(err) {
		return restAtFirst
	}
	return time.Second
}

func (t *tokenIssuer) close() { t.client.Close() }

// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"
)

// OpAccountProjects is the operation of Account.Projects.
const OpAccountProjects = "account_projects"

// ListInterval is how often the projects of an account are listed.
const ListInterval = time.Hour

// ErrIncomplete is returned if IAM lists no projects, or some that cannot be used.
var ErrIncomplete = errors.New("the list of projects is incomplete")

// IncompleteHint explains ErrIncomplete to a person.
const IncompleteHint = "projects that are missing are kept for three listings; if this remains, check iam_endpoint " +
	"and the account of the credentials, or list the projects with region and project_id"

// Listed is a project that IAM lists.
type Listed struct {
	ID, Name string
	DomainID string // of the account; may be empty
	Disabled bool
}

// Account lists the projects of an account. Callers share a list. It is safe for concurrent use.
type Account struct {
	client   *cloud.Client
	endpoint string

	listing chan struct{} // held during a request; guards what follows
	list    []Listed
	err     error
	at      time.Time // of the last result; zero: none
}

// NewAccount returns the account of the client's credentials. The endpoint is a scheme and a host.
func NewAccount(client *cloud.Client, endpoint string) *Account {
	return &Account{client: client, endpoint: endpoint, listing: make(chan struct{}, 1)}
}

// Projects returns the projects, without domains, and when they were listed (GET {iam}/v3/auth/projects). A complete
// list is returned again for most of ListInterval. Projects may come with ErrIncomplete; other errors are of the type
// *cloud.Error. The list must not be modified.
func (a *Account) Projects(ctx context.Context) (list []Listed, at time.Time, err error) {
	select {
	case a.listing <- struct{}{}:
		defer func() { <-a.listing }()
	case <-ctx.Done():
		return nil, time.Now(), cloud.NewTimeoutError(OpAccountProjects, "the list of projects", ctx.Err())
	}
	keep := ListInterval * 3 / 4
	if a.err != nil {
		keep = time.Second // for entries that ask at the same time
	}
	if !a.at.IsZero() && time.Since(a.at) < keep {
		return a.list, a.at, a.err
	}
	list, err = a.request(ctx)
	if err != nil && cloud.CallerGaveUp(ctx, err) {
		return nil, time.Now(), err
	}
	a.list, a.at, a.err = list, time.Now(), err
	return a.list, a.at, a.err
}

func (a *Account) request(ctx context.Context) ([]Listed, error) {
	ctx, cancel := cloud.Background(ctx)
	defer cancel()
	response, err := a.client.Call(ctx, cloud.Request{
		Service:   service{},
		Operation: OpAccountProjects,
		Endpoint:  a.endpoint,
		Path:      []string{"v3", "auth", "projects"},
	})
	if err != nil {
		return nil, err
	}
	list, unusable, err := parseAccount(response.Body)
	switch {
	case err != nil:
		e := cloud.NewDecodeError(OpAccountProjects, err.Error())
		return nil, e.WithHint(service{}.Hint(e))
	case unusable > 0:
		return list, fmt.Errorf("%w: %d have no valid ID or no name", ErrIncomplete, unusable)
	case len(list) == 0:
		return nil, fmt.Errorf("%w: IAM lists no projects", ErrIncomplete)
	}
	return list, nil
}

// parseAccount returns the projects without repetitions and domains, and the number of those that are unusable.
func parseAccount(body []byte) (list []Listed, unusable int, err error) {
	var p Listed
	var domain, enabled lenient.Optional[bool]
	found := false
	project := lenient.Object{
		"id": lenient.Text(&p.ID), "name": lenient.Text(&p.Name), "domain_id": lenient.Text(&p.DomainID),
		"is_domain": lenient.Optionally(&domain, lenient.ParseBool),
		"enabled":   lenient.Optionally(&enabled, lenient.ParseBool),
	}
	listed := make(map[string]struct{})
	_, err = lenient.Decode(body, lenient.Object{"projects": func(d *lenient.Decoder) error {
		found = d.PeekKind() == '['
		return lenient.List(func(d *lenient.Decoder) error {
			p, domain, enabled = Listed{}, lenient.Optional[bool]{}, lenient.Optional[bool]{}
			if err := project.Decode(d); err != nil {
				return err
			}
			p.Disabled = enabled.Set && !enabled.Value
			_, repeated := listed[p.ID]
			switch {
			case domain.Value || repeated && p.ID != "":
			case p.Name == "" || !validID(p.ID):
				unusable++
			default:
				listed[p.ID] = struct{}{}
				list = append(list, p)
			}
			return nil
		})(d)
	}})
	if err == nil && !found {
		err = errors.New("the response has no list of projects")
	}
	return list, unusable, err
}

// validID reports whether the ID can be part of a path, as in the configuration.
func validID(id string) bool {
	return id != "" && len(id) <= 64 &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

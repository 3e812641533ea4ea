// SPDX-License-Identifier: Apache-2.0

// Package iam looks up and lists projects in IAM. It touches only the network, through a cloud.Client.
package iam

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"
)

// OpProjects is the operation of Project.ID.
const OpProjects = "projects"

// Project is a project whose ID is known or looked up. It is safe for concurrent use.
type Project struct {
	client   *cloud.Client
	endpoint string
	name     string

	lookup   chan struct{} // held during a lookup; guards what follows
	failure  error
	failedAt time.Time

	mu       sync.Mutex
	id       string
	presumed bool // id is to be looked up again
}

// NewProject returns the project of that name, whose id may be empty. The endpoint is a scheme and a host.
func NewProject(client *cloud.Client, endpoint, name, id string) *Project {
	return &Project{client: client, endpoint: endpoint, name: name, id: id, lookup: make(chan struct{}, 1)}
}

// Inherit takes over the ID of an older Project, unless one is configured. It is looked up again unless it must be the
// same; until then KnownID returns it.
func (p *Project) Inherit(older *Project, same bool) {
	older.mu.Lock()
	id, presumed := older.id, older.presumed
	older.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id == "" {
		p.id, p.presumed = id, presumed || !same
	}
}

// KnownID returns the ID, or "" if it is not known yet.
func (p *Project) KnownID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

func (p *Project) lookedUp() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.presumed {
		return ""
	}
	return p.id
}

// ID returns the ID, which it looks up once (GET {iam}/v3/projects?name=<name>). Errors are of the type *cloud.Error.
func (p *Project) ID(ctx context.Context) (string, error) {
	if id := p.lookedUp(); id != "" {
		return id, nil
	}
	start := time.Now()
	select {
	case p.lookup <- struct{}{}:
		defer func() { <-p.lookup }()
	case <-ctx.Done():
		return "", cloud.NewTimeoutError(OpProjects, "the lookup of the project ID", ctx.Err())
	}
	if id := p.lookedUp(); id != "" {
		return id, nil
	}
	if p.failure != nil && (p.failedAt.After(start) || time.Since(p.failedAt) < p.backOff()) {
		return "", p.failure
	}
	id, err := p.lookUp(ctx)
	if err != nil {
		if !cloud.CallerGaveUp(ctx, err) {
			p.failure, p.failedAt = err, time.Now()
		}
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.presumed = id, false
	return id, nil
}

// backOff lets the other reads of a scrape share a failure. The client itself backs off from rejections and throttling.
func (p *Project) backOff() time.Duration {
	if reason := cloud.ReasonOf(p.failure); reason == cloud.ReasonAuth || reason == cloud.ReasonThrottled {
		return 0
	}
	return time.Second
}

func (p *Project) lookUp(ctx context.Context) (string, error) {
	ctx, cancel := cloud.Background(ctx)
	defer cancel()
	response, err := p.client.Call(ctx, cloud.Request{
		Service:   service{},
		Operation: OpProjects,
		Endpoint:  p.endpoint,
		Path:      []string{"v3", "projects"},
		Query:     url.Values{"name": {p.name}},
	})
	if err != nil {
		return "", err
	}
	ids, err := parseProjects(response.Body, p.name)
	if err != nil {
		e := cloud.NewDecodeError(OpProjects, err.Error())
		return "", e.WithHint(service{}.Hint(e))
	}
	if len(ids) != 1 {
		message := fmt.Sprintf("IAM knows %d projects named %q, not one", len(ids), p.name)
		return "", cloud.NewDecodeError(OpProjects, message).WithHint("set project_id")
	}
	return ids[0], nil
}

func parseProjects(body []byte, name string) (ids []string, err error) {
	var id, called string
	project := lenient.Object{"id": lenient.Text(&id), "name": lenient.Text(&called)}
	_, err = lenient.Decode(body, lenient.Object{"projects": lenient.List(func(d *lenient.Decoder) error {
		id, called = "", ""
		err := project.Decode(d)
		if id != "" && called == name {
			ids = append(ids, id)
		}
		return err
	})})
	return ids, err
}

// service implements cloud.Service.
type service struct{}

func (service) Hint(e *cloud.Error) string {
	listing := e.Operation == OpAccountProjects
	switch e.Reason {
	case cloud.ReasonDenied:
		if listing {
			return "this list needs no permission: check iam_endpoint and the account of the credentials, or list the " +
				"projects with region and project_id"
		}
		return "set project_id, or allow the user to list the projects in IAM"
	case cloud.ReasonNotFound:
		return "check iam_endpoint"
	case cloud.ReasonTimeout:
		if listing {
			return "check for a slow network or proxy between this machine and iam_endpoint"
		}
	case cloud.ReasonDecode:
		return "the response is not from IAM: check iam_endpoint and proxy"
	}
	return ""
}

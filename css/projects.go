// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
)

const opProjects = "projects"

// ProjectID gives the project's id: the configured one, or the one that IAM knows under the region's name
// (GET {iam}/v3/projects?name=<region>), which is looked up once. Errors are of the type *Error.
func (c *Client) ProjectID(ctx context.Context) (string, error) {
	if id := c.KnownProjectID(); id != "" {
		return id, nil
	}
	select {
	case c.lookup <- struct{}{}: // one asks, the others wait for what it learns
		defer func() { <-c.lookup }()
	case <-ctx.Done():
		return "", timeoutError(opProjects, "the project's id was known", ctx.Err())
	}
	if id := c.KnownProjectID(); id != "" {
		return id, nil
	}
	body, err := c.get(ctx, request{
		operation: opProjects,
		endpoint:  c.options.IAMEndpoint,
		path:      []string{"v3", "projects"},
		query:     url.Values{"name": {c.options.Region}},
	})
	if err != nil {
		return "", err
	}
	id, err := parseProjects(body, c.options.Region)
	if err != nil {
		return "", decodeError(opProjects, err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.projectID = id
	return id, nil
}

// KnownProjectID gives the project's id if it is known by now, without asking anybody; else it is empty.
func (c *Client) KnownProjectID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.projectID
}

// parseProjects finds the one project of that name. None or several is an error: a guess is no project id.
func parseProjects(body []byte, name string) (string, error) {
	r := newReader(body)
	var ids []string
	err := r.document(func(field []byte) error {
		if string(field) != "projects" {
			return r.skip()
		}
		if r.json.PeekKind() != jsontext.KindBeginArray {
			return errors.New("projects is no list")
		}
		return r.array(func() error {
			var id, called string
			err := r.objectOr("projects", func(field []byte) error {
				switch string(field) {
				case "id":
					return r.text("id", &id)
				case "name":
					return r.text("name", &called)
				}
				return r.skip()
			})
			if id != "" && called == name {
				ids = append(ids, id)
			}
			return err
		})
	})
	switch {
	case err != nil:
		return "", err
	case len(ids) != 1:
		return "", fmt.Errorf("IAM knows %d projects named %q, not one: set project_id", len(ids), name)
	}
	return ids[0], nil
}

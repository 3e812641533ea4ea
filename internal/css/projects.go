// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

const opProjects = "projects"

// ProjectID returns the configured project ID, or the one that IAM has under the region's name
// (GET {iam}/v3/projects?name=<region>), which is looked up once. Errors are of the type *Error.
func (c *Client) ProjectID(ctx context.Context) (string, error) {
	if id := c.KnownProjectID(); id != "" {
		return id, nil
	}
	asked := time.Now()
	select {
	case c.lookup <- struct{}{}:
		defer func() { <-c.lookup }()
	case <-ctx.Done():
		return "", timeoutError(opProjects, "the look-up of the project ID", ctx.Err())
	}
	if id := c.KnownProjectID(); id != "" {
		return id, nil
	}
	if c.lookupFailed != nil && (c.lookupFailedAt.After(asked) || time.Since(c.lookupFailedAt) < c.lookupBackOff()) {
		return "", c.lookupFailed
	}
	id, err := c.lookUp(ctx)
	if err != nil {
		if !callerGaveUp(ctx, err) {
			c.lookupFailed, c.lookupFailedAt = err, time.Now()
		}
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.projectID = id
	return id, nil
}

// lookupBackOff is how long a failed look-up is not repeated by each cluster of a scrape. Keys and throttle have back-offs of
// their own.
func (c *Client) lookupBackOff() time.Duration {
	if reason := ReasonOf(c.lookupFailed); reason == ReasonAuth || reason == ReasonThrottled {
		return 0
	}
	return time.Second
}

func (c *Client) lookUp(ctx context.Context) (string, error) {
	ctx, cancel := background(ctx)
	defer cancel()
	answer, err := c.call(ctx, request{
		operation: opProjects,
		endpoint:  c.options.IAMEndpoint,
		path:      []string{"v3", "projects"},
		query:     url.Values{"name": {c.options.Region}},
	})
	if err != nil {
		return "", err
	}
	ids, err := parseProjects(answer.body, c.options.Region)
	if err != nil {
		return "", decodeError(opProjects, err.Error())
	}
	if len(ids) != 1 {
		e := decodeError(opProjects, fmt.Sprintf("IAM knows %d projects named %q, not one", len(ids), c.options.Region))
		e.hint = "set project_id"
		return "", e
	}
	return ids[0], nil
}

// KnownProjectID returns the project ID if it is known, without a request; otherwise it is empty.
func (c *Client) KnownProjectID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.projectID
}

// parseProjects returns the IDs of the projects of that name.
func parseProjects(body []byte, name string) (ids []string, err error) {
	var id, called string
	project := object{"id": text(&id), "name": text(&called)}
	_, err = decode(body, object{"projects": list(func(d *decoder) error {
		id, called = "", ""
		err := project.decode(d)
		if id != "" && called == name {
			ids = append(ids, id)
		}
		return err
	})})
	return ids, err
}

// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"css_vpcep_exporter/internal/cloud"
)

// Chain uses the first source that has credentials. Incomplete ones end the search, because those of the next source
// may belong to another account.
type Chain struct {
	sources []cloud.CredentialSource
	last    atomic.Pointer[cloud.CredentialSource]
}

// NewChain returns a chain of sources.
func NewChain(sources ...cloud.CredentialSource) *Chain { return &Chain{sources: sources} }

// Credentials implements cloud.CredentialSource.
func (c *Chain) Credentials(ctx context.Context) (cloud.Credentials, error) {
	last := c.lastSource()
	var missing []string
	for _, source := range c.sources {
		if skip(source, last) {
			continue
		}
		credentials, err := source.Credentials(ctx)
		var none noCredentials
		switch {
		case err == nil:
			c.last.Store(&source)
			return credentials, nil
		case ctx.Err() != nil:
			return cloud.Credentials{}, err
		case !errors.As(err, &none):
			c.last.Store(nil)
			return cloud.Credentials{}, err
		}
		missing = append(missing, none.why)
	}
	c.last.Store(nil)
	return cloud.Credentials{}, noCredentials{strings.Join(missing, "; ")}
}

func (c *Chain) lastSource() cloud.CredentialSource {
	if last := c.last.Load(); last != nil {
		return *last
	}
	return nil
}

// skip reports whether another service of this machine works: a service that does not exist costs time.
func skip(source, last cloud.CredentialSource) bool {
	service, ok := source.(*cache)
	working, has := last.(*cache)
	return ok && has && service != working
}

// Invalidate implements cloud.CredentialSource.
func (c *Chain) Invalidate(rejected cloud.Credentials, certain bool) bool {
	last := c.lastSource()
	return last == nil || last.Invalidate(rejected, certain)
}

// Problem implements cloud.Outdated.
func (c *Chain) Problem() error { return problem(c.lastSource()) }

func problem(source cloud.CredentialSource) error {
	if outdated, ok := source.(cloud.Outdated); ok {
		return outdated.Problem()
	}
	return nil
}

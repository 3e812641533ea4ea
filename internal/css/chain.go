// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
)

// Chain is the source of projects that name none: the first of its sources that has credentials. A source whose credentials
// are incomplete ends the search, because those of the next one may belong to another account.
type Chain struct {
	sources []CredentialSource
	last    atomic.Pointer[CredentialSource] // that returned credentials; nil if none did
}

// NewChain returns a chain that asks the sources in this order.
func NewChain(sources ...CredentialSource) *Chain { return &Chain{sources: sources} }

// Credentials implements CredentialSource.
func (c *Chain) Credentials(ctx context.Context) (Credentials, error) {
	last := c.returned()
	var missing []string
	for _, source := range c.sources {
		if skip(source, last) {
			continue
		}
		credentials, err := source.Credentials(ctx)
		var none errNone
		switch {
		case err == nil:
			c.last.Store(&source)
			return credentials, nil
		case ctx.Err() != nil:
			return Credentials{}, err
		case !errors.As(err, &none):
			c.last.Store(nil)
			return Credentials{}, err
		}
		missing = append(missing, none.why)
	}
	c.last.Store(nil)
	return Credentials{}, errNone{strings.Join(missing, "; ")}
}

// returned is the source that returned credentials last, nil if there is none.
func (c *Chain) returned() CredentialSource {
	if last := c.last.Load(); last != nil {
		return *last
	}
	return nil
}

// skip reports whether source is a service of this machine while another one returns credentials already: asking takes a
// while where there is none.
func skip(source, last CredentialSource) bool {
	service, ok := source.(*cache)
	served, has := last.(*cache)
	return ok && has && service != served
}

// Invalidate implements CredentialSource: it tells the source that the credentials came from.
func (c *Chain) Invalidate(rejected Credentials, certain bool) bool {
	last := c.returned()
	return last == nil || last.Invalidate(rejected, certain)
}

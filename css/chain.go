// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// Chain is the source of projects that name none: the first of its sources that has credentials. A source whose credentials
// are incomplete ends the search, because those of the next one may belong to another account.
type Chain struct {
	sources []CredentialSource

	mu   sync.Mutex
	last CredentialSource // that returned credentials
}

// NewChain returns a chain that asks the sources in this order.
func NewChain(sources ...CredentialSource) *Chain { return &Chain{sources: sources} }

// Credentials implements CredentialSource.
func (c *Chain) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()

	var missing []string
	for _, source := range c.sources {
		if skip(source, last) {
			continue
		}
		credentials, err := source.Credentials(ctx)
		var none errNone
		switch {
		case err == nil:
			c.setLast(source)
			return credentials, nil
		case ctx.Err() != nil:
			return Credentials{}, err
		case !errors.As(err, &none):
			c.setLast(nil)
			return Credentials{}, err
		}
		missing = append(missing, none.why)
	}
	c.setLast(nil)
	return Credentials{}, errNone{strings.Join(missing, "; ")}
}

// skip reports whether source is a service of this machine while another one returns credentials already: asking takes a
// while where there is none.
func skip(source, last CredentialSource) bool {
	_, service := source.(*cache)
	_, served := last.(*cache)
	return service && served && source != last
}

func (c *Chain) setLast(source CredentialSource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = source
}

// Invalidate implements CredentialSource: it tells the source that the credentials came from.
func (c *Chain) Invalidate(rejected Credentials, certain bool) bool {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	return last == nil || last.Invalidate(rejected, certain)
}

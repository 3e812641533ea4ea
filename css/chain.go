// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Chain is the source of projects that name none: the first of its sources that has credentials. A source that has
// something, but not what it should, ends the search: what another one has is somebody else's.
type Chain struct {
	sources []CredentialSource

	mu    sync.Mutex
	given CredentialSource // the source that gave credentials last
}

// NewChain makes a chain that asks the sources in this order.
func NewChain(sources ...CredentialSource) *Chain { return &Chain{sources: sources} }

// Format hides the content from every verb of fmt.
func (*Chain) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// Credentials implements CredentialSource.
func (c *Chain) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	before := c.given
	c.mu.Unlock()

	var nowhere []string
	for _, source := range c.sources {
		if passedOver(source, before) {
			continue
		}
		credentials, err := source.Credentials(ctx)
		var none absent
		switch {
		case err == nil:
			c.give(source)
			return credentials, nil
		case ctx.Err() != nil:
			return Credentials{}, err
		case !errors.As(err, &none):
			c.give(nil)
			return Credentials{}, err
		}
		nowhere = append(nowhere, none.why)
	}
	c.give(nil)
	return Credentials{}, absent{strings.Join(nowhere, "; ")}
}

// passedOver says whether a service of this machine is not asked because another one gives credentials already: asking
// takes a while where there is none.
func passedOver(source, before CredentialSource) bool {
	_, service := source.(*leased)
	_, served := before.(*leased)
	return service && served && source != before
}

func (c *Chain) give(source CredentialSource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given = source
}

// refuse tells the source that gave them, of those that give temporary ones.
func (c *Chain) refuse(refused Credentials, sure bool) (tell func(helped, back bool)) {
	for _, source := range c.sources {
		if s, ok := source.(refuser); ok {
			if tell := s.refuse(refused, sure); tell != nil {
				return tell
			}
		}
	}
	return nil
}

// reread has all files read again at once.
func (c *Chain) reread() {
	for _, source := range c.sources {
		if s, ok := source.(rereader); ok {
			s.reread()
		}
	}
}

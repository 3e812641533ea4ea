// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"time"
)

// Limits of a list; an account's default quota is about 50 endpoints.
const (
	maxItems     = 100_000
	maxListBytes = 64 << 20
	maxPages     = 200 // a list of 2,000 in pages of ten
	maxListTime  = 2 * time.Minute
)

// full reports whether a list has reached a limit.
func full(pages, items, size int) bool {
	return pages >= maxPages || items >= maxItems || size >= maxListBytes
}

// withListTime returns a context that ends after maxListTime. Unlike a deadline, that works even if the parent's deadline
// moves, as that of a read does that scrapes share.
func withListTime(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	timer := time.AfterFunc(maxListTime, cancel)
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}

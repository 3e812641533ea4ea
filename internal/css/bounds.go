// SPDX-License-Identifier: Apache-2.0

package css

import "time"

// Limits of a list; an account's default quota is about 50 endpoints.
const (
	maxItems     = 100_000
	maxListBytes = 64 << 20
	maxPages     = 200 // a list of 2,000 in pages of ten
	maxListTime  = 2 * time.Minute
)

func full(pages, items, size int) bool {
	return pages >= maxPages || items >= maxItems || size >= maxListBytes
}

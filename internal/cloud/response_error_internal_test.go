// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"testing"
	"time"
)

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": -1, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "-1": -1, "1.5": -1, "abc": -1, "99999999999999999999": -1,
		"Fri, 02 Jan 2026 03:04:15 GMT":   10 * time.Second,
		"Friday, 02-Jan-26 03:04:15 GMT":  10 * time.Second,
		"Fri Jan  2 03:04:15 2026":        10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT":   0,
		"Fri, 02 Jan 2026 03:04:15 +0100": -1,
	} {
		if got := retryAfter(value, now); (got != nil) != (want >= 0) || got != nil && *got != want {
			t.Errorf("retryAfter(%q): got %v, want %s", value, got, want)
		}
	}
}

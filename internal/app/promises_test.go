// SPDX-License-Identifier: Apache-2.0

package app

import (
	"sync"
	"testing"
)

// The tests in promises_*_test.go check what the program promises about its requests: they count those that a simulated
// cloud receives, and the clusters that are up.

// together runs all tests concurrently, because they mostly wait. t.Parallel would be limited by GOMAXPROCS.
func together(t *testing.T, tests map[string]func(t *testing.T)) {
	t.Helper()
	var running sync.WaitGroup
	for name, test := range tests {
		running.Go(func() { t.Run(name, test) })
	}
	running.Wait()
}

// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"time"
)

// TB is the part of testing.TB that Serve needs.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Error(args ...any)
	Fatal(args ...any)
}

// Serve serves on loopback until the test ends, and returns the URL.
func (s *Simulator) Serve(t TB) (url string) {
	t.Helper()
	srv, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := srv.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return srv.URL
}

// SPDX-License-Identifier: Apache-2.0

// Command cloud serves the fleet, with connections paged by offset and by start. It prints both URLs
// and exits when its input is closed.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

const maxRuntime = 5 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), maxRuntime)
	err := run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	byOffset, err := fleet.New(simulator.Options{}).Start(ctx)
	if err != nil {
		return err
	}
	byStart, err := fleet.New(simulator.Options{ConnectionsPaging: simulator.ByStart}).Start(ctx)
	if err != nil {
		return err
	}
	fmt.Println(byOffset.URL, byStart.URL)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return nil // the servers stop with the process
}

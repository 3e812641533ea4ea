// SPDX-License-Identifier: Apache-2.0

// Command cloud serves the fleet on two loopback addresses, with connections paged by offset and by start. It prints both
// in one line and exits at the end of its input or after a few minutes. go build -overlay can replace a file of the
// simulator to make it faulty.
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

const life = 5 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), life)
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
	byStart, err := fleet.New(simulator.Options{ConnectionsByStart: true}).Start(ctx)
	if err != nil {
		return err
	}
	fmt.Println(byOffset.URL, byStart.URL)

	ended := make(chan struct{})
	go func() { // stops with the process
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return nil // the servers stop with the process
}

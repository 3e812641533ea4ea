// SPDX-License-Identifier: Apache-2.0

// Command cloud serves the fleet on loopback: in one place with connections paged by offset, in the other by start. It says
// both addresses in one line and ends when its input does, or after a few minutes. Built with a file of the simulator
// replaced by another (go build -overlay), it is a cloud that gets something wrong.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"css_vpcep_exporter/conformance/go/fleet"
	"css_vpcep_exporter/simulator"
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
	go func() { // ends with the process at the latest
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return nil // the servers end with the process
}

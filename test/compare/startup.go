// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// startup measures the binary's size, the time to the first answer, and idle CPU time and memory.
func (b *bench) startup(ctx context.Context, to io.Writer) error {
	c, err := b.cloud(ctx, 0, 100, "0s")
	if err != nil {
		return err
	}
	defer c.stop()
	info, err := os.Stat(b.ours)
	if err != nil {
		return err
	}
	var starts []time.Duration
	for range 10 {
		begun := time.Now()
		p, err := b.exporter(ctx, c, b.ours, still)
		if err != nil {
			return err
		}
		_, err = fetch(ctx, b.client, "http://"+p.announced+"/metrics", nil)
		starts = append(starts, time.Since(begun))
		p.stop()
		if err != nil {
			return err
		}
	}
	p, err := b.exporter(ctx, c, b.ours, still)
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := fetch(ctx, b.client, "http://"+p.announced+"/metrics", nil); err != nil {
		return err
	}
	time.Sleep(time.Second) // until the scrape has finished
	const idle = 20 * time.Second
	before, err := p.cpu()
	if err != nil {
		return err
	}
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := p.cpu()
	if err != nil {
		return err
	}
	memory, err := p.memory()
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "\n### The process\n\n| | |\n|---|---:|\n| binary, stripped | %.1f MB |\n"+
		"| start to first answer, median of %d | %.0f ms |\n| slowest | %.0f ms |\n"+
		"| CPU in %s without scrapes | %.1f ms (%.4f %% of a core) |\n"+
		"| peak memory, one cluster of 100 connections | %.0f MB |\n",
		float64(info.Size())/1e6, len(starts), milliseconds(median(starts)), milliseconds(slices.Max(starts)),
		idle, milliseconds(after-before), 100*float64(after-before)/float64(idle), float64(memory)/1e6)
	return nil
}

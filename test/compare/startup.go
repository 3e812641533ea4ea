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

func (b *bench) measureStartup(ctx context.Context, out io.Writer) error {
	c, err := b.startCloud(ctx, 0, 100, 0)
	if err != nil {
		return err
	}
	defer c.stop()
	info, err := os.Stat(b.exporter)
	if err != nil {
		return err
	}
	var times []time.Duration
	for range 10 {
		start := time.Now()
		p, err := b.startExporter(ctx, c, b.exporter, false, stableID)
		if err != nil {
			return err
		}
		_, err = fetch(ctx, b.client, "http://"+p.announced+"/metrics", nil)
		times = append(times, time.Since(start))
		p.stop()
		if err != nil {
			return err
		}
	}
	p, err := b.startExporter(ctx, c, b.exporter, false, stableID)
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := fetch(ctx, b.client, "http://"+p.announced+"/metrics", nil); err != nil {
		return err
	}
	time.Sleep(time.Second) // for work that follows the scrape
	const idle = 20 * time.Second
	before, err := p.cpuTime()
	if err != nil {
		return err
	}
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := p.cpuTime()
	if err != nil {
		return err
	}
	memory, err := p.peakMemory()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n### The process\n\n| | |\n|---|---:|\n| binary, stripped | %.1f MB |\n"+
		"| start to first answer, median of %d | %.0f ms |\n| slowest | %.0f ms |\n"+
		"| CPU in %s without scrapes | %.1f ms (%.4f %% of a core) |\n"+
		"| peak memory, one cluster of 100 connections | %.0f MB |\n",
		float64(info.Size())/1e6, len(times), milliseconds(median(times)), milliseconds(slices.Max(times)),
		idle, milliseconds(after-before), 100*float64(after-before)/float64(idle), float64(memory)/1e6)
	return nil
}

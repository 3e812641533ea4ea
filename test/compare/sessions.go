// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

const sessionsInterval = 10 * time.Second // between scrapes of the same exporter

// compareSessions measures scrapes of the fleet by an exporter that reads sessions and by one that does not. Both take
// turns.
func (b *bench) compareSessions(ctx context.Context, out io.Writer) error {
	o := b.options
	c, err := b.startCloud(ctx, o.clusters, o.perCluster, o.latency)
	if err != nil {
		return err
	}
	defer c.stop()
	ids := make([]string, o.clusters)
	for i := range ids {
		ids[i] = fleetClusterID(stablePrefix, i)
	}
	var exporters []*sessionsExporter
	defer func() {
		for _, e := range exporters {
			e.stop()
		}
	}()
	for _, sessions := range []bool{false, true} {
		p, err := b.startExporter(ctx, c, b.exporter, sessions, ids...)
		if err != nil {
			return err
		}
		exporters = append(exporters, &sessionsExporter{process: p, sessions: sessions})
		for range 2 { // warm-up
			if _, err := b.scrapeFleet(ctx, p); err != nil {
				return err
			}
		}
	}
	before, err := c.counts(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	for _, e := range exporters {
		if e.cpu, err = e.cpuTime(); err != nil {
			return err
		}
	}
	for range o.fleetScrapes {
		for _, e := range exporters {
			if err := e.turn(ctx, b, sessionsInterval/time.Duration(len(exporters))); err != nil {
				return err
			}
		}
	}
	after, err := c.counts(ctx)
	if err != nil {
		return err
	}
	minutes := time.Since(start).Minutes()
	for _, e := range exporters {
		begin := e.cpu
		if e.cpu, err = e.cpuTime(); err != nil {
			return err
		}
		e.cpu = (e.cpu - begin) / time.Duration(o.fleetScrapes)
	}
	fmt.Fprintf(out, "\n### Sessions of %d clusters of %d connections, %s per answer\n\n"+
		"%d scrapes of each exporter in turn, one every %s; %.0f calls of Cloud Eye a minute. "+
		"The second CPU time includes what happens between scrapes:\n\n"+
		"| | CPU of a scrape | ratio | CPU per scrape | ratio | median | ratio | slowest | series | failures | peak memory |\n"+
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
		o.clusters, o.perCluster, o.latency, o.fleetScrapes, sessionsInterval,
		float64(after.Sessions-before.Sessions)/minutes)
	for _, e := range exporters {
		if err := e.writeRow(out, exporters[0]); err != nil {
			return err
		}
	}
	last := exporters[1].scrapes[o.fleetScrapes-1]
	if want := o.clusters * (minSeries(o.perCluster) + 2*o.perCluster); last.series < want || last.failures > 0 {
		return fmt.Errorf("got %d series and %d failures with sessions, want at least %d and 0", last.series, last.failures, want)
	}
	return nil
}

type sessionsExporter struct {
	*process
	sessions bool
	scrapes  []fleetScrape
	cpu      time.Duration // from the first scrape to the end, with what happens between scrapes
}

// turn scrapes and waits for the end of the interval.
func (e *sessionsExporter) turn(ctx context.Context, b *bench, interval time.Duration) error {
	end := time.After(interval)
	s, err := b.scrapeFleet(ctx, e.process)
	if err != nil {
		return err
	}
	e.scrapes = append(e.scrapes, s)
	select {
	case <-end:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (e *sessionsExporter) writeRow(out io.Writer, base *sessionsExporter) error {
	name := "without sessions"
	if e.sessions {
		name = "with sessions"
	}
	memory, err := e.peakMemory()
	if err != nil {
		return err
	}
	cpu := func(s fleetScrape) time.Duration { return s.cpu }
	own, others := median(durations(e.scrapes, cpu)), median(durations(base.scrapes, cpu))
	times := durations(e.scrapes, func(s fleetScrape) time.Duration { return s.duration })
	middle := median(durations(base.scrapes, func(s fleetScrape) time.Duration { return s.duration }))
	failures := 0
	for _, s := range e.scrapes {
		failures += s.failures
	}
	fmt.Fprintf(out, "| %s | %.0f ms | %s | %.0f ms | %s | %.2f s | %s | %.2f s | %d | %d | %.0f MiB |\n", name,
		milliseconds(own), ratio(own, others), milliseconds(e.cpu), ratio(e.cpu, base.cpu),
		median(times).Seconds(), ratio(median(times), middle), slices.Max(times).Seconds(),
		e.scrapes[len(e.scrapes)-1].series, failures, float64(memory)/(1<<20))
	return nil
}

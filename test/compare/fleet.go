// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"time"
)

// compareFleets measures scrapes of many slow clusters.
func (b *bench) compareFleets(ctx context.Context, out io.Writer) error {
	const concurrency = 16 // the exporter's default
	o := b.options
	rounds := (o.clusters + concurrency - 1) / concurrency
	ideal := time.Duration(rounds) * o.latency
	fmt.Fprintf(out, "\n### %d clusters of %d connections, %s per answer (ideal: %s with %d in parallel)\n\n",
		o.clusters, o.perCluster, o.latency, ideal, concurrency)
	fmt.Fprintf(out, "%d scrapes after two warm-up scrapes:\n\n", o.fleetScrapes)
	fmt.Fprint(out, "| | median | vs ideal | slowest | vs median | first byte | CPU per scrape | failures | series | ",
		"bytes | API calls | new connections | peak memory |\n",
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, build := range b.exporterBuilds() {
		for _, prefix := range []string{stablePrefix, changingPrefix} {
			ids := make([]string, o.clusters)
			for i := range ids {
				ids[i] = fleetClusterID(prefix, i)
			}
			f, err := b.measureFleet(ctx, build.path, ids)
			if err != nil {
				return err
			}
			name := build.name + answersLabel(prefix)
			if build.path == b.exporter {
				if err := b.checkFleet(name, f); err != nil {
					return err
				}
			}
			f.writeRow(out, name, ideal)
		}
	}
	return nil
}

type fleetResult struct {
	scrapes  []fleetScrape
	failures int // of all scrapes
	usage    usage
	memory   int // peak, in bytes
}

func (b *bench) measureFleet(ctx context.Context, exporter string, ids []string) (*fleetResult, error) {
	c, err := b.startCloud(ctx, b.options.clusters, b.options.perCluster, b.options.latency)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	p, err := b.startExporter(ctx, c, exporter, false, ids...)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	for range 2 { // warm-up
		if _, err := b.scrapeFleet(ctx, p); err != nil {
			return nil, err
		}
	}
	f := &fleetResult{scrapes: make([]fleetScrape, b.options.fleetScrapes)}
	f.usage, err = c.measure(ctx, p, func() error {
		for i := range f.scrapes {
			if f.scrapes[i], err = b.scrapeFleet(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range f.scrapes {
		f.failures += s.failures
	}
	f.memory, err = p.peakMemory()
	return f, err
}

// checkFleet fails unless each scrape read each cluster with one call and without a new connection.
func (b *bench) checkFleet(name string, f *fleetResult) error {
	calls, series := b.options.clusters*len(f.scrapes), b.options.clusters*minSeries(b.options.perCluster)
	last := f.scrapes[len(f.scrapes)-1]
	if f.failures > 0 || f.usage.connections > 0 || f.usage.calls != calls || last.series < series {
		return fmt.Errorf("%s: got %d failures, %d new connections, %d calls and %d series; want 0, 0, %d and at least %d",
			name, f.failures, f.usage.connections, f.usage.calls, last.series, calls, series)
	}
	return nil
}

func (f *fleetResult) writeRow(out io.Writer, name string, ideal time.Duration) {
	last := f.scrapes[len(f.scrapes)-1]
	times := durations(f.scrapes, func(s fleetScrape) time.Duration { return s.duration })
	medianTime, slowest := median(times), slices.Max(times)
	firstByte := median(durations(f.scrapes, func(s fleetScrape) time.Duration { return s.firstByte }))
	fmt.Fprintf(out, "| %s | %.2f s | %.2f | %.2f s | %.2f | %.2f s | %.0f ms | %d | %d | %d | %d | %d | %.0f MiB |\n",
		name, medianTime.Seconds(), float64(medianTime)/float64(ideal),
		slowest.Seconds(), float64(slowest)/float64(medianTime), firstByte.Seconds(),
		milliseconds(f.usage.cpu)/float64(len(f.scrapes)), f.failures, last.series, last.bytes,
		f.usage.calls/len(f.scrapes), f.usage.connections, float64(f.memory)/(1<<20))
}

// fleetScrape is one scrape of all clusters.
type fleetScrape struct {
	duration, firstByte time.Duration // until the last and the first byte
	cpu                 time.Duration // of the exporter
	failures            int
	answerSize
}

func (b *bench) scrapeFleet(ctx context.Context, p *process) (s fleetScrape, err error) {
	before, err := p.cpuTime()
	if err != nil {
		return s, err
	}
	start := time.Now()
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { s.firstByte = time.Since(start) }}
	ctx = httptrace.WithClientTrace(ctx, trace)
	body, err := fetch(ctx, b.client, "http://"+p.announced+"/metrics",
		http.Header{"Accept-Encoding": {"gzip"}, "X-Prometheus-Scrape-Timeout-Seconds": {"30"}})
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, p.output)
	}
	s.duration = time.Since(start)
	if s.cpu, err = p.cpuTime(); err != nil {
		return s, err
	}
	s.cpu -= before
	text, err := gunzip(body)
	if err != nil {
		return s, err
	}
	s.failures = len(regexp.MustCompile(`(?m)^css_vpcep_up\{.*\} 0$`).FindAllIndex(text, -1))
	s.series = len(regexp.MustCompile(`(?m)^`+exporterSeries+`\{`).FindAllIndex(text, -1))
	s.bytes = len(body)
	return s, nil
}

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

// fleet scrapes many slow clusters at once.
func (b *bench) fleet(ctx context.Context, to io.Writer) error {
	const concurrency = 16 // the default
	o := b.options
	waves := (o.clusters + concurrency - 1) / concurrency
	ideal := time.Duration(waves) * o.latency
	fmt.Fprintf(to, "\n### %d clusters of %d connections, %s per answer (ideal: %s with %d in parallel)\n\n",
		o.clusters, o.perCluster, o.latency, ideal, concurrency)
	fmt.Fprintf(to, "%d scrapes after two warm-up scrapes:\n\n", o.fleetScrapes)
	fmt.Fprint(to, "| | median | vs ideal | slowest | vs median | first byte | CPU per scrape | failures | series | ",
		"bytes | API calls | new connections | peak memory |\n",
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, build := range b.builds() {
		for _, prefix := range []string{still[:23], restless} {
			var ids []string
			for i := range o.clusters {
				ids = append(ids, fmt.Sprintf("%s-%012x", prefix, i))
			}
			if err := b.fleetOf(ctx, to, build.name+answersLabel(prefix), build.path, ids, ideal); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) fleetOf(ctx context.Context, to io.Writer, name, path string, ids []string, ideal time.Duration) error {
	c, err := b.cloud(ctx, b.options.clusters, b.options.perCluster, b.options.latency.String())
	if err != nil {
		return err
	}
	defer c.stop()
	p, err := b.exporter(ctx, c, path, ids...)
	if err != nil {
		return err
	}
	defer p.stop()
	for range 2 { // warm-up
		if _, err := b.scrapeFleet(ctx, p); err != nil {
			return err
		}
	}
	scrapes := make([]fleetScrape, b.options.fleetScrapes)
	used, err := c.measure(ctx, p, func() error {
		for i := range scrapes {
			if scrapes[i], err = b.scrapeFleet(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	memory, err := p.memory()
	if err != nil {
		return err
	}

	last, failures := scrapes[len(scrapes)-1], 0
	for _, s := range scrapes {
		failures += s.failures
	}
	calls, series := len(ids)*len(scrapes), len(ids)*minSeries(b.options.perCluster)
	if path == b.ours && (failures > 0 || used.connections > 0 || used.calls != calls || last.series < series) {
		return fmt.Errorf("%s: got %d failures, %d new connections, %d calls and %d series; want 0, 0, %d and at least %d",
			name, failures, used.connections, used.calls, last.series, calls, series)
	}
	took := durations(scrapes, func(s fleetScrape) time.Duration { return s.took })
	middle, slowest := median(took), slices.Max(took)
	first := median(durations(scrapes, func(s fleetScrape) time.Duration { return s.first }))
	fmt.Fprintf(to, "| %s | %.2f s | %.2f | %.2f s | %.2f | %.2f s | %.0f ms | %d | %d | %d | %d | %d | %.0f MiB |\n",
		name, middle.Seconds(), float64(middle)/float64(ideal),
		slowest.Seconds(), float64(slowest)/float64(middle), first.Seconds(),
		milliseconds(used.cpu)/float64(len(scrapes)), failures, last.series, last.bytes,
		used.calls/len(scrapes), used.connections, float64(memory)/(1<<20))
	return nil
}

// fleetScrape is one scrape of all clusters.
type fleetScrape struct {
	took, first time.Duration // until the last and the first byte
	failures    int
	answerSize
}

func (b *bench) scrapeFleet(ctx context.Context, p *process) (s fleetScrape, err error) {
	begun := time.Now()
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { s.first = time.Since(begun) }}
	ctx = httptrace.WithClientTrace(ctx, trace)
	body, err := fetch(ctx, b.client, "http://"+p.announced+"/metrics",
		http.Header{"Accept-Encoding": {"gzip"}, "X-Prometheus-Scrape-Timeout-Seconds": {"30"}})
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, p.output)
	}
	s.took = time.Since(begun)
	text, err := gunzip(body)
	if err != nil {
		return s, err
	}
	s.failures = len(regexp.MustCompile(`(?m)^css_vpcep_up\{.*\} 0$`).FindAllIndex(text, -1))
	s.series = len(regexp.MustCompile(`(?m)^css_vpcep_connection_[a-z_]+\{`).FindAllIndex(text, -1))
	s.bytes = len(body)
	return s, nil
}

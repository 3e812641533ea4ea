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

// fleet scrapes many clusters at once, whose answers take their time.
func (b *bench) fleet(ctx context.Context, to io.Writer) error {
	const concurrency = 16 // the default
	o := b.options
	waves := (o.clusters + concurrency - 1) / concurrency
	ideal := time.Duration(waves) * o.latency
	fmt.Fprintf(to, "\n### %d clusters of %d connections, each answered after %s; at best %s with %d at once\n\n",
		o.clusters, o.perCluster, o.latency, ideal, concurrency)
	fmt.Fprintf(to, "Of %d scrapes, after two more:\n\n", o.fleetScrapes)
	fmt.Fprint(to, "| | median | to the best | slowest | to the median | first byte | CPU a scrape | failures | series | bytes | API calls | new connections | memory at most |\n",
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, build := range b.builds() {
		for _, prefix := range []string{still[:23], restless} {
			var ids []string
			for i := range o.clusters {
				ids = append(ids, fmt.Sprintf("%s-%012x", prefix, i))
			}
			if err := b.fleetOf(ctx, to, build.name+answersOf(prefix), build.path, ids, ideal); err != nil {
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
	for range 2 { // warms it up
		if _, err := b.scrapeFleet(ctx, p); err != nil {
			return err
		}
	}
	scrapes := make([]fleetScrape, b.options.fleetScrapes)
	spent, err := c.during(ctx, p, func() error {
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
	promised := failures == 0 && spent.connections == 0 && spent.calls == len(ids)*len(scrapes) && last.series >= len(ids)*seriesOf(b.options.perCluster)
	if path == b.ours && !promised {
		return fmt.Errorf("%s: %d failures, %d new connections, %d calls and %d series", name, failures, spent.connections, spent.calls, last.series)
	}
	took := each(scrapes, func(s fleetScrape) time.Duration { return s.took })
	middle, slowest := median(took), slices.Max(took)
	first := median(each(scrapes, func(s fleetScrape) time.Duration { return s.first }))
	fmt.Fprintf(to, "| %s | %.2f s | %.2f | %.2f s | %.2f | %.2f s | %.0f ms | %d | %d | %d | %d | %d | %.0f MiB |\n",
		name, middle.Seconds(), float64(middle)/float64(ideal), slowest.Seconds(), float64(slowest)/float64(middle), first.Seconds(),
		milliseconds(spent.cpu)/float64(len(scrapes)), failures, last.series, last.bytes,
		spent.calls/len(scrapes), spent.connections, float64(memory)/(1<<20))
	return nil
}

// fleetScrape is one scrape of all clusters.
type fleetScrape struct {
	took, first time.Duration // until its last and its first byte
	failures    int
	answered
}

func (b *bench) scrapeFleet(ctx context.Context, p *process) (s fleetScrape, err error) {
	begun := time.Now()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { s.first = time.Since(begun) }})
	body, err := fetch(ctx, b.client, "http://"+p.said+"/metrics",
		http.Header{"Accept-Encoding": {"gzip"}, "X-Prometheus-Scrape-Timeout-Seconds": {"30"}})
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, p.output)
	}
	s.took = time.Since(begun)
	text, err := unpacked(body)
	if err != nil {
		return s, err
	}
	s.failures = len(regexp.MustCompile(`(?m)^css_vpcep_up\{.*\} 0$`).FindAllIndex(text, -1))
	s.series = len(regexp.MustCompile(`(?m)^css_vpcep_connection_[a-z_]+\{`).FindAllIndex(text, -1))
	s.bytes = len(body)
	return s, nil
}

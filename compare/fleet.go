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
	o := b.options
	c, err := b.cloud(ctx, o.clusters, o.perCluster, o.latency.String())
	if err != nil {
		return err
	}
	defer c.stop()
	p, err := b.exporter(ctx, c, path, ids...)
	if err != nil {
		return err
	}
	defer p.stop()
	var took, first []time.Duration
	var before counts
	var cpu time.Duration
	failures, size := 0, answered{}
	series, failed := regexp.MustCompile(`(?m)^css_vpcep_connection_[a-z_]+\{`), regexp.MustCompile(`(?m)^css_vpcep_up\{.*\} 0$`)
	header := http.Header{"Accept-Encoding": {"gzip"}, "X-Prometheus-Scrape-Timeout-Seconds": {"30"}}
	for i := range o.fleetScrapes + 2 {
		if i == 2 { // warm
			if before, err = c.counts(ctx); err != nil {
				return err
			}
			if cpu, err = p.cpu(); err != nil {
				return err
			}
		}
		begun := time.Now()
		var byteAfter time.Duration
		body, err := fetch(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotFirstResponseByte: func() { byteAfter = time.Since(begun) },
		}), b.client, "http://"+p.said+"/metrics", header)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.output)
		}
		done := time.Since(begun)
		text, err := unpacked(body)
		if err != nil {
			return err
		}
		if i >= 2 {
			took, first = append(took, done), append(first, byteAfter)
			failures += len(failed.FindAllIndex(text, -1))
			size = answered{len(series.FindAllIndex(text, -1)), len(body)}
		}
	}
	used, err := p.cpu()
	if err != nil {
		return err
	}
	after, err := c.counts(ctx)
	if err != nil {
		return err
	}
	memory, err := p.memory()
	if err != nil {
		return err
	}
	made := after.Connections - before.Connections
	if path == b.ours && (failures > 0 || made > 0 || after.Calls-before.Calls != len(ids)*o.fleetScrapes || size.series < len(ids)*seriesOf(o.perCluster)) {
		return fmt.Errorf("%s: %d failures, %d new connections, %d calls and %d series", name, failures, made, after.Calls-before.Calls, size.series)
	}
	same := func(d time.Duration) time.Duration { return d }
	middle, slowest := median(took, same), slices.Max(took)
	fmt.Fprintf(to, "| %s | %.2f s | %.2f | %.2f s | %.2f | %.2f s | %.0f ms | %d | %d | %d | %d | %d | %.0f MiB |\n",
		name, middle.Seconds(), float64(middle)/float64(ideal), slowest.Seconds(), float64(slowest)/float64(middle),
		median(first, same).Seconds(), milliseconds(used-cpu)/float64(o.fleetScrapes), failures, size.series, size.bytes,
		(after.Calls-before.Calls)/o.fleetScrapes, made, float64(memory)/(1<<20))
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// turn is the result of several scrapes of one contender.
type turn struct {
	usage
	duration time.Duration // median
}

type format struct{ name, accept, encoding string }

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

func formats() []format {
	return []format{
		{"uncompressed", "text/plain", "identity"},
		{"gzip, as Prometheus requests it", "text/plain", "gzip"},
		{"protobuf and gzip, as Prometheus requests them for native histograms", protobuf, "gzip"},
	}
}

func (b *bench) compareOneCluster(ctx context.Context, out io.Writer) error {
	for _, connections := range b.options.connections {
		if err := b.compareClusterOf(ctx, out, connections); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareClusterOf(ctx context.Context, out io.Writer, connections int) error {
	c, err := b.startCloud(ctx, 0, connections, 0)
	if err != nil {
		return err
	}
	defer c.stop()
	all, err := b.startContenders(ctx, c)
	if err != nil {
		return err
	}
	defer stopAll(all)

	for _, f := range formats() {
		contenders := all
		if f.accept == protobuf { // the floor writes only text
			contenders = slices.DeleteFunc(slices.Clone(all), func(c *contender) bool { return c.name == floorName })
		}
		turns, sizes, err := b.runRounds(ctx, c, contenders, f)
		if err != nil {
			return err
		}
		for i, contender := range contenders {
			if !contender.fromTree {
				continue
			}
			if err := b.checkTurns(contender.name, turns[i], sizes[i].series, connections); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "\n### One cluster of %d connections, %s\n\n", connections, f.name)
		if err := b.writeTable(out, contenders, turns, sizes); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) writeTable(out io.Writer, contenders []*contender, turns [][]turn, sizes []answerSize) error {
	cpus := make(map[string]time.Duration, len(contenders))
	for i, c := range contenders {
		perTurn := median(durations(turns[i], func(t turn) time.Duration { return t.cpu }))
		cpus[c.name] = perTurn / time.Duration(b.options.scrapes)
	}
	fmt.Fprint(out, "| | CPU per scrape | vs floor | vs json_exporter | time | series | bytes | API calls | ",
		"new connections per turn | peak memory |\n",
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for i, c := range contenders {
		memory, err := c.peakMemory()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %s | %.2f ms | %s | %s | %.1f ms | %d | %d | %.4g | %.4g | %.0f MB |\n", c.name,
			milliseconds(cpus[c.name]), ratio(cpus[c.name], cpus[floorName]), ratio(cpus[c.name], cpus[jsonName]),
			milliseconds(median(durations(turns[i], func(t turn) time.Duration { return t.duration }))),
			sizes[i].series, sizes[i].bytes,
			mean(turns[i], func(t turn) int { return t.calls })/float64(b.options.scrapes),
			mean(turns[i], func(t turn) int { return t.connections }),
			float64(memory)/1e6)
	}
	return nil
}

// checkTurns fails if a turn had more than one call per scrape or a new connection, or if series are missing.
func (b *bench) checkTurns(name string, turns []turn, series, connections int) error {
	for _, t := range turns {
		if t.calls != b.options.scrapes || t.connections != 0 {
			return fmt.Errorf("%s: got %d calls and %d new connections in %d scrapes; want one call each and no connection",
				name, t.calls, t.connections, b.options.scrapes)
		}
	}
	if want := minSeries(connections); series < want {
		return fmt.Errorf("%s: got %d per-connection series, want at least %d", name, series, want)
	}
	return nil
}

type answerSize struct {
	series int // only per-connection ones
	bytes  int
}

// runRounds scrapes all contenders in each round, so that a slow moment of the machine affects all. An additional first
// round warms them up and measures the sizes.
func (b *bench) runRounds(ctx context.Context, c *cloud, contenders []*contender, f format) (
	turns [][]turn, sizes []answerSize, err error,
) {
	turns, sizes = make([][]turn, len(contenders)), make([]answerSize, len(contenders))
	for round := range b.options.rounds + 1 {
		for i, contender := range contenders {
			t, body, err := b.runTurn(ctx, c, contender, f)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w\n%s", contender.name, err, contender.output)
			}
			if round == 0 {
				if sizes[i], err = measureSize(body, f, contender.series); err != nil {
					return nil, nil, err
				}
				continue
			}
			turns[i] = append(turns[i], t)
		}
	}
	return turns, sizes, nil
}

// runTurn scrapes a contender several times and returns the last body.
func (b *bench) runTurn(ctx context.Context, c *cloud, contender *contender, f format) (
	t turn, body []byte, err error,
) {
	header := http.Header{
		"Accept": {f.accept}, "Accept-Encoding": {f.encoding}, "X-Prometheus-Scrape-Timeout-Seconds": {"10"},
	}
	var times []time.Duration
	t.usage, err = c.measure(ctx, contender.process, func() error {
		for range b.options.scrapes {
			start := time.Now()
			if body, err = fetch(ctx, b.client, contender.url, header); err != nil {
				return err
			}
			times = append(times, time.Since(start))
		}
		return nil
	})
	if err == nil {
		t.duration = median(times)
	}
	return t, body, err
}

func measureSize(body []byte, f format, series *regexp.Regexp) (answerSize, error) {
	size := answerSize{bytes: len(body)}
	var err error
	if f.encoding == "gzip" {
		if body, err = gunzip(body); err != nil {
			return size, err
		}
	}
	if f.accept == protobuf {
		if body, err = protobufToText(body); err != nil {
			return size, err
		}
	}
	size.series = len(series.FindAllIndex(body, -1))
	return size, nil
}

func gunzip(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

func protobufToText(body []byte) ([]byte, error) {
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	var text bytes.Buffer
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			return text.Bytes(), nil
		}
		if err == nil {
			_, err = expfmt.MetricFamilyToText(&text, &family)
		}
		if err != nil {
			return nil, err
		}
	}
}

func durations[T any](items []T, get func(T) time.Duration) []time.Duration {
	values := make([]time.Duration, len(items))
	for i, item := range items {
		values[i] = get(item)
	}
	return values
}

func median(values []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func mean[T any](items []T, get func(T) int) float64 {
	sum := 0
	for _, item := range items {
		sum += get(item)
	}
	return float64(sum) / float64(len(items))
}

// ratio formats a/b, or a dash if b is unknown.
func ratio(a, b time.Duration) string {
	switch {
	case b == 0:
		return "–"
	case 3*a < b:
		return fmt.Sprintf("1/%.1f", float64(b)/float64(a))
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

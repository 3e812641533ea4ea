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

// turn is the result of one contender's turn.
type turn struct {
	usage
	wall time.Duration // median of its scrapes
}

// form is a format of the answer.
type form struct{ name, accept, encoding string }

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

func forms() []form {
	return []form{
		{"uncompressed", "text/plain", "identity"},
		{"gzip, as Prometheus requests it", "text/plain", "gzip"},
		{"protobuf and gzip, as Prometheus requests them for native histograms", protobuf, "gzip"},
	}
}

// oneCluster has the contenders read one cluster in turns, in each form.
func (b *bench) oneCluster(ctx context.Context, to io.Writer) error {
	for _, connections := range b.options.connections {
		if err := b.oneClusterOf(ctx, to, connections); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) oneClusterOf(ctx context.Context, to io.Writer, connections int) error {
	c, err := b.cloud(ctx, 0, connections, "0s")
	if err != nil {
		return err
	}
	defer c.stop()
	all, err := b.contenders(ctx, c)
	if err != nil {
		return err
	}
	defer stopAll(all)

	for _, f := range forms() {
		asked := all
		if f.accept == protobuf { // the floor has text only
			asked = slices.DeleteFunc(slices.Clone(all), func(one *contender) bool { return one.name == floorName })
		}
		turns, answers, err := b.turns(ctx, c, asked, f)
		if err != nil {
			return err
		}
		for i, one := range asked {
			if err := b.check(one, turns[i], answers[i], connections); err != nil {
				return err
			}
		}
		fmt.Fprintf(to, "\n### One cluster of %d connections, %s\n\n", connections, f.name)
		if err := b.table(to, asked, turns, answers); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) table(to io.Writer, all []*contender, turns [][]turn, answers []answerSize) error {
	cpus := make(map[string]time.Duration, len(all))
	for i, one := range all {
		perTurn := median(durations(turns[i], func(t turn) time.Duration { return t.cpu }))
		cpus[one.name] = perTurn / time.Duration(b.options.scrapes)
	}
	fmt.Fprint(to, "| | CPU per scrape | vs floor | vs json_exporter | time | series | bytes | API calls | ",
		"new connections per turn | peak memory |\n",
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for i, one := range all {
		memory, err := one.memory()
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "| %s | %.2f ms | %s | %s | %.1f ms | %d | %d | %.4g | %.4g | %.0f MB |\n", one.name,
			milliseconds(cpus[one.name]), ratio(cpus[one.name], cpus[floorName]), ratio(cpus[one.name], cpus[jsonName]),
			milliseconds(median(durations(turns[i], func(t turn) time.Duration { return t.wall }))),
			answers[i].series, answers[i].bytes,
			mean(turns[i], func(t turn) int { return t.calls })/float64(b.options.scrapes),
			mean(turns[i], func(t turn) int { return t.connections }),
			float64(memory)/1e6)
	}
	return nil
}

// check fails if the exporter of this tree makes more than one call per scrape, opens connections or omits series.
func (b *bench) check(one *contender, turns []turn, a answerSize, connections int) error {
	if !one.ours {
		return nil
	}
	for _, t := range turns {
		if t.calls != b.options.scrapes || t.connections != 0 {
			return fmt.Errorf("%s: got %d calls and %d new connections in %d scrapes; want one call each and no connection",
				one.name, t.calls, t.connections, b.options.scrapes)
		}
	}
	if least := minSeries(connections); a.series < least {
		return fmt.Errorf("%s: got %d series of single connections; want at least %d", one.name, a.series, least)
	}
	return nil
}

type answerSize struct{ series, bytes int }

// turns scrapes the contenders in turn, round after round. An additional first round warms them up.
func (b *bench) turns(ctx context.Context, c *cloud, all []*contender, f form) ([][]turn, []answerSize, error) {
	turns, answers := make([][]turn, len(all)), make([]answerSize, len(all))
	for round := range b.options.rounds + 1 {
		for i, one := range all {
			t, body, err := b.turn(ctx, c, one, f)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w\n%s", one.name, err, one.output)
			}
			if round == 0 {
				if answers[i], err = measureAnswer(body, f, one.series); err != nil {
					return nil, nil, err
				}
				continue
			}
			turns[i] = append(turns[i], t)
		}
	}
	return turns, answers, nil
}

func (b *bench) turn(ctx context.Context, c *cloud, one *contender, f form) (t turn, body []byte, err error) {
	header := http.Header{
		"Accept": {f.accept}, "Accept-Encoding": {f.encoding}, "X-Prometheus-Scrape-Timeout-Seconds": {"10"},
	}
	var took []time.Duration
	t.usage, err = c.measure(ctx, one.process, func() error {
		for range b.options.scrapes {
			begun := time.Now()
			if body, err = fetch(ctx, b.client, one.url, header); err != nil {
				return err
			}
			took = append(took, time.Since(begun))
		}
		return nil
	})
	if err == nil {
		t.wall = median(took)
	}
	return t, body, err
}

func measureAnswer(body []byte, f form, series *regexp.Regexp) (answerSize, error) {
	a := answerSize{bytes: len(body)}
	var err error
	if f.encoding == "gzip" {
		if body, err = gunzip(body); err != nil {
			return a, err
		}
	}
	if f.accept == protobuf {
		if body, err = protobufToText(body); err != nil {
			return a, err
		}
	}
	a.series = len(series.FindAllIndex(body, -1))
	return a, nil
}

func gunzip(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// protobufToText converts metric families.
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

func durations[T any](all []T, of func(T) time.Duration) []time.Duration {
	values := make([]time.Duration, len(all))
	for i, one := range all {
		values[i] = of(one)
	}
	return values
}

func median(values []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func mean[T any](all []T, of func(T) int) float64 {
	sum := 0
	for _, one := range all {
		sum += of(one)
	}
	return float64(sum) / float64(len(all))
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

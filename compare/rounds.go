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

// turn is what one contender's turn came to.
type turn struct {
	spent
	wall time.Duration // of a scrape
}

// form is how a scrape asks for its answer.
type form struct{ name, accept, encoding string }

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

func forms() []form {
	return []form{
		{"not compressed", "text/plain", "identity"},
		{"compressed, as Prometheus asks for it", "text/plain", "gzip"},
		{"protobuf, compressed, as Prometheus asks for native histograms", protobuf, "gzip"},
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
		if f.accept == protobuf { // the floor's series are ready as text
			asked = slices.DeleteFunc(slices.Clone(all), func(one *contender) bool { return one.name == floorName })
		}
		turns, answers, err := b.turns(ctx, c, asked, f)
		if err != nil {
			return err
		}
		for i, one := range asked {
			if err := b.hold(one, turns[i], answers[i], connections); err != nil {
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

// table writes what the contenders' turns came to.
func (b *bench) table(to io.Writer, all []*contender, turns [][]turn, answers []answered) error {
	cpus := make(map[string]time.Duration, len(all))
	for i, one := range all {
		cpus[one.name] = median(each(turns[i], func(t turn) time.Duration { return t.cpu })) / time.Duration(b.options.scrapes)
	}
	fmt.Fprint(to, "| | CPU a scrape | to the floor | to json_exporter | time | series | bytes | API calls | new connections a turn | memory at most |\n",
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for i, one := range all {
		memory, err := one.memory()
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "| %s | %.2f ms | %s | %s | %.1f ms | %d | %d | %.4g | %.4g | %.0f MB |\n", one.name,
			milliseconds(cpus[one.name]), ratio(cpus[one.name], cpus[floorName]), ratio(cpus[one.name], cpus[jsonName]),
			milliseconds(median(each(turns[i], func(t turn) time.Duration { return t.wall }))),
			answers[i].series, answers[i].bytes,
			mean(turns[i], func(t turn) int { return t.calls })/float64(b.options.scrapes),
			mean(turns[i], func(t turn) int { return t.connections }),
			float64(memory)/1e6)
	}
	return nil
}

// hold fails if the exporter of this tree does not do what it promises: one call a scrape, over connections that it has, and
// all series.
func (b *bench) hold(one *contender, turns []turn, a answered, connections int) error {
	if !one.ours {
		return nil
	}
	for _, t := range turns {
		if t.calls != b.options.scrapes || t.connections != 0 {
			return fmt.Errorf("%s: %d calls and %d new connections in %d scrapes", one.name, t.calls, t.connections, b.options.scrapes)
		}
	}
	if least := seriesOf(connections); a.series < least {
		return fmt.Errorf("%s: %d series of single connections, not %d", one.name, a.series, least)
	}
	return nil
}

// answered is the size of an answer.
type answered struct{ series, bytes int }

// turns has the contenders be scraped, one after the other, round after round; one round more, the first, warms them up.
func (b *bench) turns(ctx context.Context, c *cloud, all []*contender, f form) ([][]turn, []answered, error) {
	turns, answers := make([][]turn, len(all)), make([]answered, len(all))
	for round := range b.options.rounds + 1 {
		for i, one := range all {
			t, body, err := b.turn(ctx, c, one, f)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w\n%s", one.name, err, one.output)
			}
			if round == 0 {
				if answers[i], err = sizeOf(body, f, one.series); err != nil {
					return nil, nil, err
				}
				continue
			}
			turns[i] = append(turns[i], t)
		}
	}
	return turns, answers, nil
}

// turn scrapes one contender some times.
func (b *bench) turn(ctx context.Context, c *cloud, one *contender, f form) (t turn, body []byte, err error) {
	header := http.Header{
		"Accept": {f.accept}, "Accept-Encoding": {f.encoding}, "X-Prometheus-Scrape-Timeout-Seconds": {"10"},
	}
	var took []time.Duration
	t.spent, err = c.during(ctx, one.process, func() error {
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

// sizeOf looks into an answer.
func sizeOf(body []byte, f form, series *regexp.Regexp) (answered, error) {
	a := answered{bytes: len(body)}
	var err error
	if f.encoding == "gzip" {
		if body, err = unpacked(body); err != nil {
			return a, err
		}
	}
	if f.accept == protobuf {
		if body, err = asText(body); err != nil {
			return a, err
		}
	}
	a.series = len(series.FindAllIndex(body, -1))
	return a, nil
}

func unpacked(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// asText returns families in protobuf as text.
func asText(body []byte) ([]byte, error) {
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

// each is what of says of all.
func each[T any](all []T, of func(T) time.Duration) []time.Duration {
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

// ratio is a to b, where there is a b.
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

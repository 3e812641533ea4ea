// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// runFloor does only what every exporter must do: it fetches the body and writes the prepared series of expositionFile.
func runFloor(ctx context.Context, u upstream, expositionFile string, stdout io.Writer) error {
	families, err := readFamilies(expositionFile)
	if err != nil {
		return err
	}
	client, err := u.client()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(nil, 64<<10)
	zipper, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		return err
	}
	return serve(ctx, stdout, func(w http.ResponseWriter, r *http.Request) error { // called by one request at a time
		resp, err := u.get(r.Context(), client, url.Values{"limit": {"1000"}})
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		w.Header().Set("Content-Type", string(format))
		out.Reset(w)
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			return errors.Join(encodeAll(expfmt.NewEncoder(out, format), families), out.Flush())
		}
		w.Header().Set("Content-Encoding", "gzip")
		zipper.Reset(out)
		return errors.Join(encodeAll(expfmt.NewEncoder(zipper, format), families), zipper.Close(), out.Flush())
	})
}

func encodeAll(encoder expfmt.Encoder, families []*dto.MetricFamily) error {
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	return nil
}

func readFamilies(path string) ([]*dto.MetricFamily, error) {
	file, err := os.Open(path) //nolint:gosec // written by this program
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	byName, err := parser.TextToMetricFamilies(file)
	if err != nil {
		return nil, err
	}
	var families []*dto.MetricFamily
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		families = append(families, byName[name])
	}
	return families, nil
}

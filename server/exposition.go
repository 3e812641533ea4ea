// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// packers are what answers go through on their way out, to be used again.
type packers struct{ pool sync.Pool }

// expose writes metrics out as r's client wants them: those of clusters and own ones, in the order of their names. With the
// parameter name[], only those that it names. Errors are about the writing.
func (p *packers) expose(w http.ResponseWriter, r *http.Request, clusters, own []*dto.MetricFamily) error {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept")
	families := slices.Concat(clusters, own)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	if names := r.URL.Query()["name[]"]; len(names) > 0 {
		families = slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !slices.Contains(names, f.GetName()) })
	}
	packer := p.open(w, r)
	defer p.close(packer)

	encoder := expfmt.NewEncoder(packer.text, format)
	if err := encode(encoder, families...); err != nil {
		return err
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		return closer.Close()
	}
	return nil
}

func encode(encoder expfmt.Encoder, families ...*dto.MetricFamily) error {
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	return nil
}

// packer compresses an answer, or does not, and hands it to the kernel in large pieces: small ones would take as much time as
// all the rest. Its gzip is quick rather than thorough: metrics shrink to a sixteenth instead of an eighteenth, in half of
// the time.
type packer struct {
	text   *bufio.Writer // what is written to
	zipper *gzip.Writer
	packed *bufio.Writer // what the zipper writes to
	zips   bool
}

const packerSize = 64 << 10

// open begins the answer to r. It must be closed.
func (p *packers) open(w http.ResponseWriter, r *http.Request) *packer {
	k, ok := p.pool.Get().(*packer)
	if !ok {
		zipper, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
		k = &packer{text: bufio.NewWriterSize(nil, packerSize), zipper: zipper, packed: bufio.NewWriterSize(nil, packerSize)}
	}
	w.Header().Add("Vary", "Accept-Encoding")
	if k.zips = takesGzip(r.Header.Values("Accept-Encoding")); !k.zips {
		k.text.Reset(w)
		return k
	}
	w.Header().Set("Content-Encoding", "gzip")
	k.packed.Reset(w)
	k.zipper.Reset(k.packed)
	k.text.Reset(k.zipper)
	return k
}

// close ends the answer. Who went away does not need to be told, so there is no error.
func (p *packers) close(k *packer) {
	_ = k.text.Flush()
	if k.zips {
		_ = k.zipper.Close()
		_ = k.packed.Flush()
	}
	k.text.Reset(nil)
	k.packed.Reset(nil)
	p.pool.Put(k)
}

// takesGzip says whether a client takes gzip rather than nothing of the kind, by the values of its Accept-Encoding
// (RFC 9110, 12.5.3).
func takesGzip(values []string) bool {
	weights := make(map[string]float64)
	for coding := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, parameters, _ := strings.Cut(coding, ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameters)), "q="); ok {
			var err error
			if weight, err = strconv.ParseFloat(q, 64); err != nil {
				weight = 0
			}
		}
		weights[strings.ToLower(strings.TrimSpace(name))] = weight
	}
	for _, name := range []string{"gzip", "x-gzip", "*"} {
		if weight, named := weights[name]; named {
			return weight > 0 && weight >= weights["identity"]
		}
	}
	return false
}

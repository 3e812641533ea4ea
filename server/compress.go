// SPDX-License-Identifier: Apache-2.0

package server

import (
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// zippers are writers of gzip that can be used again. They are quick rather than thorough: metrics shrink to a seventeenth
// instead of an eighteenth, for half of the time, which is most of what an answer costs.
type zippers struct{ pool sync.Pool }

// pack gives the writer for the answer to r, compressed if r's client takes that. It must be closed.
func (z *zippers) pack(w http.ResponseWriter, r *http.Request) *packedWriter {
	w.Header().Add("Vary", "Accept-Encoding")
	p := &packedWriter{ResponseWriter: w, zippers: z}
	if !takesGzip(r.Header.Values("Accept-Encoding")) {
		p.begun = true
	}
	return p
}

// packedWriter decides with the first byte: what is no success is short, and written as it is.
type packedWriter struct {
	http.ResponseWriter
	zippers *zippers
	begun   bool
	zipper  *gzip.Writer // nil: not compressed
}

// WriteHeader implements http.ResponseWriter.
func (p *packedWriter) WriteHeader(status int) {
	p.begin(status)
	p.ResponseWriter.WriteHeader(status)
}

func (p *packedWriter) Write(b []byte) (int, error) {
	p.begin(http.StatusOK)
	if p.zipper == nil {
		return p.ResponseWriter.Write(b)
	}
	return p.zipper.Write(b)
}

func (p *packedWriter) begin(status int) {
	if p.begun {
		return
	}
	p.begun = true
	if status != http.StatusOK {
		return
	}
	p.Header().Set("Content-Encoding", "gzip")
	zipper, ok := p.zippers.pool.Get().(*gzip.Writer)
	if !ok {
		zipper, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
	}
	zipper.Reset(p.ResponseWriter)
	p.zipper = zipper
}

// close ends the answer.
func (p *packedWriter) close() {
	if p.zipper == nil {
		return
	}
	_ = p.zipper.Close() // who went away needs no end
	p.zippers.pool.Put(p.zipper)
	p.zipper = nil
}

// Unwrap is for http.ResponseController.
func (p *packedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

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

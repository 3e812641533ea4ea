// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// upstream is the one cluster that the floor and the sample's loop read.
type upstream struct {
	address, token, ca string
}

func (u *upstream) flags(command *kingpin.CmdClause) {
	command.Flag("upstream", "").StringVar(&u.address)
	command.Flag("token", "").StringVar(&u.token)
	command.Flag("ca", "").StringVar(&u.ca)
}

// client is one that keeps its connections.
func (u *upstream) client() (*http.Client, error) {
	certificate, err := os.ReadFile(u.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16,
	}}, nil
}

// get asks for a page.
func (u *upstream) get(ctx context.Context, client *http.Client, query url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.address+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", u.token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, errors.New("the cloud said " + resp.Status)
	}
	return resp, nil
}

// beFloor does what cannot be done without: it fetches the body, which it does not look at, and writes out series that
// are ready, in the order in which they are.
func beFloor(ctx context.Context, u upstream, exposition string, stdout io.Writer) error {
	families, err := readFamilies(exposition)
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
	return serve(ctx, stdout, func(w http.ResponseWriter, r *http.Request) error { // one at a time is asked for
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

// readFamilies reads an exposition in the text format.
func readFamilies(path string) ([]*dto.MetricFamily, error) {
	file, err := os.Open(path) //nolint:gosec // the parent's
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

// serve answers on a loopback port, which it says on standard output, until ctx ends or standard input does.
func serve(ctx context.Context, stdout io.Writer, answer func(http.ResponseWriter, *http.Request) error) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := answer(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	fmt.Fprintf(stdout, "address=%s\n", listener.Addr())
	untilStdinEnds(ctx)
	_ = srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

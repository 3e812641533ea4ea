// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// upstream is the cluster that the floor and the sample loop read.
type upstream struct {
	address, token, caFile string
}

func (u *upstream) addFlags(command *kingpin.CmdClause) {
	command.Flag("upstream", "").StringVar(&u.address)
	command.Flag("token", "").StringVar(&u.token)
	command.Flag("ca", "").StringVar(&u.caFile)
}

func (u *upstream) client() (*http.Client, error) {
	certificate, err := os.ReadFile(u.caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16,
	}}, nil
}

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
		return nil, errors.New("unexpected status of the API: " + resp.Status)
	}
	return resp, nil
}

// serve writes its loopback address to stdout and serves until ctx is done or standard input is closed.
func serve(ctx context.Context, stdout io.Writer, handle func(http.ResponseWriter, *http.Request) error) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := handle(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	fmt.Fprintf(stdout, "address=%s\n", listener.Addr())
	waitForStdinEnd(ctx)
	_ = srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// waitForStdinEnd waits until ctx is done or the parent closes the pipe or exits.
func waitForStdinEnd(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

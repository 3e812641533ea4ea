// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const clusterID = "5c77b71c-5b35-4f50-8984-76387e42451a"

// handler writes the answer to the nth request, counted from 1.
type handler func(w http.ResponseWriter, r *http.Request, n int)

// answer returns a handler that always answers the same.
func answer(status int, body string) handler {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// answering returns a cloud in memory that answers requests for connections and clusters by h, and a client of it.
func answering(t testing.TB, h handler, changes ...func(*csstest.Options)) (*simtest.Cloud, *css.Client) {
	t.Helper()
	c := simtest.NewUnserved(simulator.Options{})
	var n atomic.Int64
	fault := simulator.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(w, r, int(n.Add(1)))
	})}
	c.FailReads("", fault)
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters}, fault)
	inMemory := func(o *csstest.Options) { o.Transport = &simtest.RoundTripper{Handler: c} }
	return c, csstest.NewClient(t, "http://cloud.invalid", append([]func(*csstest.Options){inMemory}, changes...)...)
}

// failure returns the *cloud.Error of a call, and fails if there is none.
func failure(t *testing.T, err error) *cloud.Error {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want a *cloud.Error", err, err)
	}
	return e
}

// compare fails unless two lists are equal. No connections equal an empty list of them.
func compare(t *testing.T, got, want *css.ConnectionList) {
	t.Helper()
	equateEmpty := cmp.FilterPath(func(p cmp.Path) bool {
		name := p.Last().String()
		return name == ".Connections" || name == ".Unparsable"
	}, cmpopts.EquateEmpty())
	if diff := cmp.Diff(want, got, equateEmpty, cmpopts.IgnoreUnexported(css.ConnectionList{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"

	"golang.org/x/time/rate"
)

// newClusters returns a page of n clusters that no other page has.
func newClusters(page, n int, rest string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"id":"c%d-%d"}`, page, i)
	}
	return `{"clusters":[` + strings.Join(items, ",") + `]` + rest + `}`
}

// TestClusterListIsBounded: a server may return new clusters with each page, with and without a total.
func TestClusterListIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		perPage  int
		rest     string
		padding  int
		clusters int
	}{
		"pages":                  {perPage: 1, clusters: 200},
		"pages, with a total":    {perPage: 1, rest: `,"totalSize":1e9`, clusters: 200},
		"clusters":               {perPage: 1000, clusters: 100_000},
		"clusters, with a total": {perPage: 1000, rest: `,"totalSize":1e9`, clusters: 100_000},
		"bytes":                  {perPage: 2, padding: 15 << 20, clusters: 10},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := answering(t, func(w http.ResponseWriter, _ *http.Request, n int) {
				fmt.Fprint(w, newClusters(n, test.perPage, test.rest)+strings.Repeat(" ", test.padding))
			})
			clusters, err := client.Clusters(t.Context())
			if !errors.Is(err, css.ErrIncomplete) || len(clusters) != test.clusters {
				t.Errorf("got %d clusters, %v; want %d of an incomplete list", len(clusters), err, test.clusters)
			}
		})
	}
}

// TestClusterListTakesTwoMinutes: after two minutes, those that were read are returned.
func TestClusterListTakesTwoMinutes(t *testing.T) {
	for name, test := range map[string]struct {
		latency  time.Duration
		options  func(*csstest.Options)
		clusters int
	}{
		"slow pages":       {25 * time.Second, func(*csstest.Options) {}, 4},
		"a request budget": {0, func(o *csstest.Options) { o.Budget = rate.NewLimiter(rate.Every(25*time.Second), 1) }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client := answering(t, func(w http.ResponseWriter, r *http.Request, n int) {
					select {
					case <-time.After(test.latency):
						fmt.Fprint(w, newClusters(n, 1, ""))
					case <-r.Context().Done():
					}
				}, test.options)
				start := time.Now()
				clusters, err := client.Clusters(t.Context())
				if !errors.Is(err, css.ErrIncomplete) || len(clusters) != test.clusters {
					t.Errorf("got %d clusters, %v; want %d of an incomplete list", len(clusters), err, test.clusters)
				}
				if d := time.Since(start); d > 2*time.Minute {
					t.Errorf("it took %s", d)
				}
			})
		})
	}
}

// TestConnectionListTakesTwoMinutes: scrapes that follow each other may extend a read for ever, or have no deadline.
func TestConnectionListTakesTwoMinutes(t *testing.T) {
	for name, newContext := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"no deadline": context.WithCancel,
		"a long deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		},
		"a moving deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return movingContext{ctx}, func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const latency = 25 * time.Second
				slow := func(w http.ResponseWriter, r *http.Request, n int) {
					select {
					case <-time.After(latency):
						fmt.Fprint(w, pageOf([]int{n}, "1e9"))
					case <-r.Context().Done():
					}
				}
				ctx, cancel := newContext(t.Context())
				defer cancel()
				simulated, client := answering(t, slow)
				start := time.Now()
				list, err := client.Connections(ctx, clusterID, nil)
				if err != nil || !list.Incomplete || len(list.Connections) != 4 || time.Since(start) != 2*time.Minute {
					t.Errorf("slow pages: got %+v, %v after %s; want an incomplete list of 4 after 2m", list, err, time.Since(start))
				}
				start = time.Now()
				simulated.FailReads("", simulator.Fault{Hang: true})
				if _, err := client.Connections(ctx, clusterID, nil); cloud.ReasonOf(err) != cloud.ReasonTimeout ||
					time.Since(start) != 2*time.Minute {
					t.Errorf("a first page that hangs: got %v after %s, want a timeout after 2m", err, time.Since(start))
				}
			})
		})
	}
}

// movingContext has a deadline that is always ten seconds away.
type movingContext struct {
	context.Context //nolint:containedctx // it is a context
}

func (c movingContext) Deadline() (time.Time, bool) { return time.Now().Add(10 * time.Second), true }

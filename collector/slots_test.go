// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/css"

	"github.com/prometheus/client_golang/prometheus"
)

// fleetReader is a Reader without a network. Reads of hanging clusters return when they are cancelled.
type fleetReader struct {
	hangs func(id string) bool
	takes time.Duration

	mu      sync.Mutex
	reading int
	peak    int
}

func (r *fleetReader) Reserve(context.Context, string) error { return nil }
func (r *fleetReader) KnownProjectID() string                { return "p1" }

func (r *fleetReader) Connections(ctx context.Context, id string, _ *css.ConnectionList) (*css.ConnectionList, error) {
	r.mu.Lock()
	r.reading++
	r.peak = max(r.peak, r.reading)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.reading--
		r.mu.Unlock()
	}()
	if r.hangs(id) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(r.takes)
	return &css.ConnectionList{Enabled: true}, nil
}

func (r *fleetReader) targets(n int) []Target {
	targets := make([]Target, n)
	for i := range targets {
		targets[i] = Target{Project: "production", ProjectID: "p1", Reader: r, Cluster: css.Cluster{ID: fmt.Sprint(i)}}
	}
	return targets
}

// TestHangingClustersReleaseSlots checks that every other cluster is read in every scrape, however many clusters hang.
func TestHangingClustersReleaseSlots(t *testing.T) {
	for name, hangs := range map[string]func(i int) bool{
		"120 first":   func(i int) bool { return i < 120 },
		"120 last":    func(i int) bool { return i >= 80 },
		"every other": func(i int) bool { return i%2 == 0 },
		"all but one": func(i int) bool { return i != 199 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader := &fleetReader{takes: 200 * time.Millisecond, hangs: func(id string) bool {
					var i int
					_, _ = fmt.Sscan(id, &i)
					return hangs(i)
				}}
				scraper := NewScraper(ScrapeOptions{Concurrency: 16}, NewExporterMetrics(prometheus.NewRegistry()), discard())
				for scrape := range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
					for i, o := range collect(scraper.Scrape(ctx, reader.targets(200))) {
						if (o.Err == nil) == hangs(i) {
							t.Errorf("scrape %d, cluster %d: %v", scrape, i, o.Err)
						}
					}
					cancel()
					scraper.Wait()
					time.Sleep(5 * time.Second)
				}
			})
		})
	}
}

// TestProbesOfHangingClusters checks that every probe of a healthy cluster succeeds while 119 others are probed and
// hang.
func TestProbesOfHangingClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &fleetReader{takes: 200 * time.Millisecond, hangs: func(id string) bool { return id != "0" }}
		scraper := NewScraper(ScrapeOptions{Concurrency: 16}, NewExporterMetrics(prometheus.NewRegistry()), discard())
		probe := func(target Target) error {
			ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
			defer cancel()
			return collect(scraper.Scrape(ctx, []Target{target}))[0].Err
		}
		var group sync.WaitGroup
		for i, target := range reader.targets(120) {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 125 * time.Millisecond) // spread over an interval of 15 s
				for range 3 {
					next := time.Now().Add(15 * time.Second)
					if err := probe(target); err != nil && i == 0 {
						t.Error(err)
					}
					time.Sleep(time.Until(next))
				}
			})
		}
		group.Wait()
		scraper.Wait()
	})
}

// TestSlotsBoundReads checks that at most `concurrency` healthy clusters are read at once.
func TestSlotsBoundReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &fleetReader{takes: 200 * time.Millisecond, hangs: func(string) bool { return false }}
		scraper := NewScraper(ScrapeOptions{Concurrency: 16}, NewExporterMetrics(prometheus.NewRegistry()), discard())
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		collect(scraper.Scrape(ctx, reader.targets(200)))
		scraper.Wait()
		if reader.peak != 16 {
			t.Errorf("%d reads at once, want 16", reader.peak)
		}
	})
}

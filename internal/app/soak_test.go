// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// usage is the resource usage of the process.
type usage struct {
	goroutines, descriptors int
	heap                    uint64
}

func measure(t *testing.T) usage {
	t.Helper()
	runtime.GC()
	runtime.GC() // for objects with finalizers
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	u := usage{goroutines: runtime.NumGoroutine(), heap: memory.HeapAlloc}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors cannot be counted here: ", err)
	}
	u.descriptors = len(descriptors)
	return u
}

// TestSoak checks that the resource usage does not grow while two clients scrape faulty clusters and the configuration
// is reloaded. It is short unless CSS_VPCEP_SOAK is a longer duration, as in `make soak`.
func TestSoak(t *testing.T) {
	length := 2 * time.Second
	if text, ok := os.LookupEnv("CSS_VPCEP_SOAK"); ok {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	const clusters = 60
	cloud, url := faultyCloud(t, 1, "p1")
	var ids []string
	for i := range clusters {
		ids = append(ids, fmt.Sprintf("c%02d", i))
		cloud.AddCluster("p1", simulator.Cluster{ID: ids[i], Status: "200", Connections: []simulator.Connection{
			{ID: "a", Status: "accepted", DomainID: "d"}, {ID: "b", Status: "rejected", DomainID: "d"},
		}})
	}
	faults := func(on bool) {
		for i, id := range ids {
			target := simulator.Target{Endpoint: simulator.Connections, ID: id}
			if !on {
				cloud.SetFault(target)
				continue
			}
			kinds := []simulator.Fault{
				{Status: 500}, {Status: 503}, {Status: 429}, {Drop: true}, {CutAfter: 10}, {Body: "<html>"}, {Hang: true},
				{Latency: 20 * time.Millisecond}, {Redirect: "http://127.0.0.1:1/"}, {Trickle: 50 * time.Millisecond},
			}
			f := kinds[i%len(kinds)]
			f.Probability = 0.1
			cloud.SetFault(target, f)
		}
	}
	path := faultyFile(t, url, "{min_interval: 0s}", map[string][]string{"p1": ids})
	p := start(t, "--config.file="+path, "--web.enable-lifecycle")
	files := soakFiles(t, path)

	idleUsage := func() usage {
		faults(false)
		// A client keeps the connections of its busiest moment for minutes, so a new one is measured.
		p.reload(t, path, files[1])
		p.reload(t, path, files[0])
		for range 3 {
			if shown, _, _ := p.scrape(t, "10"); len(shown) != clusters {
				t.Errorf("%d clusters after the faults, want %d", len(shown), clusters)
			}
		}
		p.eventually(t, "no request is in flight", func() bool { return cloud.InFlight() == 0 })
		http.DefaultClient.CloseIdleConnections()
		cloud.ForgetRequests()
		p.log.reset()
		// On a busy machine it takes a while until both sides have closed their connections.
		u := measure(t)
		for unchanged := 0; unchanged < 3; {
			time.Sleep(100 * time.Millisecond)
			now := measure(t)
			unchanged++
			if now.goroutines != u.goroutines || now.descriptors != u.descriptors {
				unchanged = 0
			}
			u = now
		}
		return u
	}
	load := func(length time.Duration) (scrapes, reloads int64) {
		faults(true)
		end := time.Now().Add(length)
		var scraped, reloaded atomic.Int64
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for time.Now().Before(end) {
					p.scrape(t, "0.1")
					scraped.Add(1)
				}
			})
		}
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				p.reload(t, path, files[i%len(files)])
				reloaded.Add(1)
				time.Sleep(50 * time.Millisecond)
			}
		})
		wg.Wait()
		p.reload(t, path, files[0])
		return scraped.Load(), reloaded.Load()
	}

	load(length / 4)
	before := idleUsage()
	scrapes, reloads := load(length)
	after := idleUsage()
	grown := func() bool {
		return after.goroutines > before.goroutines+20 || after.descriptors > before.descriptors+10 || after.heap > before.heap+(8<<20)
	}
	for deadline := time.Now().Add(10 * time.Second); grown() && time.Now().Before(deadline); {
		after = idleUsage()
	}
	t.Logf("%d scrapes and %d reloads: from %+v to %+v", scrapes, reloads, before, after)
	if grown() {
		t.Errorf("the usage has grown after %d scrapes and %d reloads: from %+v to %+v", scrapes, reloads, before, after)
	}
}

// soakFiles returns the original file, one with another rate limit, and an invalid one.
func soakFiles(t *testing.T, path string) []string {
	t.Helper()
	original, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		string(original),
		strings.Replace(string(original), "requests_per_second: 1000", "requests_per_second: 2000", 1),
		"projects: [",
	}
}

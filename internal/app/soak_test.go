// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// TestSoak checks that the usage of resources does not grow while two clients scrape faulty clusters and the
// configuration is reloaded. It is short unless CSS_VPCEP_SOAK is a longer duration, as in `make soak`.
func TestSoak(t *testing.T) {
	length := 2 * time.Second
	if text, ok := os.LookupEnv("CSS_VPCEP_SOAK"); ok {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	s := startSoak(t)
	s.load(t, length/4)
	before := s.idleUsage(t)
	scrapes, reloads := s.load(t, length)
	after := s.idleUsage(t)
	for range 20 { // what was in use may be released late
		if !after.exceeds(before) {
			break
		}
		after = s.idleUsage(t)
	}
	t.Logf("%d scrapes and %d reloads: usage from %+v to %+v", scrapes, reloads, before, after)
	if after.exceeds(before) {
		t.Errorf("after %d scrapes and %d reloads: got the usage %+v, want about %+v", scrapes, reloads, after, before)
	}
}

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

// exceeds reports whether u is more than noise above the other usage.
func (u usage) exceeds(other usage) bool {
	return u.goroutines > other.goroutines+20 || u.descriptors > other.descriptors+10 || u.heap > other.heap+(8<<20)
}

// soak is a program whose configuration file is written again and again.
type soak struct {
	*program
	cloud *testCloud
	ids   []string
	path  string
	files []string // the contents: the first one, one with another rate, and an invalid one
}

func startSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{ids: clusterIDs("c", 60)}
	p := project{clusters: s.ids}
	s.cloud = newCloud(t, simulator.Options{Seed: 1}, p)
	for _, id := range s.ids {
		s.cloud.UpdateCluster(id, func(c *simulator.Cluster) {
			c.Connections = []simulator.Connection{
				{ID: "a", Status: "accepted", DomainID: "d"}, {ID: "b", Status: "rejected", DomainID: "d"},
			}
		})
	}
	s.path = s.cloud.file(t, p)
	s.program = start(t, "--config.file="+s.path, "--web.enable-lifecycle")
	first := s.cloud.config(p)
	p.rate = 2000
	s.files = []string{first, s.cloud.config(p), "projects: ["}
	return s
}

// setFaults makes a tenth of the requests for each cluster fail.
func (s *soak) setFaults() {
	faults := []simulator.Fault{
		{Status: 500}, {Status: 503}, {Status: 429}, {Drop: true}, {CutAfter: 10}, {Body: "<html>"}, {Hang: true},
		{Latency: 20 * time.Millisecond}, {Redirect: "http://127.0.0.1:1/"}, {Trickle: 50 * time.Millisecond},
	}
	for i, id := range s.ids {
		f := faults[i%len(faults)]
		f.Probability = 0.1
		s.cloud.FailReads(id, f)
	}
}

// load scrapes with two clients and reloads, with faults.
func (s *soak) load(t *testing.T, length time.Duration) (scrapes, reloads int64) {
	t.Helper()
	s.setFaults()
	end := time.Now().Add(length)
	var scraped, reloaded atomic.Int64
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for time.Now().Before(end) {
				s.scrape(t, 100*time.Millisecond)
				scraped.Add(1)
			}
		})
	}
	clients.Go(func() {
		for i := 0; time.Now().Before(end); i++ {
			s.reloadFile(t, i%len(s.files))
			reloaded.Add(1)
			time.Sleep(50 * time.Millisecond)
		}
	})
	clients.Wait()
	s.reloadFile(t, 0)
	return scraped.Load(), reloaded.Load()
}

func (s *soak) reloadFile(t *testing.T, i int) {
	t.Helper()
	want := http.StatusOK
	if i == 2 {
		want = http.StatusInternalServerError
	}
	if status, body := s.reload(t, s.path, s.files[i]); status != want {
		t.Errorf("reload of file %d: got status %d, want %d: %s", i, status, want, body)
	}
}

// idleUsage returns the usage without faults and with a new client: an old one keeps the connections of its busiest
// moment for minutes.
func (s *soak) idleUsage(t *testing.T) usage {
	t.Helper()
	s.cloud.failEach(s.ids)
	s.reloadFile(t, 1)
	s.reloadFile(t, 0)
	for range 3 {
		if got := len(s.scrape(t, 10*time.Second).clusters); got != len(s.ids) {
			t.Errorf("got %d clusters without the faults, want %d", got, len(s.ids))
		}
	}
	s.eventually(t, "no request is in flight", func() bool { return s.cloud.InFlight() == 0 })
	http.DefaultClient.CloseIdleConnections()
	s.cloud.ForgetRequests()
	s.log.reset()
	return steadyUsage(t)
}

// steadyUsage measures until both sides have closed their connections, which takes a while on a busy machine.
func steadyUsage(t *testing.T) usage {
	t.Helper()
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

// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestThrottleByWindow(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	ask := func() string { // signed with the simulator's time
		return statusesWithKeys(t, s, connectionsPath, validKey())
	}
	s.SetThrottle(clusterTarget(), Throttle{Limit: 2, Window: time.Minute})
	for _, step := range []struct {
		at   time.Duration
		want string
	}{
		{time.Second, "200"}, // opens a window
		{2 * time.Second, "200"},
		{3 * time.Second, "429"},
		{61*time.Second - 1, "429"},
		{61 * time.Second, "200"}, // opens the next one
		{62 * time.Second, "200"},
		{63 * time.Second, "429"},
		{10 * time.Minute, "200"},
	} {
		c.passed = step.at
		if got := ask(); got != step.want {
			t.Errorf("after %v: status %s, want %s", step.at, got, step.want)
		}
	}
	s.RemoveThrottle(clusterTarget())
	for range 3 {
		if got := ask(); got != "200" {
			t.Errorf("without a limit: status %s", got)
		}
	}
}

func TestThrottledAnswer(t *testing.T) {
	for _, retryAfter := range []string{"", "30", "Fri, 02 Jan 2026 03:05:05 GMT"} {
		s := newTestSimulator(Options{})
		s.SetThrottle(clusterTarget(), Throttle{RetryAfter: retryAfter})
		s.SetFault(clusterTarget(), Fault{Latency: time.Hour}) // has no effect
		w := get(t, s, connectionsPath)
		if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), `"error_code":"APIGW.0308"`) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if got := w.Header().Get("Retry-After"); got != retryAfter {
			t.Errorf("Retry-After %q, want %q", got, retryAfter)
		}
		if s.Requests()[0].Status != http.StatusTooManyRequests {
			t.Errorf("recorded %+v", s.Requests()[0])
		}
	}
}

// TestThrottleTargets requests a cluster, another one, a cluster list, a cluster of another project and a project list,
// twice each, under a limit of one.
func TestThrottleTargets(t *testing.T) {
	second := strings.Replace(connectionsPath, "c1", "c2", 1)
	other := strings.NewReplacer("proj1", "proj2", "c1", "c3").Replace(connectionsPath)
	for name, tc := range map[string]struct {
		target Target
		want   string // two statuses each
	}{
		"a cluster":     {Target{Connections, "c1"}, "200 429, 200 200, 200 200, 200 200, 200 200"},
		"all clusters":  {Target{Endpoint: Connections}, "200 429, 429 429, 200 200, 429 429, 200 200"},
		"a list":        {Target{Clusters, "proj1"}, "200 200, 200 200, 200 429, 200 200, 200 200"},
		"a look-up":     {Target{Projects, "cn-north-4"}, "200 200, 200 200, 200 200, 200 200, 200 429"},
		"whole project": {Target{WholeProject, "proj1"}, "200 429, 429 429, 429 429, 200 200, 200 200"},
		"nobody":        {Target{Connections, "c9"}, "200 200, 200 200, 200 200, 200 200, 200 200"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: "proj2", Region: "cn-north-9", Keys: []Key{validKey()}})
			s.AddCluster("proj1", Cluster{ID: "c2"})
			s.AddCluster("proj2", Cluster{ID: "c3"})
			s.SetThrottle(tc.target, Throttle{Limit: 1, Window: time.Minute})
			var got []string
			for _, target := range []string{
				connectionsPath, second, "/v1.0/proj1/clusters", other, "/v3/projects?name=cn-north-4",
			} {
				got = append(got, getStatuses(t, s, target, 2))
			}
			if joined := strings.Join(got, ", "); joined != tc.want {
				t.Errorf("got  %s\nwant %s", joined, tc.want)
			}
		})
	}
}

// TestRefusedRequestsDoNotCountForThrottle also checks that a limit never hides a wrong signature.
func TestRefusedRequestsDoNotCountForThrottle(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetThrottle(clusterTarget(), Throttle{Limit: 1, Window: time.Minute})
	if got := statusesWithKeys(t, s, connectionsPath, invalidKey(), validKey(), invalidKey(), validKey()); got != "401 200 401 429" {
		t.Errorf("got %s, want 401 200 401 429", got)
	}
}

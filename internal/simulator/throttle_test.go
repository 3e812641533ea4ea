// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestThrottleLimitsRequestsPerWindow(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	s.SetThrottle(clusterTarget(), Throttle{Limit: 2, Window: time.Minute})
	for _, step := range []struct {
		at   time.Duration
		want string
	}{
		{time.Second, "200"}, // opens a window
		{2 * time.Second, "200"},
		{3 * time.Second, "429 APIGW.0308"},
		{61*time.Second - 1, "429 APIGW.0308"},
		{61 * time.Second, "200"}, // opens the next one
		{62 * time.Second, "200"},
		{63 * time.Second, "429 APIGW.0308"},
		{10 * time.Minute, "200"},
	} {
		c.passed = step.at
		if got := statusWithKey(t, s, validKey(), connectionsPath); got != step.want {
			t.Errorf("after %v: got %s, want %s", step.at, got, step.want)
		}
	}
	s.RemoveThrottle(clusterTarget())
	for range 3 {
		if got := statusWithKey(t, s, validKey(), connectionsPath); got != "200" {
			t.Errorf("without a limit: got %s, want 200", got)
		}
	}
}

func TestThrottledResponse(t *testing.T) {
	for _, retryAfter := range []string{"", "30", "Fri, 02 Jan 2026 03:05:05 GMT"} {
		s := newTestSimulator(Options{})
		s.SetThrottle(clusterTarget(), Throttle{RetryAfter: retryAfter})
		s.SetFault(clusterTarget(), Fault{Latency: time.Hour}) // does not apply
		w := get(t, s, connectionsPath)
		if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), `"error_code":"APIGW.0308"`) {
			t.Errorf("got %d %s, want 429 APIGW.0308", w.Code, w.Body)
		}
		if got := w.Header().Get("Retry-After"); got != retryAfter {
			t.Errorf("got Retry-After %q, want %q", got, retryAfter)
		}
		if got := s.Requests()[0]; got.Status != http.StatusTooManyRequests {
			t.Errorf("got record %+v, want status 429", got)
		}
	}
}

func TestThrottleAppliesToItsTarget(t *testing.T) {
	second := strings.Replace(connectionsPath, "c1", "c2", 1)
	otherProject := strings.NewReplacer("proj1", "proj2", "c1", "c3").Replace(connectionsPath)
	for name, tc := range map[string]struct {
		target Target
		want   string // two statuses for each path
	}{
		"cluster":       {Target{Connections, "c1"}, "200 429, 200 200, 200 200, 200 200, 200 200"},
		"all clusters":  {Target{Endpoint: Connections}, "200 429, 429 429, 200 200, 429 429, 200 200"},
		"cluster list":  {Target{Clusters, "proj1"}, "200 200, 200 200, 200 429, 200 200, 200 200"},
		"region":        {Target{Projects, "cn-north-4"}, "200 200, 200 200, 200 200, 200 200, 200 429"},
		"whole project": {Target{WholeProject, "proj1"}, "200 429, 429 429, 429 429, 200 200, 200 200"},
		"other cluster": {Target{Connections, "c9"}, "200 200, 200 200, 200 200, 200 200, 200 200"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: "proj2", Region: "cn-north-9", Keys: []Key{validKey()}})
			s.AddCluster("proj1", Cluster{ID: "c2"})
			s.AddCluster("proj2", Cluster{ID: "c3"})
			s.SetThrottle(tc.target, Throttle{Limit: 1, Window: time.Minute})
			var got []string
			for _, path := range []string{
				connectionsPath, second, "/v1.0/proj1/clusters", otherProject, "/v3/projects?name=cn-north-4",
			} {
				got = append(got, getStatuses(t, s, path, 2))
			}
			if joined := strings.Join(got, ", "); joined != tc.want {
				t.Errorf("got statuses %s, want %s", joined, tc.want)
			}
		})
	}
}

func TestRejectedRequestsDoNotCountForThrottle(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetThrottle(clusterTarget(), Throttle{Limit: 1, Window: time.Minute})
	got := statusesWithKeys(t, s, connectionsPath, invalidKey(), validKey(), invalidKey(), validKey())
	if want := "401 200 401 429"; got != want {
		t.Errorf("got statuses %s, want %s", got, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func validKey() Key { return Key{Access: testAccess, Secret: testSecret} }

func invalidKey() Key { return Key{Access: testAccess, Secret: "wrong"} }

// statusesWithKeys sends a request with each key and returns the statuses of the responses.
func statusesWithKeys(t *testing.T, s *Simulator, target string, keys ...Key) string {
	t.Helper()
	var out []string
	for _, key := range keys {
		status, _, _ := strings.Cut(statusWithKey(t, s, key, target), " ")
		out = append(out, status)
	}
	return strings.Join(out, " ")
}

func TestKeyLocksAfterFiveRejectionsInARow(t *testing.T) {
	valid, invalid, other := validKey(), invalidKey(), Key{Access: "AKOTHER", Secret: "other"}
	four := slices.Repeat([]Key{invalid}, 4)
	for _, tc := range []struct {
		name          string
		lock          bool
		keys          []Key
		want          string
		inARow, total int
		locked        bool
	}{
		{"four", true, slices.Concat(four, []Key{valid}),
			"401 401 401 401 200", 4, 4, false},
		{"five", true, slices.Concat(four, []Key{invalid, valid, valid}),
			"401 401 401 401 401 401 401", 7, 7, true},
		{"a valid request ends the row", true, slices.Concat(four, []Key{valid, invalid, invalid, invalid, valid}),
			"401 401 401 401 200 401 401 401 200", 4, 7, false},
		{"without LockKeys", false, slices.Concat(four, []Key{invalid, invalid, valid}),
			"401 401 401 401 401 401 200", 6, 6, false},
		{"each key counts by itself", true, slices.Concat(four, []Key{invalid, other}),
			"401 401 401 401 401 200", 5, 5, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSimulator(Options{LockKeys: tc.lock})
			s.AddProject(Project{ID: testProject, Keys: []Key{valid, other}})
			if got := statusesWithKeys(t, s, connectionsPath, tc.keys...); got != tc.want {
				t.Errorf("got statuses %s, want %s", got, tc.want)
			}
			inARow, total := s.Rejections(testAccess)
			if inARow != tc.inARow || total != tc.total || s.Locked(testAccess) != tc.locked {
				t.Errorf("got %d rejections in a row, %d in total, locked: %t; want %d, %d, %t",
					inARow, total, s.Locked(testAccess), tc.inARow, tc.total, tc.locked)
			}
		})
	}
}

func TestLockedKeyIsRejected(t *testing.T) {
	s := newTestSimulator(Options{LockKeys: true})
	statusesWithKeys(t, s, connectionsPath, slices.Repeat([]Key{invalidKey()}, 5)...)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, signedRequest(t.Context(), "http://css.test", connectionsPath))
	body := w.Body.String()
	if w.Code != 401 || !strings.Contains(body, `"APIGW.0301"`) || !strings.Contains(body, "is locked") {
		t.Errorf("got %d %s, want 401 APIGW.0301 and that the key is locked", w.Code, body)
	}
}

func TestRejectionsOfAllProjectsEndpointsAndFaultsCount(t *testing.T) {
	s := newTestSimulator(Options{LockKeys: true})
	s.AddProject(Project{ID: "proj2", Region: "cn-north-9", Keys: []Key{validKey()}})
	s.AddCluster(testProject, Cluster{ID: "c2"})
	s.SetFault(Target{Connections, "c2"}, Fault{Status: 401})
	second := strings.Replace(connectionsPath, "c1", "c2", 1)
	for i, step := range []struct {
		target string
		key    Key
	}{
		{connectionsPath, invalidKey()},
		{"/v1.0/proj2/clusters", invalidKey()},
		{"/v3/projects?name=cn-north-9", invalidKey()},
		{second, validKey()},
	} {
		statusesWithKeys(t, s, step.target, step.key)
		if inARow, total := s.Rejections(testAccess); inARow != i+1 || total != i+1 || s.Locked(testAccess) {
			t.Errorf("after %s: got %d rejections in a row, %d in total, locked: %t; want %d, %d, false",
				step.target, inARow, total, s.Locked(testAccess), i+1, i+1)
		}
	}
	s.SetFault(Target{Connections, "c2"}, Fault{Status: 400, Body: `{"errCode":"CSS.0045"}`})
	if got := statusesWithKeys(t, s, second, validKey()); got != "400" || !s.Locked(testAccess) {
		t.Errorf("after CSS.0045: got status %s, locked: %t; want 400, true", got, s.Locked(testAccess))
	}
}

func TestOtherFailuresDoNotCountAsRejections(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  Fault
		target string
		inARow int // after a rejection, this request and another rejection
	}{
		"denied project": {Fault{}, "/v1.0/proj2/clusters", 1},
		"another 400":    {Fault{Status: 400, Body: `{"errCode":"CSS.0001"}`}, connectionsPath, 1},
		"server error":   {Fault{Status: 500}, connectionsPath, 1},
		"429 by a fault": {Fault{Status: 429}, connectionsPath, 2},
		"throttled":      {Fault{}, "/v3/projects?name=cn-north-4", 2},
		"unknown path":   {Fault{}, "/nothing/here", 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.AddProject(Project{ID: "proj2"})
			s.SetFault(clusterTarget(), tc.fault)
			s.SetThrottle(Target{Endpoint: Projects}, Throttle{})
			statusesWithKeys(t, s, "/v1.0/proj1/clusters", invalidKey())
			statusesWithKeys(t, s, tc.target, validKey())
			statusesWithKeys(t, s, "/v1.0/proj1/clusters", invalidKey())
			if inARow, total := s.Rejections(testAccess); inARow != tc.inARow || total != 2 {
				t.Errorf("got %d rejections in a row, %d in total; want %d, 2", inARow, total, tc.inARow)
			}
		})
	}
}

func TestRejectedTokensDoNotCountForKeys(t *testing.T) {
	s := newTestSimulator(Options{LockKeys: true})
	r := signedRequest(t.Context(), "http://css.test", connectionsPath)
	r.Header.Set("X-Auth-Token", "expired")
	for range 6 {
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	if inARow, total := s.Rejections(testAccess); inARow != 0 || total != 0 || s.Locked(testAccess) {
		t.Errorf("got %d rejections in a row, %d in total, locked: %t; want 0, 0, false",
			inARow, total, s.Locked(testAccess))
	}
}

func TestRefuseAndAcceptKey(t *testing.T) {
	for _, tc := range []struct {
		code, want string
		status     int
	}{
		{"APIGW.0301", `"error_code":"APIGW.0301"`, 401},
		{"APIGW.0303", `"error_code":"APIGW.0303"`, 401},
		{"APIGW.0307", `"error_code":"APIGW.0307"`, 401},
		{"CSS.0045", `"errCode":"CSS.0045"`, 400},
	} {
		t.Run(tc.code, func(t *testing.T) {
			s := newTestSimulator(Options{})
			s.RejectKey(testAccess, tc.code)
			if w := get(t, s, connectionsPath); w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("rejected: got %d %s, want %d %s", w.Code, w.Body, tc.status, tc.want)
			}
			s.AcceptKey(testAccess)
			if w := get(t, s, connectionsPath); w.Code != http.StatusOK {
				t.Errorf("accepted again: got %d %s, want 200", w.Code, w.Body)
			}
			if inARow, total := s.Rejections(testAccess); inARow != 1 || total != 1 {
				t.Errorf("got %d rejections in a row, %d in total; want 1, 1", inARow, total)
			}
		})
	}
}

func TestRejectKeySparesRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSimulator(Options{})
		s.SetFault(clusterTarget(), Fault{Latency: time.Second})
		start := time.Now()
		status := make(chan int)
		go func() { status <- get(t, s, connectionsPath).Code }()
		synctest.Wait()

		s.RejectKey(testAccess, "APIGW.0301")
		if code := get(t, s, connectionsPath).Code; code != http.StatusUnauthorized || time.Since(start) != 0 {
			t.Errorf("later request: got status %d after %v, want 401 after 0s", code, time.Since(start))
		}
		if code := <-status; code != http.StatusOK || time.Since(start) != time.Second {
			t.Errorf("request in flight: got status %d after %v, want 200 after 1s", code, time.Since(start))
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// getFromServer returns the status of the response, or 0 if there is none.
func getFromServer(ctx context.Context, client *http.Client, url, target string) (int, error) {
	resp, err := client.Do(signedRequest(ctx, url, target))
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, err
}

func TestServerKeepsConnections(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	if !strings.HasPrefix(srv.URL, "http://127.0.0.1:") {
		t.Errorf("got URL %s, want one on 127.0.0.1", srv.URL)
	}
	for range 3 {
		status, err := getFromServer(t.Context(), client, srv.URL, connectionsPath)
		if status != http.StatusOK || err != nil {
			t.Errorf("got status %d, error %v; want 200", status, err)
		}
	}
	if n := srv.Accepted(); n != 1 {
		t.Errorf("got %d connections for 3 sequential requests, want 1", n)
	}
}

func TestServeUntilTestEnds(t *testing.T) {
	s, client := newTestSimulator(Options{}), newClient(t)
	var url string
	t.Run("test", func(t *testing.T) {
		url = s.Serve(t)
		if status, err := getFromServer(t.Context(), client, url, connectionsPath); status != http.StatusOK || err != nil {
			t.Errorf("got status %d, error %v; want 200", status, err)
		}
	})
	if status, err := getFromServer(t.Context(), client, url, connectionsPath); err == nil {
		t.Errorf("after the test: got status %d, want an error", status)
	}
}

func TestDisconnectCountsAsCancelled(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetFault(clusterTarget(), Fault{Hang: true})
	srv, client := startServer(t, s), newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := getFromServer(ctx, client, srv.URL, connectionsPath)
		result <- err
	}()
	eventually(t, "the request", func() bool { return s.InFlight() == 1 })
	if r := s.Requests()[0]; !r.InFlight || r.Status != 0 || r.Cancelled {
		t.Errorf("in flight: got record %+v, want it in flight, status 0, not cancelled", r)
	}
	cancel()
	if err := <-result; err == nil {
		t.Error("got a response to the cancelled request, want an error")
	}
	eventually(t, "the cancellation", func() bool { return s.Cancelled() == 1 })
	if r := s.Requests()[0]; r.InFlight || r.Status != 0 || !r.Cancelled {
		t.Errorf("cancelled: got record %+v, want it not in flight, status 0, cancelled", r)
	}
}

func TestCloseAbortsRequestsWithoutCancellingThem(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetFault(clusterTarget(), Fault{Hang: true})
	srv, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if status, err := getFromServer(t.Context(), client, srv.URL, connectionsPath); err == nil {
				t.Errorf("got status %d, want no response", status)
			}
		})
	}
	eventually(t, "five requests", func() bool { return s.InFlight() == 5 })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Close(ctx); err != nil {
		t.Error(err)
	}
	if s.InFlight() != 0 || s.Cancelled() != 0 || s.PeakInFlight() != 5 {
		t.Errorf("got %d in flight, %d cancelled, peak %d; want 0, 0, 5", s.InFlight(), s.Cancelled(), s.PeakInFlight())
	}
	wg.Wait()
	if err := srv.Close(ctx); err != nil {
		t.Errorf("got %v from a second Close, want no error", err)
	}
}

func TestStartWithCancelledContextFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if srv, err := newTestSimulator(Options{}).Start(ctx); err == nil {
		_ = srv.Close(t.Context())
		t.Error("got a server, want an error")
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	s := newTestSimulator(Options{KeepRequests: 3})
	get(t, s, "/v3/projects?name=cn-north-4")
	for range 2 {
		get(t, s, connectionsPath+"?limit=5")
	}
	get(t, s, "/v1.0/proj1/clusters")
	get(t, s, "/nothing/here")

	want := []Request{
		{Target: Target{Connections, "c1"}, ProjectID: "proj1", Method: "GET", Proto: "HTTP/1.1", Path: connectionsPath,
			Query: "limit=5", AccessKey: testAccess, Status: 200},
		{Target: Target{Clusters, "proj1"}, ProjectID: "proj1", Method: "GET", Proto: "HTTP/1.1",
			Path: "/v1.0/proj1/clusters", AccessKey: testAccess, Status: 200},
		{Target: Target{Endpoint: Unknown}, Method: "GET", Proto: "HTTP/1.1", Path: "/nothing/here", Status: 404},
	}
	got := s.Requests()
	ignored := cmpopts.IgnoreFields(Request{}, "Header", "RequestID", "Start", "Duration")
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for target, n := range map[Target]int{
		{Connections, "c1"}: 2, {Connections, "c2"}: 0, {Endpoint: Connections}: 2, {Clusters, "proj1"}: 1,
		{Projects, "cn-north-4"}: 1, {Endpoint: Projects}: 1, {Endpoint: Unknown}: 1,
	} {
		if got := s.Count(target); got != n {
			t.Errorf("%v: got %d requests, want %d", target, got, n)
		}
	}
	if auth := got[0].Header.Get("Authorization"); auth != "<secret>" {
		t.Errorf("got Authorization %q, want <secret>", auth)
	}
	if got[0].RequestID == got[1].RequestID {
		t.Errorf("got request ID %s twice, want different ones", got[0].RequestID)
	}

	got[0].Header.Set("X-Sdk-Date", "changed")
	if s.Requests()[0].Header.Get("X-Sdk-Date") == "changed" {
		t.Error("got headers that are not copies")
	}
}

func TestForgetRequests(t *testing.T) {
	s := newTestSimulator(Options{})
	get(t, s, connectionsPath)
	s.SetFault(clusterTarget(), Fault{Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	func() {
		defer func() { _ = recover() }() // http.ErrAbortHandler
		s.ServeHTTP(httptest.NewRecorder(), signedRequest(ctx, "http://css.test", connectionsPath))
	}()
	counters := func() string {
		return fmt.Sprintf("%d recorded, %d counted, %d cancelled, peak %d",
			len(s.Requests()), s.Count(Target{Endpoint: Connections}), s.Cancelled(), s.PeakInFlight())
	}
	if got, want := counters(), "2 recorded, 2 counted, 1 cancelled, peak 1"; got != want {
		t.Errorf("before: got %s, want %s", got, want)
	}
	s.ForgetRequests()
	if got, want := counters(), "0 recorded, 0 counted, 0 cancelled, peak 0"; got != want {
		t.Errorf("after: got %s, want %s", got, want)
	}
}

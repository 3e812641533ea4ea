// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// getFromServer sends a request and returns the status, or 0 without an answer.
func getFromServer(ctx context.Context, client *http.Client, url, target string) (int, error) {
	resp, err := client.Do(signedRequest(ctx, url, target))
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, err
}

func TestServer(t *testing.T) {
	s := newTestSimulator(Options{})
	srv, client := startServer(t, s), newClient(t)
	if !strings.HasPrefix(srv.URL, "http://127.0.0.1:") {
		t.Errorf("URL %s is not on loopback", srv.URL)
	}
	for range 3 {
		if status, err := getFromServer(t.Context(), client, srv.URL, connectionsPath); status != http.StatusOK || err != nil {
			t.Errorf("status %d, %v", status, err)
		}
	}
	if n := srv.Accepted(); n != 1 {
		t.Errorf("%d connections for 3 requests in a row, want 1", n)
	}
}

func TestClientCancels(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetFault(clusterTarget(), Fault{Hang: true})
	srv, client := startServer(t, s), newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := getFromServer(ctx, client, srv.URL, connectionsPath)
		ended <- err
	}()
	eventually(t, "the request", func() bool { return s.InFlight() == 1 })
	if r := s.Requests()[0]; !r.InFlight || r.Status != 0 || r.Cancelled {
		t.Errorf("in flight: recorded %+v", r)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the cancelled call has an answer")
	}
	eventually(t, "the cancellation", func() bool { return s.Cancelled() == 1 })
	if r := s.Requests()[0]; r.InFlight || r.Status != 0 || !r.Cancelled {
		t.Errorf("cancelled: recorded %+v", r)
	}
}

// TestCloseEndsHangingRequests also checks that they do not count as cancelled.
func TestCloseEndsHangingRequests(t *testing.T) {
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
				t.Errorf("status %d, want no answer", status)
			}
		})
	}
	eventually(t, "five requests", func() bool { return s.InFlight() == 5 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Close(ctx); err != nil {
		t.Error(err)
	}
	if s.InFlight() != 0 || s.Cancelled() != 0 || s.PeakInFlight() != 5 {
		t.Errorf("%d in flight, %d cancelled, peak %d, want 0, 0 and 5", s.InFlight(), s.Cancelled(), s.PeakInFlight())
	}
	wg.Wait()
	if err := srv.Close(ctx); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestStartWithEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if srv, err := newTestSimulator(Options{}).Start(ctx); err == nil {
		_ = srv.Close(t.Context())
		t.Error("started")
	}
}

func TestRequestRecord(t *testing.T) {
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
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Request{}, "Header", "RequestID", "Start",
		"Duration")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for target, n := range map[Target]int{
		{Connections, "c1"}: 2, {Connections, "c2"}: 0, {Endpoint: Connections}: 2, {Clusters, "proj1"}: 1,
		{Projects, "cn-north-4"}: 1, {Endpoint: Projects}: 1, {Endpoint: Unknown}: 1,
	} {
		if got := s.Count(target); got != n {
			t.Errorf("%v: %d requests, want %d", target, got, n)
		}
	}
	if auth := got[0].Header.Get("Authorization"); auth != "<secret>" {
		t.Errorf("Authorization recorded as %q", auth)
	}
	if got[0].RequestID == got[1].RequestID {
		t.Error("two requests share an ID")
	}

	got[0].Header.Set("X-Sdk-Date", "changed")
	if s.Requests()[0].Header.Get("X-Sdk-Date") == "changed" {
		t.Error("Requests returns headers that are not copies")
	}
	s.ForgetRequests()
	if len(s.Requests()) != 0 || s.Count(Target{Endpoint: Connections}) != 0 {
		t.Error("requests still recorded")
	}
}

// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get sends a GET request through rt and returns the status and the body.
func get(ctx context.Context, rt http.RoundTripper) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cloud.invalid/path", nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(all), err
}

func TestRoundTripperRunsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		rt := &RoundTripper{Connect: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Hour)
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short and stout")
		})}
		status, body, err := get(t.Context(), rt)
		if status != http.StatusTeapot || body != "short and stout" || err != nil {
			t.Errorf("got %d, %q, %v", status, body, err)
		}
		if took := time.Since(start); took != time.Hour+time.Second {
			t.Errorf("got the response after %s, want 1h0m1s", took)
		}
	})
}

func TestRoundTripperCancelsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := false
		rt := &RoundTripper{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			cancelled = true
			panic(http.ErrAbortHandler)
		})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := get(ctx, rt); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		synctest.Wait()
		if !cancelled {
			t.Error("the handler was not cancelled")
		}
	})
}

func TestRoundTripperBreaksConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := &RoundTripper{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}
		if _, _, err := get(t.Context(), early); !errors.Is(err, ErrReset) {
			t.Errorf("before the response: got %v, want %v", err, ErrReset)
		}
		late := &RoundTripper{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		})}
		if status, body, err := get(t.Context(), late); status != 200 || body != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("in the body: got %d, %q, %v", status, body, err)
		}
	})
}

func TestRoundTripperReachesASimulatedCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := NewUnserved(simulator.Options{})
		status, _, err := get(t.Context(), &RoundTripper{Handler: cloud})
		if status != http.StatusNotFound || err != nil {
			t.Errorf("got %d, %v; want 404 for an unknown path", status, err)
		}
		if n := cloud.Requested(simulator.Unknown); n != 1 {
			t.Errorf("got %d requests, want 1", n)
		}
	})
}

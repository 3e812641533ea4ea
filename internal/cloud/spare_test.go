// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"

	"golang.org/x/time/rate"
)

func (c *client) readSpare(ctx context.Context) error {
	r := c.readRequest("spare")
	r.Spare = true
	_, err := c.Call(ctx, r)
	return err
}

// TestSpareRequestTakesNoBudget shows that a burst is as fast right after spare requests as without them.
func TestSpareRequestTakesNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, answer(200, listBody), func(o *cloud.Options) { o.Budget = rate.NewLimiter(2, 2) })
		readOne(t, c)
		for range 3 {
			start := time.Now()
			if err := c.readSpare(t.Context()); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(start); waited < 500*time.Millisecond {
				t.Errorf("a spare request was sent after %s, before the budget was full for long enough", waited)
			}
		}
		start := time.Now()
		for range 2 {
			readOne(t, c)
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("two requests waited for %s", waited)
		}
	})
}

// TestSpareRequestIsNoSingleTry shows that it waits until another request has verified the key.
func TestSpareRequestIsNoSingleTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, answer(200, listBody))
		done := make(chan error, 1)
		go func() { done <- c.readSpare(t.Context()) }()
		time.Sleep(time.Hour)
		select {
		case err := <-done:
			t.Fatalf("the spare request was the first with this key: %v", err)
		default:
		}
		readOne(t, c)
		time.Sleep(trustFor)
		synctest.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWaitingSpareRequestHoldsBackNoTry shows that a project that was refused still tries first.
func TestWaitingSpareRequestHoldsBackNoTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte(listBody))
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.readSpare(ctx) }()
		synctest.Wait()
		readOne(t, c) // refused
		if reason := readOne(t, c); reason != "" {
			t.Errorf("after a refusal, got %s", reason)
		}
		time.Sleep(trustFor)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestSpareRequestIsBounded shows that its exchange ends, but not its wait.
func TestSpareRequestIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 1 {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write([]byte(listBody))
		})
		readOne(t, c)
		start := time.Now()
		err := c.readSpare(t.Context())
		if took := time.Since(start); cloud.ReasonOf(err) != cloud.ReasonTimeout || took != 30*time.Second {
			t.Errorf("got %v after %s, want a timeout after 30 s", err, took)
		}
	})
}

func TestSpareRequestReplacesNoCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			if calls = n; n == 1 {
				_, _ = w.Write([]byte(listBody))
				return
			}
			w.WriteHeader(http.StatusUnauthorized)
		})
		readOne(t, c)
		if err := c.readSpare(t.Context()); cloud.ReasonOf(err) != cloud.ReasonAuth || calls != 2 {
			t.Errorf("got %v after %d requests, want a refusal that is not tried again", err, calls)
		}
	})
}

func TestErrorWhoseMessageIsAnObject(t *testing.T) {
	c := newCloud(t, answer(429, `{"http_code":429,"message":{"details":"Too Many Requests\nX-Sdk-Date: x","code":"ces.0429"}}`))
	_, err := newClient(t, c.URL).read(bounded(t), "c1")
	if e := failure(t, err); e.Code != "ces.0429" || e.Message != "Too Many Requests" || e.Reason != cloud.ReasonThrottled {
		t.Errorf("got %+v", e)
	}
	for _, body := range []string{
		`{"message":{}}`, `{"message":{"code":7,"details":[]}}`, `{"message":[]}`, `{"message":{"code":"a b","details":null}}`,
	} {
		c := newCloud(t, answer(400, body))
		_, err := newClient(t, c.URL).read(bounded(t), "c1")
		if e := failure(t, err); e.Reason != cloud.ReasonInvalid || e.Message != "" {
			t.Errorf("%s: got %+v", body, e)
		}
	}
}

// TestMinorRequestsGoOneAfterAnother shows that requests of several projects with one key wait for the first one's
// answer, but for at most tryPatience, also if it cannot even connect.
func TestMinorRequestsGoOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const projects = 5
		keys := cloud.NewKeys()
		var sent []time.Duration
		start := time.Now()
		var mu sync.Mutex
		done := make(chan error, projects)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for i := range projects {
			c := inMemory(t, answer(200, listBody), func(o *cloud.Options) {
				o.Keys, o.Scope, o.Transport = keys, strconv.Itoa(i), hanging(func() {
					mu.Lock()
					defer mu.Unlock()
					sent = append(sent, time.Since(start))
				})
			})
			go func() {
				r := c.readRequest("minor")
				r.Minor = true
				_, err := c.Call(ctx, r)
				done <- err
			}()
		}
		for range projects {
			if err := <-done; cloud.ReasonOf(err) != cloud.ReasonTimeout {
				t.Errorf("got %v, want a timeout", err)
			}
		}
		for i, at := range sent {
			if i > 0 && at-sent[i-1] < time.Second {
				t.Errorf("requests were sent after %v, want a second between them", sent)
			}
		}
		if len(sent) != projects {
			t.Errorf("got %d requests within 20 s, want %d", len(sent), projects)
		}
	})
}

// hanging is a transport that calls itself and then waits for the end of the request.
type hanging func()

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h()
	<-r.Context().Done()
	return nil, r.Context().Err()
}

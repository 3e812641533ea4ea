// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
)

// failing answers the first two tries with a status and perhaps a Retry-After.
func failing(status int, retryAfter string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	}
}

func TestRetriedFailures(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"429":                      failing(429, ""),
		"429, Retry-After 0":       failing(429, "0"),
		"429, invalid Retry-After": failing(429, "soon"),
		"502":                      failing(502, ""),
		"503":                      failing(503, ""),
		"504":                      failing(504, ""),
		"connection broken":        func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"body cut":                 func(w http.ResponseWriter) { fmt.Fprint(w, listBody[:5]); panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) { checkTries(t, fail, 3, "") })
	}
}

func TestFinalFailures(t *testing.T) {
	for status, want := range map[int]cloud.Reason{
		204: cloud.ReasonInvalid, 302: cloud.ReasonInvalid, 400: cloud.ReasonInvalid, 401: cloud.ReasonAuth,
		403: cloud.ReasonDenied, 404: cloud.ReasonNotFound, 408: cloud.ReasonInvalid, 409: cloud.ReasonInvalid,
		412: cloud.ReasonInvalid, 425: cloud.ReasonInvalid, 500: cloud.ReasonServer, 501: cloud.ReasonServer,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) { checkTries(t, failing(status, ""), 1, want) })
	}
	t.Run("403 with Retry-After", func(t *testing.T) { checkTries(t, failing(403, "0"), 1, cloud.ReasonDenied) })
}

// checkTries lets two tries fail and checks how many there are, and the reason of the result, "" for success.
func checkTries(t *testing.T, fail func(w http.ResponseWriter), want int, reason cloud.Reason) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var tries, observed int
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			tries++
			if n <= 2 {
				fail(w)
				return
			}
			fmt.Fprint(w, listBody)
		}, withRetry(quickRetry()), func(o *cloud.Options) { o.Observe = func(cloud.Exchange) { observed++ } })
		equal(t, "reason", readOne(t, c), reason)
		equal(t, "tries", tries, want)
		equal(t, "observed exchanges", observed, want)
	})
}

func TestRetriesAreBounded(t *testing.T) {
	f := newCloud(t, answer(503, ""))
	_, err := newClient(t, f.URL, withRetry(quickRetry())).read(bounded(t), "c")
	if e := failure(t, err); e.Reason != cloud.ReasonServer || e.Status != 503 || f.Reads("") != 4 {
		t.Errorf("got %v after %d requests, want 503 after 4", err, f.Reads(""))
	}
}

// tryTimes reads a cluster whose answers all have a status and a Retry-After, unless that is empty. It returns when the
// tries arrived and when the read ended.
func tryTimes(t *testing.T, retry cloud.Retry, deadline time.Duration, status int, retryAfter func(n int) string) (tries []time.Duration, end time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			tries = append(tries, time.Since(start))
			failing(status, retryAfter(n))(w)
		}, withRetry(retry))
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		_, err = c.read(ctx, "c")
		end = time.Since(start)
	})
	return tries, end, err
}

func noHeader(int) string { return "" }

func constantly(header string) func(int) string { return func(int) string { return header } }

// shortRetry has waits that a Retry-After exceeds.
func shortRetry() cloud.Retry {
	return cloud.Retry{Tries: 4, Base: 100 * time.Millisecond, Limit: 150 * time.Millisecond}
}

func TestBackOffIsJitteredDoubledAndLimited(t *testing.T) {
	distinct := map[time.Duration]bool{}
	for range 20 {
		tries, _, _ := tryTimes(t, shortRetry(), time.Minute, 503, noHeader)
		if len(tries) != 4 {
			t.Fatalf("got %d tries, want 4", len(tries))
		}
		for i, most := range []time.Duration{100 * time.Millisecond, 150 * time.Millisecond, 150 * time.Millisecond} {
			if wait := tries[i+1] - tries[i]; wait < most/2 || wait > most {
				t.Errorf("wait %d: got %s, want %s to %s", i+1, wait, most/2, most)
			}
		}
		distinct[tries[1]] = true
	}
	if len(distinct) < 5 {
		t.Errorf("got %d different waits of 20, want jitter", len(distinct))
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for _, status := range []int{429, 503} {
		tries, _, _ := tryTimes(t, shortRetry(), time.Minute, status, constantly(" 7 "))
		if len(tries) != 4 || tries[1] < 7*time.Second || tries[1] > 8*time.Second {
			t.Errorf("%d: got tries at %v, want every 7 s", status, tries)
		}
	}
}

func TestRetryAfterDate(t *testing.T) {
	tries, _, _ := tryTimes(t, shortRetry(), time.Minute, 429, func(n int) string { // virtual time starts at midnight
		return time.Date(2000, 1, 1, 0, 0, 5*n, 0, time.UTC).Format(http.TimeFormat)
	})
	if len(tries) != 4 || tries[1] < 5*time.Second || tries[1] > 6*time.Second || tries[3] < 15*time.Second {
		t.Errorf("got tries at %v, want 0, 5, 10 and 15 s", tries)
	}
}

func TestRetryAfterInThePast(t *testing.T) {
	past := constantly("Fri, 31 Dec 1999 23:00:00 GMT")
	if tries, end, _ := tryTimes(t, shortRetry(), time.Minute, 503, past); len(tries) != 4 || end > 400*time.Millisecond {
		t.Errorf("503: got tries at %v, want the usual waits", tries)
	}
	tries, _, _ := tryTimes(t, shortRetry(), time.Minute, 429, past)
	if want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}; !slices.Equal(tries, want) {
		t.Errorf("429: got tries at %v, want %v", tries, want)
	}
}

func TestThrottledWithoutRetryAfter(t *testing.T) {
	tries, _, _ := tryTimes(t, shortRetry(), time.Minute, 429, constantly(""))
	if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}; !slices.Equal(tries, want) {
		t.Errorf("got tries at %v, want %v", tries, want)
	}
}

// TestNoWaitBeyondTheDeadline: the failure is reported at once if the next try would come too late.
func TestNoWaitBeyondTheDeadline(t *testing.T) {
	for _, header := range []string{"60", "2147483647", "Fri, 31 Dec 2100 23:59:59 GMT"} {
		tries, end, err := tryTimes(t, shortRetry(), 10*time.Second, 429, constantly(header))
		if e := failure(t, err); len(tries) != 1 || end != 0 || e.Reason != cloud.ReasonThrottled || e.Status != 429 {
			t.Errorf("Retry-After %s: got %d tries in %s, %v; want 1 in 0 s, throttled", header, len(tries), end, err)
		}
	}
	slow := cloud.Retry{Tries: 4, Base: 4 * time.Second, Limit: time.Minute}
	tries, end, err := tryTimes(t, slow, time.Second, 503, noHeader)
	if e := failure(t, err); len(tries) != 1 || end != 0 || e.Reason != cloud.ReasonServer {
		t.Errorf("back-off: got %d tries in %s, %v; want 1 in 0 s, server", len(tries), end, err)
	}
}

func TestZeroRetryIsTheDefault(t *testing.T) {
	tries, _, _ := tryTimes(t, cloud.Retry{}, time.Minute, 503, noHeader)
	if len(tries) != cloud.DefaultRetry().Tries || tries[1] == 0 || tries[len(tries)-1] > 10*time.Second {
		t.Errorf("got tries at %v", tries)
	}
}

func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		c := inMemory(t, answer(503, ""), withRetry(cloud.Retry{Tries: 2, Base: time.Hour, Limit: time.Hour}))
		start := time.Now()
		_, err := c.read(ctx, "c")
		if e := failure(t, err); e.Reason != cloud.ReasonServer || time.Since(start) != time.Second {
			t.Errorf("got %v after %s, want server after 1 s", err, time.Since(start))
		}
	})
}

func TestClockHint(t *testing.T) {
	for skew, want := range map[time.Duration]string{
		0: "check the access key", 4 * time.Minute: "check the access key", -4 * time.Minute: "check the access key",
		20 * time.Minute: "20m0s ahead of the server's", -20 * time.Minute: "20m0s behind the server's",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := inMemory(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Date", time.Now().Add(-skew).UTC().Format(http.TimeFormat))
				w.WriteHeader(401)
			})
			_, err := c.read(t.Context(), "c")
			if hint := failure(t, err).Hint(); !strings.Contains(hint, want) {
				t.Errorf("%s: got hint %q, want %q in it", skew, hint, want)
			}
		})
	}
}

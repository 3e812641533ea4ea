// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func withLookup(iam string) func(*Options) {
	return func(o *Options) { o.ProjectID, o.IAMEndpoint = "", iam }
}

func TestProjectID(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
		reason Reason
	}{
		{"one", 200, `{"projects":[{"id":"p1","name":"cn-north-4","domain_id":"d"}],"links":{}}`, "p1", ""},
		{"one of that name", 200, `{"projects":[{"id":"p0","name":"cn-north-4_sub"},{"id":"p1","name":"cn-north-4"},null,{"id":"p2"}]}`, "p1", ""},
		{"none", 200, `{"projects":[]}`, "", ReasonDecode},
		{"none of that name", 200, `{"projects":[{"id":"p0","name":"MOS"}]}`, "", ReasonDecode},
		{"several", 200, `{"projects":[{"id":"p1","name":"cn-north-4"},{"id":"p2","name":"cn-north-4"}]}`, "", ReasonDecode},
		{"without id", 200, `{"projects":[{"name":"cn-north-4"}]}`, "", ReasonDecode},
		{"null", 200, `{"projects":null}`, "", ReasonDecode},
		{"no list", 200, `{"projects":{"id":"p1","name":"cn-north-4"}}`, "", ReasonDecode},
		{"nothing", 200, `{}`, "", ReasonDecode},
		{"HTML", 200, `<html>`, "", ReasonDecode},
		{"no path of its own", 200, `{"projects":[{"id":"../../x","name":"cn-north-4"}]}`, "", ReasonInvalid},
		{"denied", 403, `{"error":{"code":403,"message":"You are not authorized","title":"Forbidden"}}`, "", ReasonDenied},
		{"refused", 401, `{"error":{"code":401,"message":"x","title":"Unauthorized"}}`, "", ReasonAuth},
		{"trouble", 503, ``, "", ReasonServer},
	} {
		t.Run(test.name, func(t *testing.T) {
			iam := newFake(t, says(test.status, test.body))
			api := newFake(t, says(200, seedBody))
			c := newTestClient(t, api.URL, withLookup(iam.URL))
			if id := c.KnownProjectID(); id != "" {
				t.Errorf("known before anybody was asked: %q", id)
			}
			_, err := c.Connections(soon(t), testCluster, nil)
			asked := iam.seen()
			if len(asked) != 1 || asked[0].path != "/v3/projects" || asked[0].query.Encode() != "name=cn-north-4" {
				t.Errorf("asked IAM %+v", asked)
			}
			if test.reason != "" {
				e := failure(t, err)
				if e.Reason != test.reason || (e.Operation != "projects" && test.reason != ReasonInvalid) {
					t.Errorf("error %v (reason %q), want reason %q", err, e.Reason, test.reason)
				}
				if n := len(api.seen()); n != 0 {
					t.Errorf("%d calls without a project id", n)
				}
				if strings.Contains(err.Error(), "projects named") && strings.Contains(e.Hint(), "not the CSS API") {
					t.Errorf("the hint points elsewhere: %s; hint: %s", err, e.Hint())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			calls := api.seen()
			if calls[0].path != "/v1.0/"+test.want+"/clusters/"+testCluster+"/vpcepservice/connections" ||
				calls[0].header.Get("X-Project-Id") != test.want {
				t.Errorf("call is %+v", calls[0])
			}
			if _, err := c.Clusters(soon(t)); err == nil {
				t.Error("a list of connections is taken for one of clusters")
			}
			if n := len(iam.seen()); n != 1 {
				t.Errorf("IAM was asked %d times, want once", n)
			}
			if id := c.KnownProjectID(); id != test.want {
				t.Errorf("known is %q", id)
			}
		})
	}
}

// TestProjectIDOnce: many calls at once ask IAM once.
func TestProjectIDOnce(t *testing.T) {
	iam := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, `{"projects":[{"id":"p1","name":"cn-north-4"}]}`)
	})
	api := newFake(t, says(200, seedBody))
	c := newTestClient(t, api.URL, withLookup(iam.URL))
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if _, err := c.Connections(soon(t), testCluster, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n, m := len(iam.seen()), len(api.seen()); n != 1 || m != 30 {
		t.Errorf("%d calls of IAM and %d of CSS, want 1 and 30", n, m)
	}
}

// TestProjectIDFailsOnce: neither must a failure be fetched again by each of those who wait for it.
func TestProjectIDFailsOnce(t *testing.T) {
	iam := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		time.Sleep(50 * time.Millisecond)
		w.WriteHeader(403)
	})
	api := newFake(t, says(200, seedBody))
	c := newTestClient(t, api.URL, withLookup(iam.URL))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := c.Connections(soon(t), testCluster, nil); ReasonOf(err) != ReasonDenied {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(iam.seen()); n > 2 {
		t.Errorf("20 calls that waited together asked IAM %d times", n)
	}
}

// TestProjectIDWait: who waits for another's lookup waits no longer than its own deadline, and who gives up does not
// spoil it for the others.
func TestProjectIDWait(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 10)
	iam := newFake(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		entered <- struct{}{}
		select {
		case <-release:
			fmt.Fprint(w, `{"projects":[{"id":"p1","name":"cn-north-4"}]}`)
		case <-r.Context().Done():
		}
	})
	c := newTestClient(t, "http://127.0.0.1:1", withLookup(iam.URL))
	first, giveUp := context.WithCancel(soon(t))
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := c.ProjectID(first); ReasonOf(err) != ReasonTimeout {
			t.Errorf("who gave up: %v", err)
		}
	})
	<-entered
	if _, err := c.ProjectID(within(t, 20*time.Millisecond)); failure(t, err).Reason != ReasonTimeout {
		t.Errorf("who waited: %v", err)
	}
	group.Go(func() {
		if id, err := c.ProjectID(soon(t)); id != "p1" || err != nil {
			t.Errorf("who stayed: %q, %v", id, err)
		}
	})
	giveUp()
	<-entered
	close(release)
	group.Wait()
}

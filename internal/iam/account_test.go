// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

func newAccount(c *simtest.Cloud, secret string) *iam.Account {
	key := cloud.Credentials{AccessKey: simtest.AccessKey, SecretKey: secret}
	return iam.NewAccount(cloud.NewClient(cloud.Options{
		Region: simtest.Region, UserAgent: "test/1", Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1},
		Transport:   &simtest.RoundTripper{Handler: c},
		Credentials: credentials.NewFiles(key, cloud.Credentials{}),
	}), "http://cloud.invalid")
}

func describe(list []iam.Listed) (texts []string) {
	for _, p := range list {
		text := p.ID + " " + p.Name
		if p.Disabled {
			text += " disabled"
		}
		texts = append(texts, text)
	}
	return texts
}

func TestShapesOfTheListOfProjects(t *testing.T) {
	for name, test := range map[string]struct {
		body       string
		want       []string
		incomplete bool
		reason     cloud.Reason
	}{
		"documented": {
			body: `{"projects":[{"domain_id":"d","is_domain":false,"parent_id":"d","name":"cn-north-4","description":"",` +
				`"links":{"next":null,"previous":null,"self":"https://x"},"id":"p1","enabled":true}],"links":{"self":"y"}}`,
			want: []string{"p1 cn-north-4"},
		},
		"flags": {
			body: `{"projects":[{"id":"a","name":"A","enabled":false},{"id":"b","name":"B","enabled":"False"},` +
				`{"id":"c","name":"C","is_domain":true},{"id":"d","name":"D","is_domain":"true"},` +
				`{"id":"e","name":"E","enabled":null,"is_domain":null},{"id":"f","name":"F"}]}`,
			want: []string{"a A disabled", "b B disabled", "e E", "f F"},
		},
		"repeated": {
			body: `{"projects":[{"id":"a","name":"A"},{"id":"a","name":"B"},{"id":"b","name":"A"}]}`,
			want: []string{"a A", "b A"},
		},
		"number": {body: `{"projects":[{"id":7,"name":8}]}`, want: []string{"7 8"}},
		"odd names": {
			body: `{"projects":[{"id":"a","name":"x\u0000\n\u202e\ud800"},{"id":"b","name":"` +
				strings.Repeat("n", 2000) + `"}]}`,
			want: []string{"a x\ufffd\n\u202e\ufffd", "b " + strings.Repeat("n", 1024)},
		},
		"unusable": {
			body: `{"projects":[{"id":"../a","name":"A"},{"id":"","name":"B"},{"name":"C"},{"id":"d"},null,7,[],` +
				`{"id":"e","name":"E"}]}`,
			want: []string{"e E"}, incomplete: true,
		},
		"empty":          {body: `{"projects":[]}`, incomplete: true},
		"domains alone":  {body: `{"projects":[{"id":"c","name":"C","is_domain":true}]}`, incomplete: true},
		"null":           {body: `{"projects":null}`, reason: cloud.ReasonDecode},
		"absent":         {body: `{}`, reason: cloud.ReasonDecode},
		"other case":     {body: `{"Projects":[{"id":"a","name":"A"}]}`, reason: cloud.ReasonDecode},
		"an object":      {body: `{"projects":{"id":"a"}}`, reason: cloud.ReasonDecode},
		"a list":         {body: `[{"id":"a","name":"A"}]`, reason: cloud.ReasonDecode},
		"cut":            {body: `{"projects":[{"id":"a","name":"A"}`, reason: cloud.ReasonDecode},
		"page":           {body: `<html>`, reason: cloud.ReasonDecode},
		"something else": {body: `{"projects":[{"id":"a","name":"A"}]}{}`, reason: cloud.ReasonDecode},
	} {
		t.Run(name, func(t *testing.T) {
			c := simtest.NewUnserved(simulator.Options{})
			c.SetFault(simulator.Target{Endpoint: simulator.AccountList}, simulator.Fault{Body: test.body})
			list, _, err := newAccount(c, simtest.SecretKey).Projects(t.Context())
			if got := describe(list); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			var failed *cloud.Error
			switch {
			case test.incomplete != errors.Is(err, iam.ErrIncomplete):
				t.Errorf("got error %v, want it incomplete: %v", err, test.incomplete)
			case test.reason != "" && (!errors.As(err, &failed) || failed.Reason != test.reason):
				t.Errorf("got error %v, want %s", err, test.reason)
			case test.reason == "" && !test.incomplete && err != nil:
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestCompleteListsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simtest.NewUnserved(simulator.Options{})
		a := newAccount(c, simtest.SecretKey)
		c.SetFault(simulator.Target{Endpoint: simulator.AccountList}, simulator.Fault{Latency: time.Second})
		list := func() (at time.Time) {
			_, at, err := a.Projects(t.Context())
			if err != nil {
				t.Errorf("got error %v", err)
			}
			return at
		}
		check := func(want int) {
			t.Helper()
			if got := c.Requested(simulator.AccountList); got != want {
				t.Errorf("got %d requests, want %d", got, want)
			}
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { list() })
		}
		wg.Wait()
		check(1)
		first := list()
		time.Sleep(44 * time.Minute)
		if at := list(); !at.Equal(first) {
			t.Errorf("got the time %s of the shared list, want %s", at, first)
		}
		check(1)
		time.Sleep(2 * time.Minute)
		list()
		check(2)
	})
}

func TestFailedListsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simtest.NewUnserved(simulator.Options{})
		a := newAccount(c, simtest.SecretKey)
		for _, fault := range []simulator.Fault{{Status: 500}, {Body: `{"projects":[]}`}, {Hang: true}} {
			c.SetFault(simulator.Target{Endpoint: simulator.AccountList}, fault)
			var wg sync.WaitGroup
			for range 5 { // one asks, and the others share its result
				wg.Go(func() {
					if _, _, err := a.Projects(t.Context()); err == nil {
						t.Error("got no error")
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
		}
		if n := c.Requested(simulator.AccountList); n != 3 {
			t.Errorf("got %d requests, want 3", n)
		}
		c.SetFault(simulator.Target{Endpoint: simulator.AccountList})
		if list, _, err := a.Projects(t.Context()); len(list) != 1 || err != nil {
			t.Errorf("got %v, %v; want a project", list, err)
		}
	})
}

// TestACancelledListIsNotAResult: another caller asks again.
func TestACancelledListIsNotAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simtest.NewUnserved(simulator.Options{})
		a := newAccount(c, simtest.SecretKey)
		c.SetFault(simulator.Target{Endpoint: simulator.AccountList}, simulator.Fault{For: 1, Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := a.Projects(ctx); cloud.ReasonOf(err) != cloud.ReasonTimeout {
				t.Errorf("got error %v, want a timeout", err)
			}
		})
		synctest.Wait()
		if list, _, err := a.Projects(t.Context()); len(list) != 1 || err != nil {
			t.Errorf("got %v, %v; want a project", list, err)
		}
		wg.Wait()
	})
}

func TestHintsOfFailedListings(t *testing.T) {
	for name, test := range map[string]struct {
		fault simulator.Fault
		hint  string
	}{
		"denied":    {simulator.Fault{Status: 403}, "this list needs no permission: check iam_endpoint"},
		"not found": {simulator.Fault{Status: 404}, "check iam_endpoint"},
		"page":      {simulator.Fault{Body: "<html>"}, "the response is not from IAM"},
	} {
		c := simtest.NewUnserved(simulator.Options{})
		c.SetFault(simulator.Target{Endpoint: simulator.AccountList}, test.fault)
		_, _, err := newAccount(c, simtest.SecretKey).Projects(t.Context())
		if e, ok := errors.AsType[*cloud.Error](err); !ok || !strings.HasPrefix(e.Hint(), test.hint) ||
			e.Operation != "account_projects" {
			t.Errorf("%s: got %v, want the hint %q", name, err, test.hint)
		}
	}
	_, _, err := newAccount(simtest.NewUnserved(simulator.Options{}), "wrong").Projects(t.Context())
	if cloud.ReasonOf(err) != cloud.ReasonAuth {
		t.Errorf("wrong key: got %v, want a rejection", err)
	}
}

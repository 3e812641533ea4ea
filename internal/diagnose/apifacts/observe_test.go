// SPDX-License-Identifier: Apache-2.0

package apifacts

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
)

// listOf returns a list of n connections, of which so many are on the first page.
func listOf(n, first int) *List {
	l := &List{ClusterID: "c", HasReported: true, Reported: float64(n)}
	for i := range n {
		l.IDs = append(l.IDs, fmt.Sprint("id-", i))
	}
	l.First = l.IDs[:first]
	return l
}

// requestOf answers with the first n connections of the list; pages may hold the number for a query.
func requestOf(l *List, pages map[string]int, fails map[string]error) Request {
	return func(_ context.Context, clusterID string, query url.Values) (*css.ConnectionList, error) {
		key := query.Encode()
		if clusterID != l.ClusterID {
			key = "unknown"
		}
		if err := fails[key]; err != nil {
			return nil, err
		}
		n, known := pages[key]
		if !known {
			n = len(l.First)
		}
		page := &css.ConnectionList{Enabled: true}
		for _, id := range l.IDs[:n] {
			page.Connections = append(page.Connections, css.Connection{ID: id})
		}
		return page, nil
	}
}

func TestObservationsOfOddLists(t *testing.T) {
	capped := listOf(10, 10)
	capped.Reported = 25
	wrongTotal := &List{First: []string{"a"}, IDs: []string{"a"}, NoCount: true}
	tooLate := &cloud.Error{Reason: cloud.ReasonInvalid, Status: http.StatusBadRequest, Code: "CSS.0001"}
	for name, test := range map[string]struct {
		list  *List
		pages map[string]int
		fails map[string]error
		want  []string
	}{
		"capped, and further pages cannot be read": {capped, nil, nil,
			[]string{"default_limit: unknown (a page never has more than 10 connections)"}},
		"emptied": {listOf(25, 25), map[string]int{"": 0, "limit=1000": 0}, nil,
			[]string{"default_limit: unknown (the list changed between requests)"}},
		"shrinking": {listOf(25, 25), map[string]int{"": 7, "limit=1000": 7}, nil,
			[]string{"default_limit: unknown (the list changed between requests)"}},
		"one connection on each page": {listOf(3, 1), nil, nil,
			[]string{"offset: unknown (needs more than 1 connection on a page)", "page_cap: 1"}},
		"the second offset is refused": {listOf(3, 3), nil, map[string]error{"limit=2&offset=2": tooLate},
			[]string{"offset: unknown (offset=1 gives the first connection, and offset=2 is refused: HTTP 400 CSS.0001)"}},
		"a total that is no count": {wrongTotal, nil, nil, []string{"total_count: unknown (its value is not a count)"}},
		"throttled at last": {listOf(3, 3), nil, map[string]error{"unknown": &cloud.Error{
			Reason: cloud.ReasonThrottled, Status: http.StatusTooManyRequests}},
			[]string{"unknown_cluster: unknown (a request failed: throttled)", "offset: ignored"}},
		"the limit is reached at last": {listOf(3, 3), nil, map[string]error{"unknown": ErrLimit},
			[]string{"unknown_cluster: unknown (the limit of requests is reached)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var o Observations
			lists := []*List{test.list}
			o.Observe(t.Context(), requestOf(test.list, test.pages, test.fails), lists)
			got := strings.Join(Lines("", &o, NewShapes(), lists, nil), "\n") + "\n"
			for _, want := range test.want {
				if !strings.Contains(got, want+"\n") {
					t.Errorf("want %q in:\n%s", want, got)
				}
			}
		})
	}
}

func TestFactsHoldNoNames(t *testing.T) {
	for name, want := range map[string]string{
		"X-Request-Id": "X-Request-Id", "X-Openstack-Request-Id": "X-Openstack-Request-Id", "X-Company-Request-Id": "other (1)",
		"Requestid": "Requestid", "Company-Requestid": "other (1)", "X-Request-Id-": "other (1)",
	} {
		if got := headerNames(http.Header{name: {"x"}}, `(?i)request-?id`); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for code, want := range map[string]string{
		"CSS.0015": "HTTP 400 CSS.0015", "APIG.0101": "HTTP 400 APIG.0101", "": "HTTP 400", "COMPANY.4711": "HTTP 400 with another code",
		"CSS.123456": "HTTP 400 with another code", "SK.0123": "HTTP 400 with another code",
	} {
		if got := statusAndCode(&cloud.Error{Status: http.StatusBadRequest, Code: code}); got != want {
			t.Errorf("%s: got %q, want %q", code, got, want)
		}
	}
}
